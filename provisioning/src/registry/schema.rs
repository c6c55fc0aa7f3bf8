//! The tables of the registry, and how an older registry becomes a newer one.
//!
//! The version stands in the file (`user_version`); a registry of a later version is left alone.

use rusqlite::{Connection, TransactionBehavior};

use super::RegistryError;

/// Marks the file as ours (`application_id`): "CSGN".
const APPLICATION_ID: i32 = 0x4353_474e;

/// The steps from each version to the next; a registry of version `n` needs those from the `n`th.
const MIGRATIONS: [&str; 1] = [VERSION_1];

const VERSION_1: &str = "
CREATE TABLE setting (
    name  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;

-- Ids are compared without case, for they become names of directories; and one id is either a
-- device's or an application's, for a person who reads it cannot see which.
CREATE TABLE device (
    id      TEXT NOT NULL PRIMARY KEY COLLATE NOCASE,
    kind    TEXT NOT NULL,
    created INTEGER NOT NULL
) STRICT;

CREATE TABLE certificate (
    serial     BLOB NOT NULL PRIMARY KEY,
    role       TEXT NOT NULL,
    name       TEXT NOT NULL,
    device     TEXT REFERENCES device (id),
    status     TEXT NOT NULL,
    reason     INTEGER,
    not_before INTEGER NOT NULL,
    not_after  INTEGER NOT NULL,
    sha256     BLOB NOT NULL UNIQUE,
    pem        TEXT NOT NULL,
    created    INTEGER NOT NULL
) STRICT;

-- One certificate of each holder counts; and no two authorities share a name, for a revocation
-- list is found by it.
CREATE UNIQUE INDEX certificate_current ON certificate (role, name) WHERE status = 'issued';
CREATE INDEX certificate_device ON certificate (device);
";

/// Brings the registry to the version of this program.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), RegistryError> {
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(RegistryError::doing("open"))?;
    let pragma = |name| {
        let value = transaction.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
        value.map_err(RegistryError::doing("read the version of"))
    };
    let (version, application) = (pragma("user_version")?, pragma("application_id")?);
    let newest = i32::try_from(MIGRATIONS.len()).unwrap_or(i32::MAX);
    let done = match usize::try_from(version) {
        Ok(0) if application == 0 => 0,
        Ok(done) if application == APPLICATION_ID => done,
        Ok(_) | Err(_) => return Err(RegistryError::Foreign),
    };
    let Some(missing) = MIGRATIONS.get(done..) else {
        return Err(RegistryError::Newer { version, newest });
    };
    for step in missing {
        transaction
            .execute_batch(step)
            .map_err(RegistryError::doing("migrate"))?;
    }
    for (name, value) in [("application_id", APPLICATION_ID), ("user_version", newest)] {
        transaction
            .pragma_update(None, name, value)
            .map_err(RegistryError::doing("migrate"))?;
    }
    transaction
        .commit()
        .map_err(RegistryError::doing("migrate"))
}
