//! A world for the engine's tests: devices connect, send, and hear.
//!
//! What a client hears reads like this: `PUBLISH a/b=payload q1 #7 dup retain ids[3] expires[9]`.
//! A `*` in front says that it waits for the records.

mod identity;
mod packets;
mod replay;
mod sequences;
mod words;

pub(crate) use identity::{OPEN, message, parse, permit, subject, verified};
pub(crate) use packets::*;

use super::{
    After, Arrival, ConnectionId, Counters, Effect, Engine, Forward, Input, Limits, Outgoing,
    Record, ShardPlace, Time,
};
use protocol::packet::{Connect, Packet, QoS};
use std::collections::BTreeMap;
use words::say;

pub(crate) struct World {
    pub(crate) engine: Engine,
    pub(crate) now: Time,
    heard: BTreeMap<ConnectionId, Vec<(After, Outgoing)>>,
    records: Vec<Record>,
    forwards: Vec<Forward>,
    connections: u64,
}

impl World {
    /// Everybody may do everything.
    pub(crate) fn open() -> Self {
        Self::new(Limits::default(), OPEN)
    }

    /// As open, with these limits.
    pub(crate) fn limited(limit: impl FnOnce(&mut Limits)) -> Self {
        let mut limits = Limits::default();
        limit(&mut limits);
        Self::new(limits, OPEN)
    }

    /// With these rules besides the built-in one.
    pub(crate) fn ruled(rules: &str) -> Self {
        Self::new(Limits::default(), rules)
    }

    fn new(limits: Limits, policy: &str) -> Self {
        Self::in_place(limits, policy, ShardPlace { index: 0, count: 1 })
    }

    pub(crate) fn in_place(limits: Limits, policy: &str, place: ShardPlace) -> Self {
        Self {
            engine: Engine::new(limits, parse(policy), place, 7),
            now: Time::from_millis(1_800_000_000_000),
            heard: BTreeMap::new(),
            records: Vec::new(),
            forwards: Vec::new(),
            connections: 0,
        }
    }

    /// A device connects with 5.0, its id as client id, and a clean start.
    pub(crate) fn enter(&mut self, device: &str) -> ConnectionId {
        self.enter_with(device, |_| {})
    }

    /// A device connects and is given a session; its CONNACK is not shown.
    #[track_caller]
    pub(crate) fn enter_with(
        &mut self,
        device: &str,
        change: impl FnOnce(&mut Connect),
    ) -> ConnectionId {
        let connection = self.knock(device, change);
        let connack = say(&self.heard.entry(connection).or_default().remove(0));
        assert!(connack.contains("CONNACK 00"), "{connack}");
        connection
    }

    /// A device connects; what it hears begins with its CONNACK.
    pub(crate) fn knock(
        &mut self,
        device: &str,
        change: impl FnOnce(&mut Connect),
    ) -> ConnectionId {
        self.connections += 1;
        let connection = ConnectionId(self.connections);
        let device = verified(device);
        let mut connect = connect(device.subject().id.as_str());
        change(&mut connect);
        let arrival = Arrival {
            connection,
            device,
            connect,
            nonce: 0xABCD,
        };
        self.input(Input::Connect(Box::new(arrival)));
        connection
    }

    /// A client sends a packet.
    pub(crate) fn send(&mut self, connection: ConnectionId, packet: Packet) {
        self.input(Input::Packet { connection, packet });
    }

    /// A client subscribes; its SUBACK is not shown.
    #[track_caller]
    pub(crate) fn subscribe(&mut self, connection: ConnectionId, filter: &str, qos: QoS) {
        self.send(connection, subscribe(&[(filter, qos)]));
        let heard = self.heard.entry(connection).or_default();
        let is_suback =
            |said: &(_, Outgoing)| matches!(said.1, Outgoing::Packet(Packet::Suback(_)));
        let suback = heard.iter().position(is_suback).unwrap();
        let suback = say(&heard.remove(suback));
        assert!(
            suback.ends_with(&format!("[{:02x}]", qos.bits())),
            "{suback}"
        );
    }

    pub(crate) fn lose(&mut self, connection: ConnectionId) {
        self.input(Input::Lost { connection });
    }

    pub(crate) fn load_policy(&mut self, policy: &str) {
        self.input(Input::Policy(parse(policy)));
    }

    /// Time passes, and what is due happens when it is due.
    pub(crate) fn wait(&mut self, seconds: u32) {
        let until = self.now.after_seconds(seconds);
        while let Some(deadline) = self.engine.deadline().filter(|at| *at <= until) {
            self.now = self.now.max(deadline);
            self.input(Input::Tick);
        }
        self.now = until;
    }

    pub(crate) fn input(&mut self, input: Input) {
        self.engine.handle(self.now, input);
        let mut effects = Vec::new();
        self.engine.take_effects(&mut effects);
        for effect in effects {
            match effect {
                Effect::Record(record) => self.records.push(record),
                Effect::Forward(forward) => self.forwards.push(forward),
                Effect::Speak(speech) => {
                    let heard = self.heard.entry(speech.connection).or_default();
                    heard.push((speech.after, speech.outgoing));
                }
            }
        }
    }

    /// All that this client has heard since it was asked last.
    pub(crate) fn heard(&mut self, connection: ConnectionId) -> Vec<String> {
        self.heard
            .remove(&connection)
            .unwrap_or_default()
            .iter()
            .map(say)
            .collect()
    }

    /// All that was said to anybody since it was asked last.
    pub(crate) fn take_heard(&mut self) -> BTreeMap<ConnectionId, Vec<(After, Outgoing)>> {
        std::mem::take(&mut self.heard)
    }

    /// All that each has heard since it was asked last.
    pub(crate) fn all_heard(&mut self) -> Vec<(ConnectionId, Vec<String>)> {
        let heard = self.take_heard();
        heard
            .into_iter()
            .map(|(id, heard)| (id, heard.iter().map(say).collect()))
            .collect()
    }

    /// The same as it was said.
    pub(crate) fn last_words(&mut self, connection: ConnectionId) -> Vec<Outgoing> {
        let heard = self.heard.remove(&connection).unwrap_or_default();
        heard.into_iter().map(|(_, outgoing)| outgoing).collect()
    }

    /// All records since they were asked for last.
    pub(crate) fn records(&mut self) -> Vec<Record> {
        std::mem::take(&mut self.records)
    }

    /// What kinds of records these are.
    pub(crate) fn record_names(&mut self) -> Vec<String> {
        let name = |record: &Record| {
            let debug = format!("{record:?}");
            debug
                .split([' ', '{'])
                .next()
                .unwrap_or_default()
                .to_owned()
        };
        self.records().iter().map(name).collect()
    }

    /// All that went to other shards since it was asked for last.
    pub(crate) fn forwards(&mut self) -> Vec<Forward> {
        std::mem::take(&mut self.forwards)
    }

    pub(crate) fn counters(&self) -> &Counters {
        self.engine.counters()
    }
}
