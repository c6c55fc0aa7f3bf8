//! Why: who was turned away or cut off of late, and for what reason.

use super::Operator;
use crate::refusals::{Asked, Code, Refusal};
use certs::admin::{PAGE_LEN_MAX, RefusalRow, UnknownFilter, UnknownPage, UnknownRow, Why};
use certs::{Serial, Subject};

impl Operator {
    /// The refusals of somebody, the newest first.
    pub(crate) fn why(&self, asked: &Why) -> Vec<RefusalRow> {
        let refusals = &self.door.refusals;
        let len_max = usize::try_from(PAGE_LEN_MAX).unwrap_or(usize::MAX);
        let found = match asked {
            Why::Device(name) => refusals.why(&Asked::Name(name.clone())),
            Why::Serial(serial) => refusals.why(&Asked::Name(serial.to_string())),
            Why::Sha256(sha256) => refusals.why(&Asked::Name(sha256.to_string())),
            Why::Address(address) => refusals.why(&Asked::Address(*address)),
            Why::Anybody => refusals.latest(len_max),
        };
        found.iter().take(len_max).map(row).collect()
    }

    /// Devices that were refused because the registry does not have them, the newest first.
    pub(crate) fn unknown(&self, filter: &UnknownFilter) -> UnknownPage {
        let refused = self.door.refusals.latest(usize::MAX);
        let unknown = refused
            .iter()
            .filter(|it| it.reason.code == Code::UnknownDevice);
        let mut devices: Vec<UnknownRow> = Vec::new();
        for refusal in unknown {
            let Some(row) = unknown_row(refusal) else {
                continue;
            };
            match devices.iter_mut().find(|it| it.sha256 == row.sha256) {
                // It came from somewhere else, too, and longer ago.
                Some(known) => {
                    known.first = known.first.min(row.first);
                    known.count += row.count;
                }
                None => devices.push(row),
            }
        }
        let total = devices.len() as u64;
        let limit = filter.limit.unwrap_or(PAGE_LEN_MAX).min(PAGE_LEN_MAX);
        devices.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        UnknownPage { total, devices }
    }
}

fn row(refusal: &Refusal) -> RefusalRow {
    let whom = &refusal.whom;
    RefusalRow {
        time: refusal.at_ms / 1000,
        address: refusal.peer.ip(),
        device: whom.device.as_deref().map(str::to_owned),
        serial: whom.serial.as_deref().and_then(Serial::parse),
        sha256: whom.sha256.as_deref().map(str::to_owned),
        reason: name_of(refusal.reason.code),
        words: refusal.reason.words.to_string(),
    }
}

/// The name that JSON has for it.
fn name_of(code: Code) -> String {
    let value = serde_json::to_value(code).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}

fn unknown_row(refusal: &Refusal) -> Option<UnknownRow> {
    Some(UnknownRow {
        device: Subject::parse(refusal.whom.device.as_deref()?)?,
        sha256: refusal.whom.sha256.as_deref()?.to_owned(),
        address: refusal.peer.ip(),
        first: refusal.first_at_ms / 1000,
        last: refusal.at_ms / 1000,
        count: refusal.count,
    })
}
