//! The rows of the registry as they stand, for whoever checks them: nothing is taken for granted.

use certs::Role;
use rusqlite::Row;

use super::{Registry, RegistryError};
use crate::error::CommandError;

/// What the registry says of a certificate.
pub(crate) struct CertificateRow {
    pub(crate) role: Role,
    pub(crate) name: Box<str>,
    pub(crate) pem: String,
    pub(crate) serial: Vec<u8>,
    pub(crate) sha256: Vec<u8>,
    /// Its first and its last second.
    pub(crate) validity: (i64, i64),
    /// The serial number of its issuer's certificate.
    pub(crate) issuer: Option<Vec<u8>>,
}

impl Registry {
    /// Shows every certificate, authorities first.
    pub(crate) fn each_certificate(
        &self,
        mut each: impl FnMut(CertificateRow) -> Result<(), CommandError>,
    ) -> Result<(), CommandError> {
        let sql = "SELECT role, name, pem, serial, sha256, not_before, not_after, issuer
                   FROM certificate ORDER BY rowid";
        let mut statement = self
            .connection
            .prepare(sql)
            .map_err(RegistryError::doing("read"))?;
        let mut rows = statement.query([]).map_err(RegistryError::doing("read"))?;
        while let Some(row) = rows.next().map_err(RegistryError::doing("read"))? {
            let row = read(row).map_err(RegistryError::doing("read"))?;
            each(row.ok_or(RegistryError::Damaged)?)?;
        }
        Ok(())
    }

    /// How many certificates there are, and of how many the audit chain tells, with those that were
    /// there before it.
    pub(crate) fn counted_certificates(&self) -> Result<(u64, u64), RegistryError> {
        let sql = "SELECT (SELECT count(*) FROM certificate),
                   (SELECT count(*) FROM audit WHERE event IN ('authority', 'issued', 'renewed')),
                   (SELECT words FROM audit WHERE number = 1 AND event = 'begun')";
        let (there, told, begun): (i64, i64, Option<String>) = self
            .connection
            .query_row(sql, [], |row| row.try_into())
            .map_err(RegistryError::doing("read"))?;
        let before = begun.as_deref().and_then(|words| words.split(' ').nth(1));
        let before: u64 = before.map_or(Ok(0), str::parse).unwrap_or(0);
        let told = told.cast_unsigned().saturating_add(before);
        Ok((there.cast_unsigned(), told))
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<Option<CertificateRow>> {
    let role: String = row.get(0)?;
    let Some(role) = Role::parse(&role) else {
        return Ok(None);
    };
    Ok(Some(CertificateRow {
        role,
        name: row.get(1)?,
        pem: row.get(2)?,
        serial: row.get(3)?,
        sha256: row.get(4)?,
        validity: (row.get(5)?, row.get(6)?),
        issuer: row.get(7)?,
    }))
}
