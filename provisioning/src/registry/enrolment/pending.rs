//! Requests to enrol that wait for a person: an id that anybody may claim, and a key.
//!
//! What is approved is the key, which the person has compared; whoever has another one claims the
//! same id in vain. So many wait at most, for strangers may ask.

use certs::{DeviceId, Kind, Serial};
use rusqlite::{OptionalExtension, Row, Transaction, params};
use rustls_pki_types::UnixTime;

use super::super::audit::{self, Event};
use super::super::inventory::time;
use super::super::{Registry, RegistryError, devices};

/// So many wait at most.
pub(super) const WAITING_MAX: i64 = 1_000;

/// Whoever asked so long ago and has no answer makes room for somebody else.
const WAITING_TIME_MAX: i64 = 7 * 86_400;

/// Somebody who asked without a token.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PendingEnrolment {
    /// Its number, by which it is approved or denied.
    pub number: i64,
    /// The id that it claims.
    pub device: DeviceId,
    /// SHA-256 of its public key (the subject public key info).
    pub key: [u8; 32],
    /// Where it asked from first.
    pub address: Box<str>,
    /// When it asked first.
    pub asked: UnixTime,
    /// What became of it.
    pub state: EnrolmentState,
    /// The certificate that it was issued.
    pub serial: Option<Serial>,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnrolmentState {
    /// It waits for a person.
    Pending,
    /// It will be issued a certificate when it asks again.
    Approved,
    /// It will not.
    Denied,
    /// It was issued a certificate.
    Issued,
}

impl EnrolmentState {
    const ALL: [Self; 4] = [Self::Pending, Self::Approved, Self::Denied, Self::Issued];

    /// The state in one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Denied => "denied",
            Self::Issued => "issued",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

const COLUMNS: &str = "number, device, key, address, asked, state, serial";

impl Registry {
    /// Everybody who asked, the youngest first.
    pub(crate) fn enrolments(&self) -> Result<Vec<PendingEnrolment>, RegistryError> {
        let sql = format!("SELECT {COLUMNS} FROM enrolment ORDER BY number DESC");
        let found = self.rows(&sql, [], |row| Ok(read(row)))?;
        found.into_iter().collect()
    }

    /// The request of this number.
    pub(crate) fn enrolment(&self, number: i64) -> Result<Option<PendingEnrolment>, RegistryError> {
        let sql = format!("SELECT {COLUMNS} FROM enrolment WHERE number = ?");
        let found = self.rows(&sql, [number], |row| Ok(read(row)))?;
        found.into_iter().next().transpose()
    }

    /// Approves a request that waits, or denies one that was not answered with a certificate.
    pub(crate) fn settle_enrolment(
        &mut self,
        it: &PendingEnrolment,
        to: EnrolmentState,
        now: UnixTime,
    ) -> Result<(), RegistryError> {
        self.transact(|transaction| {
            let event = if to == EnrolmentState::Approved {
                devices::claim(transaction, (Kind::Device, it.device.as_str()), now)?;
                Event::Approved
            } else {
                Event::Denied
            };
            let sql = "UPDATE enrolment SET state = ?, settled = ? WHERE number = ?";
            let values = params![to.as_str(), now.as_secs().cast_signed(), it.number];
            let updated = transaction.execute(sql, values);
            updated.map_err(RegistryError::doing("write"))?;
            let words = format!("request {}, key {}", it.number, certs::Hex(&it.key));
            audit::note(transaction, (event, it.device.as_str(), &words), now)
        })
    }
}

/// The request with which a device claimed its id for a key, if it did.
pub(super) fn find(
    transaction: &Transaction<'_>,
    (device, key): (&DeviceId, &[u8; 32]),
) -> Result<Option<PendingEnrolment>, RegistryError> {
    let sql = format!("SELECT {COLUMNS} FROM enrolment WHERE device = ? AND key = ?");
    let keys = params![device.as_str(), key];
    let found = transaction.query_row(&sql, keys, |row| Ok(read(row)));
    let found = found.optional().map_err(RegistryError::doing("read"))?;
    found.transpose()
}

/// Puts a request on record; `false` when too many wait.
pub(super) fn add(
    transaction: &Transaction<'_>,
    (device, key): (&DeviceId, &[u8; 32]),
    address: &str,
    now: UnixTime,
) -> Result<bool, RegistryError> {
    let now_seconds = now.as_secs().cast_signed();
    let add = || -> rusqlite::Result<Option<i64>> {
        let sql = "SELECT count(*) FROM enrolment WHERE state = 'pending'";
        let waiting: i64 = transaction.query_row(sql, [], |row| row.get(0))?;
        if waiting >= WAITING_MAX {
            let sql = "DELETE FROM enrolment WHERE state = 'pending' AND asked < ?";
            let made = transaction.execute(sql, [now_seconds - WAITING_TIME_MAX])?;
            if made == 0 {
                return Ok(None);
            }
        }
        let sql = "INSERT INTO enrolment (device, key, address, asked, state)
                   VALUES (?, ?, ?, ?, 'pending') RETURNING number";
        let values = params![device.as_str(), key, address, now_seconds];
        transaction
            .query_row(sql, values, |row| row.get(0))
            .map(Some)
    };
    let Some(number) = add().map_err(RegistryError::doing("write"))? else {
        return Ok(false);
    };
    let words = format!("request {number}, key {}, from {address}", certs::Hex(key));
    audit::note(transaction, (Event::Asked, device.as_str(), &words), now)?;
    Ok(true)
}

/// Notes what a request was issued.
pub(super) fn issued(
    transaction: &Transaction<'_>,
    number: i64,
    serial: Serial,
) -> Result<(), RegistryError> {
    let sql = "UPDATE enrolment SET state = 'issued', serial = ? WHERE number = ?";
    let updated = transaction.execute(sql, params![serial.as_octets(), number]);
    updated.map(drop).map_err(RegistryError::doing("write"))
}

/// Reads the columns [`COLUMNS`].
fn read(row: &Row<'_>) -> Result<PendingEnrolment, RegistryError> {
    let outcome = || -> rusqlite::Result<(i64, String, Option<Vec<u8>>)> {
        Ok((row.get(4)?, row.get(5)?, row.get(6)?))
    };
    let columns: rusqlite::Result<(i64, String, [u8; 32], Box<str>)> = row.try_into();
    let (number, device, key, address) = columns.map_err(RegistryError::doing("read"))?;
    let (asked, state, serial) = outcome().map_err(RegistryError::doing("read"))?;
    let serial = serial.map(|octets| Serial::from_octets(&octets));
    Ok(PendingEnrolment {
        number,
        device: DeviceId::parse(&device).map_err(|_| RegistryError::Damaged)?,
        key,
        address,
        asked: time(asked)?,
        state: EnrolmentState::parse(&state).ok_or(RegistryError::Damaged)?,
        serial: serial.transpose().map_err(RegistryError::Unreadable)?,
    })
}
