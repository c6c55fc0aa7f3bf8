//! Certificates on record: which one supersedes which, and which a holder should use.
//!
//! A certificate is committed to disk before anybody can have it: [`Recorded`], the only way to a
//! PEM, is made here after the commit. A serial number stands here once, and each holder has one
//! certificate that is not superseded or revoked.

use std::borrow::Cow;

use certs::{Certificate, Kind, RevocationReason, Role, Serial, Status};
use rusqlite::{Connection, OptionalExtension, Params, Row, Transaction, params};
use rustls_pki_types::UnixTime;

use super::audit::{self, Event};
use super::{Again, Registry, RegistryError, devices};
use crate::authority::{Signed, read_pem};

/// A certificate that was recorded, and may be handed out.
pub(crate) struct Recorded {
    role: Role,
    name: Box<str>,
    certificate: Certificate,
    pem: String,
}

impl Registry {
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

    /// As [`Self::record`], of one.
    pub(crate) fn record_one(
        &mut self,
        signed: Signed,
        now: UnixTime,
    ) -> Result<Recorded, RegistryError> {
        self.transact(|transaction| follow(transaction, &signed, now))?;
        Ok(Recorded::after_commit(signed))
    }

    /// The certificate of the holder `name` that counts, if there is one.
    pub(crate) fn current(
        &self,
        role: Role,
        name: &str,
    ) -> Result<Option<Recorded>, RegistryError> {
        current(&self.connection, role, name)
    }
}

impl Recorded {
    /// What stands in the registry.
    pub(super) fn read(role: Role, name: Box<str>, pem: String) -> Result<Self, RegistryError> {
        let certificate = read_pem(&pem).map_err(RegistryError::Unreadable)?;
        Ok(Self {
            role,
            name,
            certificate,
            pem,
        })
    }

    /// What was committed just now.
    pub(super) fn after_commit(signed: Signed) -> Self {
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

/// The certificate of the holder `name` that counts, if there is one.
pub(super) fn current(
    connection: &Connection,
    role: Role,
    name: &str,
) -> Result<Option<Recorded>, RegistryError> {
    let sql = "SELECT name, pem FROM certificate
               WHERE role = ? AND name = ? AND status = 'issued'";
    find(connection, role, (sql, [role.as_str(), name]))
}

/// The certificate of `role` whose columns `name, pem` a query yields, if it yields any.
pub(super) fn find(
    connection: &Connection,
    role: Role,
    (sql, keys): (&str, impl Params),
) -> Result<Option<Recorded>, RegistryError> {
    let read = |row: &Row<'_>| row.try_into();
    let found: Option<(Box<str>, String)> = connection
        .query_row_again(sql, keys, read)
        .optional()
        .map_err(RegistryError::doing("read"))?;
    let open = |(name, pem)| Recorded::read(role, name, pem);
    found.map(open).transpose()
}

/// Records the certificate in the place of the one that its holder had.
pub(super) fn follow(
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
    let name = audit_name(signed.role, &signed.name);
    audit::note(transaction, (event, &name, &words), now)
}

/// What a holder is called among all holders, in the audit chain.
pub(super) fn audit_name(role: Role, name: &str) -> Cow<'_, str> {
    match kind_of(role) {
        Some(Kind::App) => Cow::Owned(format!("app/{name}")),
        Some(Kind::Device) | None => Cow::Borrowed(name),
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
    let old: Option<Vec<u8>> = transaction
        .query_row_again(sql, keys, |row| row.get(0))
        .optional()
        .map_err(RegistryError::doing("write"))?;
    let old = old.map(|octets| Serial::from_octets(&octets));
    old.transpose().map_err(RegistryError::Unreadable)
}

pub(super) fn insert(
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
    let inserted = transaction.execute_again(sql, values);
    inserted.map(drop).map_err(RegistryError::doing("write"))
}

/// What the holders of a role are, unless they are authorities or brokers.
pub(super) fn kind_of(role: Role) -> Option<Kind> {
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
    use crate::error::CommandError;
    use crate::layout::Layout;
    use crate::testing::{certificate, day, issue, up};

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
            .query_map([], |row| row.try_into())
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
}
