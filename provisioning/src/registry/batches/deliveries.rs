//! What of a batch was handed out: of which device, to whom, and when.
//!
//! It is on record before it is handed out, and nothing here takes it back.

use certs::{DeviceId, Serial};
use rusqlite::{Row, params};
use rustls_pki_types::UnixTime;

use crate::registry::audit::{self, Event};
use crate::registry::inventory::time;
use crate::registry::{Registry, RegistryError};

/// A device of a batch whose payload is on disk.
pub(crate) struct Deliverable {
    pub(crate) device: DeviceId,
    /// The certificate in its payload.
    pub(crate) serial: Serial,
    /// Whether that is the one that the device should use, and may.
    pub(crate) counts: bool,
    /// To whom it was handed out last, and when.
    pub(crate) before: Option<Handover>,
}

/// To whom something was handed out, and when.
pub(crate) struct Handover {
    pub(crate) to: Box<str>,
    pub(crate) at: UnixTime,
}

impl Registry {
    /// The devices of a batch whose payloads are on disk, in the order of its list.
    pub(crate) fn deliverable(&self, batch: &DeviceId) -> Result<Vec<Deliverable>, RegistryError> {
        let sql = "SELECT batch_row.device, batch_row.serial,
                   status = 'issued' AND batch_row.device NOT IN
                       (SELECT device FROM device_suspension),
                   recipient, at FROM batch_row
                   JOIN certificate ON certificate.serial = batch_row.serial
                   LEFT JOIN delivery ON delivery.rowid =
                       (SELECT max(rowid) FROM delivery AS d
                        WHERE d.batch = batch_row.batch AND d.device = batch_row.device)
                   WHERE batch_row.batch = ? AND state = 'written' ORDER BY line";
        let rows = self.rows(sql, [batch.as_str()], |row| Ok(read(row)))?;
        rows.into_iter().collect()
    }

    /// Records that the payloads of devices are handed out to `to`, all or none.
    pub(crate) fn record_delivery(
        &mut self,
        (batch, to): (&DeviceId, &str),
        devices: &[Deliverable],
        now: UnixTime,
    ) -> Result<(), RegistryError> {
        self.transact(|transaction| {
            let sql = "INSERT INTO delivery (batch, device, serial, recipient, at)
                       VALUES (?, ?, ?, ?, ?)";
            let mut insert = transaction
                .prepare(sql)
                .map_err(RegistryError::doing("write"))?;
            for Deliverable { device, serial, .. } in devices {
                let at = now.as_secs().cast_signed();
                let values = params![batch.as_str(), device.as_str(), serial.as_octets(), to, at];
                let inserted = insert.execute(values);
                inserted.map_err(RegistryError::doing("write"))?;
                let words = format!("certificate {serial}, of the batch {batch}, to {to}");
                audit::note(
                    transaction,
                    (Event::Delivered, device.as_str(), &words),
                    now,
                )?;
            }
            Ok(())
        })
    }
}

fn read(row: &Row<'_>) -> Result<Deliverable, RegistryError> {
    let delivery =
        || -> rusqlite::Result<(Option<Box<str>>, Option<i64>)> { Ok((row.get(3)?, row.get(4)?)) };
    let columns: rusqlite::Result<(String, Vec<u8>, bool)> = row.try_into();
    let (device, serial, counts) = columns.map_err(RegistryError::doing("read"))?;
    let before = match delivery().map_err(RegistryError::doing("read"))? {
        (Some(to), Some(at)) => Some(Handover { to, at: time(at)? }),
        (None, _) | (_, None) => None,
    };
    Ok(Deliverable {
        device: DeviceId::parse(&device).map_err(|_| RegistryError::Damaged)?,
        serial: Serial::from_octets(&serial).map_err(RegistryError::Unreadable)?,
        counts,
        before,
    })
}
