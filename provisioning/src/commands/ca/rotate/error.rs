//! Why an authority does not come to a stage, each with the command that leads on.

use std::path::PathBuf;

use certs::Role;
use pkcs11::KeyUri;
use thiserror::Error;

use crate::error::ExitClass;

/// Why an authority does not come to a stage.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RotationError {
    /// The role is not one of an authority.
    #[error("there is no authority of the role {}", .0.as_str())]
    NoAuthority(Role),
    /// There is none at the stage before.
    #[error(
        "no {role} was prepared; prepare one with: countersign ca rotate --role {role} \
         --stage prepare --dir {}",
        dir.display()
    )]
    NotPrepared {
        /// Of which role.
        role: &'static str,
        /// The directory.
        dir: PathBuf,
    },
    /// It is not trusted yet.
    #[error(
        "{name} is not published, so what it issues would be refused; publish it with: countersign \
         ca rotate --role {role} --stage publish --dir {}",
        dir.display()
    )]
    NotPublished {
        /// What it is called.
        name: Box<str>,
        /// Of which role.
        role: &'static str,
        /// The directory.
        dir: PathBuf,
    },
    /// One was followed by another and is still trusted.
    #[error(
        "{name} is not retired yet; retire it, or prepare one more all the same with --another"
    )]
    NotRetired {
        /// What it is called.
        name: Box<str>,
    },
    /// There is none that could be retired.
    #[error("no {role} can be retired: only one that another one follows")]
    NothingToRetire {
        /// Of which role.
        role: &'static str,
    },
    /// There is none of this number.
    #[error("there is no {role} {number}")]
    NoSuchNumber {
        /// Of which role.
        role: &'static str,
        /// The number asked for.
        number: u32,
    },
    /// It issues.
    #[error("{0} issues; rotate it first")]
    IsActive(Box<str>),
    /// Somebody would be cut off.
    #[error(
        "{holders} hold a certificate of {name} that counts ({first} is one), and {connected} \
         sessions go by one; {mend}, or cut them off with --cut-off"
    )]
    InUse {
        /// What it is called.
        name: Box<str>,
        /// How many hold a certificate of it.
        holders: u64,
        /// One of them.
        first: Box<str>,
        /// How many sessions brokers have with a certificate of it.
        connected: usize,
        /// How they are found and helped.
        mend: Box<str>,
    },
    /// Authorities below it are still trusted.
    #[error("{authority} was issued by {name} and is not retired; rotate it first")]
    AuthoritiesBelow {
        /// What it is called.
        name: Box<str>,
        /// The authority below it.
        authority: Box<str>,
    },
    /// The key in the token is that of an authority on record.
    #[error("the key {uri} is that of {name}; make a new one with: countersign key make URI")]
    SameKey {
        /// Where it is.
        uri: Box<KeyUri>,
        /// Whose it is.
        name: Box<str>,
    },
    /// Its certificate permits no other root below it.
    #[error(
        "the certificate of {0} permits no root below it, and many TLS libraries would refuse a \
         chain through one; make new authorities in another directory"
    )]
    NoRoomBelow(Box<str>),
}

impl RotationError {
    /// How the command ends.
    pub(crate) fn exit_class(&self) -> ExitClass {
        match self {
            Self::NoAuthority(_) => ExitClass::Usage,
            Self::NotPrepared { .. } | Self::NothingToRetire { .. } | Self::NoSuchNumber { .. } => {
                ExitClass::NotFound
            }
            Self::NotPublished { .. }
            | Self::NotRetired { .. }
            | Self::IsActive(_)
            | Self::SameKey { .. }
            | Self::InUse { .. }
            | Self::AuthoritiesBelow { .. }
            | Self::NoRoomBelow(_) => ExitClass::Refused,
        }
    }
}
