//! Enrolment over the network: tokens, who waits for a person, and what became of each request.
//!
//! A token is good for one device and one public key; whoever asks again with that key gets what it
//! got before. A device that is revoked loses its tokens and what was approved for it.

mod judging;
mod pending;
mod refusal;
mod tokens;

use certs::Subject;
use rusqlite::{Transaction, params};
use rustls_pki_types::UnixTime;

use super::RegistryError;
use super::audit::{self, Event, Happened};

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
    tokens::end_tokens(transaction, subject, now)?;
    let sql = "UPDATE enrolment SET state = 'denied', settled = ?
               WHERE device = ? AND state <> 'denied' RETURNING number";
    let values = params![now.as_secs().cast_signed(), subject.id.as_str()];
    for number in numbers(transaction, sql, values)? {
        let words = format!("request {number}, with the device");
        note(
            transaction,
            (Event::Denied, subject.id.as_str(), &words),
            now,
        )?;
    }
    Ok(())
}

/// The numbers of the rows that a statement has changed.
fn numbers(
    transaction: &Transaction<'_>,
    sql: &str,
    values: impl rusqlite::Params,
) -> Result<Vec<i64>, RegistryError> {
    let all = || -> rusqlite::Result<Vec<i64>> {
        transaction
            .prepare(sql)?
            .query_map(values, |row| row.get(0))?
            .collect()
    };
    all().map_err(RegistryError::doing("write"))
}

fn note(
    transaction: &Transaction<'_>,
    (event, subject, words): (Event, &str, &str),
    now: UnixTime,
) -> Result<(), RegistryError> {
    let happened = Happened {
        event,
        subject,
        words,
    };
    audit::append(transaction, &happened, now)
}
