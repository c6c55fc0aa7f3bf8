//! What operators say of devices: that there are such, attributes, groups and tags.
//!
//! An id is claimed once, in one spelling; nothing said here changes what a certificate means.

use std::collections::{BTreeMap, BTreeSet};

use certs::{InvalidLabel, Kind, LABELS_MAX, Subject, check_name, check_value};
use rusqlite::{OptionalExtension, Transaction, params};
use rustls_pki_types::UnixTime;

use super::enrolment::end_enrolments;
use super::{Again, Registry, RegistryError};

/// What is said of a device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    /// Names with values, which policies see.
    pub attributes: BTreeMap<Box<str>, Box<str>>,
    /// Groups, which policies see.
    pub groups: BTreeSet<Box<str>>,
    /// Tags, for operators alone.
    pub tags: BTreeSet<Box<str>>,
}

/// What shall be said of a device, and what no longer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelChange {
    /// Set, in the place of what had the same name.
    pub set: Labels,
    /// The names of attributes to take away.
    pub without_attributes: BTreeSet<Box<str>>,
    /// Groups to leave.
    pub without_groups: BTreeSet<Box<str>>,
    /// Tags to take away.
    pub without_tags: BTreeSet<Box<str>>,
}

impl Labels {
    /// Checks every name and value.
    pub(crate) fn check(&self) -> Result<(), InvalidLabel> {
        let names = self.attributes.keys().chain(&self.groups).chain(&self.tags);
        names.into_iter().try_for_each(|name| check_name(name))?;
        self.attributes
            .values()
            .try_for_each(|value| check_value(value))
    }
}

impl Registry {
    /// Takes a device into the inventory, and says whether it was not there.
    pub(crate) fn add_device(
        &mut self,
        subject: &Subject,
        labels: &Labels,
        now: UnixTime,
    ) -> Result<bool, RegistryError> {
        self.transact(|transaction| {
            let known = is_listed(transaction, subject)?;
            claim(transaction, (subject.kind, subject.id.as_str()), now)?;
            set_labels(transaction, subject, labels)?;
            Ok(!known)
        })
    }

    /// Changes what is said of a device; `false` when there is no such device.
    pub(crate) fn label_device(
        &mut self,
        subject: &Subject,
        change: &LabelChange,
    ) -> Result<bool, RegistryError> {
        self.transact(|transaction| {
            if !is_listed(transaction, subject)? {
                return Ok(false);
            }
            for (table, names) in [
                ("device_attribute", &change.without_attributes),
                ("device_group", &change.without_groups),
                ("device_tag", &change.without_tags),
            ] {
                let sql = format!("DELETE FROM {table} WHERE device = ? AND name = ?");
                for name in names {
                    let keys = [subject.id.as_str(), name];
                    let deleted = transaction.execute(&sql, keys);
                    deleted.map_err(RegistryError::doing("write"))?;
                }
            }
            set_labels(transaction, subject, &change.set)?;
            Ok(true)
        })
    }

    /// Takes a device out of the inventory, with all that was said of it; `false` when there is no
    /// such device.
    pub(crate) fn remove_device(
        &mut self,
        subject: &Subject,
        now: UnixTime,
    ) -> Result<bool, RegistryError> {
        self.transact(|transaction| {
            if !is_listed(transaction, subject)? {
                return Ok(false);
            }
            refuse_in_use(transaction, subject, now)?;
            end_enrolments(transaction, subject, now)?;
            for sql in [
                "DELETE FROM device_attribute WHERE device = ?1 AND ?2",
                "DELETE FROM device_group WHERE device = ?1 AND ?2",
                "DELETE FROM device_tag WHERE device = ?1 AND ?2",
                "UPDATE device SET removed = ?2 WHERE id = ?1",
            ] {
                let values = params![subject.id.as_str(), now.as_secs().cast_signed()];
                let executed = transaction.execute_again(sql, values);
                executed.map_err(RegistryError::doing("write"))?;
            }
            Ok(true)
        })
    }
}

/// Makes sure that `id` is on record as that of a `kind`, and in the inventory.
pub(super) fn claim(
    transaction: &Transaction<'_>,
    (kind, asked): (Kind, &str),
    now: UnixTime,
) -> Result<(), RegistryError> {
    let kind = kind.as_str();
    let claim = || {
        let sql = "INSERT INTO device (id, kind, created) VALUES (?, ?, ?)
                   ON CONFLICT (id) DO UPDATE SET removed = NULL RETURNING id, kind";
        let values = params![asked, kind, now.as_secs().cast_signed()];
        transaction.query_row_again(sql, values, |row| row.try_into())
    };
    let (id, kind_found): (String, String) = claim().map_err(RegistryError::doing("write"))?;
    if (&*id, &*kind_found) == (asked, kind) {
        return Ok(());
    }
    let holder = format!("the {kind_found} {id}").into();
    Err(RegistryError::IdTaken {
        asked: asked.into(),
        holder,
    })
}

/// Says more of a device, up to what a device can have.
pub(super) fn set_labels(
    transaction: &Transaction<'_>,
    subject: &Subject,
    labels: &Labels,
) -> Result<(), RegistryError> {
    let id = subject.id.as_str();
    for (name, value) in &labels.attributes {
        let sql = "INSERT INTO device_attribute (device, name, value) VALUES (?, ?, ?)
                   ON CONFLICT (device, name) DO UPDATE SET value = excluded.value";
        let set = transaction.execute_again(sql, params![id, name, value]);
        set.map_err(RegistryError::doing("write"))?;
    }
    for (table, names) in [
        ("device_group", &labels.groups),
        ("device_tag", &labels.tags),
    ] {
        let sql = format!("INSERT INTO {table} VALUES (?, ?) ON CONFLICT DO NOTHING");
        for name in names {
            let set = transaction.execute_again(&sql, params![id, name]);
            set.map_err(RegistryError::doing("write"))?;
        }
    }
    check_count(transaction, id)
}

fn check_count(transaction: &Transaction<'_>, id: &str) -> Result<(), RegistryError> {
    let sql = "SELECT max((SELECT count(*) FROM device_attribute WHERE device = ?1),
                          (SELECT count(*) FROM device_group WHERE device = ?1),
                          (SELECT count(*) FROM device_tag WHERE device = ?1))";
    let most: u32 = transaction
        .query_row_again(sql, [id], |row| row.get(0))
        .map_err(RegistryError::doing("read"))?;
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    if most <= LABELS_MAX {
        return Ok(());
    }
    Err(RegistryError::TooManyLabels {
        device: id.into(),
        source: InvalidLabel::TooMany(most),
    })
}

/// Whether the device is in the inventory, in this very spelling.
pub(super) fn is_listed(
    transaction: &Transaction<'_>,
    subject: &Subject,
) -> Result<bool, RegistryError> {
    // The index is found without case, and what it finds must be the very same.
    let sql = "SELECT 1 FROM device
               WHERE id = ?1 AND id = ?1 COLLATE BINARY AND kind = ?2 AND removed IS NULL";
    let keys = [subject.id.as_str(), subject.kind.as_str()];
    let found = transaction
        .query_row_again(sql, keys, |_| Ok(()))
        .optional();
    found
        .map(|found| found.is_some())
        .map_err(RegistryError::doing("read"))
}

fn refuse_in_use(
    transaction: &Transaction<'_>,
    subject: &Subject,
    now: UnixTime,
) -> Result<(), RegistryError> {
    let id = subject.id.as_str();
    let sql = "SELECT batch FROM batch_row
               WHERE device = ? AND state IN ('waiting', 'recorded')";
    let batch: Option<Box<str>> = transaction
        .query_row_again(sql, [id], |row| row.get(0))
        .optional()
        .map_err(RegistryError::doing("read"))?;
    if let Some(batch) = batch {
        let device = id.into();
        return Err(RegistryError::InBatch { device, batch });
    }
    let sql = "SELECT count(*) FROM certificate
               WHERE device = ? AND status IN ('issued', 'superseded') AND not_after >= ?";
    let counting: u32 = transaction
        .query_row_again(sql, params![id, now.as_secs().cast_signed()], |row| {
            row.get(0)
        })
        .map_err(RegistryError::doing("read"))?;
    if counting == 0 {
        return Ok(());
    }
    Err(RegistryError::HoldsCertificate(id.into()))
}
