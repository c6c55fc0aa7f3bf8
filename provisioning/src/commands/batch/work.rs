//! The work on a batch: chunk after chunk, each recorded in one transaction, written, and noted.
//!
//! A row that has a certificate on record and no note was left by a process that was stopped. Its
//! device keeps the certificate if all of its payload is there, and is given another one, which
//! supersedes it, if not: its key may be lost. The lock on the directory is released between
//! chunks, so that others, also those who work on the same batch, get their turn.

use certs::{DeviceId, Role};
use rcgen::KeyPair;
use rustls_pki_types::UnixTime;

use super::payload::{self, Writer};
use super::status::BatchStatus;
use crate::authority::{Hierarchy, key_file};
use crate::commands::issue::sign_for_peer;
use crate::error::CommandError;
use crate::files;
use crate::registry::{Batch, BatchFormat, Row, RowState};

/// So many certificates are recorded and written together: enough to make the disk's share of each
/// small, few enough that others wait for a moment only.
const CHUNK_LEN: usize = 256;

/// What became of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatchDone {
    /// The batch; it is finished.
    pub status: BatchStatus,
    /// Devices that were issued a certificate by another command, or revoked, before it was their
    /// turn.
    pub passed_over: Vec<Box<str>>,
}

/// Does what is left to do in the batch called `name`.
pub(super) fn work(
    ca: &mut Hierarchy,
    (name, writer): (&DeviceId, &Writer),
    seen: &dyn Fn(&BatchStatus),
    now: UnixTime,
) -> Result<BatchDone, CommandError> {
    let mut keys = Vec::new();
    // What others do on the same batch at the same time shows at the end: to read all rows again
    // after each chunk would take longer than to write them.
    let mut standing = ca.registry.standing(name)?;
    loop {
        // Keys are made while others may work on the directory.
        ca.step_aside(|| refill(&mut keys))?;
        let batch = ca.registry.batch(name)?;
        let batch = batch.ok_or_else(|| CommandError::NoSuchBatch(name.clone()))?;
        seen(&BatchStatus::of(&batch, standing));
        if batch.finished.is_some() {
            return done(ca, &batch);
        }
        let rows = ca.registry.open_rows(name, CHUNK_LEN)?;
        if rows.is_empty() {
            payload::finish(&batch)?;
            ca.registry.finish_batch(name, now)?;
        } else {
            let settled = chunk(ca, (&batch, writer), (rows, &mut keys), now)?;
            standing = standing.settled(settled.written.len(), settled.passed_over.len());
        }
    }
}

fn refill(keys: &mut Vec<KeyPair>) -> Result<(), CommandError> {
    while keys.len() < CHUNK_LEN {
        keys.push(key_file::generate()?);
    }
    Ok(())
}

fn done(ca: &Hierarchy, batch: &Batch) -> Result<BatchDone, CommandError> {
    Ok(BatchDone {
        status: BatchStatus::of(batch, ca.registry.standing(&batch.name)?),
        passed_over: ca.registry.passed_over(&batch.name)?,
    })
}

/// What is to become of a row.
enum Fate {
    /// A certificate is issued to its device.
    Issue,
    /// Its device has everything.
    Whole,
    /// Its device is somebody else's matter since.
    PassOver,
}

/// Rows whose payloads end up on disk, and rows that are passed over.
#[derive(Default)]
struct Settled {
    written: Vec<i64>,
    passed_over: Vec<i64>,
}

fn chunk(
    ca: &mut Hierarchy,
    (batch, writer): (&Batch, &Writer),
    (rows, keys): (Vec<Row>, &mut Vec<KeyPair>),
    now: UnixTime,
) -> Result<Settled, CommandError> {
    let (mut settled, mut signed, mut used) = (Settled::default(), Vec::new(), Vec::new());
    for row in rows {
        match fate(ca, batch, &row)? {
            Fate::PassOver => settled.passed_over.push(row.line),
            Fate::Whole => settled.written.push(row.line),
            Fate::Issue => {
                let Some(key) = keys.pop() else { continue };
                signed.push((row.line, sign_for_peer(ca, &row.subject, &key, now)?));
                settled.written.push(row.line);
                used.push(key);
            }
        }
    }
    let recorded = ca.registry.record_rows(&batch.name, signed, now)?;
    let issued: Vec<_> = recorded.into_iter().zip(used).collect();
    if batch.format == BatchFormat::Dir && issued.len() < settled.written.len() {
        // Whoever wrote the others may not have come to this.
        files::sync_file_system(&batch.output)?;
    }
    let durable = writer.write(ca, batch, &issued)?;
    let rows = (&*settled.written, &*settled.passed_over);
    ca.registry.settle_rows(&batch.name, durable, rows)?;
    Ok(settled)
}

fn fate(ca: &Hierarchy, batch: &Batch, row: &Row) -> Result<Fate, CommandError> {
    let current = ca.registry.current_serial(&row.subject)?;
    match (row.state, current) {
        (RowState::Waiting, None) => {
            let revoked = ca.registry.last_revocation(&row.subject)?.is_some();
            Ok(if revoked { Fate::PassOver } else { Fate::Issue })
        }
        (RowState::Recorded(ours), Some(current)) if ours == current => {
            let id = row.subject.id.as_str();
            let recorded = ca.registry.current(Role::Device, id)?;
            let whole = match &recorded {
                Some(recorded) => payload::is_whole(ca, batch, recorded)?,
                None => false,
            };
            Ok(if whole { Fate::Whole } else { Fate::Issue })
        }
        (RowState::Waiting | RowState::Recorded(_), _) => Ok(Fate::PassOver),
    }
}
