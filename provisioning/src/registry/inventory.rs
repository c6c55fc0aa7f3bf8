//! The inventory as it is looked at: every device, what is said of it, and how it stands.
//!
//! How a device stands is worked out from what is on record and the time; it is kept nowhere.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use certs::{DeviceId, Kind, RevocationReason, Revoked, Serial, Status, Subject};
use rusqlite::Row;
use rustls_pki_types::UnixTime;

use super::devices::Labels;
use super::{Registry, RegistryError};

/// A device or an application on record.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Device {
    /// Who it is.
    pub subject: Subject,
    /// How it stands.
    pub state: DeviceState,
    /// Since when it is on record.
    pub added: UnixTime,
    /// The certificate that it should use, if it has one.
    pub certificate: Option<CurrentCertificate>,
    /// Its last revocation.
    pub revoked: Option<Revoked>,
    /// Since when it is suspended, if it is.
    pub suspended: Option<UnixTime>,
    /// What is said of it.
    pub labels: Labels,
}

/// How a device stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceState {
    /// It never had a certificate.
    New,
    /// It has a certificate that counts.
    Active,
    /// Its certificate's time is over.
    Expired,
    /// It has a certificate that does not count for now.
    Suspended,
    /// It was revoked, and has no certificate since.
    Revoked,
    /// It was taken out of the inventory.
    Removed,
}

/// The certificate that a device should use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CurrentCertificate {
    /// Its serial number.
    pub serial: Serial,
    /// Its first second.
    pub not_before: UnixTime,
    /// Its last second.
    pub not_after: UnixTime,
    /// The number of the device CA that has issued it.
    pub device_ca: u32,
}

/// A certificate that a device was ever given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeviceCertificate {
    /// Its serial number, and how long it is valid.
    pub certificate: CurrentCertificate,
    /// Where it is in its life.
    pub status: Status,
}

impl DeviceState {
    /// The state in one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Active => "active",
            Self::Expired => "expired",
            Self::Suspended => "suspended",
            Self::Revoked => "revoked",
            Self::Removed => "removed",
        }
    }
}

impl fmt::Display for DeviceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The devices that are asked for: all, or one.
#[derive(Clone, Copy)]
struct Which<'a>(Option<&'a Subject>);

impl<'a> Which<'a> {
    /// An empty id is nobody's.
    fn key(self) -> &'a str {
        self.0.map_or("", |subject| subject.id.as_str())
    }

    /// That `column`, which is compared without case, has the id of one of them.
    fn has(self, column: &str) -> String {
        match self.0 {
            Some(_) => format!("{column} = ?1"),
            None => "?1 = ''".to_owned(),
        }
    }
}

impl Registry {
    /// Every device and application on record, or the one that is asked for, in the order of their
    /// ids' octets.
    pub(crate) fn devices(
        &self,
        only: Option<&Subject>,
        now: UnixTime,
    ) -> Result<Vec<Device>, RegistryError> {
        let which = Which(only);
        let sql = format!(
            "SELECT device.id, kind, device.created, removed, serial, not_before, not_after,
                   (SELECT number FROM authority WHERE authority.certificate = issuer)
                   FROM device LEFT JOIN certificate
                   ON certificate.device = device.id AND certificate.status = 'issued'
                   WHERE {} ORDER BY device.id COLLATE BINARY",
            which.has("device.id")
        );
        let rows = self.rows(&sql, [which.key()], |row| Ok(read_device(row, now)))?;
        let mut devices = rows.into_iter().collect::<Result<Vec<_>, _>>()?;
        devices.retain(|device| only.is_none_or(|subject| *subject == device.subject));
        let places: HashMap<Box<str>, usize> = devices
            .iter()
            .enumerate()
            .map(|(place, device)| (device.subject.id.as_str().into(), place))
            .collect();
        self.add_revocations(&mut devices, &places, which)?;
        self.add_suspensions(&mut devices, &places, which)?;
        self.add_labels(&mut devices, &places, which)?;
        Ok(devices)
    }

    /// Every certificate that a device was given, in that order.
    pub(crate) fn certificates_of(
        &self,
        subject: &Subject,
    ) -> Result<Vec<DeviceCertificate>, RegistryError> {
        let sql = "SELECT serial, not_before, not_after,
                   (SELECT number FROM authority WHERE authority.certificate = issuer),
                   status, reason FROM certificate
                   WHERE device = ? ORDER BY rowid";
        let rows = self.rows(sql, [subject.id.as_str()], |row| {
            let (status, reason): (String, Option<u8>) = (row.get(4)?, row.get(5)?);
            let reason = reason.and_then(RevocationReason::from_code);
            let status = Status::from_parts(&status, reason);
            Ok((read_certificate(row, 0), status))
        })?;
        let read = |(certificate, status): (Result<Option<_>, _>, Option<Status>)| {
            Ok(DeviceCertificate {
                certificate: certificate?.ok_or(RegistryError::Damaged)?,
                status: status.ok_or(RegistryError::Damaged)?,
            })
        };
        rows.into_iter().map(read).collect()
    }

    fn add_revocations(
        &self,
        devices: &mut [Device],
        places: &HashMap<Box<str>, usize>,
        which: Which<'_>,
    ) -> Result<(), RegistryError> {
        let sql = format!(
            "SELECT device, revoked, reason FROM device_revocation WHERE {} ORDER BY revoked",
            which.has("device")
        );
        let read = |row: &Row<'_>| row.try_into();
        for (id, at, reason) in self.rows(&sql, [which.key()], read)? {
            let (id, at, reason): (Box<str>, i64, u8) = (id, at, reason);
            let reason = RevocationReason::from_code(reason).ok_or(RegistryError::Damaged)?;
            let revoked = Revoked {
                at: time(at)?,
                reason,
            };
            let place = places.get(&id).and_then(|place| devices.get_mut(*place));
            let Some(device) = place else { continue };
            device.revoked = Some(revoked);
            if device.certificate.is_none() && device.state != DeviceState::Removed {
                device.state = DeviceState::Revoked;
            }
        }
        Ok(())
    }

    fn add_suspensions(
        &self,
        devices: &mut [Device],
        places: &HashMap<Box<str>, usize>,
        which: Which<'_>,
    ) -> Result<(), RegistryError> {
        let sql = format!(
            "SELECT device, suspended FROM device_suspension WHERE {}",
            which.has("device")
        );
        for (id, since) in self.rows(&sql, [which.key()], |row| row.try_into())? {
            let (id, since): (Box<str>, i64) = (id, since);
            let place = places.get(&id).and_then(|place| devices.get_mut(*place));
            let Some(device) = place else { continue };
            device.suspended = Some(time(since)?);
            if device.state == DeviceState::Active {
                device.state = DeviceState::Suspended;
            }
        }
        Ok(())
    }

    fn add_labels(
        &self,
        devices: &mut [Device],
        places: &HashMap<Box<str>, usize>,
        which: Which<'_>,
    ) -> Result<(), RegistryError> {
        let asked_for = which.has("device");
        let sql = format!(
            "SELECT 'a', device, name, value FROM device_attribute WHERE {asked_for}
             UNION ALL SELECT 'g', device, name, '' FROM device_group WHERE {asked_for}
             UNION ALL SELECT 't', device, name, '' FROM device_tag WHERE {asked_for}"
        );
        let read = |row: &Row<'_>| row.try_into();
        for (what, id, name, value) in self.rows(&sql, [which.key()], read)? {
            let (what, id, name, value): (Box<str>, Box<str>, Box<str>, Box<str>) =
                (what, id, name, value);
            let place = places.get(&id).and_then(|place| devices.get_mut(*place));
            let Some(Device { labels, .. }) = place else {
                continue;
            };
            match &*what {
                "a" => drop(labels.attributes.insert(name, value)),
                "g" => drop(labels.groups.insert(name)),
                _ => drop(labels.tags.insert(name)),
            }
        }
        Ok(())
    }
}

/// Reads the columns `id, kind, created, removed` and those of a certificate.
fn read_device(row: &Row<'_>, now: UnixTime) -> Result<Device, RegistryError> {
    let columns: rusqlite::Result<(String, String, i64, Option<i64>)> = row.try_into();
    let (id, kind, added, removed) = columns.map_err(RegistryError::doing("read"))?;
    let kind = Kind::parse(&kind).ok_or(RegistryError::Damaged)?;
    let id = DeviceId::parse(&id).map_err(|_| RegistryError::Damaged)?;
    let certificate = read_certificate(row, 4)?;
    let state = match certificate {
        _ if removed.is_some() => DeviceState::Removed,
        None => DeviceState::New,
        Some(certificate) if certificate.not_after < now => DeviceState::Expired,
        Some(_) => DeviceState::Active,
    };
    Ok(Device {
        subject: Subject { kind, id },
        state,
        added: time(added)?,
        certificate,
        revoked: None,
        suspended: None,
        labels: Labels::default(),
    })
}

/// Reads the columns `serial, not_before, not_after` and the number of the issuer, beginning with
/// the one at `first`.
fn read_certificate(
    row: &Row<'_>,
    first: usize,
) -> Result<Option<CurrentCertificate>, RegistryError> {
    let serial: Option<Vec<u8>> = row.get(first).map_err(RegistryError::doing("read"))?;
    let Some(serial) = serial else {
        return Ok(None);
    };
    let columns = || -> rusqlite::Result<(i64, i64, Option<u32>)> {
        Ok((
            row.get(first + 1)?,
            row.get(first + 2)?,
            row.get(first + 3)?,
        ))
    };
    let (not_before, not_after, issuer) = columns().map_err(RegistryError::doing("read"))?;
    Ok(Some(CurrentCertificate {
        serial: Serial::from_octets(&serial).map_err(RegistryError::Unreadable)?,
        not_before: time(not_before)?,
        not_after: time(not_after)?,
        device_ca: issuer.ok_or(RegistryError::Damaged)?,
    }))
}

pub(super) fn time(seconds: i64) -> Result<UnixTime, RegistryError> {
    let seconds = u64::try_from(seconds).map_err(|_| RegistryError::Damaged)?;
    Ok(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
}
