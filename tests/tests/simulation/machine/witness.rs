//! A witness: sees what is recorded and what is said, and that the one is durable before the
//! other.

use crate::machine::plant::{DURABLE, Forger, Plant};
use crate::model::truth::{MessageId, said};
use broker::engine::{Load, Record, Restored, SessionNumber};
use broker::storage::{Durable, Position, Storage, StorageError};
use protocol::packet::{Packet, PacketId, QoS};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// The storage of a shard, with somebody who sees what it is given.
pub(crate) struct Witness {
    pub(crate) storage: Durable,
    pub(crate) seen: Arc<Mutex<Seen>>,
    pub(crate) plant: Option<Plant>,
    pub(crate) forger: Forger,
}

/// What was recorded, and where.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Up to where the storage has said that everything is durable.
    pub(crate) durable: Position,
    is_believed: bool,
    sessions: BTreeMap<String, SessionNumber>,
    begun: BTreeMap<String, Position>,
    messages: BTreeMap<MessageId, Position>,
    identifiers: BTreeMap<(What, SessionNumber, PacketId), Position>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Accepted,
    Released,
    Sent,
    Received,
}

impl Storage for Witness {
    fn append(&mut self, records: &mut Vec<Record>) -> Result<Position, StorageError> {
        let seen = records.clone();
        let mut speaks_early = false;
        if let Some(plant) = self.plant {
            speaks_early = plant.speaks_early(records);
            self.forger.spoil(plant, records);
        }
        let position = self.storage.append(records)?;
        self.seen.lock().unwrap().see(&seen, position);
        Ok(if speaks_early { DURABLE } else { position })
    }

    fn durable(&self) -> Position {
        self.storage.durable()
    }

    fn is_behind(&self) -> bool {
        self.storage.is_behind()
    }

    fn load(&mut self, loads: &mut Vec<Load>) {
        self.storage.load(loads);
    }
}

impl Seen {
    /// What is there at the start.
    pub(crate) fn of(restored: &Restored, is_believed: bool) -> Self {
        let sessions = restored.sessions.iter();
        Self {
            is_believed,
            sessions: sessions
                .map(|it| (it.key.client_id.as_str().to_owned(), it.number))
                .collect(),
            ..Self::default()
        }
    }

    fn see(&mut self, records: &[Record], position: Position) {
        for record in records {
            match record {
                Record::SessionCreated { session, key, .. } => {
                    let name = key.client_id.as_str().to_owned();
                    self.begun.insert(name.clone(), position);
                    self.sessions.insert(name, *session);
                }
                Record::SessionResumed { session, .. } => {
                    self.note_begun(*session, position);
                }
                Record::SessionEnded { session } => {
                    self.note_begun(*session, position);
                    self.sessions.retain(|_, number| number != session);
                }
                Record::Message { message, .. } | Record::Retained { message } => {
                    if let Some(id) = said(message.payload()) {
                        self.messages.entry(id).or_insert(position);
                    }
                }
                Record::Accepted { session, packet_id } => {
                    self.note(What::Accepted, *session, (*packet_id, position));
                }
                Record::Released { session, packet_id } => {
                    self.note(What::Released, *session, (*packet_id, position));
                }
                Record::Sent {
                    session, packet_id, ..
                } => self.note(What::Sent, *session, (*packet_id, position)),
                Record::Received {
                    session, packet_id, ..
                } => self.note(What::Received, *session, (*packet_id, position)),
                _ => {}
            }
        }
    }

    /// What comes to its client next depends on this.
    fn note_begun(&mut self, session: SessionNumber, position: Position) {
        let mut all = self.sessions.iter();
        let name = all.find(|(_, number)| **number == session);
        self.begun.extend(name.map(|it| (it.0.clone(), position)));
    }

    fn note(&mut self, what: What, session: SessionNumber, at: (PacketId, Position)) {
        self.identifiers.insert((what, session, at.0), at.1);
    }

    /// A packet is said to a client, which has sent these messages on its connection.
    pub(crate) fn hear(&self, name: &str, packet: &Packet, sent: &BTreeMap<PacketId, MessageId>) {
        let (what, packet_id) = match packet {
            // Who is refused is told of nothing that lasts.
            Packet::Connack(connack) if connack.reason.is_error() => return,
            Packet::Connack(_) => return self.check(self.begun.get(name), packet),
            Packet::Puback(ack) => {
                let message = sent.get(&ack.packet_id);
                let recorded = message.and_then(|it| self.messages.get(it));
                return self.check(recorded, packet);
            }
            Packet::Pubrec(ack) => (What::Accepted, ack.packet_id),
            Packet::Pubcomp(ack) => (What::Released, ack.packet_id),
            Packet::Pubrel(ack) => (What::Received, ack.packet_id),
            Packet::Publish(publish) if publish.qos == QoS::ExactlyOnce => {
                (What::Sent, publish.packet_id.unwrap())
            }
            _ => return,
        };
        if let Some(session) = self.sessions.get(name) {
            let recorded = self.identifiers.get(&(what, *session, packet_id));
            self.check(recorded, packet);
        }
    }

    fn check(&self, recorded: Option<&Position>, packet: &Packet) {
        let durable = self.durable;
        let is_durable = !self.is_believed || recorded.is_none_or(|at| *at <= durable);
        assert!(
            is_durable,
            "said before it is durable ({recorded:?}, {durable:?}): {packet:?}"
        );
    }
}

/// What was read at a start, to be compared.
pub(crate) fn picture(restored: &Restored) -> String {
    format!("{restored:?}")
}
