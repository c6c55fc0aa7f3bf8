//! A world for the engine's tests: devices connect, send, and hear.
//!
//! What a client hears reads like this: `PUBLISH a/b=payload q1 #7 dup retain ids[3] expires[9]`.
//! A `*` in front says that it, and what follows in the same turn, waits for the records.

mod identity;
mod packets;
mod picture;
mod replay;
mod sequences;
mod shards;
mod words;

pub(crate) use identity::{OPEN, message, parse, permit, proof_end, rights_by, subject, verified};
pub(crate) use packets::*;

use super::{
    After, Arrival, CloseReason, ConnectionId, Counters, Effects, Engine, Forward, ForwardsTaken,
    Input, Judged, Limits, Load, Record, Restored, ShardPlace, Speech, Time,
};
use protocol::connection::ClientConnection;
use protocol::packet::{Connect, Packet, QoS};
use protocol::wire::PACKET_SIZE_MAX;
use replay::Replay;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use words::say;

pub(crate) struct World {
    pub(crate) engine: Engine,
    pub(crate) now: Time,
    ears: BTreeMap<ConnectionId, ClientConnection>,
    heard: BTreeMap<ConnectionId, Vec<(After, Heard)>>,
    records: Vec<Record>,
    forwards: Vec<Forward>,
    taken: Vec<ForwardsTaken>,
    judged: Vec<Judged>,
    loads: Vec<Load>,
    log: Replay,
    connections: u64,
}

/// What a client hears, and what its connection is to do.
#[derive(Debug)]
pub(crate) enum Heard {
    Packet(Packet),
    AskDrained,
    Close(CloseReason),
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
            ears: BTreeMap::new(),
            heard: BTreeMap::new(),
            records: Vec::new(),
            forwards: Vec::new(),
            taken: Vec::new(),
            judged: Vec::new(),
            loads: Vec::new(),
            log: Replay::default(),
            connections: 0,
        }
    }

    /// As limited, with a log and with what is in it.
    pub(crate) fn restored(limit: impl FnOnce(&mut Limits), restored: Restored) -> Self {
        let mut world = Self::limited(limit);
        world.crash(OPEN, restored);
        world
    }

    /// The broker dies, and another one with these rules goes on with all records since they were
    /// asked for last. Contents stay in the log where they may.
    pub(crate) fn die(&mut self, rules: &str) {
        let restored = self.restored_of_log();
        self.crash(rules, restored);
    }

    /// What a log that has taken all records since they were asked for last gives back.
    pub(crate) fn restored_of_log(&mut self) -> Restored {
        self.keep_log();
        self.log.trim();
        self.log.restored(0)
    }

    /// Lets the log take all records since they were asked for last.
    pub(crate) fn keep_log(&mut self) {
        for record in self.records() {
            self.log.apply(record);
        }
    }

    /// The log has what it was asked for. What it was.
    #[track_caller]
    pub(crate) fn answer_load(&mut self) -> Vec<u64> {
        let load = self.loads.remove(0);
        let messages = self.log.load(&load);
        let session = load.session;
        self.input(Input::Loaded { session, messages });
        load.messages.iter().map(|it| it.0.get()).collect()
    }

    /// The broker dies, and another one goes on with what the log has.
    pub(crate) fn crash(&mut self, policy: &str, restored: Restored) {
        let limits = self.engine.limits.clone();
        let engine = Engine::new(limits, parse(policy), self.engine.shard, 7);
        self.engine = engine.restored(restored).unwrap();
        self.heard.clear();
        self.loads.clear();
        self.forwards.clear();
        self.taken.clear();
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
        let aliases = connect.properties.topic_alias_maximum;
        let ear = ClientConnection::new(connect.version, PACKET_SIZE_MAX, aliases);
        self.ears.insert(connection, ear);
        let arrival = Arrival {
            peer: None,
            connection,
            device,
            connect,
            listener: None,
            nonce: 0xABCD,
        };
        self.input(Input::Connect(Box::new(arrival)));
        connection
    }

    /// A client sends a packet.
    pub(crate) fn send(&mut self, connection: ConnectionId, packet: Packet) {
        let packets = vec![packet];
        self.input(Input::Packets {
            connection,
            packets,
        });
    }

    /// A client publishes to `a` at QoS 1 what is called by its packet identifier.
    pub(crate) fn publish_many(&mut self, publisher: ConnectionId, ids: RangeInclusive<u16>) {
        for id in ids {
            self.send(publisher, qos1("a", &id.to_string(), id));
        }
    }

    /// A client subscribes; its SUBACK is not shown.
    #[track_caller]
    pub(crate) fn subscribe(&mut self, connection: ConnectionId, filter: &str, qos: QoS) {
        self.send(connection, subscribe(&[(filter, qos)]));
        let heard = self.heard.entry(connection).or_default();
        let is_suback = |said: &(_, Heard)| matches!(said.1, Heard::Packet(Packet::Suback(_)));
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
        let mut effects = Effects::default();
        self.engine.take_effects(&mut effects);
        self.records.append(&mut effects.records);
        self.forwards.append(&mut effects.forwards);
        self.taken.append(&mut effects.forwards_taken);
        self.judged.append(&mut effects.judged);
        self.loads.append(&mut effects.loads);
        for speech in effects.speech {
            self.hear(speech);
        }
    }

    fn hear(&mut self, speech: Speech) {
        let ear = self.ears.get_mut(&speech.connection).unwrap();
        let heard = self.heard.entry(speech.connection).or_default();
        let len = speech.packets.len();
        let mut packets = speech.packets.freeze();
        let mut begin = 0;
        while let Some(packet) = ear.receive(&mut packets).unwrap() {
            let waits = begin == speech.free_len;
            let after = if waits { After::Sync } else { After::Nothing };
            heard.push((after, Heard::Packet(packet)));
            begin = len - packets.len();
        }
        assert!(packets.is_empty(), "half a packet was said");
        let after = After::Nothing;
        let last = heard.last();
        if speech.close.is_some()
            && last.is_some_and(|(_, it)| matches!(it, Heard::Packet(Packet::Disconnect(_))))
        {
            // The close says it.
            heard.pop();
        }
        if speech.asks_drained {
            heard.push((after, Heard::AskDrained));
        }
        heard.extend(speech.close.map(|why| (after, Heard::Close(why))));
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
    pub(crate) fn take_heard(&mut self) -> BTreeMap<ConnectionId, Vec<(After, Heard)>> {
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
    pub(crate) fn last_words(&mut self, connection: ConnectionId) -> Vec<Heard> {
        let heard = self.heard.remove(&connection).unwrap_or_default();
        heard.into_iter().map(|(_, heard)| heard).collect()
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

    /// All that other shards are to be told to have been taken since it was asked for last.
    pub(crate) fn taken(&mut self) -> Vec<ForwardsTaken> {
        std::mem::take(&mut self.taken)
    }

    /// By which standings all were judged since it was asked for last.
    pub(crate) fn judged(&mut self) -> Vec<Judged> {
        std::mem::take(&mut self.judged)
    }

    pub(crate) fn loads_len(&self) -> usize {
        self.loads.len()
    }

    pub(crate) fn has_loads(&self) -> bool {
        !self.loads.is_empty()
    }

    /// All that the log was asked for since this was asked last.
    pub(crate) fn loads(&mut self) -> Vec<Load> {
        std::mem::take(&mut self.loads)
    }

    pub(crate) fn counters(&self) -> &Counters {
        self.engine.counters()
    }
}
