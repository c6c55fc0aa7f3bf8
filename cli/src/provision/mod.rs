//! The local authority: devices, batches, revocation, and the authorities themselves.

pub(crate) mod batch_commands;
pub(crate) mod broker_certificate;
pub(crate) mod ca_audit_commands;
pub(crate) mod ca_commands;
pub(crate) mod care_commands;
pub(crate) mod cert_commands;
pub(crate) mod device_commands;
pub(crate) mod enrolment_commands;
pub(crate) mod inventory_commands;
pub(crate) mod key_commands;
pub(crate) mod offline_root;
pub(crate) mod passphrase;
pub(crate) mod revocation_commands;
pub(crate) mod rotation_commands;
pub(crate) mod suspension_commands;
pub(crate) mod trust_commands;

use provisioning::{AgeError, Recipient};

/// Who can open something, by the public key of `age`.
fn recipient(text: &str) -> Result<Recipient, String> {
    text.parse().map_err(|error: AgeError| error.to_string())
}
