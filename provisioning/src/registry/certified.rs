//! What a root that is kept apart has certified, and what came of it here and there.
//!
//! A certificate is on record before anybody can have it, here as everywhere; and the numbers of
//! lists that came from elsewhere only rise too.

use certs::{Hex, RevocationReason, Revoked, Role, Serial, Status, TrustDomain};
use rusqlite::{OptionalExtension, params};
use rustls_pki_types::UnixTime;

use super::audit::{self, Event};
use super::inventory::time;
use super::{Publication, Recorded, Registry, RegistryError};

/// A device CA or server CA that a root has certified.
pub(crate) struct CertifiedAuthority {
    pub(crate) recorded: Recorded,
    /// When and why it was revoked.
    pub(crate) revoked: Option<Revoked>,
}

impl Registry {
    /// Says for which trust domain the authorities here will speak that are asked for elsewhere.
    pub(crate) fn begin(
        &mut self,
        trust_domain: &TrustDomain,
        now: UnixTime,
    ) -> Result<(), RegistryError> {
        self.transact(|transaction| {
            let sql = "INSERT INTO setting (name, value) VALUES ('trust_domain', ?)";
            let set = transaction.execute(sql, [trust_domain.as_str()]);
            set.map_err(RegistryError::doing("write"))?;
            let words = format!("for {trust_domain}, below a root that is elsewhere");
            audit::note(transaction, (Event::Begun, "authorities", &words), now)
        })
    }

    /// Notes that a certificate was asked of a root that is elsewhere, for the key with this
    /// SHA-256.
    pub(crate) fn note_requested(
        &mut self,
        authority: &str,
        key: &[u8; 32],
        now: UnixTime,
    ) -> Result<(), RegistryError> {
        let words = format!("key {}", Hex(key));
        self.transact(|transaction| {
            audit::note(transaction, (Event::Requested, authority, &words), now)
        })
    }

    /// The device CAs and server CAs on record, in the order in which they were certified.
    pub(crate) fn certified_authorities(&self) -> Result<Vec<CertifiedAuthority>, RegistryError> {
        type Columns = (String, Box<str>, String, Option<i64>, Option<u8>);
        let sql = "SELECT role, name, pem, revoked, reason FROM certificate
                   WHERE role IN ('device-ca', 'server-ca') ORDER BY rowid";
        let rows: Vec<Columns> = self.rows(sql, [], |row| {
            Ok((
                row.get(0)?,
                row.get(1)?,
                row.get(2)?,
                row.get(3)?,
                row.get(4)?,
            ))
        })?;
        let read = |(role, name, pem, at, code): Columns| {
            let role = Role::parse(&role).ok_or(RegistryError::Damaged)?;
            Ok(CertifiedAuthority {
                recorded: Recorded::read(role, name, pem)?,
                revoked: at.map(|at| revoked(at, code)).transpose()?,
            })
        };
        rows.into_iter().map(read).collect()
    }

    /// Revokes a device CA or server CA, and yields when and why it was: of the first time, if that
    /// was done before. `None` when there is none with this serial number.
    pub(crate) fn revoke_authority(
        &mut self,
        serial: Serial,
        to: Revoked,
    ) -> Result<Option<(Box<str>, Revoked)>, RegistryError> {
        self.transact(|transaction| {
            let sql = "SELECT name, revoked, reason FROM certificate
                       WHERE serial = ? AND role IN ('device-ca', 'server-ca')";
            let found: Option<(Box<str>, Option<i64>, Option<u8>)> = transaction
                .query_row(sql, [serial.as_octets()], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
                })
                .optional()
                .map_err(RegistryError::doing("read"))?;
            let name = match found {
                None => return Ok(None),
                Some((name, Some(at), code)) => return Ok(Some((name, revoked(at, code)?))),
                Some((name, None, _)) => name,
            };
            let status = Status::Issued.advance(Status::Revoked(to.reason))?;
            let sql = "UPDATE certificate SET status = ?, reason = ?, revoked = ?
                       WHERE serial = ?";
            let values = params![
                status.name(),
                to.reason.code(),
                to.at.as_secs().cast_signed(),
                serial.as_octets(),
            ];
            let updated = transaction.execute(sql, values);
            updated.map_err(RegistryError::doing("write"))?;
            let words = format!("{}, certificate {serial}", to.reason);
            audit::note(transaction, (Event::Revoked, &name, &words), to.at)?;
            Ok(Some((name, to)))
        })
    }

    /// Keeps the number of a revocation list that was signed elsewhere: none below it counts here.
    pub(crate) fn keep_number(
        &mut self,
        (issuer, number): (Serial, u64),
        (created, next_update): (UnixTime, UnixTime),
        now: UnixTime,
    ) -> Result<(), RegistryError> {
        let number = i64::try_from(number).map_err(|_| RegistryError::NumbersExhausted)?;
        let kind = Publication::RevocationList.as_str();
        self.transact(|transaction| {
            let sql = "INSERT INTO publication (kind, issuer, number, created, next_update)
                       VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING";
            let values = params![
                kind,
                issuer.as_octets(),
                number,
                created.as_secs().cast_signed(),
                next_update.as_secs().cast_signed(),
            ];
            let kept = transaction.execute(sql, values);
            if kept.map_err(RegistryError::doing("write"))? == 0 {
                return Ok(());
            }
            let words = format!("number {number}, of the root");
            audit::note(transaction, (Event::Installed, kind, &words), now)
        })
    }
}

fn revoked(at: i64, code: Option<u8>) -> Result<Revoked, RegistryError> {
    let reason = code.and_then(RevocationReason::from_code);
    Ok(Revoked {
        at: time(at)?,
        reason: reason.ok_or(RegistryError::Damaged)?,
    })
}
