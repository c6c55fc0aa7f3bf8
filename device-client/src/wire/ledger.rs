//! Which packet id each message is under way with, written down before the broker can see it.
//!
//! The library below says what its session consists of before anything of it is sent; what is new
//! in it goes into the outbox on disk. Speech waits for that record where a message must not arrive
//! twice: for its packet id before PUBLISH, and for its PUBREC before PUBREL [MQTT-4.3.3-2].

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Ticket;
use super::adopt::Seen;
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
    /// Messages of the broker whose release is awaited.
    incoming: Vec<u16>,
}

#[derive(Debug)]
struct UnderWay {
    message: Message,
    is_received: bool,
}

/// A message, as it must be known again.
#[derive(Debug)]
struct Message {
    ticket: Ticket,
    publish: Publish,
}

/// A message that was under way when a connection, or a life of the device, ended.
#[derive(Clone, Debug)]
pub(crate) struct Restored {
    pub(crate) ticket: Ticket,
    pub(crate) packet_id: u16,
    pub(crate) is_received: bool,
    pub(crate) publish: Publish,
}

impl Ledger {
    pub(crate) fn new(writer: Writer, restored: Vec<Restored>) -> Self {
        let under_way = restored.into_iter().map(|restored| {
            let (ticket, publish) = (restored.ticket, restored.publish);
            let under_way = UnderWay {
                message: Message { ticket, publish },
                is_received: restored.is_received,
            };
            (restored.packet_id, under_way)
        });
        let pages = Pages {
            under_way: under_way.collect(),
            ..Pages::default()
        };
        Self {
            writer,
            pages: Mutex::new(pages),
        }
    }

    /// What is under way, in the order in which it was accepted [MQTT-4.6.0-1].
    pub(super) fn under_way(&self) -> Vec<Restored> {
        let pages = self.pages();
        let under_way = pages
            .under_way
            .iter()
            .map(|(packet_id, under_way)| Restored {
                ticket: under_way.message.ticket,
                packet_id: *packet_id,
                is_received: under_way.is_received,
                publish: under_way.message.publish.clone(),
            });
        let mut under_way: Vec<_> = under_way.collect();
        under_way.sort_by_key(|restored| restored.ticket.id);
        under_way
    }

    /// What the broker has sent at quality of service 2 and not released.
    pub(super) fn incoming(&self) -> Vec<u16> {
        self.pages().incoming.clone()
    }

    pub(super) fn is_under_way(&self, ticket: Ticket) -> bool {
        let pages = self.pages();
        pages
            .under_way
            .values()
            .any(|it| it.message.ticket == ticket)
    }

    pub(super) fn handed_over(&self, ticket: Ticket, publish: &Publish) {
        if publish.qos != QoS::AtMostOnce {
            let publish = publish.clone();
            self.pages().handed.push_back(Message { ticket, publish });
        }
    }

    /// What was handed over and never got a packet id is forgotten.
    pub(super) fn connection_lost(&self) {
        self.pages().handed.clear();
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
    pub(super) fn saw<'a>(
        &self,
        incoming: impl Iterator<Item = u16>,
        under_way: impl Iterator<Item = Seen<'a>>,
    ) {
        let mut pages = self.pages();
        pages.incoming.clear();
        pages.incoming.extend(incoming);
        let mut before = std::mem::take(&mut pages.under_way);
        for seen in under_way {
            let (packet_id, under_way) = match seen {
                Seen::Publish { packet_id, .. } => {
                    let known = before.remove(&packet_id);
                    (packet_id, self.saw_publish(seen, known, &mut pages))
                }
                Seen::Release(packet_id) => {
                    let known = before.remove(&packet_id);
                    (packet_id, self.saw_release(known))
                }
            };
            if let Some(under_way) = under_way {
                pages.under_way.insert(packet_id, under_way);
            }
        }
    }

    fn saw_publish(
        &self,
        seen: Seen<'_>,
        known: Option<UnderWay>,
        pages: &mut Pages,
    ) -> Option<UnderWay> {
        let Seen::Publish {
            packet_id,
            duplicate,
            topic,
            payload,
        } = seen
        else {
            return known;
        };
        // One that was sent before is the one that had this packet id before.
        if known
            .as_ref()
            .is_some_and(|known| duplicate || known.message.is(topic, payload))
        {
            return known;
        }
        // What stands before it was refused without a packet id.
        let message = loop {
            let message = pages.handed.pop_front()?;
            if message.is(topic, payload) {
                break message;
            }
        };
        let durable = match message.publish.qos {
            QoS::ExactlyOnce => Durable::BeforeSpeech,
            QoS::AtLeastOnce | QoS::AtMostOnce => Durable::Sometime,
        };
        let id = message.ticket.id;
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
            let id = known.message.ticket.id;
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
    fn is(&self, topic: &[u8], payload: &[u8]) -> bool {
        self.publish.topic.as_bytes() == topic && self.publish.payload == payload
    }
}
