//! Which packet id each message is under way with, written down before the broker can see it.
//!
//! The library below says what its session consists of before anything of it is sent; what is new
//! in it goes into the outbox on disk. Speech waits for that record where a message must not arrive
//! twice: for its packet id before PUBLISH, and for its PUBREC before PUBREL [MQTT-4.3.3-2].

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use rumqttc::{
    PersistedPubRel, PersistedPublish, PersistedPublishProperties, PersistedQoS, PersistedRequest,
    PersistedSession,
};

use super::{Ticket, translate};
use crate::message::{Publish, QoS};
use crate::outbox::disk::{Durable, Record, Writer};

/// The packet ids of one device.
#[derive(Debug)]
pub(crate) struct Ledger {
    pub(super) writer: Writer,
    pages: Mutex<Pages>,
}

#[derive(Debug, Default)]
struct Pages {
    /// Handed over, in this order, and not seen in the session yet.
    handed: VecDeque<Message>,
    /// By packet id.
    under_way: BTreeMap<u16, UnderWay>,
    /// Of an earlier life.
    restored: Vec<Restored>,
}

#[derive(Debug)]
struct UnderWay {
    message: Message,
    is_received: bool,
}

/// A message, as far as it must be known again.
#[derive(Clone, Debug)]
struct Message {
    id: u64,
    topic: Bytes,
    payload: Bytes,
    qos: QoS,
}

/// A message that was under way when the last life of the device ended.
#[derive(Clone, Debug)]
pub(crate) struct Restored {
    pub(crate) ticket: Ticket,
    pub(crate) packet_id: u16,
    pub(crate) is_received: bool,
    pub(crate) publish: Publish,
}

impl Ledger {
    pub(crate) fn new(writer: Writer, restored: Vec<Restored>) -> Self {
        let under_way = restored.iter().map(|restored| {
            let under_way = UnderWay {
                message: Message::new(restored.ticket.id, &restored.publish),
                is_received: restored.is_received,
            };
            (restored.packet_id, under_way)
        });
        let pages = Pages {
            handed: VecDeque::new(),
            under_way: under_way.collect(),
            restored,
        };
        Self {
            writer,
            pages: Mutex::new(pages),
        }
    }

    /// What the last life left, in the order in which it was accepted [MQTT-4.6.0-1].
    pub(super) fn restored(&self) -> Vec<Restored> {
        self.pages().restored.clone()
    }

    /// A session stands; what the last life left is part of it or gone.
    pub(super) fn came_up(&self) {
        self.pages().restored = Vec::new();
    }

    pub(super) fn handed_over(&self, id: u64, publish: &Publish) {
        if publish.qos != QoS::AtMostOnce {
            self.pages().handed.push_back(Message::new(id, publish));
        }
    }

    /// The packet ids of the session that was mean nothing any more.
    pub(super) fn session_lost(&self) {
        let mut pages = self.pages();
        if !pages.under_way.is_empty() {
            self.writer.append(Record::SessionLost, Durable::Soon, None);
        }
        *pages = Pages::default();
    }

    /// The session as it is before anything more is sent.
    pub(super) fn saw(&self, session: &PersistedSession) {
        let mut pages = self.pages();
        let mut before = std::mem::take(&mut pages.under_way);
        for request in &session.replay {
            let (packet_id, seen) = match request {
                PersistedRequest::Publish(publish) => {
                    let known = before.remove(&publish.pkid);
                    (publish.pkid, self.saw_publish(publish, known, &mut pages))
                }
                PersistedRequest::PubRel(release) => {
                    let known = before.remove(&release.pkid);
                    (release.pkid, self.saw_release(known))
                }
                PersistedRequest::Subscribe(_) | PersistedRequest::Unsubscribe(_) => continue,
            };
            if let Some(seen) = seen {
                pages.under_way.insert(packet_id, seen);
            }
        }
    }

    fn saw_publish(
        &self,
        publish: &PersistedPublish,
        known: Option<UnderWay>,
        pages: &mut Pages,
    ) -> Option<UnderWay> {
        // One that was sent before is the one that had this packet id before.
        if known
            .as_ref()
            .is_some_and(|known| publish.dup || known.message.is(publish))
        {
            return known;
        }
        // What stands before it was refused without a packet id.
        let message = loop {
            let message = pages.handed.pop_front()?;
            if message.is(publish) {
                break message;
            }
        };
        let durable = match message.qos {
            QoS::ExactlyOnce => Durable::BeforeSpeech,
            QoS::AtLeastOnce | QoS::AtMostOnce => Durable::Sometime,
        };
        let (id, packet_id) = (message.id, publish.pkid);
        self.writer
            .append(Record::Sent { id, packet_id }, durable, None);
        Some(UnderWay {
            message,
            is_received: false,
        })
    }

    fn saw_release(&self, known: Option<UnderWay>) -> Option<UnderWay> {
        let mut known = known?;
        if !known.is_received {
            let id = known.message.id;
            self.writer
                .append(Record::Received { id }, Durable::BeforeSpeech, None);
            known.is_received = true;
        }
        Some(known)
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        // Nothing panics while it is held.
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Message {
    fn new(id: u64, publish: &Publish) -> Self {
        Self {
            id,
            topic: Bytes::copy_from_slice(publish.topic.as_bytes()),
            payload: publish.payload.clone(),
            qos: publish.qos,
        }
    }

    fn is(&self, publish: &PersistedPublish) -> bool {
        self.topic == publish.topic && self.payload == publish.payload
    }
}

impl Restored {
    /// What is to be sent for it.
    pub(super) fn request(&self) -> PersistedRequest {
        let pkid = self.packet_id;
        if self.is_received {
            return PersistedRequest::PubRel(PersistedPubRel { pkid });
        }
        let packet = translate::publish(&self.publish);
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
        PersistedRequest::Publish(PersistedPublish {
            // Whether it was sent is not known; a broker that has it must know it for the same.
            dup: true,
            qos: match self.publish.qos {
                QoS::AtMostOnce => PersistedQoS::AtMostOnce,
                QoS::AtLeastOnce => PersistedQoS::AtLeastOnce,
                QoS::ExactlyOnce => PersistedQoS::ExactlyOnce,
            },
            retain: packet.retain,
            topic: packet.topic.into(),
            pkid,
            payload: packet.payload.into(),
            properties,
        })
    }
}
