//! What an operator asks for: one verb, one file.
//!
//! Each command may be given again: what exists is kept, what is missing is made.

mod broker_issue;
mod ca_init;
mod crl_publish;
mod crl_show;
mod device_revoke;
mod issue;
mod peer_issue;
mod registry_export;
mod up_prepare;

pub use broker_issue::{BrokerIssued, broker_issue};
pub use ca_init::{CaInitialized, ca_init};
pub use crl_publish::{PublishRequest, Published, crl_publish};
pub use crl_show::{ListedCertificate, ShownList, crl_show};
pub use device_revoke::{DeviceRevoked, RevokeRequest, device_revoke};
pub use peer_issue::{IssueRequest, PeerIssued, app_issue, device_issue};
pub use registry_export::{ExportRequest, Exported, registry_export};
pub use up_prepare::{Outcome, Prepared, PreparedPeer, UP_DEVICES_MAX, UpRequest, up_prepare};
