//! What goes wrong in a command, in words that name the file and what would be right.
//!
//! Every error has an exit class, so that a script can tell "not found" from "refused".

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use certs::{
    Deviation, DeviceId, InvalidBundle, InvalidDeviceId, InvalidExport, InvalidLabel, InvalidList,
    InvalidProfile, InvalidRequest, Refusal, Revoked, Subject, TimeText, TrustDomain, UnfitName,
};
use rustls_pki_types::UnixTime;
use thiserror::Error;

use crate::authority::KeyInTokenError;
use crate::commands::{BackupError, NotDelivered, OfflineRootError, RotationError};
use crate::registry::RegistryError;
use crate::roster::Mistake;

/// How a command ends; the number is the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitClass {
    /// Everything was done.
    Done = 0,
    /// It was tried and failed.
    Failed = 1,
    /// The command line asks for something that makes no sense here.
    Usage = 2,
    /// Some of it was done.
    Partly = 3,
    /// What the command is about does not exist.
    NotFound = 4,
    /// A rule forbids it.
    Refused = 5,
}

impl ExitClass {
    /// The exit code.
    pub fn code(self) -> u8 {
        self as u8
    }
}

/// Why a command was not done.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CommandError {
    /// The directory holds other things.
    #[error(
        "{} is not empty and holds no registry of ours; name an empty or a new directory",
        .0.display()
    )]
    NotOurs(PathBuf),
    /// The directory holds no authority.
    #[error(
        "there is no authority in {0}; make one with: countersign ca init --dir {0}",
        dir.display()
    )]
    NoAuthority {
        /// The directory.
        dir: PathBuf,
    },
    /// The authority of the directory speaks for another trust domain.
    #[error("the authority in {} speaks for trust domain {found}, not {asked}", dir.display())]
    OtherTrustDomain {
        /// The directory.
        dir: PathBuf,
        /// Its trust domain.
        found: TrustDomain,
        /// The trust domain asked for.
        asked: TrustDomain,
    },
    /// A file could not be read, written or renamed.
    #[error("cannot {doing} {}", path.display())]
    File {
        /// What was tried.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A path leads somewhere else.
    #[error("{} is a symbolic link; put the file itself there", .0.display())]
    SymbolicLink(PathBuf),
    /// Others may read a private key, or change what is next to it.
    #[error(
        "others have access to {0} (mode {mode:04o}); run: chmod {right:o} {0}",
        path.display()
    )]
    Exposed {
        /// The file or directory.
        path: PathBuf,
        /// Its mode.
        mode: u32,
        /// The mode it should have.
        right: u32,
    },
    /// A file does not hold what it must.
    #[error("{} is not {expected}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What should be in it.
        expected: &'static str,
    },
    /// More devices than a development directory is for.
    #[error("{asked} devices are more than the {max} that can be made at once")]
    TooManyDevices {
        /// How many were asked for.
        asked: u32,
        /// How many there can be.
        max: u32,
    },
    /// An authority's key and certificate do not belong together.
    #[error("the key in {} is not that of the authority in the registry", .0.display())]
    WrongKey(PathBuf),
    /// A key is encrypted, and nobody said under which passphrase.
    #[error("the key in {} is encrypted; name its passphrase with --passphrase-file", .0.display())]
    Encrypted(PathBuf),
    /// A key is encrypted under another passphrase.
    #[error("the passphrase is not that of the key in {}; nothing was done", .0.display())]
    WrongPassphrase(PathBuf),
    /// There is no passphrase in a file.
    #[error("the first line of {} is empty: no passphrase", .0.display())]
    NoPassphrase(PathBuf),
    /// A key was to sign that nobody has opened.
    #[error("the key of {0} is not open")]
    Locked(Box<str>),
    /// A key that is in a token, or should be, is of no use.
    #[error(transparent)]
    KeyInToken(#[from] KeyInTokenError),
    /// A key could not be encrypted.
    #[error("cannot encrypt a key")]
    Encryption,
    /// What `up` does is for keys that are not encrypted.
    #[error(
        "the keys in {} are encrypted, and `up` is for development; name another directory, or \
         start its broker with: countersign broker run",
        .0.display()
    )]
    NotForDevelopment(PathBuf),
    /// The authorities that are there are not such as are asked for.
    #[error("in {}, {what} {found}, not {asked}", dir.display())]
    OtherAuthorities {
        /// The directory.
        dir: PathBuf,
        /// What differs.
        what: &'static str,
        /// What it is.
        found: String,
        /// What was asked for.
        asked: String,
    },
    /// An authority cannot sign any more.
    #[error("the certificate of the authority {0} is not valid any more")]
    AuthorityExpired(Box<str>),
    /// A certificate signing request yields no key.
    #[error("nothing can be certified from {}", path.display())]
    Request {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: InvalidRequest,
    },
    /// A request shows a key that signs certificates here.
    #[error("the key in {} is an authority's; make a new key for the device", .0.display())]
    AuthorityKey(PathBuf),
    /// Nobody was ever given a certificate under this name.
    #[error("there is no {0} in the registry")]
    NoSuchDevice(Subject),
    /// The device was revoked, and is to stay so until somebody says otherwise.
    #[error(
        "{subject} was revoked {revoked}; if it is to come back with a new key, issue again \
         with --again"
    )]
    Revoked {
        /// The device.
        subject: Subject,
        /// When and why.
        revoked: Revoked,
    },
    /// The device is suspended.
    #[error(
        "{subject} is suspended since {}; let it in with: countersign device resume {subject}",
        TimeText(*since)
    )]
    Suspended {
        /// The device.
        subject: Subject,
        /// Since when.
        since: UnixTime,
    },
    /// There is nothing to renew.
    #[error("{0} has no certificate to renew; issue one with: countersign device issue {0}")]
    NoCertificate(Subject),
    /// Something cannot be said of a device.
    #[error(transparent)]
    Label(#[from] InvalidLabel),
    /// A list of devices has mistakes.
    #[error("{} mistakes in {}; nothing was done", mistakes.len(), path.display())]
    Roster {
        /// The file.
        path: PathBuf,
        /// All of them.
        mistakes: Vec<Mistake>,
    },
    /// A file is larger than any that makes sense.
    #[error("{} is larger than {max} octets", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The most there can be.
        max: usize,
    },
    /// The output of a new batch would take the place of something.
    #[error("{} is there already; name an output that is not", .0.display())]
    OutputExists(PathBuf),
    /// A form has a password, and none was given; or the reverse.
    #[error("a PKCS #12 file has a password, and nothing else has: name it with --password-file")]
    Password,
    /// A form is of no use without a private key.
    #[error("a PKCS #12 file is for a private key that is made here; leave --csr out")]
    KeyElsewhere,
    /// Nothing of a batch was handed out.
    #[error(transparent)]
    NotDelivered(#[from] NotDelivered),
    /// The directory of a device cannot be replaced as a whole.
    #[error("{} {why}", path.display())]
    NotReplaceable {
        /// It, or what is in the way in it.
        path: PathBuf,
        /// What is the matter with that, and what to do.
        why: &'static str,
    },
    /// What a batch has written so far is not there.
    #[error(
        "{} is missing or shorter than what was written to it; its keys are lost, so revoke or \
         renew the devices that the batch has issued",
        .0.display()
    )]
    OutputLost(PathBuf),
    /// There is a batch of this name that is another one.
    #[error(
        "the batch {0} was begun with another list, format or output; take another name, or go \
         on with: countersign batch resume {0}"
    )]
    OtherBatch(DeviceId),
    /// There is no batch of this name.
    #[error("there is no batch {0}")]
    NoSuchBatch(DeviceId),
    /// A token is to be good for no time, or for too long.
    #[error("a token is good for 1 s to {max} days")]
    TokenLifetime {
        /// The most days there can be.
        max: u32,
    },
    /// There is no token of this number.
    #[error("there is no token {0}")]
    NoSuchToken(i64),
    /// Nobody asked under this number.
    #[error("there is no request {0} to enrol")]
    NoSuchEnrolment(i64),
    /// A request was answered with a certificate, so it is too late to deny it.
    #[error("{0} has its certificate; take it away with: countersign device revoke {0}")]
    EnrolmentIssued(DeviceId),
    /// Nobody can listen there.
    #[error("cannot listen at {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// The cause.
        source: io::Error,
    },
    /// TLS cannot be spoken with what there is.
    #[error("cannot speak TLS")]
    Tls(#[source] rustls::Error),
    /// The system gave no thread.
    #[error("the system gives no thread")]
    Thread(#[source] io::Error),
    /// There is no revocation list yet.
    #[error(
        "no revocation list was published; make one with: countersign crl publish --dir {}",
        .0.display()
    )]
    NoList(PathBuf),
    /// A backup was not made or not restored.
    #[error("the backup {} is of no use", path.display())]
    Backup {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: BackupError,
    },
    /// An authority does not come to a stage.
    #[error(transparent)]
    Rotation(#[from] RotationError),
    /// A root that is kept apart and the authorities below it do not come together.
    #[error(transparent)]
    OfflineRoot(#[from] OfflineRootError),
    /// A list is to be out of date before it is made, or to be good for ever.
    #[error("a list or an export is good for 1 to {max} days, not for {asked}")]
    Lifetime {
        /// The days that were asked for.
        asked: u32,
        /// The most there can be.
        max: u32,
    },
    /// A revocation list just made is not good, so it was thrown away.
    #[error("the revocation list just made was thrown away")]
    BadList(#[from] InvalidList),
    /// A registry export cannot be made of what the registry says.
    #[error("the registry cannot be exported")]
    Export(#[from] InvalidExport),
    /// A trust bundle cannot be made.
    #[error("the roots cannot be exported")]
    Bundle(#[from] InvalidBundle),
    /// Cryptography failed, which it does only when the machine is broken.
    #[error("cannot {doing}")]
    Crypto {
        /// What was tried.
        doing: &'static str,
        /// The cause.
        source: rcgen::Error,
    },
    /// The system gave no random octets.
    #[error("the system gives no random octets")]
    NoRandomness,
    /// A profile file is broken.
    #[error(transparent)]
    Profile(#[from] InvalidProfile),
    /// An id is not one.
    #[error(transparent)]
    Id(#[from] InvalidDeviceId),
    /// A name cannot stand in a certificate.
    #[error(transparent)]
    Name(#[from] UnfitName),
    /// A certificate just made is not what its profile says, so it was thrown away.
    #[error("the certificate just made was thrown away")]
    Deviation(#[from] Deviation),
    /// A certificate in the registry cannot be read.
    #[error("a certificate in the registry cannot be read")]
    Recorded(#[from] Refusal),
    /// The registry could not do its part.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

impl CommandError {
    /// How the command ends.
    pub fn exit_class(&self) -> ExitClass {
        match self {
            Self::Rotation(error) => error.exit_class(),
            Self::OfflineRoot(error) => error.exit_class(),
            Self::Registry(error) => error.exit_class(),
            Self::NotDelivered(why) => why.exit_class(),
            Self::NotOurs(_)
            | Self::OtherTrustDomain { .. }
            | Self::OtherAuthorities { .. }
            | Self::Encrypted(_)
            | Self::NoPassphrase(_)
            | Self::Password
            | Self::KeyElsewhere
            | Self::TooManyDevices { .. }
            | Self::Lifetime { .. }
            | Self::TokenLifetime { .. }
            | Self::Label(_)
            | Self::Roster { .. }
            | Self::TooLarge { .. }
            | Self::Id(_)
            | Self::Name(_) => ExitClass::Usage,
            Self::NoAuthority { .. }
            | Self::NoSuchDevice(_)
            | Self::NoSuchBatch(_)
            | Self::NoSuchToken(_)
            | Self::NoSuchEnrolment(_)
            | Self::NoCertificate(_)
            | Self::NoList(_) => ExitClass::NotFound,
            Self::KeyInToken(why) => why.exit_class(),
            Self::File { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                ExitClass::NotFound
            }
            Self::SymbolicLink(_)
            | Self::Exposed { .. }
            | Self::NotForDevelopment(_)
            | Self::AuthorityExpired(_)
            | Self::Request { .. }
            | Self::AuthorityKey(_)
            | Self::Revoked { .. }
            | Self::Suspended { .. }
            | Self::EnrolmentIssued(_)
            | Self::OutputExists(_)
            | Self::NotReplaceable { .. }
            | Self::OtherBatch(_)
            | Self::Backup {
                source: BackupError::OtherAuthority(_) | BackupError::UnknownRevoked { .. },
                ..
            } => ExitClass::Refused,
            Self::File { .. }
            | Self::Backup { .. }
            | Self::Unreadable { .. }
            | Self::OutputLost(_)
            | Self::WrongKey(_)
            | Self::WrongPassphrase(_)
            | Self::Locked(_)
            | Self::Encryption
            | Self::Crypto { .. }
            | Self::NoRandomness
            | Self::Listen { .. }
            | Self::Tls(_)
            | Self::Thread(_)
            | Self::Profile(_)
            | Self::Deviation(_)
            | Self::BadList(_)
            | Self::Export(_)
            | Self::Bundle(_)
            | Self::Recorded(_) => ExitClass::Failed,
        }
    }
}

impl RegistryError {
    fn exit_class(&self) -> ExitClass {
        match self {
            Self::TooManyLabels { .. } => ExitClass::Usage,
            Self::IdTaken { .. } | Self::InBatch { .. } | Self::HoldsCertificate(_) => {
                ExitClass::Refused
            }
            Self::Sqlite { .. }
            | Self::Foreign
            | Self::Newer { .. }
            | Self::Damaged
            | Self::Unreadable(_)
            | Self::NumbersExhausted
            | Self::BrokenChain(_)
            | Self::Forged(_)
            | Self::Unsigned(_)
            | Self::NotSigned(_)
            | Self::Life(_) => ExitClass::Failed,
        }
    }
}
