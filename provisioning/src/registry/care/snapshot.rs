//! The registry as one file at one moment, and whether one registry is the past of another.

use std::path::Path;

use certs::Hex;
use rusqlite::{OptionalExtension, params};

use crate::registry::{Registry, RegistryError};

impl Registry {
    /// Writes all of it, as it is now, to the empty file `path`; others may go on meanwhile.
    pub(crate) fn snapshot(&self, path: &Path) -> Result<(), RegistryError> {
        let path = path.to_str().ok_or(RegistryError::Damaged)?;
        let copied = self.connection.execute("VACUUM INTO ?", [path]);
        copied.map(drop).map_err(RegistryError::doing("copy"))
    }

    /// Whether the audit chain with so many entries and this last hash is the beginning of this
    /// one, or all of it: then all that was done there was done here too.
    pub(crate) fn has_in_its_past(
        &self,
        (entries, hash): (u64, &str),
    ) -> Result<bool, RegistryError> {
        let number = params![entries.cast_signed()];
        let sql = "SELECT hash FROM audit WHERE number = ?";
        let found: Option<[u8; 32]> = self
            .connection
            .query_row(sql, number, |row| row.get(0))
            .optional()
            .map_err(RegistryError::doing("read"))?;
        Ok(found.is_some_and(|found| Hex(&found).to_string() == hash))
    }

    /// Closes it, with all that was written in the one file.
    pub(crate) fn close(self) -> Result<(), RegistryError> {
        let closed = self.connection.close();
        closed.map_err(|(_, source)| RegistryError::Sqlite {
            doing: "close",
            source,
        })
    }
}
