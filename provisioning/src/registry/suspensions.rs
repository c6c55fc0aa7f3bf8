//! Who is suspended: devices whose certificates do not count until somebody says otherwise.
//!
//! Unlike a revocation it leads back, and leaves nothing but what was noted. Whoever is revoked is
//! suspended no longer.

use certs::{RevocationReason, Revoked, Subject};
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use rustls_pki_types::UnixTime;

use super::audit::{self, Event};
use super::devices::is_listed;
use super::inventory::time;
use super::{Again, Registry, RegistryError};

impl Registry {
    /// Suspends a device, and says since when it is: perhaps since before. `None` when there is no
    /// such device.
    pub(crate) fn suspend_device(
        &mut self,
        subject: &Subject,
        now: UnixTime,
    ) -> Result<Option<UnixTime>, RegistryError> {
        self.transact(|transaction| {
            if !is_listed(transaction, subject)? {
                return Ok(None);
            }
            if let Some(since) = suspended_since(transaction, subject)? {
                return Ok(Some(since));
            }
            let sql = "INSERT INTO device_suspension (device, suspended) VALUES (?, ?)";
            let values = params![subject.id.as_str(), now.as_secs().cast_signed()];
            let inserted = transaction.execute(sql, values);
            inserted.map_err(RegistryError::doing("write"))?;
            audit::note(
                transaction,
                (Event::Suspended, &subject.to_string(), ""),
                now,
            )?;
            Ok(Some(now))
        })
    }

    /// Lets a device in again, and says whether it was suspended. `None` when there is no such
    /// device.
    pub(crate) fn resume_device(
        &mut self,
        subject: &Subject,
        now: UnixTime,
    ) -> Result<Option<bool>, RegistryError> {
        self.transact(|transaction| {
            if !is_listed(transaction, subject)? {
                return Ok(None);
            }
            let was = end_suspension(transaction, subject)?;
            if was {
                audit::note(transaction, (Event::Resumed, &subject.to_string(), ""), now)?;
            }
            Ok(Some(was))
        })
    }

    /// Since when a device is suspended, if it is.
    pub(crate) fn suspended_since(
        &self,
        subject: &Subject,
    ) -> Result<Option<UnixTime>, RegistryError> {
        suspended_since(&self.connection, subject)
    }
}

/// What stands on a revocation list of a certificate whose holder is suspended (RFC 5280 §5.3.1).
pub(super) fn on_hold(since: UnixTime) -> Revoked {
    Revoked {
        at: since,
        reason: RevocationReason::CertificateHold,
    }
}

/// Ends the suspension of a device, if there is one.
pub(super) fn end_suspension(
    transaction: &Transaction<'_>,
    subject: &Subject,
) -> Result<bool, RegistryError> {
    let sql = "DELETE FROM device_suspension WHERE device = ?";
    let ended = transaction.execute(sql, [subject.id.as_str()]);
    ended
        .map(|count| count > 0)
        .map_err(RegistryError::doing("write"))
}

pub(super) fn suspended_since(
    connection: &Connection,
    subject: &Subject,
) -> Result<Option<UnixTime>, RegistryError> {
    let sql = "SELECT suspended FROM device_suspension WHERE device = ?";
    let since: Option<i64> = connection
        .query_row_again(sql, [subject.id.as_str()], |row| row.get(0))
        .optional()
        .map_err(RegistryError::doing("read"))?;
    since.map(time).transpose()
}
