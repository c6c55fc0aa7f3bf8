//! The devices that are known: those with a certificate that counts, and what is said of them.

use std::collections::BTreeMap;

use certs::{DeviceId, Kind, KnownDevice, Subject};
use rusqlite::{Params, Row};
use rustls_pki_types::UnixTime;

use super::{Registry, RegistryError};

impl Registry {
    /// Every device and application that holds a certificate neither revoked nor expired, in the
    /// order of their ids' octets, with the fingerprints of those certificates.
    pub(crate) fn known_devices(&self, now: UnixTime) -> Result<Vec<KnownDevice>, RegistryError> {
        let mut known = self.certified_devices(now)?;
        let sql = "SELECT device.id, name, value FROM device_attribute
                   JOIN device ON device.id = device_attribute.device";
        let attributes = self.rows(sql, (), |row| row.try_into())?;
        for (id, name, value) in attributes {
            let (id, name, value): (String, String, String) = (id, name, value);
            if let Some(device) = known.get_mut(&id) {
                device.attributes.insert(name.into(), value.into());
            }
        }
        let sql = "SELECT device.id, name FROM device_group
                   JOIN device ON device.id = device_group.device";
        let groups = self.rows(sql, (), |row| row.try_into())?;
        for (id, name) in groups {
            let (id, name): (String, String) = (id, name);
            if let Some(device) = known.get_mut(&id) {
                device.groups.insert(name.into());
            }
        }
        Ok(known.into_values().collect())
    }

    fn certified_devices(
        &self,
        now: UnixTime,
    ) -> Result<BTreeMap<String, KnownDevice>, RegistryError> {
        let sql = "SELECT device.id, kind, sha256 FROM certificate
                   JOIN device ON device.id = certificate.device
                   WHERE status IN ('issued', 'superseded') AND not_after >= ?
                   ORDER BY certificate.rowid";
        let key = [now.as_secs().cast_signed()];
        let rows = self.rows(sql, key, |row| row.try_into())?;
        let mut known = BTreeMap::new();
        for (id, kind, sha256) in rows {
            let (id, kind): (String, String) = (id, kind);
            let subject = || {
                let kind = Kind::parse(&kind)?;
                Some(Subject {
                    kind,
                    id: DeviceId::parse(&id).ok()?,
                })
            };
            let device = KnownDevice::new(subject().ok_or(RegistryError::Damaged)?);
            known.entry(id).or_insert(device).certificates.push(sha256);
        }
        Ok(known)
    }

    pub(super) fn rows<T>(
        &self,
        sql: &str,
        keys: impl Params,
        read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, RegistryError> {
        let all = || -> rusqlite::Result<Vec<T>> {
            self.connection
                .prepare(sql)?
                .query_map(keys, |row| read(row))?
                .collect()
        };
        all().map_err(RegistryError::doing("read"))
    }
}
