//! The root on a machine without a network: made there, asked by files, and answering by files.
//!
//! Its directory has a registry of its own: what it signs is on record before anybody has it.

mod error;
mod home;
mod init;
mod list;
mod revoke;
mod sign;
mod status;
#[cfg(test)]
mod tests;

pub use self::error::OfflineRootError;
pub use self::init::{RootInitRequest, RootInitialized, root_init};
pub use self::list::{RootListRequest, RootListed, root_list};
pub use self::revoke::{AuthorityRevoked, root_revoke};
pub use self::sign::{Certified, RootSignRequest, ToCertify, root_sign};
pub use self::status::{CertifiedStatus, RootStatus, root_status};
