//! Enrolment over the network: tokens, who waits for a person, and what became of each request.
//!
//! A token is good for one device and one public key; whoever asks again with that key gets what it
//! got before. A device that is revoked loses its tokens and what was approved for it.

mod judging;
mod pending;
mod refusal;
mod tokens;

use certs::{DeviceId, Subject};
use rusqlite::{Transaction, params};
use rustls_pki_types::UnixTime;

use super::RegistryError;
use super::audit::{self, Event};

pub(crate) use self::judging::{Answer, Asked, Proof};
pub use self::pending::{EnrolmentState, PendingEnrolment};
pub(crate) use self::refusal::NotEnrolled;
pub use self::tokens::{Token, TokenState};

/// Ends every token of a device, and denies what was asked in its name.
pub(super) fn end_enrolments(
    transaction: &Transaction<'_>,
    subject: &Subject,
    now: UnixTime,
) -> Result<(), RegistryError> {
    let tokens = "UPDATE token SET state = 'revoked', settled = ?
                  WHERE device = ? AND state IN ('open', 'used') RETURNING number";
    let requests = "UPDATE enrolment SET state = 'denied', settled = ?
                    WHERE device = ? AND state <> 'denied' RETURNING number";
    let why = "with the device";
    for (sql, event, what) in [
        (tokens, Event::TokenRevoked, "token"),
        (requests, Event::Denied, "request"),
    ] {
        end_each(transaction, &subject.id, (sql, event, (what, why)), now)?;
    }
    Ok(())
}

/// Ends what a statement finds, given the time and the device, and notes each by its number.
fn end_each(
    transaction: &Transaction<'_>,
    device: &DeviceId,
    (sql, event, (what, why)): (&str, Event, (&str, &str)),
    now: UnixTime,
) -> Result<(), RegistryError> {
    let end = || -> rusqlite::Result<Vec<i64>> {
        let values = params![now.as_secs().cast_signed(), device.as_str()];
        let mut statement = transaction.prepare(sql)?;
        statement.query_map(values, |row| row.get(0))?.collect()
    };
    for number in end().map_err(RegistryError::doing("write"))? {
        let words = format!("{what} {number}, {why}");
        audit::note(transaction, (event, device.as_str(), &words), now)?;
    }
    Ok(())
}
