//! Issues device certificates from a local authority, and remembers every one of them.
//!
//! A certificate is recorded before it is handed out, and no private key leaves the file it was
//! written to. One command, one function, one file in `commands`.

mod authority;
mod commands;
mod ephemeral;
mod error;
mod files;
mod layout;
mod registry;
#[cfg(test)]
mod testing;

pub use commands::{
    BrokerIssued, CaInitialized, DeviceRevoked, ExportRequest, Exported, IssueRequest,
    ListedCertificate, Outcome, PeerIssued, Prepared, PreparedPeer, PublishRequest, Published,
    RevokeRequest, ShownList, UP_DEVICES_MAX, UpRequest, app_issue, broker_issue, ca_init,
    crl_publish, crl_show, device_issue, device_revoke, registry_export, up_prepare,
};
pub use ephemeral::{EphemeralCa, EphemeralIdentity};
pub use error::{CommandError, ExitClass};
pub use layout::{IdentityFiles, Layout};
pub use registry::RegistryError;
