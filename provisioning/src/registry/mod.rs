//! The registry: every certificate ever signed here, and whose it is.
//!
//! What belongs together is on disk together or not at all, and nobody is told before it is. An id
//! belongs to one device.

mod audit;
mod authorities;
mod batches;
mod care;
mod certificates;
mod certified;
mod devices;
mod enrolment;
mod inventory;
mod known;
mod lookup;
mod publications;
mod revocations;
mod rows;
mod schema;
mod suspensions;

use std::path::Path;
use std::time::Duration;

use certs::{IllegalTransition, InvalidLabel, Refusal, TrustDomain};
use rusqlite::{Connection, OptionalExtension, Params, Transaction, TransactionBehavior};
use thiserror::Error;

use crate::error::CommandError;
use crate::files;
use crate::layout::Layout;

pub use self::audit::{AuditEntry, ChainEnd, Event};
pub use self::authorities::AuthorityStage;
pub(crate) use self::authorities::{Advance, CrossCertificate, RecordedAuthority};
pub(crate) use self::batches::{Batch, Deliverable, Row, RowState};
pub use self::batches::{BatchFormat, BatchStanding};
pub(crate) use self::care::{Ending, Merged, Signer};
pub(crate) use self::certificates::Recorded;
pub(crate) use self::certified::CertifiedAuthority;
pub use self::devices::{LabelChange, Labels};
pub(crate) use self::enrolment::{Answer, Asked, NotEnrolled, Proof};
pub use self::enrolment::{EnrolmentState, PendingEnrolment, Token, TokenState};
pub use self::inventory::{CurrentCertificate, Device, DeviceCertificate, DeviceState};
pub use self::lookup::KnownCertificate;
pub(crate) use self::publications::Publication;
pub(crate) use self::rows::CertificateRow;

/// So many prepared statements are kept: more than there are in one command.
const STATEMENTS_MAX: usize = 64;
/// How long a command waits while another one writes.
const BUSY_TIME_MAX: Duration = Duration::from_secs(30);

/// The registry of one directory.
pub(crate) struct Registry {
    connection: Connection,
    /// What signs where the audit chain stands, once its key is open.
    signer: Option<Signer>,
}

impl Registry {
    /// Opens the registry of a directory that has one, without the keys of its authorities.
    pub(crate) fn open_in(layout: &Layout) -> Result<Self, CommandError> {
        let path = layout.registry();
        if !files::exists(&path)? {
            let dir = layout.dir().into();
            return Err(CommandError::NoAuthority { dir });
        }
        files::refuse_open_dir(&layout.ca_dir())?;
        Self::open(&path)
    }

    /// Opens the registry in the file `path`, and makes one where there is none.
    pub(crate) fn open(path: &Path) -> Result<Self, CommandError> {
        files::ensure_file(path)?;
        let mut connection = connect(path).map_err(RegistryError::doing("open"))?;
        schema::migrate(&mut connection)?;
        Ok(Self {
            connection,
            signer: None,
        })
    }

    /// The trust domain for which the authorities here speak; `None` before there are any.
    pub(crate) fn trust_domain(&self) -> Result<Option<TrustDomain>, RegistryError> {
        let text: Option<String> = self
            .connection
            .query_row(
                "SELECT value FROM setting WHERE name = 'trust_domain'",
                [],
                |r| r.get(0),
            )
            .optional()
            .map_err(RegistryError::doing("read"))?;
        let parse = |text: String| TrustDomain::parse(&text).map_err(|_| RegistryError::Damaged);
        text.map(parse).transpose()
    }

    /// All of `work`, durably, or none of it.
    fn transact<T>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(RegistryError::doing("write"))?;
        let result = work(&transaction)?;
        if let Some(signer) = &self.signer {
            care::vouch(&transaction, signer)?;
        }
        transaction
            .commit()
            .map_err(RegistryError::doing("write"))?;
        Ok(result)
    }
}

/// Why the registry did not do its part.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// SQLite failed.
    #[error("cannot {doing} the registry")]
    Sqlite {
        /// What was tried.
        doing: &'static str,
        /// The cause.
        source: rusqlite::Error,
    },
    /// The file is a database of something else.
    #[error("the registry is a database of another program")]
    Foreign,
    /// A later program wrote the file.
    #[error(
        "the registry has version {version}, this program reads up to {newest}; use a later one"
    )]
    Newer {
        /// Its version.
        version: i32,
        /// The newest version that is understood.
        newest: i32,
    },
    /// The registry says what it never should.
    #[error("the registry is damaged")]
    Damaged,
    /// A certificate in the registry cannot be read.
    #[error("a certificate in the registry cannot be read")]
    Unreadable(#[source] Refusal),
    /// The id, perhaps in other letters, is somebody else's.
    #[error(
        "the id {asked} is taken by {holder}; ids differ by more than case, and no device has that \
         of an application"
    )]
    IdTaken {
        /// The id asked for.
        asked: Box<str>,
        /// Whose it is.
        holder: Box<str>,
    },
    /// More is said of a device than a device can have.
    #[error("of {device} too much would be said")]
    TooManyLabels {
        /// Its id.
        device: Box<str>,
        /// What is too much.
        source: InvalidLabel,
    },
    /// The device is waiting for its certificate in a batch.
    #[error("{device} is waiting in the batch {batch}; finish it first")]
    InBatch {
        /// Its id.
        device: Box<str>,
        /// The batch.
        batch: Box<str>,
    },
    /// The device holds a certificate that counts.
    #[error("{0} holds a certificate that counts; revoke it first, or wait until it has expired")]
    HoldsCertificate(Box<str>),
    /// All numbers for lists or exports were given away, or somebody signed one with the last.
    #[error("there is no higher number left for a revocation list or registry export")]
    NumbersExhausted,
    /// The audit chain is not what was written.
    #[error("the audit chain is broken at entry {0}: it was changed, or one before it is gone")]
    BrokenChain(u64),
    /// The audit chain was written anew by somebody without the key of the device CA, or of the
    /// root where that is alone.
    #[error(
        "the signature over the audit chain up to entry {0} is not one of the device CA: the chain \
         was written anew, or the signature was changed"
    )]
    Forged(u64),
    /// Signatures over the audit chain are missing.
    #[error(
        "the key of the device CA was open at entry {0} of the audit chain, and nothing signed it: \
         signatures were taken away, or the chain was written anew"
    )]
    Unsigned(u64),
    /// The key of an authority signs nothing.
    #[error("the audit chain cannot be signed")]
    NotSigned(#[source] rcgen::Error),
    /// The certificate that a new one would follow cannot be followed.
    #[error(transparent)]
    Life(#[from] IllegalTransition),
}

impl RegistryError {
    fn doing(doing: &'static str) -> impl FnOnce(rusqlite::Error) -> Self {
        move |source| Self::Sqlite { doing, source }
    }
}

/// What is asked again for every device. To prepare a statement costs more than to carry it out: a
/// connection does it once.
trait Again {
    fn execute_again(&self, sql: &str, values: impl Params) -> rusqlite::Result<usize>;

    fn query_row_again<T>(
        &self,
        sql: &str,
        keys: impl Params,
        read: impl FnOnce(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T>;
}

impl Again for Connection {
    fn execute_again(&self, sql: &str, values: impl Params) -> rusqlite::Result<usize> {
        self.prepare_cached(sql)?.execute(values)
    }

    fn query_row_again<T>(
        &self,
        sql: &str,
        keys: impl Params,
        read: impl FnOnce(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        self.prepare_cached(sql)?.query_row(keys, read)
    }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_TIME_MAX)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // In WAL mode anything less may forget a commit at a power cut.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use certs::{Kind, RevocationReason, Revoked, Role, Subject};

    use super::*;
    use crate::testing::{day, issue, mode, up};

    /// How many steps SQLite takes for `work`.
    fn steps<T>(
        registry: &mut Registry,
        work: impl FnOnce(&mut Registry) -> Result<T, RegistryError>,
    ) -> u64 {
        let count = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&count);
        let count_one = move || {
            counted.fetch_add(1, Ordering::Relaxed);
            false
        };
        let watched = registry.connection.progress_handler(1, Some(count_one));
        watched.unwrap();
        work(registry).unwrap();
        let ended = registry
            .connection
            .progress_handler(1, None::<fn() -> bool>);
        ended.unwrap();
        count.load(Ordering::Relaxed)
    }

    /// What each of the operations costs that are done of one device, among so many.
    fn costs(devices: u32) -> [(&'static str, u64); 11] {
        let temp = tempfile::tempdir().unwrap();
        up(temp.path(), devices, day(0)).unwrap();
        let mut registry = Registry::open_in(&Layout::new(temp.path())).unwrap();
        let registry = &mut registry;
        let one = Subject::parse("dev-2").unwrap();
        let other = Subject {
            kind: Kind::Device,
            id: certs::DeviceId::parse("other").unwrap(),
        };
        let revoked = Revoked {
            at: day(1),
            reason: RevocationReason::KeyCompromise,
        };
        let authorities = registry.authorities().unwrap();
        let device_ca = authorities.iter().find(|it| it.id.role == Role::DeviceCa);
        let issuer = device_ca.unwrap().recorded.certificate().serial;
        [
            ("authorities", steps(registry, |it| it.authorities())),
            ("stages", steps(registry, |it| it.stages())),
            (
                "current",
                steps(registry, |it| it.current(Role::Device, "dev-2")),
            ),
            ("serial", steps(registry, |it| it.current_serial(&one))),
            ("last", steps(registry, |it| it.last_certificate(&one))),
            ("show", steps(registry, |it| it.devices(Some(&one), day(0)))),
            (
                "add",
                steps(registry, |it| {
                    it.add_device(&other, &Labels::default(), day(1))
                }),
            ),
            (
                "suspend",
                steps(registry, |it| it.suspend_device(&one, day(1))),
            ),
            (
                "list",
                steps(registry, |it| it.revoked_certificates(issuer, day(0))),
            ),
            (
                "resume",
                steps(registry, |it| it.resume_device(&one, day(1))),
            ),
            (
                "revoke",
                steps(registry, |it| it.revoke_device(&one, revoked)),
            ),
        ]
    }

    #[test]
    fn what_is_done_of_one_device_costs_the_same_among_many() {
        for ((what, among_few), (_, among_many)) in costs(3).into_iter().zip(costs(150)) {
            assert!(among_few > 10, "{what}: {among_few} steps");
            assert!(
                among_many < among_few + 50,
                "{what}: {among_few} steps among few devices, {among_many} among many"
            );
        }
    }

    #[test]
    fn the_registry_and_its_log_are_private() {
        let temp = tempfile::tempdir().unwrap();
        let layout = Layout::new(temp.path());
        up(temp.path(), 0, day(0)).unwrap();
        let open = Registry::open(&layout.registry()).unwrap();
        assert_eq!(open.authorities().unwrap().len(), 3);
        for name in [
            "registry.sqlite",
            "registry.sqlite-wal",
            "registry.sqlite-shm",
        ] {
            assert_eq!(mode(&layout.ca_dir().join(name)), 0o600, "{name}");
        }
    }

    #[test]
    fn a_registry_of_another_program_or_a_later_one_is_left_alone() {
        for (pragma, expected) in [
            ("user_version = 99", "the registry has version 99"),
            ("application_id = 7", "a database of another program"),
        ] {
            let temp = tempfile::tempdir().unwrap();
            up(temp.path(), 0, day(0)).unwrap();
            let connection = Connection::open(Layout::new(temp.path()).registry()).unwrap();
            let set = format!("PRAGMA {pragma}");
            connection.execute_batch(&set).unwrap();
            let refused = issue(temp.path(), "dev-1", None).unwrap_err();
            assert!(refused.to_string().contains(expected), "{refused}");
        }
    }
}
