//! Taking over a session that the broker kept from an earlier life of this device.
//!
//! What an outbox on disk has kept of it goes on under its packet ids. All else is gone, and a broker
//! may hold packet ids of messages that were under way at quality of service 2. A new message under
//! such an id would be taken for a duplicate and swallowed, so each other id we may use is released
//! first: the broker completes what it has, and answers 0x92 where it has nothing, which is no error
//! during recovery (MQTT 5.0 §3.7.2.1).

use std::sync::Arc;

use rumqttc::{
    PersistedAckMode, PersistedPubRel, PersistedRequest, PersistedSession, SessionStore,
    SessionStoreKey,
};

use super::ledger::{Ledger, Restored};

type Stored<'a, T> =
    std::pin::Pin<Box<dyn Future<Output = Result<T, rumqttc::SessionStoreError>> + Send + 'a>>;

/// Stands in for a store of sessions until the first connection is up.
#[derive(Debug)]
pub(super) struct Adopted {
    /// The highest packet id that messages may get.
    packet_id_max: u16,
    /// Where packet ids are written down, if anywhere.
    ledger: Option<Arc<Ledger>>,
    /// What was under way when the last life ended.
    restored: Vec<Restored>,
}

impl Adopted {
    pub(super) fn new(packet_id_max: u16, ledger: Option<Arc<Ledger>>) -> Self {
        let restored = ledger.iter().flat_map(|ledger| ledger.restored());
        Self {
            packet_id_max,
            restored: restored.collect(),
            ledger,
        }
    }

    fn session(&self, client_id: &str) -> PersistedSession {
        let release = |pkid| PersistedRequest::PubRel(PersistedPubRel { pkid });
        let is_ours = |id: &u16| self.restored.iter().any(|ours| ours.packet_id == *id);
        let others = (1..=self.packet_id_max).filter(|id| !is_ours(id));
        let ours = self.restored.iter().map(Restored::request);
        PersistedSession {
            format_version: 1,
            client_id: client_id.into(),
            clean_start: false,
            session_expiry_interval: None,
            outgoing_inflight_upper_limit: Some(self.packet_id_max),
            ack_mode: PersistedAckMode::Manual,
            last_pkid: 0,
            last_puback: 0,
            replay: others.map(release).chain(ours).collect(),
            incoming_qos2: Vec::new(),
        }
    }
}

impl SessionStore for Adopted {
    fn load<'a>(&'a self, key: &'a SessionStoreKey) -> Stored<'a, Option<PersistedSession>> {
        Box::pin(async { Ok(Some(self.session(key.client_id()))) })
    }

    fn save<'a>(&'a self, _: &'a SessionStoreKey, session: &'a PersistedSession) -> Stored<'a, ()> {
        if let Some(ledger) = &self.ledger {
            ledger.saw(session);
        }
        Box::pin(async { Ok(()) })
    }

    fn clear<'a>(&'a self, _: &'a SessionStoreKey) -> Stored<'a, ()> {
        Box::pin(async { Ok(()) })
    }
}
