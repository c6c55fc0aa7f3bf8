//! Why a root that is kept apart and the authorities below it do not come together, each with the
//! command that leads on.

use std::path::PathBuf;

use certs::{Deviation, Hex, InvalidList, ListNumber, Revoked, Serial};
use thiserror::Error;

use crate::error::ExitClass;

/// Why a root that is kept apart and the authorities below it do not come together.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OfflineRootError {
    /// There is no root in the directory.
    #[error(
        "there is no root in {dir}; make one with: countersign ca root init --dir {dir}",
        dir = .0.display()
    )]
    NoRoot(PathBuf),
    /// There is nothing but a root in the directory.
    #[error(
        "{dir} holds a root and nothing that issues; look at it with: countersign ca root status \
         --dir {dir}",
        dir = .0.display()
    )]
    RootAlone(PathBuf),
    /// There is more than a root in the directory.
    #[error(
        "{} holds authorities that issue; a root that is kept apart has a directory of its own",
        .0.display()
    )]
    NotAlone(PathBuf),
    /// The authorities have no certificates yet.
    #[error(
        "the authorities in {dir} have no certificates yet; see what is awaited with: countersign \
         ca status --dir {dir}",
        dir = .0.display()
    )]
    Awaiting(PathBuf),
    /// Nothing was asked of a root elsewhere.
    #[error(
        "nothing is awaited in {dir}; ask with: countersign ca request --dir {dir} --out FILE",
        dir = .0.display()
    )]
    NothingAwaited(PathBuf),
    /// The key of the root is here.
    #[error(
        "the key of the root is in {dir}, so nobody else need be asked: countersign ca rotate \
         --role {role} --stage prepare --dir {dir}",
        dir = dir.display()
    )]
    RootHere {
        /// Of which role.
        role: &'static str,
        /// The directory.
        dir: PathBuf,
    },
    /// The key of the root is elsewhere, and can be asked.
    #[error(
        "the key of the root is not in {dir}; ask for a certificate with: countersign ca request \
         --role {role} --dir {dir} --out FILE, sign it where the root is (countersign ca root \
         sign), and bring it here with: countersign ca install --dir {dir} FILE",
        dir = dir.display()
    )]
    RootElsewhere {
        /// Of which role.
        role: &'static str,
        /// The directory.
        dir: PathBuf,
    },
    /// The key of the root is elsewhere, and this is done with it alone.
    #[error(
        "the key of the root is not in {}, and nothing else does this; a root that is kept apart \
         is followed by another in a directory of its own",
        .0.display()
    )]
    RootNeeded(PathBuf),
    /// Nobody said which authority.
    #[error("name the authority: --role device-ca or --role server-ca")]
    WhichRole,
    /// The first request is for both authorities.
    #[error("the first request is for both authorities; leave --role out")]
    BothAtFirst,
    /// One is on record that does not issue yet.
    #[error(
        "{name} does not issue yet; go on with: countersign ca rotate --role {role} --stage \
         publish --dir {}",
        dir.display()
    )]
    OnItsWay {
        /// What it is called.
        name: Box<str>,
        /// Of which role.
        role: &'static str,
        /// The directory.
        dir: PathBuf,
    },
    /// Nobody has looked at what would be signed.
    #[error(
        "nothing was signed, for nobody confirmed it; compare the keys with those that `ca \
         request` showed, and give --yes"
    )]
    NotConfirmed,
    /// Nobody has looked at the root that would be trusted.
    #[error(
        "nothing was installed, for nobody confirmed the root; take its fingerprint from where the \
         root is, and give --root-fingerprint SHA256"
    )]
    RootNotConfirmed,
    /// The root is not the one with this fingerprint.
    #[error(
        "the root has the fingerprint {}, not {}; nothing was installed",
        Hex(found.as_ref()),
        Hex(asked.as_ref())
    )]
    OtherFingerprint {
        /// That of the root in the files.
        found: Box<[u8; 32]>,
        /// That of the root that is to be trusted.
        asked: Box<[u8; 32]>,
    },
    /// A request shows a key that has another place.
    #[error("the key in {} is that of {holder}; an authority has a key of its own", path.display())]
    KeyTaken {
        /// The file with the request.
        path: PathBuf,
        /// Whose key it is.
        holder: Box<str>,
    },
    /// The authority was revoked.
    #[error(
        "{name} was revoked {revoked}; make a new key for another with: countersign ca request"
    )]
    Revoked {
        /// What it is called.
        name: Box<str>,
        /// When and why.
        revoked: Revoked,
    },
    /// No authority was certified with this serial number.
    #[error("no authority with the serial number {0} was certified here")]
    NoSuchAuthority(Serial),
    /// Nobody can say who signed what is in the files.
    #[error("none of the files holds a root; take the file that `ca root sign` wrote")]
    NoRootInFiles,
    /// A root in the files is not the one that is trusted here.
    #[error("{} holds another root than the one that is trusted here", .0.display())]
    OtherRoot(PathBuf),
    /// A certificate is for nobody here.
    #[error(
        "the certificate of {subject} in {} is for no key that waits here; nothing was installed",
        path.display()
    )]
    NotAwaited {
        /// The file.
        path: PathBuf,
        /// Whom the certificate names.
        subject: Box<str>,
    },
    /// A certificate that is awaited is not there.
    #[error("no file holds the certificate of the {0}; nothing was installed")]
    Missing(Box<str>),
    /// A certificate is not what its profile says.
    #[error(
        "the certificate of {subject} in {} is not one to install; nothing was installed",
        path.display()
    )]
    Deviates {
        /// The file.
        path: PathBuf,
        /// Whom the certificate names.
        subject: Box<str>,
        /// Where it deviates.
        source: Deviation,
    },
    /// A certificate breaks a rule.
    #[error("the certificate of {subject} in {}: {what}; nothing was installed", path.display())]
    Unfit {
        /// The file.
        path: PathBuf,
        /// Whom the certificate names.
        subject: Box<str>,
        /// What is wrong with it.
        what: Box<str>,
    },
    /// A revocation list is not one of the root.
    #[error(
        "the revocation list in {} is not one of the root; nothing was installed",
        path.display()
    )]
    BadList {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: InvalidList,
    },
    /// A revocation list is older than one that was seen.
    #[error(
        "the root's revocation list has number {offered}, and {have} was seen; numbers only rise"
    )]
    OldList {
        /// The number that was seen.
        have: u64,
        /// The number of the list.
        offered: ListNumber,
    },
}

impl OfflineRootError {
    /// How the command ends.
    pub(crate) fn exit_class(&self) -> ExitClass {
        match self {
            Self::RootAlone(_)
            | Self::NotAlone(_)
            | Self::RootHere { .. }
            | Self::WhichRole
            | Self::BothAtFirst
            | Self::NotConfirmed
            | Self::RootNotConfirmed
            | Self::NoRootInFiles => ExitClass::Usage,
            Self::NoRoot(_)
            | Self::Awaiting(_)
            | Self::NothingAwaited(_)
            | Self::RootElsewhere { .. }
            | Self::RootNeeded(_)
            | Self::NoSuchAuthority(_) => ExitClass::NotFound,
            Self::OnItsWay { .. }
            | Self::OtherFingerprint { .. }
            | Self::KeyTaken { .. }
            | Self::Revoked { .. }
            | Self::OtherRoot(_)
            | Self::NotAwaited { .. }
            | Self::Missing(_)
            | Self::Deviates { .. }
            | Self::Unfit { .. }
            | Self::BadList { .. }
            | Self::OldList { .. } => ExitClass::Refused,
        }
    }
}
