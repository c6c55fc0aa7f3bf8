//! What an operator asks for: one verb, one file.
//!
//! Each command may be given again: what exists is kept, what is missing is made.

mod batch;
mod broker_issue;
mod ca;
mod crl_publish;
mod crl_show;
mod device_renew;
mod device_revoke;
mod device_suspend;
mod enrolment;
#[cfg(test)]
mod hostile;
mod inventory;
mod issue;
mod key;
mod payload;
mod peer_issue;
mod refusal;
mod registry_export;
mod up_prepare;

pub use batch::{
    BatchDelivered, BatchDone, BatchRequest, BatchStatus, Checked, DeliverRequest, NotDelivered,
    Package, ResumeRequest, batch_check, batch_deliver, batch_issue, batch_resume, batch_status,
};
pub(crate) use broker_issue::server_names;
pub use broker_issue::{BrokerIssued, broker_issue};
pub use ca::{
    AuthorityRevoked, Awaited, Certified, CertifiedStatus, CertifyRequest, InstallRequest,
    Installed, InstalledAuthority, NewRoot, OfflineRootError, Requested, RootInitRequest,
    RootInitialized, RootListRequest, RootListed, RootSignRequest, RootStatus, ToCertify,
    ca_install, ca_request, key_kept_of_root, root_init, root_list, root_revoke, root_sign,
    root_status,
};
pub use ca::{
    AuthorityStatus, BackedUp, BackupError, BackupRequest, CaInitialized, CaStatus, Check,
    Diagnosis, Finding, InitRequest, KeyFate, ListStatus, NextStep, RestoreRequest, Restored,
    RestoredInto, RotateRequest, Rotated, RotationError, RotationStage, TrustExported,
    TrustRequest, Verdict, Verification, audit_show, audit_verify, ca_backup, ca_doctor, ca_init,
    ca_restore, ca_rotate, ca_status, ca_verify, key_kept, quoted, read_passphrase, trust_export,
};
pub use crl_publish::{PublishRequest, Published, crl_publish};
pub use crl_show::{ListedCertificate, ShownList, crl_show};
pub use device_renew::{DeviceRenewed, RenewRequest, device_renew};
pub use device_revoke::{DeviceRevoked, RevokeRequest, device_revoke};
pub use device_suspend::{
    DeviceResumed, DeviceSuspended, SuspendRequest, device_resume, device_suspend,
};
pub use enrolment::{
    DecideRequest, PendingDecided, TOKEN_DAYS_MAX, TokenCreated, TokenRequest, pending_approve,
    pending_deny, pending_list, token_create, token_list, token_revoke,
};
pub use inventory::{
    AddRequest, DeviceAdded, DeviceShown, Filter, LabelRequest, WhichCertificate, certificate_find,
    device_add, device_label, device_list, device_remove, device_show,
};
pub(crate) use issue::{chain, sign_after};
pub use key::{key_make, key_request};
pub use payload::{PayloadFormat, PayloadIssued, PayloadTo, device_issue_to};
pub use peer_issue::{IssueRequest, PeerIssued, app_issue, device_issue};
pub use refusal::device_id;
pub use registry_export::{ExportRequest, Exported, registry_export};
pub(crate) use up_prepare::is_near_its_end;
pub use up_prepare::{Outcome, Prepared, PreparedPeer, UP_DEVICES_MAX, UpRequest, up_prepare};
