//! A session that is adopted, in the terms of the library.

use std::pin::Pin;

use rumqttc::{
    PersistedAckMode, PersistedIncomingQos2, PersistedPubRel, PersistedPublish,
    PersistedPublishProperties, PersistedQoS, PersistedRequest, PersistedSession, SessionStore,
    SessionStoreError, SessionStoreKey,
};

use super::translate;
use crate::message::{Publish, QoS};
use crate::wire::adopt::{Adopted, Seen, Sent};

type Stored<'a, T> = Pin<Box<dyn Future<Output = Result<T, SessionStoreError>> + Send + 'a>>;

/// Stands in for a store of sessions.
#[derive(Debug)]
pub(super) struct Store(pub(super) Adopted);

impl Store {
    fn session(&self, client_id: &str) -> PersistedSession {
        let Self(adopted) = self;
        let (last_puback, last_pkid) = adopted.between();
        PersistedSession {
            format_version: 1,
            client_id: client_id.into(),
            clean_start: false,
            session_expiry_interval: None,
            outgoing_inflight_upper_limit: Some(adopted.packet_id_max),
            ack_mode: PersistedAckMode::Manual,
            last_pkid,
            last_puback,
            replay: adopted.to_send().map(request).collect(),
            incoming_qos2: adopted
                .incoming()
                .into_iter()
                .map(|pkid| PersistedIncomingQos2 { pkid })
                .collect(),
        }
    }
}

fn request(sent: Sent<'_>) -> PersistedRequest {
    match sent {
        Sent::Release(pkid) => PersistedRequest::PubRel(PersistedPubRel { pkid }),
        Sent::Publish(pkid, publish) => PersistedRequest::Publish(persisted(pkid, publish)),
    }
}

fn persisted(pkid: u16, publish: &Publish) -> PersistedPublish {
    let packet = translate::publish(publish);
    let properties = packet
        .properties
        .map(|properties| PersistedPublishProperties {
            payload_format_indicator: properties.payload_format_indicator,
            message_expiry_interval: properties.message_expiry_interval,
            response_topic: properties.response_topic,
            correlation_data: properties.correlation_data.map(Into::into),
            user_properties: properties.user_properties,
            subscription_identifiers: Vec::new(),
            content_type: properties.content_type,
        });
    PersistedPublish {
        // Whether it was sent is not known; a broker that has it must know it for the same.
        dup: true,
        qos: match publish.qos {
            QoS::AtMostOnce => PersistedQoS::AtMostOnce,
            QoS::AtLeastOnce => PersistedQoS::AtLeastOnce,
            QoS::ExactlyOnce => PersistedQoS::ExactlyOnce,
        },
        retain: packet.retain,
        topic: packet.topic.into(),
        pkid,
        payload: packet.payload.into(),
        properties,
    }
}

impl SessionStore for Store {
    fn load<'a>(&'a self, key: &'a SessionStoreKey) -> Stored<'a, Option<PersistedSession>> {
        Box::pin(async { Ok(Some(self.session(key.client_id()))) })
    }

    fn save<'a>(&'a self, _: &'a SessionStoreKey, session: &'a PersistedSession) -> Stored<'a, ()> {
        let requests = session.replay.iter().filter_map(|request| match request {
            PersistedRequest::Publish(publish) => Some(Seen::Publish {
                packet_id: publish.pkid,
                duplicate: publish.dup,
                topic: &publish.topic,
                payload: &publish.payload,
            }),
            PersistedRequest::PubRel(release) => Some(Seen::Release(release.pkid)),
            PersistedRequest::Subscribe(_) | PersistedRequest::Unsubscribe(_) => None,
        });
        let incoming = session.incoming_qos2.iter().map(|it| it.pkid);
        self.0.saw(incoming, requests);
        Box::pin(async { Ok(()) })
    }

    fn clear<'a>(&'a self, _: &'a SessionStoreKey) -> Stored<'a, ()> {
        Box::pin(async { Ok(()) })
    }
}
