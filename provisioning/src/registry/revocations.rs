//! Who was revoked: devices with all their certificates, and since when.
//!
//! A revocation is committed before anybody is told, and nothing here takes one back.

use std::time::Duration;

use certs::{RevocationReason, Revoked, Role, Serial, Status, Subject};
use rusqlite::{OptionalExtension, Row, Transaction, params};
use rustls_pki_types::UnixTime;

use super::audit::{self, Event};
use super::enrolment::end_enrolments;
use super::inventory::time;
use super::suspensions::{end_suspension, on_hold};
use super::{Registry, RegistryError};

/// What a revocation came to.
pub(crate) struct DeviceRevocation {
    /// When and why; of the revocation before, if all of its certificates were revoked already.
    pub(crate) revoked: Revoked,
    /// Those of its certificates that were revoked now.
    pub(crate) certificates: Vec<Serial>,
}

impl Registry {
    /// Revokes all certificates of a device that count, and the device with them; `None` when there
    /// is no such device.
    pub(crate) fn revoke_device(
        &mut self,
        subject: &Subject,
        revoked: Revoked,
    ) -> Result<Option<DeviceRevocation>, RegistryError> {
        self.transact(|transaction| {
            if !is_known(transaction, subject)? {
                return Ok(None);
            }
            let before = last_revocation(transaction, subject)?;
            let revoked = later_than(before, revoked);
            let certificates = revoke_certificates(transaction, subject, revoked)?;
            end_suspension(transaction, subject)?;
            end_enrolments(transaction, subject, revoked.at)?;
            match before {
                Some(before) if certificates.is_empty() => {
                    return Ok(Some(DeviceRevocation {
                        revoked: before,
                        certificates,
                    }));
                }
                Some(_) | None => {}
            }
            let sql = "INSERT INTO device_revocation (device, revoked, reason) VALUES (?, ?, ?)";
            let at = revoked.at.as_secs().cast_signed();
            let values = params![subject.id.as_str(), at, revoked.reason.code()];
            transaction
                .execute(sql, values)
                .map_err(RegistryError::doing("write"))?;
            let words = format!("{}, {} certificates", revoked.reason, certificates.len());
            audit::note(
                transaction,
                (Event::Revoked, &subject.to_string(), &words),
                revoked.at,
            )?;
            Ok(Some(DeviceRevocation {
                revoked,
                certificates,
            }))
        })
    }

    /// The last revocation of a device, whatever it was given since.
    pub(crate) fn last_revocation(
        &self,
        subject: &Subject,
    ) -> Result<Option<Revoked>, RegistryError> {
        last_revocation(&self.connection, subject)
    }

    /// The certificates that belong on the list of the issuer whose certificate has the serial
    /// number `issuer`: those revoked, and those whose holders are suspended, that had not expired
    /// before `since`.
    pub(crate) fn revoked_certificates(
        &self,
        issuer: Serial,
        since: UnixTime,
    ) -> Result<Vec<(Serial, Revoked)>, RegistryError> {
        // A cross join is made in its order: from the few who are suspended.
        let sql = "SELECT revoked, reason, serial FROM certificate
                   WHERE issuer = ?1 AND revoked IS NOT NULL AND not_after >= ?2
                   UNION ALL SELECT suspended, NULL, serial FROM device_suspension
                   CROSS JOIN certificate ON certificate.device = device_suspension.device
                   WHERE issuer = ?1 AND revoked IS NULL AND not_after >= ?2
                   ORDER BY serial";
        let mut statement = self
            .connection
            .prepare(sql)
            .map_err(RegistryError::doing("read"))?;
        let keys = params![issuer.as_octets(), since.as_secs().cast_signed()];
        let mut rows = statement
            .query(keys)
            .map_err(RegistryError::doing("read"))?;
        let mut found = Vec::new();
        while let Some(row) = rows.next().map_err(RegistryError::doing("read"))? {
            let serial: Vec<u8> = row.get(2).map_err(RegistryError::doing("read"))?;
            let serial = Serial::from_octets(&serial).map_err(RegistryError::Unreadable)?;
            found.push((serial, read_revoked(row)?));
        }
        Ok(found)
    }

    /// Whose certificate has the serial number `serial`.
    pub(crate) fn holder_of(&self, serial: Serial) -> Result<Option<String>, RegistryError> {
        let sql = "SELECT name FROM certificate WHERE serial = ?";
        let name = self
            .connection
            .query_row(sql, [serial.as_octets()], |row| row.get(0));
        name.optional().map_err(RegistryError::doing("read"))
    }
}

/// Whatever was issued after the revocation before begins to be valid after it, so this one must be
/// later to cover it, also when the clock has not moved, or went back.
fn later_than(before: Option<Revoked>, revoked: Revoked) -> Revoked {
    let Some(before) = before.filter(|before| before.at >= revoked.at) else {
        return revoked;
    };
    let at = Duration::from_secs(before.at.as_secs().saturating_add(1));
    Revoked {
        at: UnixTime::since_unix_epoch(at),
        ..revoked
    }
}

fn is_known(transaction: &Transaction<'_>, subject: &Subject) -> Result<bool, RegistryError> {
    // The index is found without case, and what it finds must be the very same.
    let sql = "SELECT 1 FROM device
               WHERE id = ?1 AND id = ?1 COLLATE BINARY AND kind = ?2";
    let keys = [subject.id.as_str(), subject.kind.as_str()];
    let found = transaction.query_row(sql, keys, |_| Ok(())).optional();
    found
        .map(|found| found.is_some())
        .map_err(RegistryError::doing("read"))
}

fn revoke_certificates(
    transaction: &Transaction<'_>,
    subject: &Subject,
    revoked: Revoked,
) -> Result<Vec<Serial>, RegistryError> {
    let status = Status::Revoked(revoked.reason);
    for from in [Status::Issued, Status::Superseded] {
        from.advance(status)?;
    }
    let sql = "UPDATE certificate SET status = ?, reason = ?, revoked = ?
               WHERE device = ? AND role = ? AND status IN (?, ?) RETURNING serial";
    let role = Role::from(subject.kind).as_str();
    let values = params![
        status.name(),
        revoked.reason.code(),
        revoked.at.as_secs().cast_signed(),
        subject.id.as_str(),
        role,
        Status::Issued.name(),
        Status::Superseded.name(),
    ];
    let mut statement = transaction
        .prepare(sql)
        .map_err(RegistryError::doing("write"))?;
    let serials = statement.query_map(values, |row| row.get::<_, Vec<u8>>(0));
    serials
        .map_err(RegistryError::doing("write"))?
        .map(|octets| {
            let octets = octets.map_err(RegistryError::doing("write"))?;
            Serial::from_octets(&octets).map_err(RegistryError::Unreadable)
        })
        .collect()
}

pub(super) fn last_revocation(
    connection: &rusqlite::Connection,
    subject: &Subject,
) -> Result<Option<Revoked>, RegistryError> {
    let sql = "SELECT revoked, reason FROM device_revocation WHERE device = ?
               ORDER BY revoked DESC LIMIT 1";
    let found = connection.query_row(sql, [subject.id.as_str()], |row| Ok(read_revoked(row)));
    let found = found.optional().map_err(RegistryError::doing("read"))?;
    found.transpose()
}

/// Reads the columns `revoked, reason`, which come first; without a reason somebody is suspended.
pub(super) fn read_revoked(row: &Row<'_>) -> Result<Revoked, RegistryError> {
    let read = || Ok::<(i64, Option<u8>), rusqlite::Error>((row.get(0)?, row.get(1)?));
    let (seconds, code) = read().map_err(RegistryError::doing("read"))?;
    let at = time(seconds)?;
    let Some(code) = code else {
        return Ok(on_hold(at));
    };
    let reason = RevocationReason::from_code(code).ok_or(RegistryError::Damaged)?;
    Ok(Revoked { at, reason })
}
