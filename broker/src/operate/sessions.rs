//! Sessions: who is there, a page at a time.

use super::Operator;
use crate::engine::SessionView;
use certs::admin::{PAGE_LEN_MAX, SessionFilter, SessionPage, SessionRow};
use protocol::packet::Version;

impl Operator {
    /// Those sessions that match, in the order of device and client id.
    pub(crate) fn sessions(&self, filter: &SessionFilter) -> SessionPage {
        let mut rows = Vec::new();
        for shard in self.shards.all() {
            shard.look(|engine| {
                let matching = engine.sessions().filter(|it| matches(it, filter));
                rows.extend(matching.map(|it| row(&it)));
            });
        }
        rows.sort_by_cached_key(place);
        let total = rows.len() as u64;
        if let Some(after) = &filter.after {
            rows.retain(|row| place(row) > *after);
        }
        let limit = filter.limit.unwrap_or(PAGE_LEN_MAX).clamp(1, PAGE_LEN_MAX);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = rows.len() > limit;
        rows.truncate(limit);
        SessionPage {
            total,
            more: rows.last().filter(|_| more).map(place),
            sessions: rows,
        }
    }
}

/// What pages are ordered by.
fn place(row: &SessionRow) -> String {
    format!("{} {}", row.device, row.client)
}

fn matches(session: &SessionView<'_>, filter: &SessionFilter) -> bool {
    let key = session.key;
    let is_connected = session.connected.is_some();
    filter.device.as_ref().is_none_or(|it| *it == key.subject)
        && filter
            .client
            .as_ref()
            .is_none_or(|it| **it == *key.client_id)
        && filter.connected.is_none_or(|it| it == is_connected)
}

fn name_of(version: Version) -> String {
    let name = match version {
        Version::V311 => "3.1.1",
        Version::V5 => "5.0",
    };
    name.to_owned()
}

fn row(session: &SessionView<'_>) -> SessionRow {
    let device = session.connected.map(|(_, device)| device);
    SessionRow {
        device: session.key.subject.clone(),
        client: session.key.client_id.escape_debug().to_string(),
        address: session.peer,
        since: session.since.millis() / 1000,
        mqtt: session.version.map_or_else(String::new, name_of),
        serial: device.map(certs::VerifiedDevice::serial),
        not_after: device.map(|it| it.not_after().as_secs()),
        subscriptions: session.subscriptions_len as u64,
        queued: session.queue_len as u64,
    }
}
