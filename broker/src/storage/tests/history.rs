//! A history of records that fit together, as an engine would write them, from a seed.

use crate::engine::{Grant, Message, MessageParts, Reach, Record, SessionNumber, Target, Time};
use crate::storage::Position;
use crate::storage::log::Replay;
use crate::storage::log::frame::{self, Batch, Frame, Link, Promise};
use crate::storage::log::recovery::Read;
use crate::storage::log::tests::samples::{forwarded, key, number, parts, target};
use crate::storage::log::tests::simulated_disk::Random;
use crate::storage::state::{Kept, State};
use protocol::packet::{PacketId, QoS, Will};
use protocol::topic::{TopicFilter, TopicName};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Turns that follow from a seed and from nothing else.
pub(super) struct History {
    random: Random,
    sessions: BTreeMap<u64, Session>,
    next_session: u64,
    next_message: u64,
    retained: BTreeSet<String>,
    /// What other shards are to get, and how much was taken of them.
    forwards: Vec<u64>,
    taken: u64,
    turns: Vec<Vec<Record>>,
}

#[derive(Default)]
struct Session {
    pending: Vec<(u64, Option<PacketId>)>,
    received: Vec<PacketId>,
    accepted: Vec<PacketId>,
    filters: Vec<TopicFilter>,
    has_will: bool,
    next_id: u16,
}

/// The one that acknowledges next to nothing.
const SLEEPER: u64 = 1;

impl History {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            random: Random(seed),
            sessions: BTreeMap::new(),
            next_session: 1,
            next_message: 1,
            retained: BTreeSet::new(),
            forwards: Vec::new(),
            taken: 0,
            turns: Vec::new(),
        }
    }

    /// The records of the next turn.
    pub(super) fn turn(&mut self) -> Vec<Record> {
        let mut records = Vec::new();
        for _ in 0..=self.random.below(4) {
            self.step(&mut records);
        }
        self.turns.push(records.clone());
        records
    }

    /// A turn that changes nothing.
    pub(super) fn nothing(&mut self) {
        self.turns.push(Vec::new());
    }

    /// The turns behind this one never happened: what follows is another history.
    pub(super) fn forget_behind(&mut self, position: Position) {
        self.turns.truncate(usize::try_from(position.0).unwrap());
        let state = self.state_at(position);
        self.next_session = state.next_session;
        self.next_message = state.next_message.get();
        self.retained = state.retained.keys().map(ToString::to_string).collect();
        self.forwards = state.forwards.iter().map(|it| it.0.get()).collect();
        let first_id = 100 * u16::try_from(position.0 + 1).unwrap();
        let sessions = state.sessions.iter();
        self.sessions = sessions
            .map(|(number, kept)| (number.0, Session::of(kept, first_id)))
            .collect();
    }

    /// What the turns up to this one add up to.
    pub(super) fn state_at(&self, position: Position) -> State {
        let mut state = State::default();
        let turns = self.turns.iter().take(usize::try_from(position.0).unwrap());
        for (before, turn) in turns.enumerate() {
            let mut batch = Batch::new();
            batch.push(turn);
            let link = Link {
                turns: before as u64,
                check: 0,
            };
            let (bytes, _) = batch.seal(0, link, Promise::Synced).unwrap();
            let (header, body) = bytes.split_first_chunk::<{ frame::HEADER_LEN }>().unwrap();
            let header = frame::Header::read(header, 0).unwrap();
            let body = &body[..usize::try_from(header.body_len).unwrap()];
            let read = Read {
                frame: Frame { header, body },
                segment: 0,
                offset: 0,
                covered: Position(0),
            };
            state.frame(&read).unwrap();
        }
        state
    }

    fn step(&mut self, records: &mut Vec<Record>) {
        let numbers: Vec<u64> = self.sessions.keys().copied().collect();
        if numbers.is_empty() {
            return self.create(records);
        }
        let session = numbers[self.random.below(numbers.len())];
        match self.random.below(21) {
            20 => self.take_forwards(records),
            0 => self.create(records),
            1..=7 => self.publish(records),
            8..=12 => {
                let everybody = numbers.iter().cycle().take(numbers.len() * 2);
                everybody.for_each(|session| self.acknowledge(*session, records));
                self.end_forwards(records);
            }
            13 => self.subscribe(session, records),
            14 => self.change_will(session, records),
            15 => self.take_in(session, records),
            16 => self.complete(session, records),
            17 => self.come_and_go(session, records),
            18 if session != SLEEPER => self.end(session, records),
            _ => self.retain(records),
        }
    }

    fn of(&mut self, session: u64) -> &mut Session {
        self.sessions.get_mut(&session).unwrap()
    }

    fn create(&mut self, records: &mut Vec<Record>) {
        let session = self.next_session;
        self.next_session += 1;
        self.sessions.insert(session, Session::default());
        records.push(Record::SessionCreated {
            session: SessionNumber(session),
            key: Arc::new(key("dev-1", &format!("dev-1/{session}"))),
            expiry: 3600,
        });
    }

    fn number(&mut self) -> u64 {
        self.next_message += 1;
        self.next_message - 1
    }

    fn publish(&mut self, records: &mut Vec<Record>) {
        let message = self.number();
        let mut targets = Vec::new();
        for session in self.sessions.keys().copied().collect::<Vec<_>>() {
            let chance = if session == SLEEPER { 6 } else { 2 };
            if self.random.below(chance) == 0 || targets.is_empty() {
                targets.push(self.target(session));
            }
        }
        // The last one gets a copy, as of a shared subscription.
        let copied = (targets.len() > 1).then(|| targets.pop().unwrap());
        for target in &targets {
            self.of(target.session.0).pending.push((message, None));
        }
        let reach = if self.random.below(3) == 0 {
            self.forwards.push(message);
            Reach::Everywhere
        } else {
            Reach::Here
        };
        records.push(Record::Message {
            number: number(message),
            message: content(message),
            targets: targets.into_iter().collect(),
            reach,
        });
        if let Some(mut target) = copied {
            let copy = self.number();
            target.share = Some(Arc::new(TopicFilter::parse("$share/g/a").unwrap()));
            self.of(target.session.0).pending.push((copy, None));
            records.push(Record::Copy {
                number: number(copy),
                of: number(message),
                target,
            });
        }
    }

    /// The other shards have taken some.
    fn end_forwards(&mut self, records: &mut Vec<Record>) {
        if self.forwards.is_empty() {
            return;
        }
        let place = self.random.below(self.forwards.len());
        let done = self.forwards.drain(..=place);
        let up_to = number(done.max().unwrap());
        records.push(Record::ForwardsDone { up_to });
    }

    fn take_forwards(&mut self, records: &mut Vec<Record>) {
        self.taken += 1;
        records.push(Record::ForwardsTaken {
            from: 1,
            up_to: number(self.taken),
        });
    }

    fn target(&mut self, session: u64) -> Target {
        let ids = (1..=self.random.below(3)).map(|id| u32::try_from(id).unwrap());
        Target {
            retain: self.random.below(5) == 0,
            subscription_ids: ids.map(|id| id.try_into().unwrap()).collect(),
            ..target(session, QoS::ExactlyOnce)
        }
    }

    fn acknowledge(&mut self, session: u64, records: &mut Vec<Record>) {
        let (how, which) = (self.random.below(4), self.random.below(3));
        let is_asleep = self.random.below(8) > 0;
        let kept = self.of(session);
        if kept.pending.is_empty() || (session == SLEEPER && is_asleep) {
            return;
        }
        let place = which.min(kept.pending.len() - 1);
        let (pending, sent) = kept.pending[place];
        let (session, message) = (SessionNumber(session), number(pending));
        if sent.is_none() && how == 0 {
            let packet_id = kept.next_id();
            kept.pending[place].1 = Some(packet_id);
            return records.push(Record::Sent {
                session,
                message,
                packet_id,
            });
        }
        kept.pending.remove(place);
        records.push(match sent {
            Some(packet_id) => {
                kept.received.push(packet_id);
                Record::Received {
                    session,
                    message,
                    packet_id,
                }
            }
            None => Record::Settled { session, message },
        });
    }

    fn subscribe(&mut self, session: u64, records: &mut Vec<Record>) {
        let filter = TopicFilter::parse(&format!("{}/#", self.random.below(5))).unwrap();
        let kept = self.of(session);
        let session = SessionNumber(session);
        if let Some(place) = kept.filters.iter().position(|it| *it == filter) {
            kept.filters.remove(place);
            return records.push(Record::Unsubscribed { session, filter });
        }
        kept.filters.push(filter.clone());
        let grant = Grant {
            qos: QoS::AtLeastOnce,
            no_local: false,
            retain_as_published: true,
            withholds: false,
            id: None,
        };
        records.push(Record::Subscribed {
            session,
            filter,
            grant,
        });
    }

    fn change_will(&mut self, session: u64, records: &mut Vec<Record>) {
        let kept = self.of(session);
        kept.has_will = !kept.has_will;
        let has_will = kept.has_will;
        let session = SessionNumber(session);
        if !has_will {
            return records.push(Record::WillCleared { session });
        }
        let will = Arc::new(Will {
            qos: QoS::AtLeastOnce,
            retain: false,
            topic: TopicName::parse("will").unwrap(),
            payload: "gone".into(),
            delay_interval: 5,
            message_expiry_interval: None,
            forwarded: forwarded(),
        });
        records.push(Record::WillSet { session, will });
    }

    fn take_in(&mut self, session: u64, records: &mut Vec<Record>) {
        let kept = self.of(session);
        let session = SessionNumber(session);
        if kept.accepted.len() > 2 {
            let packet_id = kept.accepted.remove(1);
            return records.push(Record::Released { session, packet_id });
        }
        let packet_id = kept.next_id();
        kept.accepted.push(packet_id);
        records.push(Record::Accepted { session, packet_id });
    }

    fn complete(&mut self, session: u64, records: &mut Vec<Record>) {
        let kept = self.of(session);
        if !kept.received.is_empty() {
            let packet_id = kept.received.remove(0);
            let session = SessionNumber(session);
            records.push(Record::Completed { session, packet_id });
        }
    }

    fn come_and_go(&mut self, session: u64, records: &mut Vec<Record>) {
        let at = Time::from_millis(1_000 + self.next_message);
        let expiry = u32::try_from(self.random.below(9999)).unwrap();
        let session = SessionNumber(session);
        records.push(if self.random.below(2) == 0 {
            Record::SessionResumed { session, expiry }
        } else {
            Record::SessionLeft {
                session,
                at,
                expiry,
            }
        });
    }

    fn end(&mut self, session: u64, records: &mut Vec<Record>) {
        self.sessions.remove(&session);
        let session = SessionNumber(session);
        records.push(Record::SessionEnded { session });
    }

    fn retain(&mut self, records: &mut Vec<Record>) {
        let topic = format!("state/{}", self.random.below(4));
        if self.random.below(3) == 0 && self.retained.remove(&topic) {
            let topic = TopicName::parse(&topic).unwrap();
            return records.push(Record::RetainedCleared { topic });
        }
        let payload = self.turns.len().to_string();
        let message = Message::recorded(MessageParts {
            retain: true,
            ..parts("dev-1", &topic, payload.as_bytes())
        });
        self.retained.insert(topic);
        records.push(Record::Retained { message });
    }
}

impl Session {
    fn of(kept: &Kept, next_id: u16) -> Self {
        let pending = kept.pending.iter();
        Self {
            pending: pending.map(|it| (it.number.0.get(), it.sent)).collect(),
            received: kept.received.clone(),
            accepted: kept.accepted.clone(),
            filters: kept.subscriptions.keys().cloned().collect(),
            has_will: kept.will.is_some(),
            next_id,
        }
    }

    fn next_id(&mut self) -> PacketId {
        self.next_id += 1;
        PacketId::new(self.next_id).unwrap()
    }
}

/// What message `number` says: some are long.
fn content(message: u64) -> Arc<Message> {
    let len = usize::try_from(message * 37 % 500).unwrap();
    let payload = [message.to_string().into_bytes(), vec![b'x'; len]].concat();
    let expires = message.is_multiple_of(3);
    Message::recorded(MessageParts {
        expires_at: expires.then(|| Time::from_millis(message + 5_000)),
        ..parts("dev-1", "a/b", &payload)
    })
}

/// Which number the message has that says this.
pub(super) fn said(message: &Message) -> u64 {
    let text = std::str::from_utf8(message.payload()).unwrap();
    text.trim_end_matches('x').parse().unwrap()
}

/// The state without places: the same after every recovery.
pub(super) fn picture(state: &State) -> String {
    let messages: Vec<_> = state
        .messages
        .from(0)
        .map(|(number, it)| (number.0, it.receivers, it.outline))
        .collect();
    let retained: Vec<_> = state.retained.values().collect();
    let next = (state.next_session, state.next_message);
    let sessions = &state.sessions;
    let forwards = (&state.forwards, &state.forwards_taken);
    format!("{sessions:?}\n{messages:?}\n{retained:?}\n{next:?}\n{forwards:?}")
}
