//! The engine: all of MQTT as a deterministic state machine, inputs and a time in, effects out.
//!
//! It does no I/O and reads no clock. The same inputs at the same times give the same effects,
//! in the same order. Nothing a peer sends makes it panic or hold more than its limits say.

mod acknowledge;
mod brakes;
mod close_reason;
mod connect;
mod counters;
mod deadlines;
mod deliver;
mod disconnect;
mod durable;
mod effect;
mod forward;
mod input;
mod judging;
pub(crate) mod limits;
mod message;
pub mod policy;
mod publish;
mod record;
mod retain;
mod route;
mod router;
mod session;
mod session_end;
mod statistics;
mod subscribe;
#[cfg(test)]
pub(crate) mod test_world;
mod tick;
mod time;
mod unsubscribe;
mod words;

pub use brakes::Pressure;
pub use close_reason::{CloseReason, ConnectRefusal};
pub use counters::Counters;
pub use durable::{NotRestored, Restored, RestoredPending, RestoredSession};
pub use effect::{After, Effects, Forward, ForwardsTaken, Greeting, Judged, Load, Speech};
pub use input::{Arrival, ConnectionId, Input, Leaves, Room, Verdicts};
pub use judging::{Loss, Losses};
pub use limits::Limits;
pub use message::{Message, MessageParts, SubscriptionIds};
pub use record::{MessageNumber, Reach, Record, SessionNumber, Target};
pub use router::Grant;
pub use session::{SessionKey, SessionView};
pub use time::Time;

use ahash::RandomState;
use brakes::{Pace, Rates, Steps};
use certs::Subject;
use deadlines::Deadlines;
use durable::{Beginning, Forwards};
use judging::Rejudging;
use policy::Policy;
use protocol::ProtocolError;
use protocol::packet::Packet;
use route::Scratch;
use router::{Retained, Router};
use session::{Cache, Session, SessionId, Sessions};
use statistics::Statistics;
use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::sync::Arc;

/// Which of how many shards an engine decides for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardPlace {
    /// From 0.
    pub index: u32,
    /// At least 1.
    pub count: u32,
}

/// The heart of one shard.
#[derive(Debug)]
pub struct Engine {
    limits: Limits,
    policy: Arc<Policy>,
    rejudging: Rejudging,
    shard: ShardPlace,
    /// The time of the input being handled.
    now: Time,
    /// The time of the first one.
    started: Option<Time>,
    sessions: Sessions,
    router: Router,
    retained: Retained,
    /// Devices whose 3.1.1 clients were closed for what they published.
    pauses: Pace<Subject>,
    takeovers: Pace<SessionKey>,
    rates: Rates,
    pressure: Pressure,
    deadlines: Deadlines,
    statistics: Statistics,
    counters: Counters,
    cache: Cache,
    /// The sessions that the log was asked for messages of.
    loading: BTreeMap<SessionNumber, SessionId>,
    forwards: Forwards,
    /// By what devices are judged; where nothing is known, the door has judged them.
    verdicts: Option<Verdicts>,
    beginning: Beginning,
    room: Room,
    next_session: u64,
    next_message: NonZeroU64,
    effects: Effects,
    scratch: Scratch,
}

impl Engine {
    /// An engine without sessions. `seed` keys the hash tables, whose texts come from peers; it
    /// shows in no effect.
    pub fn new(limits: Limits, policy: Arc<Policy>, shard: ShardPlace, seed: u64) -> Self {
        let place = u64::from(shard.index);
        let hasher = RandomState::with_seeds(seed, !seed, place, seed.rotate_left(32));
        Self {
            sessions: Sessions::new(hasher.clone()),
            router: Router::new(hasher.clone()),
            retained: Retained::new(&limits, hasher.clone()),
            pauses: Pace::new(Steps::CLOSED, hasher.clone()),
            rates: Rates::new(&limits, hasher.clone()),
            takeovers: Pace::new(Steps::in_a_minute(limits.takeovers_per_minute_max), hasher),
            pressure: Pressure::default(),
            limits,
            policy,
            rejudging: Rejudging::default(),
            shard,
            now: Time::default(),
            started: None,
            deadlines: Deadlines::default(),
            statistics: Statistics::default(),
            counters: Counters::default(),
            cache: Cache::unbounded(),
            loading: BTreeMap::new(),
            forwards: Forwards::default(),
            verdicts: None,
            beginning: Beginning::default(),
            room: Room::default(),
            next_session: 1,
            next_message: NonZeroU64::MIN,
            effects: Effects::default(),
            scratch: Scratch::default(),
        }
    }

    /// Goes by other limits from here on.
    fn change_limits(&mut self, limits: Limits) {
        self.retained.change_limits(&limits);
        self.rates.change(&limits);
        self.cache.change_max(limits.queue_cache_bytes_max);
        let takeovers = Steps::in_a_minute(limits.takeovers_per_minute_max);
        self.takeovers.change_steps(takeovers);
        self.limits = limits;
    }

    /// Decides what an input means. Its effects wait in [`Self::take_effects`].
    pub fn handle(&mut self, now: Time, input: Input) {
        self.now = self.now.max(now);
        if self.started.is_none() {
            self.begin();
        }
        match input {
            Input::Connect(arrival) => self.connect(*arrival),
            Input::Packets {
                connection,
                packets,
            } => self.packets(connection, packets),
            Input::Broke { connection, error } => self.broke_off(connection, error),
            Input::Lost { connection } => self.lost(connection),
            Input::Full { connection } => self.outbox_full(connection),
            Input::Drained { connection } => self.drained(connection),
            Input::Forward(forward) => self.take_forward(forward),
            Input::ForwardsTaken(taken) => self.forwards_taken(taken),
            Input::Loaded { session, messages } => self.loaded(session, messages),
            Input::Storage(room) => self.heed_room(room),
            Input::Limits(limits) => self.change_limits(*limits),
            Input::Standing(verdicts) => self.change_standing(verdicts),
            Input::Memory(pressure) => self.heed_pressure(pressure),
            Input::Policy(policy) => self.change_policy(policy),
            Input::Tick => self.tick(),
            Input::Shutdown => self.shut_down(),
        }
        if self.rejudging.is_under_way() {
            self.rejudge_some();
        }
    }

    /// Hands over the effects of all inputs handled since the last time, and takes `into`, which
    /// must be empty, for the next ones.
    pub fn take_effects(&mut self, into: &mut Effects) {
        std::mem::swap(&mut self.effects, into);
    }

    /// When [`Input::Tick`] is due, if nothing else happens.
    pub fn deadline(&self) -> Option<Time> {
        let goes_on = self.forwards.has_repeated() || self.rejudging.is_under_way();
        let begin = (goes_on || self.beginning.is_due()).then(Time::default);
        [begin, self.deadlines.next(), self.retained.deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    /// What has happened so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// How many sessions there are.
    pub fn sessions_len(&self) -> usize {
        self.sessions.len()
    }

    /// How many clients are connected.
    pub fn connected_len(&self) -> usize {
        self.sessions.connected_len()
    }

    /// All sessions, always in the same order for the same history.
    pub fn sessions(&self) -> impl Iterator<Item = SessionView<'_>> {
        self.sessions.iter().map(|(_, session)| session.view())
    }

    /// How many subscriptions there are.
    pub fn subscriptions_len(&self) -> usize {
        self.router.len()
    }

    /// How many topics have a retained message.
    pub fn retained_len(&self) -> usize {
        self.retained.len()
    }

    fn packets(&mut self, connection: ConnectionId, packets: Vec<Packet>) {
        let Some(id) = self.sessions.of_connection(connection) else {
            return;
        };
        self.catch_up(id);
        if !self.keeps_rates(id, &packets) {
            return;
        }
        for packet in packets {
            // One of them may have ended the connection: nothing behind it counts.
            let session = self.sessions.get(id);
            if session.and_then(Session::connection) != Some(connection) {
                return;
            }
            self.packet(id, packet);
        }
    }

    fn packet(&mut self, id: SessionId, packet: Packet) {
        match packet {
            Packet::Publish(publish) => self.publish(id, publish),
            Packet::Puback(ack) => self.puback(id, &ack),
            Packet::Pubrec(ack) => self.pubrec(id, &ack),
            Packet::Pubrel(ack) => self.pubrel(id, &ack),
            Packet::Pubcomp(ack) => self.pubcomp(id, &ack),
            Packet::Subscribe(subscribe) => self.subscribe(id, &subscribe),
            Packet::Unsubscribe(unsubscribe) => self.unsubscribe(id, &unsubscribe),
            Packet::Disconnect(disconnect) => self.disconnect(id, &disconnect),
            Packet::Auth(_) => self.broke(id, ProtocolError::AuthNotNegotiated),
            Packet::Connect(_) => self.broke(id, ProtocolError::ConnectTwice),
            Packet::Connack(_) | Packet::Suback(_) | Packet::Unsuback(_) | Packet::Pingresp => {
                self.broke(id, ProtocolError::WrongDirection);
            }
            // Answered where it came in; it changes no session.
            Packet::Pingreq => {}
        }
    }

    fn record(&mut self, record: Record) {
        self.effects.records.push(record);
    }

    /// Says something to a session's client, if it is there.
    fn answer(&mut self, id: SessionId, packet: &Packet, after: After) {
        let session = self.sessions.get_mut(id);
        if let Some(connected) = session.and_then(Session::connected_mut) {
            // What the client does not take, it does not get.
            let _ = self.effects.say(connected, packet, after);
        }
    }

    /// The record number of a session that has records.
    fn lasting(&self, id: SessionId) -> Option<SessionNumber> {
        let session = self.sessions.get(id)?;
        session.is_lasting.then_some(session.number)
    }
}

impl After {
    /// What speech waits for that depends on a record, if `recorded` there is one.
    fn record(recorded: Option<impl Copy>) -> Self {
        if recorded.is_some() {
            Self::Sync
        } else {
            Self::Nothing
        }
    }
}
