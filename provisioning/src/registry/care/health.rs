//! Whether the registry is whole as a database, and what of it is coming to its end.

use certs::{Role, Serial};
use rusqlite::params;
use rustls_pki_types::UnixTime;

use crate::registry::inventory::time;
use crate::registry::{Registry, RegistryError};

/// So many complaints of SQLite are listened to.
const COMPLAINTS_MAX: u32 = 10;

/// Current certificates that have expired, and those that will soon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ending {
    pub(crate) expired: u64,
    pub(crate) soon: u64,
}

impl Registry {
    /// What SQLite finds wrong with the file; nothing when it is whole.
    pub(crate) fn complaints(&self) -> Result<Vec<String>, RegistryError> {
        let sql = format!("PRAGMA integrity_check({COMPLAINTS_MAX})");
        let mut found: Vec<String> = self.rows(&sql, [], |row| row.get(0))?;
        found.retain(|it| it != "ok");
        let sql = "SELECT DISTINCT \"table\" FROM pragma_foreign_key_check";
        let orphans: Vec<String> = self.rows(sql, [], |row| row.get(0))?;
        found.extend(
            orphans
                .iter()
                .map(|table| format!("rows of {table} point nowhere")),
        );
        Ok(found)
    }

    /// How many certificates of `role` that count have ended before `now`, or will before `soon`.
    pub(crate) fn ending(
        &self,
        role: Role,
        (now, soon): (UnixTime, UnixTime),
    ) -> Result<Ending, RegistryError> {
        let sql = "SELECT ifnull(sum(not_after < ?2), 0),
                   ifnull(sum(not_after >= ?2 AND not_after < ?3), 0)
                   FROM certificate LEFT JOIN device ON device.id = certificate.device
                   WHERE role = ?1 AND status = 'issued' AND device.removed IS NULL";
        let [now, soon] = [now, soon].map(|it| it.as_secs().cast_signed());
        let keys = params![role.as_str(), now, soon];
        let (expired, soon): (i64, i64) = self
            .connection
            .query_row(sql, keys, |row| row.try_into())
            .map_err(RegistryError::doing("read"))?;
        Ok(Ending {
            expired: expired.cast_unsigned(),
            soon: soon.cast_unsigned(),
        })
    }

    /// When the last of what is on record was done.
    pub(crate) fn last_act(&self) -> Result<UnixTime, RegistryError> {
        let sql = "SELECT ifnull(max(at), 0) FROM audit";
        let last = self.connection.query_row(sql, [], |row| row.get(0));
        time(last.map_err(RegistryError::doing("read"))?)
    }

    /// How many certificates of the issuer with this serial number were revoked.
    pub(crate) fn counted_revoked(&self, issuer: Serial) -> Result<u64, RegistryError> {
        let sql = "SELECT count(*) FROM certificate WHERE issuer = ? AND revoked IS NOT NULL";
        let count = self
            .connection
            .query_row(sql, [issuer.as_octets()], |row| row.get(0));
        count
            .map(i64::cast_unsigned)
            .map_err(RegistryError::doing("read"))
    }
}
