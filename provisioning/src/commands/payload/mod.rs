//! What a device is given besides files in a directory: one line of JSON, or a header in C.
//!
//! Each holds all that the device needs: its certificate with that of its issuer, its private key
//! when that was made here, and what it trusts.

mod c_header;
mod issue;

pub use self::issue::{PayloadFormat, PayloadIssued, device_issue_to};
use serde_json::json;

use super::issue::{above, chain};
use crate::authority::Hierarchy;
use crate::registry::Recorded;

/// What one device is given.
pub(super) struct Payload<'a> {
    recorded: &'a Recorded,
    /// The certificate, followed by that of its issuer.
    certificate: String,
    /// `None` when the device has made it.
    private_key: Option<&'a str>,
    trusted: &'a str,
}

impl<'a> Payload<'a> {
    /// For the holder of a certificate that was recorded.
    pub(super) fn new(
        ca: &'a Hierarchy,
        recorded: &'a Recorded,
        private_key: Option<&'a str>,
    ) -> Self {
        let (issuer, trusted) = above(ca, recorded.role());
        Self {
            recorded,
            certificate: chain(recorded.pem(), issuer),
            private_key,
            trusted,
        }
    }

    /// One line of JSON, with its end.
    pub(super) fn json_line(&self) -> String {
        let line = json!({
            "device_id": self.recorded.name(),
            "serial": self.recorded.certificate().serial,
            "not_after": self.recorded.certificate().not_after.as_secs(),
            "certificate": self.certificate,
            "private_key": self.private_key,
            "ca": self.trusted,
        });
        format!("{line}\n")
    }
}
