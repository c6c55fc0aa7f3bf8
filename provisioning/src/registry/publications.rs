//! What was signed under a number that only rises.
//!
//! A number is committed before what it stands on is written anywhere, so none is used twice; one
//! that was committed and never seen again does no harm.

use certs::Serial;
use rusqlite::params;
use rustls_pki_types::UnixTime;

use super::audit::{self, Event};
use super::{Registry, RegistryError};

/// What has a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Publication {
    /// A revocation list.
    RevocationList,
    /// A registry export.
    RegistryExport,
    /// The roots to trust.
    TrustBundle,
}

impl Publication {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::RevocationList => "revocation-list",
            Self::RegistryExport => "registry-export",
            Self::TrustBundle => "trust-bundle",
        }
    }
}

impl Registry {
    /// Takes the next number of `kind` for the issuer whose certificate has the serial number
    /// `issuer`: higher than any taken before, and higher than `seen`, which somebody may have
    /// from a time that this registry, restored from a backup, does not remember.
    pub(crate) fn take_number(
        &mut self,
        kind: Publication,
        issuer: Serial,
        times: (u64, UnixTime, UnixTime),
    ) -> Result<u64, RegistryError> {
        let (seen, created, next_update) = times;
        self.transact(|transaction| {
            let sql =
                "SELECT ifnull(max(number), 0) FROM publication WHERE kind = ? AND issuer = ?";
            let keys = params![kind.as_str(), issuer.as_octets()];
            let last: i64 = transaction
                .query_row(sql, keys, |row| row.get(0))
                .map_err(RegistryError::doing("read"))?;
            let last = u64::try_from(last).map_err(|_| RegistryError::Damaged)?;
            let number = last.max(seen).checked_add(1);
            let number = number.and_then(|number| i64::try_from(number).ok());
            let number = number.ok_or(RegistryError::NumbersExhausted)?;
            let sql = "INSERT INTO publication (kind, issuer, number, created, next_update)
                       VALUES (?, ?, ?, ?, ?)";
            let values = params![
                kind.as_str(),
                issuer.as_octets(),
                number,
                created.as_secs().cast_signed(),
                next_update.as_secs().cast_signed(),
            ];
            transaction
                .execute(sql, values)
                .map_err(RegistryError::doing("write"))?;
            audit::note(
                transaction,
                (Event::Published, kind.as_str(), &format!("number {number}")),
                created,
            )?;
            Ok(number.cast_unsigned())
        })
    }

    /// The last number of `kind` that was taken for any issuer; 0 when there was none.
    pub(crate) fn highest_number(&self, kind: Publication) -> Result<u64, RegistryError> {
        let sql = "SELECT ifnull(max(number), 0) FROM publication WHERE kind = ?";
        let last: i64 = self
            .connection
            .query_row(sql, [kind.as_str()], |row| row.get(0))
            .map_err(RegistryError::doing("read"))?;
        u64::try_from(last).map_err(|_| RegistryError::Damaged)
    }

    /// The last number of `kind` that was taken for this issuer; 0 when there was none.
    pub(crate) fn last_number(
        &self,
        kind: Publication,
        issuer: Serial,
    ) -> Result<u64, RegistryError> {
        let sql = "SELECT ifnull(max(number), 0) FROM publication WHERE kind = ? AND issuer = ?";
        let keys = params![kind.as_str(), issuer.as_octets()];
        let last: i64 = self
            .connection
            .query_row(sql, keys, |row| row.get(0))
            .map_err(RegistryError::doing("read"))?;
        u64::try_from(last).map_err(|_| RegistryError::Damaged)
    }
}
