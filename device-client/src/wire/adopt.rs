//! Taking over a session that the broker kept from an earlier life of this device.
//!
//! Our side of it is gone, and a broker may hold packet ids of messages that were under way at
//! quality of service 2. A new message under such an id would be taken for a duplicate and
//! swallowed, so each id we may use is released first: the broker completes what it has, and
//! answers 0x92 where it has nothing, which is no error during recovery (MQTT 5.0 §3.7.2.1).

use rumqttc::{
    MqttOptions, PersistedAckMode, PersistedPubRel, PersistedRequest, PersistedSession,
    SessionStore, SessionStoreKey,
};

type Stored<'a, T> =
    std::pin::Pin<Box<dyn Future<Output = Result<T, rumqttc::SessionStoreError>> + Send + 'a>>;

/// Stands in for a store of sessions until the first connection is up.
#[derive(Debug)]
pub(super) struct Adopted {
    /// The highest packet id that messages may get.
    packet_id_max: u16,
}

impl Adopted {
    pub(super) fn install(options: &mut MqttOptions, packet_id_max: u16) {
        options.set_session_store(Self { packet_id_max });
    }

    fn session(&self, client_id: &str) -> PersistedSession {
        let release = |pkid| PersistedRequest::PubRel(PersistedPubRel { pkid });
        PersistedSession {
            format_version: 1,
            client_id: client_id.into(),
            clean_start: false,
            session_expiry_interval: None,
            outgoing_inflight_upper_limit: Some(self.packet_id_max),
            ack_mode: PersistedAckMode::Manual,
            last_pkid: 0,
            last_puback: 0,
            replay: (1..=self.packet_id_max).map(release).collect(),
            incoming_qos2: Vec::new(),
        }
    }
}

impl SessionStore for Adopted {
    fn load<'a>(&'a self, key: &'a SessionStoreKey) -> Stored<'a, Option<PersistedSession>> {
        Box::pin(async { Ok(Some(self.session(key.client_id()))) })
    }

    fn save<'a>(&'a self, _: &'a SessionStoreKey, _: &'a PersistedSession) -> Stored<'a, ()> {
        Box::pin(async { Ok(()) })
    }

    fn clear<'a>(&'a self, _: &'a SessionStoreKey) -> Stored<'a, ()> {
        Box::pin(async { Ok(()) })
    }
}
