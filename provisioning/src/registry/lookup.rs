//! One certificate, as the registry knows it.

use certs::{DeviceId, RevocationReason, Revoked, Role, Status, Subject};
use rusqlite::{OptionalExtension, Row, params};
use rustls_pki_types::UnixTime;

use super::certificates::kind_of;
use super::inventory::time;
use super::{Registry, RegistryError};

/// A certificate on record.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KnownCertificate {
    /// What it is for.
    pub role: Role,
    /// What its holder is called among the holders of its role.
    pub name: Box<str>,
    /// Where it is in its life.
    pub status: Status,
    /// When it was revoked, and why, if it was.
    pub revoked: Option<Revoked>,
    /// Since when its holder is suspended, if it is.
    pub suspended: Option<UnixTime>,
    /// The certificate itself.
    pub pem: String,
}

const COLUMNS: &str = "SELECT role, name, status, reason, revoked, pem FROM certificate";

impl Registry {
    /// The certificate with the fingerprint `sha256`, if it is on record.
    pub(crate) fn certificate_with(
        &self,
        sha256: &[u8; 32],
    ) -> Result<Option<KnownCertificate>, RegistryError> {
        self.find(&format!("{COLUMNS} WHERE sha256 = ?"), params![sha256])
    }

    /// The certificate that `subject` should use, or else the last that it had.
    pub(crate) fn last_certificate(
        &self,
        subject: &Subject,
    ) -> Result<Option<KnownCertificate>, RegistryError> {
        let sql = format!(
            "{COLUMNS} WHERE device = ? COLLATE BINARY AND role = ?
             ORDER BY status = 'issued' DESC, rowid DESC LIMIT 1"
        );
        let role = Role::from(subject.kind).as_str();
        self.find(&sql, params![subject.id.as_str(), role])
    }

    fn find(
        &self,
        sql: &str,
        keys: &[&dyn rusqlite::ToSql],
    ) -> Result<Option<KnownCertificate>, RegistryError> {
        let found = self.connection.query_row(sql, keys, |row| Ok(read(row)));
        let found = found.optional().map_err(RegistryError::doing("read"))?;
        let Some(mut found) = found.transpose()? else {
            return Ok(None);
        };
        if let Some(kind) = kind_of(found.role) {
            let id = DeviceId::parse(&found.name).map_err(|_| RegistryError::Damaged)?;
            found.suspended = self.suspended_since(&Subject { kind, id })?;
        }
        Ok(Some(found))
    }
}

/// Role, name, status, reason, and when it was revoked.
type Columns = (String, Box<str>, String, Option<u8>, Option<i64>);

fn read(row: &Row<'_>) -> Result<KnownCertificate, RegistryError> {
    let columns: rusqlite::Result<Columns> = row.try_into();
    let (role, name, status, reason, revoked) = columns.map_err(RegistryError::doing("read"))?;
    let reason = reason.and_then(RevocationReason::from_code);
    let revoked = match (revoked, reason) {
        (Some(at), Some(reason)) => Some(Revoked {
            at: time(at)?,
            reason,
        }),
        (None, _) | (_, None) => None,
    };
    Ok(KnownCertificate {
        role: Role::parse(&role).ok_or(RegistryError::Damaged)?,
        name,
        status: Status::from_parts(&status, reason).ok_or(RegistryError::Damaged)?,
        revoked,
        suspended: None,
        pem: row.get(5).map_err(RegistryError::doing("read"))?,
    })
}
