//! What an operator asks for: one verb, one file.
//!
//! Each command may be given again: what exists is kept, what is missing is made.

mod audit;
mod batch;
mod broker_issue;
mod ca_init;
mod ca_status;
mod ca_verify;
mod crl_publish;
mod crl_show;
mod device_renew;
mod device_revoke;
mod device_suspend;
#[cfg(test)]
mod encrypted;
#[cfg(test)]
mod hostile;
mod inventory;
mod issue;
mod passphrase;
mod peer_issue;
mod refusal;
mod registry_export;
mod up_prepare;

pub use audit::{audit_show, audit_verify};
pub use batch::{
    BatchDone, BatchRequest, BatchStatus, Checked, ResumeRequest, batch_check, batch_issue,
    batch_resume, batch_status,
};
pub use broker_issue::{BrokerIssued, broker_issue};
pub use ca_init::{CaInitialized, InitRequest, ca_init};
pub use ca_status::{AuthorityStatus, CaStatus, ListStatus, NextStep, ca_status};
pub use ca_verify::{Finding, Verification, ca_verify};
pub use crl_publish::{PublishRequest, Published, crl_publish};
pub use crl_show::{ListedCertificate, ShownList, crl_show};
pub use device_renew::{DeviceRenewed, RenewRequest, device_renew};
pub use device_revoke::{DeviceRevoked, RevokeRequest, device_revoke};
pub use device_suspend::{
    DeviceResumed, DeviceSuspended, SuspendRequest, device_resume, device_suspend,
};
pub use inventory::{
    AddRequest, DeviceAdded, DeviceShown, Filter, LabelRequest, device_add, device_label,
    device_list, device_remove, device_show,
};
pub use passphrase::{key_kept, read_passphrase};
pub use peer_issue::{IssueRequest, PeerIssued, app_issue, device_issue};
pub use refusal::device_id;
pub use registry_export::{ExportRequest, Exported, registry_export};
pub use up_prepare::{Outcome, Prepared, PreparedPeer, UP_DEVICES_MAX, UpRequest, up_prepare};
