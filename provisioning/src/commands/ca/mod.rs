//! The authorities themselves: made, looked at, checked; what was done with them, and what opens
//! their keys.

mod audit;
mod backup;
mod copies;
mod doctor;
#[cfg(test)]
mod encrypted;
mod init;
mod install;
mod passphrase;
mod request;
mod root;
mod rotate;
mod status;
mod trust_export;
mod verify;

pub use audit::{audit_show, audit_verify};
pub use backup::{
    BackedUp, BackupError, BackupRequest, RestoreRequest, Restored, RestoredInto, ca_backup,
    ca_restore,
};
pub use doctor::{Check, Diagnosis, Verdict, ca_doctor, quoted};
pub(super) use init::open_or_make;
pub use init::{CaInitialized, InitRequest, ca_init};
pub use install::{InstallRequest, Installed, InstalledAuthority, NewRoot, ca_install};
pub use passphrase::{key_kept, key_kept_of_root, read_passphrase};
pub use request::{Awaited, CertifyRequest, Requested, ca_request};
pub use root::{
    AuthorityRevoked, Certified, CertifiedStatus, OfflineRootError, RootInitRequest,
    RootInitialized, RootListRequest, RootListed, RootSignRequest, RootStatus, ToCertify,
    root_init, root_list, root_revoke, root_sign, root_status,
};
pub use rotate::{KeyFate, RotateRequest, Rotated, RotationError, RotationStage, ca_rotate};
pub use status::{AuthorityStatus, CaStatus, ListStatus, NextStep, ca_status};
pub use trust_export::{TrustExported, TrustRequest, trust_export};
pub use verify::{Finding, Verification, ca_verify};
