//! Issues device certificates from a local authority, and remembers every one of them.
//!
//! A certificate is recorded before it is handed out, and no private key leaves the file it was
//! written to. One command, one function, one file in `commands`.

mod age;
mod authority;
mod commands;
mod enrol;
mod ephemeral;
mod error;
mod files;
mod layout;
mod registry;
mod roster;
#[cfg(test)]
mod testing;

pub use age::{AgeError, DecryptWith, EncryptTo, Identity, Recipient};
pub use authority::{Algorithm, KeyInTokenError, KeyKept, Passphrase};
pub use commands::{
    AddRequest, AuthorityStatus, BackedUp, BackupError, BackupRequest, BatchDone, BatchRequest,
    BatchStatus, BrokerIssued, CaInitialized, CaStatus, Check, Checked, DeviceAdded, DeviceRenewed,
    DeviceResumed, DeviceRevoked, DeviceShown, DeviceSuspended, Diagnosis, ExportRequest, Exported,
    Filter, Finding, InitRequest, IssueRequest, KeyFate, LabelRequest, ListStatus,
    ListedCertificate, NextStep, Outcome, PayloadFormat, PayloadIssued, PayloadTo, PeerIssued,
    Prepared, PreparedPeer, PublishRequest, Published, RenewRequest, RestoreRequest, Restored,
    RestoredInto, ResumeRequest, RevokeRequest, RotateRequest, Rotated, RotationError,
    RotationStage, ShownList, SuspendRequest, TrustExported, TrustRequest, UP_DEVICES_MAX,
    UpRequest, Verdict, Verification, WhichCertificate, app_issue, audit_show, audit_verify,
    batch_check, batch_issue, batch_resume, batch_status, broker_issue, ca_backup, ca_doctor,
    ca_init, ca_restore, ca_rotate, ca_status, ca_verify, certificate_find, crl_publish, crl_show,
    device_add, device_id, device_issue, device_issue_to, device_label, device_list, device_remove,
    device_renew, device_resume, device_revoke, device_show, device_suspend, key_kept, key_make,
    key_request, quoted, read_passphrase, registry_export, trust_export, up_prepare,
};
pub use commands::{
    AuthorityRevoked, Awaited, Certified, CertifiedStatus, CertifyRequest, InstallRequest,
    Installed, InstalledAuthority, NewRoot, OfflineRootError, Requested, RootInitRequest,
    RootInitialized, RootListRequest, RootListed, RootSignRequest, RootStatus, ToCertify,
    ca_install, ca_request, key_kept_of_root, root_init, root_list, root_revoke, root_sign,
    root_status,
};
pub use commands::{BatchDelivered, DeliverRequest, NotDelivered, Package, batch_deliver};
pub use commands::{
    DecideRequest, PendingDecided, TOKEN_DAYS_MAX, TokenCreated, TokenRequest, pending_approve,
    pending_deny, pending_list, token_create, token_list, token_revoke,
};
pub use enrol::{Approval, EnrolmentServer, Limits, ServeRequest, TokenText, ca_serve};
pub use ephemeral::{EphemeralCa, EphemeralIdentity};
pub use error::{CommandError, ExitClass};
pub use layout::{IdentityFiles, Layout};
pub use registry::{
    AuditEntry, AuthorityStage, BatchFormat, BatchStanding, ChainEnd, CurrentCertificate, Device,
    DeviceCertificate, DeviceState, Event, KnownCertificate, LabelChange, Labels, RegistryError,
};
pub use registry::{EnrolmentState, PendingEnrolment, Token, TokenState};
pub use roster::Mistake;
