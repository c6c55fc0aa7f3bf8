//! Taking over a session that the broker kept from an earlier life of this device.
//!
//! What an outbox on disk has kept of it goes on under its packet ids. All else is gone, and a
//! broker may hold packet ids of messages that were under way at quality of service 2. A new
//! message under such an id would be taken for a duplicate and swallowed, so each other id we may
//! use is released first: the broker completes what it has, and answers 0x92 where it has nothing,
//! which is no error during recovery (MQTT 5.0 §3.7.2.1).

use std::sync::Arc;

use rumqttc::{
    PersistedAckMode, PersistedPubRel, PersistedRequest, PersistedSession, SessionStore,
    SessionStoreKey,
};

use super::ledger::{Ledger, Restored};

type Stored<'a, T> =
    std::pin::Pin<Box<dyn Future<Output = Result<T, rumqttc::SessionStoreError>> + Send + 'a>>;

/// Stands in for a store of sessions.
#[derive(Debug)]
pub(super) struct Adopted {
    /// The highest packet id that messages may get.
    packet_id_max: u16,
    others: Others,
    /// Where packet ids are written down, if anywhere.
    ledger: Option<Arc<Ledger>>,
    /// What goes on.
    under_way: Vec<Restored>,
}

/// What is known of the packet ids under which nothing of ours is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Others {
    /// An earlier life may have used them.
    Unknown,
    /// The broker has nothing under them.
    Free,
}

impl Adopted {
    pub(super) fn new(packet_id_max: u16, others: Others, ledger: Option<Arc<Ledger>>) -> Self {
        let under_way = ledger.iter().flat_map(|ledger| ledger.under_way());
        Self {
            packet_id_max,
            others,
            under_way: under_way.collect(),
            ledger,
        }
    }

    fn session(&self, client_id: &str) -> PersistedSession {
        let release = |pkid| PersistedRequest::PubRel(PersistedPubRel { pkid });
        let is_ours = |id: &u16| self.under_way.iter().any(|ours| ours.packet_id == *id);
        let others = match self.others {
            Others::Unknown => self.packet_id_max,
            Others::Free => 0,
        };
        let others = (1..=others).filter(|id| !is_ours(id));
        let ours = self.under_way.iter().map(Restored::request);
        let incoming = self.ledger.iter().flat_map(|ledger| ledger.incoming());
        PersistedSession {
            format_version: 1,
            client_id: client_id.into(),
            clean_start: false,
            session_expiry_interval: None,
            outgoing_inflight_upper_limit: Some(self.packet_id_max),
            ack_mode: PersistedAckMode::Manual,
            last_pkid: self.last_packet_id() % self.packet_id_max,
            last_puback: self.first_packet_id() - 1,
            replay: others.map(release).chain(ours).collect(),
            incoming_qos2: incoming.collect(),
        }
    }
}

/// Should this session be resumed once more, it is sent again in the order of its packet ids from
/// the first on; so those that follow must follow the last [MQTT-4.6.0-1].
impl Adopted {
    fn first_packet_id(&self) -> u16 {
        self.under_way.first().map_or(1, |first| first.packet_id)
    }

    fn last_packet_id(&self) -> u16 {
        self.under_way.last().map_or(0, |last| last.packet_id)
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
