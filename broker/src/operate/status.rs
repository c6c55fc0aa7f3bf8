//! Status: how the broker is.

use super::Operator;
use certs::admin::{ListState, ListStatus, ListenerStatus, RegistryStatus, Status};
use certs::{Freshness, RegistryExport};
use rustls_pki_types::UnixTime;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

/// Whose certificate ends within this time is named.
const SOON: Duration = Duration::from_hours(24);

impl Operator {
    /// How the broker is.
    pub(crate) async fn status(&self) -> Status {
        let state = self.state.lock().await;
        let standing = state.beliefs.standing();
        let now = UnixTime::now();
        let revoked = &standing.revoked;
        let lists = revoked.lists().map(|list| ListStatus {
            id: list.id().clone(),
            number: list.number(),
            entries: list.len() as u64,
            this_update: list.this_update().as_secs(),
            next_update: list.next_update().as_secs(),
            state: match list.freshness(now) {
                Freshness::Fresh => ListState::Fresh,
                Freshness::NotYet { .. } => ListState::NotYet,
                Freshness::Stale { since } if since > standing.stale_grace => ListState::Refusing,
                Freshness::Stale { .. } => ListState::Stale,
            },
        });
        let own = revoked.own_subjects().count() + revoked.own_certificates().count();
        let mut status = Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: seconds(self.started),
            now: now.as_secs(),
            listeners: self.listeners(),
            connections: self.door.counters.open.load(Ordering::Relaxed) as u64,
            sessions: self.count_sessions(),
            revocation_lists: lists.collect(),
            own_revocations: own as u64,
            registry: standing.registry.as_ref().map(|it| registry_status(it)),
            policy_generation: state.policy_generation,
            warnings: Vec::new(),
        };
        drop(state);
        status.warnings = self.warnings(&status, now);
        status
    }

    fn listeners(&self) -> Vec<ListenerStatus> {
        let each = self.addresses.iter().zip(&self.generations);
        let status = each.map(|(address, live)| {
            let not_after = live.get().not_after();
            ListenerStatus {
                name: address.to_string(),
                address: *address,
                tls_generation: live.replaced(),
                not_after: not_after.map_or(0, |it| it.as_secs()),
            }
        });
        status.collect()
    }

    fn count_sessions(&self) -> u64 {
        let shards = self.shards.all();
        shards
            .map(|shard| shard.look(|engine| engine.sessions_len() as u64))
            .sum()
    }

    fn warnings(&self, status: &Status, now: UnixTime) -> Vec<String> {
        let mut warnings = Vec::new();
        for list in &status.revocation_lists {
            match list.state {
                ListState::Fresh => {}
                ListState::NotYet => warnings.push(format!(
                    "revocation list {}: made in the future; is the clock right?",
                    list.id
                )),
                ListState::Stale => warnings.push(format!(
                    "revocation list {}: out of date; once the grace is over nobody new is let in",
                    list.id
                )),
                ListState::Refusing => warnings.push(format!(
                    "revocation list {}: out of date for too long; nobody new is let in",
                    list.id
                )),
            }
        }
        let soon = now.as_secs() + SOON.as_secs();
        for listener in status.listeners.iter().filter(|it| it.not_after < soon) {
            let name = &listener.name;
            warnings.push(format!("our certificate at {name} ends within a day"));
        }
        let ending = self.ending_by(soon);
        if ending > 0 {
            warnings.push(format!(
                "the certificates of {ending} connected devices end within a day"
            ));
        }
        warnings
    }

    /// How many are here whose certificate ends by then.
    fn ending_by(&self, seconds: u64) -> usize {
        let shards = self.shards.all();
        let ending = |engine: &crate::engine::Engine| {
            let connected = engine.sessions().filter_map(|it| it.connected);
            connected
                .filter(|(_, device)| device.not_after().as_secs() < seconds)
                .count()
        };
        shards.map(|shard| shard.look(ending)).sum()
    }
}

fn registry_status(export: &RegistryExport) -> RegistryStatus {
    let header = export.header();
    RegistryStatus {
        number: header.number,
        devices: export.devices().len() as u64,
        created: header.created.as_secs(),
        next_update: header.next_update.as_secs(),
    }
}

fn seconds(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |it| it.as_secs())
}
