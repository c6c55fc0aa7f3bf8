//! Batches: lists of devices that are given certificates, and how far each row has come.
//!
//! A row waits, has a certificate on record, and has its payload on disk, in this order. Whatever
//! happens between, at most one certificate of a device is not superseded.

mod deliveries;

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use certs::{DeviceId, Kind, Serial, Subject};
use rusqlite::{OptionalExtension, Params, Transaction, params};
use rustls_pki_types::UnixTime;

pub(crate) use self::deliveries::Deliverable;
use super::certificates::{Recorded, follow};
use super::devices::{self, Labels};
use super::inventory::time;
use super::{Again, Registry, RegistryError};
use crate::authority::Signed;
use crate::roster::Entry;

/// A list of devices that are given certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    /// Its name, unlike that of any other batch.
    pub(crate) name: DeviceId,
    /// SHA-256 of the list it was begun with.
    pub(crate) list: [u8; 32],
    pub(crate) format: BatchFormat,
    /// An absolute path.
    pub(crate) output: PathBuf,
    /// So many octets of the one file are on disk and belong to rows that are written.
    pub(crate) durable: u64,
    pub(crate) created: UnixTime,
    pub(crate) finished: Option<UnixTime>,
}

/// In which form devices get what was made for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchFormat {
    /// A directory for each device: `cert.pem`, `key.pem`, `ca.pem`.
    Dir,
    /// One file with a line of JSON for each device.
    Jsonl,
    /// A PKCS #12 file for each device, `ID.p12`, all under one password.
    P12,
}

impl BatchFormat {
    /// The format as commands take it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dir => "dir",
            Self::Jsonl => "jsonl",
            Self::P12 => "p12",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Dir, Self::Jsonl, Self::P12]
            .into_iter()
            .find(|format| format.as_str() == text)
    }
}

/// A row of a batch that is not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// The line of the list.
    pub(crate) line: i64,
    pub(crate) subject: Subject,
    pub(crate) state: RowState,
}

/// How far an open row has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RowState {
    /// It has nothing yet.
    Waiting,
    /// This certificate is on record; whether its payload is on disk, nobody knows.
    Recorded(Serial),
}

/// How many rows of a batch have come how far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatchStanding {
    /// All rows.
    pub rows: u32,
    /// Rows that have nothing yet, or whose payload may be missing.
    pub waiting: u32,
    /// Rows whose payload is on disk.
    pub written: u32,
    /// Rows whose payload was handed out.
    pub delivered: u32,
    /// Rows whose device was issued a certificate by another command, or revoked, before it was its
    /// turn.
    pub passed_over: u32,
}

impl BatchStanding {
    /// The standing after so many more rows were written and passed over.
    pub(crate) fn settled(self, written: usize, passed_over: usize) -> Self {
        let [written, passed_over] =
            [written, passed_over].map(|rows| u32::try_from(rows).unwrap_or(u32::MAX));
        Self {
            waiting: self
                .waiting
                .saturating_sub(written)
                .saturating_sub(passed_over),
            written: self.written.saturating_add(written),
            passed_over: self.passed_over.saturating_add(passed_over),
            ..self
        }
    }
}

impl Registry {
    /// The batch called `name`, in whatever case.
    pub(crate) fn batch(&self, name: &DeviceId) -> Result<Option<Batch>, RegistryError> {
        let found = self.batches_where("name = ?", [name.as_str()])?;
        Ok(found.into_iter().next())
    }

    /// All batches, the oldest first.
    pub(crate) fn batches(&self) -> Result<Vec<Batch>, RegistryError> {
        self.batches_where("true", [])
    }

    fn batches_where(&self, which: &str, keys: impl Params) -> Result<Vec<Batch>, RegistryError> {
        let sql = format!(
            "SELECT name, list, format, output, durable, created, finished FROM batch
             WHERE {which} ORDER BY rowid"
        );
        let rows = self.rows(&sql, keys, |row| {
            let (name, format): (String, String) = (row.get(0)?, row.get(2)?);
            let (output, durable): (Vec<u8>, i64) = (row.get(3)?, row.get(4)?);
            let (created, finished): (i64, Option<i64>) = (row.get(5)?, row.get(6)?);
            let list = row.get(1)?;
            let read = || {
                Some(Batch {
                    name: DeviceId::parse(&name).ok()?,
                    list,
                    format: BatchFormat::parse(&format)?,
                    output: OsString::from_vec(output).into(),
                    durable: u64::try_from(durable).ok()?,
                    created: time(created).ok()?,
                    finished: finished.map(time).transpose().ok()?,
                })
            };
            Ok(read())
        })?;
        let whole: Option<Vec<_>> = rows.into_iter().collect();
        whole.ok_or(RegistryError::Damaged)
    }

    /// Begins a batch of `entries`, all of which become devices.
    pub(crate) fn begin_batch(
        &mut self,
        batch: &Batch,
        entries: &[Entry],
    ) -> Result<(), RegistryError> {
        self.transact(|transaction| {
            let sql = "INSERT INTO batch (name, list, format, output, durable, created)
                       VALUES (?, ?, ?, ?, ?, ?)";
            let values = params![
                batch.name.as_str(),
                batch.list,
                batch.format.as_str(),
                batch.output.as_os_str().as_bytes(),
                batch.durable.cast_signed(),
                batch.created.as_secs().cast_signed(),
            ];
            let begun = transaction.execute_again(sql, values);
            begun.map_err(RegistryError::doing("write"))?;
            entries
                .iter()
                .try_for_each(|entry| begin_row(transaction, batch, entry))
        })
    }

    /// Rows that are not done, at most `max`: first those whose certificate is on record.
    pub(crate) fn open_rows(&self, name: &DeviceId, max: usize) -> Result<Vec<Row>, RegistryError> {
        let sql = "SELECT line, device, serial FROM batch_row
                   WHERE batch = ? AND state IN ('recorded', 'waiting')
                   ORDER BY state, line LIMIT ?";
        let keys = params![name.as_str(), i64::try_from(max).unwrap_or(i64::MAX)];
        let rows = self.rows(sql, keys, |row| {
            let (line, device): (i64, String) = (row.get(0)?, row.get(1)?);
            let serial: Option<Vec<u8>> = row.get(2)?;
            Ok((line, device, serial))
        })?;
        let read = |(line, device, serial): (i64, String, Option<Vec<u8>>)| {
            let id = DeviceId::parse(&device).map_err(|_| RegistryError::Damaged)?;
            let serial = serial
                .map(|octets| Serial::from_octets(&octets))
                .transpose();
            let serial = serial.map_err(RegistryError::Unreadable)?;
            Ok(Row {
                line,
                subject: Subject {
                    kind: Kind::Device,
                    id,
                },
                state: serial.map_or(RowState::Waiting, RowState::Recorded),
            })
        };
        rows.into_iter().map(read).collect()
    }

    /// Records the certificates of rows, all or none; each supersedes the one its device had.
    pub(crate) fn record_rows(
        &mut self,
        name: &DeviceId,
        signed: Vec<(i64, Signed)>,
        now: UnixTime,
    ) -> Result<Vec<Recorded>, RegistryError> {
        self.transact(|transaction| {
            let sql = "UPDATE batch_row SET state = 'recorded', serial = ?
                       WHERE batch = ? AND line = ?";
            let mut update = transaction
                .prepare(sql)
                .map_err(RegistryError::doing("write"))?;
            for (line, signed) in &signed {
                follow(transaction, signed, now)?;
                let values = params![signed.certificate.serial.as_octets(), name.as_str(), line];
                let updated = update.execute(values);
                updated.map_err(RegistryError::doing("write"))?;
            }
            Ok(())
        })?;
        let certificates = signed.into_iter().map(|(_, signed)| signed);
        Ok(certificates.map(Recorded::after_commit).collect())
    }

    /// Notes the rows whose payload is on disk, of which the one file has `durable` octets, and
    /// those that are passed over.
    pub(crate) fn settle_rows(
        &mut self,
        name: &DeviceId,
        durable: u64,
        (written, passed_over): (&[i64], &[i64]),
    ) -> Result<(), RegistryError> {
        self.transact(|transaction| {
            let sql = "UPDATE batch SET durable = ? WHERE name = ?";
            let set = transaction.execute(sql, params![durable.cast_signed(), name.as_str()]);
            set.map_err(RegistryError::doing("write"))?;
            let sql = "UPDATE batch_row SET state = ? WHERE batch = ? AND line = ?";
            let mut update = transaction
                .prepare(sql)
                .map_err(RegistryError::doing("write"))?;
            for (state, lines) in [("written", written), ("passed-over", passed_over)] {
                for line in lines {
                    let updated = update.execute(params![state, name.as_str(), line]);
                    updated.map_err(RegistryError::doing("write"))?;
                }
            }
            Ok(())
        })
    }

    /// Notes that nothing is left to do in a batch.
    pub(crate) fn finish_batch(
        &mut self,
        name: &DeviceId,
        now: UnixTime,
    ) -> Result<(), RegistryError> {
        self.transact(|transaction| {
            let sql = "UPDATE batch SET finished = ? WHERE name = ? AND finished IS NULL";
            let values = params![now.as_secs().cast_signed(), name.as_str()];
            let updated = transaction.execute(sql, values);
            updated.map(drop).map_err(RegistryError::doing("write"))
        })
    }

    /// How far the rows of a batch have come. All of them are read.
    pub(crate) fn standing(&self, name: &DeviceId) -> Result<BatchStanding, RegistryError> {
        let sql = "SELECT count(*), count(*) FILTER (WHERE state IN ('waiting', 'recorded')),
                   count(*) FILTER (WHERE state = 'written'),
                   count(*) FILTER (WHERE state = 'passed-over'),
                   (SELECT count(DISTINCT device) FROM delivery WHERE batch = ?1)
                   FROM batch_row WHERE batch = ?1";
        let read = |row: &rusqlite::Row<'_>| {
            Ok(BatchStanding {
                rows: row.get(0)?,
                waiting: row.get(1)?,
                written: row.get(2)?,
                passed_over: row.get(3)?,
                delivered: row.get(4)?,
            })
        };
        self.connection
            .query_row(sql, [name.as_str()], read)
            .map_err(RegistryError::doing("read"))
    }

    /// The devices of a batch that were passed over.
    pub(crate) fn passed_over(&self, name: &DeviceId) -> Result<Vec<Box<str>>, RegistryError> {
        let sql = "SELECT device FROM batch_row WHERE batch = ? AND state = 'passed-over'
                   ORDER BY line";
        self.rows(sql, [name.as_str()], |row| row.get(0))
    }

    /// The unfinished batch in which each device waits, by the device's id.
    pub(crate) fn waiting_devices(&self) -> Result<HashMap<Box<str>, Box<str>>, RegistryError> {
        let sql = "SELECT device, batch FROM batch_row WHERE state IN ('waiting', 'recorded')";
        let rows = self.rows(sql, [], |row| row.try_into())?;
        Ok(rows.into_iter().collect())
    }

    /// The serial number of the certificate that a device should use.
    pub(crate) fn current_serial(
        &self,
        subject: &Subject,
    ) -> Result<Option<Serial>, RegistryError> {
        let sql = "SELECT serial FROM certificate WHERE device = ? AND status = 'issued'";
        let octets: Option<Vec<u8>> = self
            .connection
            .query_row_again(sql, [subject.id.as_str()], |row| row.get(0))
            .optional()
            .map_err(RegistryError::doing("read"))?;
        let serial = octets
            .map(|octets| Serial::from_octets(&octets))
            .transpose();
        serial.map_err(RegistryError::Unreadable)
    }
}

fn begin_row(
    transaction: &Transaction<'_>,
    batch: &Batch,
    entry: &Entry,
) -> Result<(), RegistryError> {
    let subject = Subject {
        kind: Kind::Device,
        id: entry.id.clone(),
    };
    devices::claim(
        transaction,
        (Kind::Device, entry.id.as_str()),
        batch.created,
    )?;
    let labels = Labels {
        attributes: entry.attributes.clone(),
        ..Labels::default()
    };
    devices::set_labels(transaction, &subject, &labels)?;
    let sql = "INSERT INTO batch_row (batch, line, device, state) VALUES (?, ?, ?, 'waiting')";
    let line = i64::try_from(entry.line).unwrap_or(i64::MAX);
    let values = params![batch.name.as_str(), line, entry.id.as_str()];
    let inserted = transaction.execute_again(sql, values);
    inserted.map(drop).map_err(RegistryError::doing("write"))
}
