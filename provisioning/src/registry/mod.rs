//! The registry: every certificate ever signed here, and whose it is.
//!
//! A certificate is committed to disk before anybody can have it: [`Recorded`], the only way to a
//! PEM, is made here after the commit. A serial number stands here once, an id belongs to one
//! device, and each holder has one certificate that is not superseded or revoked.

mod audit;
mod batches;
mod care;
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

use std::borrow::Cow;
use std::path::Path;
use std::time::Duration;

use certs::{
    Certificate, IllegalTransition, InvalidLabel, Kind, Refusal, RevocationReason, Role, Serial,
    Status, TrustDomain,
};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use rustls_pki_types::UnixTime;
use thiserror::Error;

use self::audit::Happened;
use crate::authority::{Signed, read_pem};
use crate::error::CommandError;
use crate::files;
use crate::layout::Layout;

pub use self::audit::{AuditEntry, ChainEnd, Event};
pub(crate) use self::batches::{Batch, Row, RowState};
pub use self::batches::{BatchFormat, BatchStanding};
pub(crate) use self::care::{Ending, Merged};
pub use self::devices::{LabelChange, Labels};
pub(crate) use self::enrolment::{Answer, Asked, NotEnrolled, Proof};
pub use self::enrolment::{EnrolmentState, PendingEnrolment, Token, TokenState};
pub use self::inventory::{CurrentCertificate, Device, DeviceCertificate, DeviceState};
pub use self::lookup::KnownCertificate;
pub(crate) use self::publications::Publication;
pub(crate) use self::rows::CertificateRow;

/// How long a command waits while another one writes.
const BUSY_TIME_MAX: Duration = Duration::from_secs(30);

/// The registry of one directory.
pub(crate) struct Registry {
    connection: Connection,
}

/// A certificate that was recorded, and may be handed out.
pub(crate) struct Recorded {
    role: Role,
    name: Box<str>,
    certificate: Certificate,
    pem: String,
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
        Ok(Self { connection })
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

    /// Records the authorities of `trust_domain`.
    pub(crate) fn record_authorities(
        &mut self,
        trust_domain: &TrustDomain,
        signed: &[Signed],
        now: UnixTime,
    ) -> Result<(), RegistryError> {
        self.transact(|transaction| {
            let sql = "INSERT INTO setting (name, value) VALUES ('trust_domain', ?)
                       ON CONFLICT (name) DO UPDATE SET value = excluded.value";
            let set = transaction.execute(sql, [trust_domain.as_str()]);
            set.map_err(RegistryError::doing("write"))?;
            signed.iter().try_for_each(|signed| {
                insert(transaction, signed, now)?;
                let words = format!("certificate {}", signed.certificate.serial);
                let happened = Happened {
                    event: Event::Authority,
                    subject: &signed.name,
                    words: &words,
                };
                audit::append(transaction, &happened, now)
            })
        })
    }

    /// Records certificates, all or none; each supersedes the one its holder had.
    pub(crate) fn record(
        &mut self,
        signed: Vec<Signed>,
        now: UnixTime,
    ) -> Result<Vec<Recorded>, RegistryError> {
        self.transact(|transaction| {
            signed
                .iter()
                .try_for_each(|signed| follow(transaction, signed, now))
        })?;
        Ok(signed.into_iter().map(Recorded::after_commit).collect())
    }

    /// The certificate of the holder `name` that counts, if there is one.
    pub(crate) fn current(
        &self,
        role: Role,
        name: &str,
    ) -> Result<Option<Recorded>, RegistryError> {
        let sql =
            "SELECT pem, name FROM certificate WHERE role = ? AND name = ? AND status = 'issued'";
        self.read_one(role, sql, &[role.as_str(), name])
    }

    /// The youngest certificate of `role` that counts, if there is one.
    pub(crate) fn newest(&self, role: Role) -> Result<Option<Recorded>, RegistryError> {
        let sql = "SELECT pem, name FROM certificate WHERE role = ? AND status = 'issued'
                   ORDER BY rowid DESC LIMIT 1";
        self.read_one(role, sql, &[role.as_str()])
    }

    fn read_one(
        &self,
        role: Role,
        sql: &str,
        keys: &[&str],
    ) -> Result<Option<Recorded>, RegistryError> {
        let found: Option<(String, Box<str>)> = self
            .connection
            .query_row(sql, rusqlite::params_from_iter(keys), |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()
            .map_err(RegistryError::doing("read"))?;
        let open = |(pem, name): (String, Box<str>)| {
            let certificate = read_pem(&pem).map_err(RegistryError::Unreadable)?;
            Ok(Recorded {
                role,
                name,
                certificate,
                pem,
            })
        };
        found.map(open).transpose()
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
        transaction
            .commit()
            .map_err(RegistryError::doing("write"))?;
        Ok(result)
    }
}

impl Recorded {
    /// What was committed just now.
    fn after_commit(signed: Signed) -> Self {
        Self {
            role: signed.role,
            name: signed.name,
            certificate: signed.certificate,
            pem: signed.pem,
        }
    }

    pub(crate) fn role(&self) -> Role {
        self.role
    }

    /// What its holder is called among the holders of its role.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }

    pub(crate) fn into_parts(self) -> (Certificate, String) {
        (self.certificate, self.pem)
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
    /// The certificate that a new one would follow cannot be followed.
    #[error(transparent)]
    Life(#[from] IllegalTransition),
}

impl RegistryError {
    fn doing(doing: &'static str) -> impl FnOnce(rusqlite::Error) -> Self {
        move |source| Self::Sqlite { doing, source }
    }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_TIME_MAX)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // In WAL mode anything less may forget a commit at a power cut.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    Ok(connection)
}

/// Records the certificate in the place of the one that its holder had.
fn follow(
    transaction: &Transaction<'_>,
    signed: &Signed,
    now: UnixTime,
) -> Result<(), RegistryError> {
    if let Some(kind) = kind_of(signed.role) {
        devices::claim(transaction, (kind, &signed.name), now)?;
    }
    let superseded = supersede(transaction, signed)?;
    insert(transaction, signed, now)?;
    let serial = signed.certificate.serial;
    let (event, words) = match superseded {
        None => (Event::Issued, format!("certificate {serial}")),
        Some(old) => (
            Event::Renewed,
            format!("certificate {serial} supersedes {old}"),
        ),
    };
    let happened = Happened {
        event,
        subject: &audit_name(signed),
        words: &words,
    };
    audit::append(transaction, &happened, now)
}

/// What a holder is called among all holders.
fn audit_name(signed: &Signed) -> Cow<'_, str> {
    match kind_of(signed.role) {
        Some(Kind::App) => Cow::Owned(format!("app/{}", signed.name)),
        Some(Kind::Device) | None => Cow::Borrowed(&signed.name),
    }
}

/// The serial number of the certificate that the holder had, if there was one.
fn supersede(
    transaction: &Transaction<'_>,
    signed: &Signed,
) -> Result<Option<Serial>, RegistryError> {
    let superseded = Status::Issued.advance(Status::Superseded)?.name();
    // The word itself, not a parameter: only so does SQLite use the index of current certificates.
    let sql = "UPDATE certificate SET status = ?
               WHERE role = ? AND name = ? AND status = 'issued' RETURNING serial";
    let keys = [superseded, signed.role.as_str(), &signed.name];
    let mut update = transaction
        .prepare(sql)
        .map_err(RegistryError::doing("write"))?;
    let old: Option<Vec<u8>> = update
        .query_row(keys, |row| row.get(0))
        .optional()
        .map_err(RegistryError::doing("write"))?;
    let old = old.map(|octets| Serial::from_octets(&octets));
    old.transpose().map_err(RegistryError::Unreadable)
}

fn insert(
    transaction: &Transaction<'_>,
    signed: &Signed,
    now: UnixTime,
) -> Result<(), RegistryError> {
    let certificate = &signed.certificate;
    let values = params![
        certificate.serial.as_octets(),
        signed.role.as_str(),
        signed.name,
        kind_of(signed.role).map(|_| &signed.name),
        Status::Issued.name(),
        Status::Issued.reason().map(RevocationReason::code),
        certificate.not_before.as_secs().cast_signed(),
        certificate.not_after.as_secs().cast_signed(),
        certificate.sha256,
        signed.pem,
        now.as_secs().cast_signed(),
        signed.issuer.as_octets(),
    ];
    let sql = "INSERT INTO certificate
               (serial, role, name, device, status, reason, not_before, not_after, sha256, pem,
                created, issuer)
               VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    let inserted = transaction.execute(sql, values);
    inserted.map(drop).map_err(RegistryError::doing("write"))
}

fn kind_of(role: Role) -> Option<Kind> {
    match role {
        Role::Device => Some(Kind::Device),
        Role::App => Some(Kind::App),
        Role::Root | Role::DeviceCa | Role::ServerCa | Role::Broker => None,
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::testing::{certificate, day, issue, mode, up};

    fn connection(temp: &TempDir) -> Connection {
        Connection::open(Layout::new(temp.path()).registry()).unwrap()
    }

    #[test]
    fn the_words_in_the_queries_are_those_of_the_life() {
        assert_eq!(Status::Issued.name(), "issued");
        assert_eq!(Status::Superseded.name(), "superseded");
    }

    #[test]
    fn every_certificate_is_on_record_with_its_life() {
        let temp = tempfile::tempdir().unwrap();
        let prepared = up(temp.path(), 1, day(0)).unwrap();
        let first = certificate(&prepared.devices[0].files.cert);
        let second = issue(temp.path(), "dev-1", None).unwrap();
        let lives: Vec<(String, String, String)> = connection(&temp)
            .prepare("SELECT role, name, status FROM certificate ORDER BY rowid")
            .unwrap()
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        let lives: Vec<_> = lives.iter().map(|(r, n, s)| (&**r, &**n, &**s)).collect();
        assert_eq!(
            lives,
            [
                ("root", "Countersign DEV ONLY root 1", "issued"),
                ("device-ca", "Countersign DEV ONLY device CA 1", "issued"),
                ("server-ca", "Countersign DEV ONLY server CA 1", "issued"),
                ("broker", "broker", "issued"),
                ("app", "app-1", "issued"),
                ("device", "dev-1", "superseded"),
                ("device", "dev-1", "issued"),
            ]
        );
        let serials: Vec<Vec<u8>> = connection(&temp)
            .prepare("SELECT serial FROM certificate WHERE device = 'dev-1' ORDER BY rowid")
            .unwrap()
            .query_map([], |row| row.get(0))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        assert_eq!(
            serials,
            [first.serial.as_octets(), second.serial.as_octets()]
        );
    }

    /// Invariant 10: a certificate is recorded before it is handed out.
    #[test]
    fn nothing_is_handed_out_that_was_not_recorded() {
        let temp = tempfile::tempdir().unwrap();
        up(temp.path(), 0, day(0)).unwrap();
        let full = "CREATE TRIGGER full BEFORE INSERT ON certificate
                    BEGIN SELECT RAISE(ABORT, 'no room'); END";
        connection(&temp).execute_batch(full).unwrap();
        let failed = issue(temp.path(), "dev-1", None).unwrap_err();
        assert!(matches!(failed, CommandError::Registry(_)), "{failed}");
        assert!(!temp.path().join("devices").exists());
    }

    #[test]
    fn a_serial_number_is_recorded_once() {
        let temp = tempfile::tempdir().unwrap();
        let prepared = up(temp.path(), 1, day(0)).unwrap();
        let recorded = certificate(&prepared.devices[0].files.cert);
        let again = || Signed {
            role: Role::Device,
            name: "dev-2".into(),
            certificate: recorded.clone(),
            issuer: recorded.serial,
            pem: String::new(),
        };
        let mut registry = Registry::open(&prepared.layout.registry()).unwrap();
        assert!(registry.record(vec![again()], day(0)).is_err());
        assert!(registry.current(Role::Device, "dev-2").unwrap().is_none());
        assert!(registry.current(Role::Device, "dev-1").unwrap().is_some());
    }

    #[test]
    fn the_registry_and_its_log_are_private() {
        let temp = tempfile::tempdir().unwrap();
        let layout = Layout::new(temp.path());
        up(temp.path(), 0, day(0)).unwrap();
        let open = Registry::open(&layout.registry()).unwrap();
        assert_eq!(open.newest(Role::Root).unwrap().unwrap().role(), Role::Root);
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
            connection(&temp)
                .execute_batch(&format!("PRAGMA {pragma}"))
                .unwrap();
            let refused = issue(temp.path(), "dev-1", None).unwrap_err();
            assert!(refused.to_string().contains(expected), "{refused}");
        }
    }
}
