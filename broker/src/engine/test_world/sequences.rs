//! Random sequences: valid packets in wrong orders, on two connections of one session and more.
//!
//! Whatever is sent, the engine keeps its bounds, delivers nothing without a right to it, speaks
//! to nobody it has let go of, and its records suffice: now and then the broker dies, and another
//! one goes on with nothing but them. A failing seed is printed.

use super::Heard;
use super::replay::Replay;
use super::*;
use crate::engine::policy::{Policy, Rights};
use crate::engine::session::Cache;
use crate::engine::{CloseReason, ConnectionId, Input, Limits, Load, Restored, Room};
use protocol::ReasonCode;
use protocol::packet::{
    Ack, Connect, Disconnect, Packet, PacketId, Publish, QoS, Subscription, Will,
};
use protocol::topic::TopicFilter;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const SEQUENCES: u64 = 20_000;
const STEPS: usize = 32;
/// How often the broker dies.
const CRASH_ODDS: usize = 60;
/// In how many steps the records are compared with the engine once.
const REPLAY_EVERY: usize = 10;

const DEVICES: [&str; 2] = ["dev-1", "dev-2"];
const TOPICS: [&str; 4] = ["a", "a/b", "secret/a", "$x"];
const FILTERS: [&str; 8] = [
    "a",
    "a/b",
    "#",
    "a/+",
    "secret/#",
    "$share/g/a",
    "$share/g/#",
    "$share/h/a/+",
];
/// Longer than what some take.
const LONG: &str = "a payload that is longer than some clients take it";
const QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

#[test]
fn whatever_is_sent_in_whatever_order_the_invariants_hold() {
    for seed in 1..=SEQUENCES {
        let outcome = std::panic::catch_unwind(|| Sequence::new(seed).run());
        assert!(outcome.is_ok(), "seed {seed}");
    }
}

/// Numbers that look random and are the same for the same seed (xorshift64*).
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(number).unwrap() % end
    }

    pub(super) fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    fn yes(&mut self) -> bool {
        self.below(2) == 0
    }

    fn id(&mut self) -> u16 {
        u16::try_from(1 + self.below(4)).unwrap()
    }
}

struct Sequence {
    random: Random,
    world: World,
    policy: Arc<Policy>,
    rights: BTreeMap<&'static str, Rights>,
    replay: Replay,
    /// Every connection there was, and whose.
    connections: Vec<(ConnectionId, &'static str)>,
    /// Those that were let go of.
    closed: BTreeSet<ConnectionId>,
    /// The identifiers under which something was sent and is not acknowledged, by device.
    in_flight: BTreeMap<&'static str, BTreeMap<PacketId, QoS>>,
    rules: String,
    /// What the log was asked for and has not answered.
    loads: Vec<Load>,
}

impl Sequence {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let cache = random.one_of(&[0, 500, 1000, usize::MAX]);
        let queue_qos0 = random.yes();
        let limit = |limits: &mut Limits| {
            small(limits);
            limits.queue_cache_bytes_max = cache;
            limits.queue_qos0 = queue_qos0;
        };
        Self {
            random,
            world: World::restored(limit, Restored::default()),
            policy: parse(OPEN),
            rights: BTreeMap::new(),
            replay: Replay::default(),
            connections: Vec::new(),
            closed: BTreeSet::new(),
            in_flight: BTreeMap::new(),
            rules: OPEN.to_owned(),
            loads: Vec::new(),
        }
    }

    fn run(mut self) {
        for step in 0..STEPS {
            self.step();
            self.listen();
            self.check();
            if step % REPLAY_EVERY == 0 {
                self.replay.check(&self.world.engine);
            }
        }
        for (connection, _) in self.connections.clone() {
            self.world.lose(connection);
        }
        self.world.wait(8 * 24 * 3600);
        self.listen();
        self.check();
        self.replay.check(&self.world.engine);
        assert_eq!(self.world.engine.sessions_len(), 0);
        assert_eq!(self.world.engine.subscriptions_len(), 0);
        assert_eq!(self.world.engine.deadline(), None);
    }

    fn step(&mut self) {
        let last = self.connections.len().saturating_sub(4);
        let recent = self
            .connections
            .get(last..)
            .filter(|recent| !recent.is_empty());
        let Some(&(connection, device)) =
            recent.map(|recent| &recent[self.random.below(recent.len())])
        else {
            return self.connect();
        };
        if self.random.below(CRASH_ODDS) == 0 {
            return self.crash();
        }
        if self.random.yes() {
            self.answer_loads();
        }
        match self.random.below(20) {
            0..3 => self.connect(),
            3 => self.world.lose(connection),
            4 if self.random.yes() => self.world.input(Input::Full { connection }),
            4 => self.world.input(Input::Drained { connection }),
            5 => {
                let seconds = self.random.one_of(&[1, 10, 60, 4000]);
                self.world.wait(seconds);
            }
            6 if self.random.below(4) == 0 => self.change_policy(),
            7 if self.random.below(4) == 0 => {
                let room = self
                    .random
                    .one_of(&[Room::Full, Room::Exhausted, Room::Enough]);
                self.world.input(Input::Storage(room));
            }
            8..12 => self.acknowledge(connection, device),
            _ => {
                let packet = self.packet();
                self.note_acknowledged(connection, device, &packet);
                self.world.send(connection, packet);
            }
        }
    }

    /// A client acknowledges what it was sent, or goes on with what it has acknowledged.
    fn acknowledge(&mut self, connection: ConnectionId, device: &str) {
        let Some(in_flight) = self.in_flight.get(device) else {
            return;
        };
        let all: Vec<_> = in_flight.iter().map(|(id, qos)| (*id, *qos)).collect();
        if all.is_empty() {
            return;
        }
        let (packet_id, qos) = self.random.one_of(&all);
        let ack = Ack::success(packet_id);
        let packets = match qos {
            QoS::AtMostOnce | QoS::AtLeastOnce => vec![Packet::Puback(ack)],
            QoS::ExactlyOnce if self.random.yes() => vec![Packet::Pubrec(ack)],
            QoS::ExactlyOnce => vec![Packet::Pubrec(ack.clone()), Packet::Pubcomp(ack)],
        };
        for packet in packets {
            self.note_acknowledged(connection, device, &packet);
            self.world.send(connection, packet);
        }
    }

    fn connect(&mut self) {
        let device = self.random.one_of(&DEVICES);
        let random = &mut self.random;
        let change = |connect: &mut Connect| {
            connect.clean_start = random.yes();
            connect.properties.session_expiry_interval = random.one_of(&[0, 5, 3600, u32::MAX]);
            connect.properties.receive_maximum = random.one_of(&[1, 2, 100]).try_into().unwrap();
            connect.properties.maximum_packet_size = random
                .one_of(&[None, Some(12), Some(44)])
                .map(|max: u32| max.try_into().unwrap());
            if random.yes() {
                v311(connect);
            }
            if random.yes() {
                let delay_interval = random.one_of(&[0, 3, 7200]);
                let topic = random.one_of(&["a", "a/b"]);
                let (retain, qos) = (random.yes(), random.one_of(&QOS));
                connect.will = Some(Will {
                    delay_interval,
                    retain,
                    qos,
                    ..will(topic)
                });
            }
        };
        let connection = self.world.knock(device, change);
        self.connections.push((connection, device));
    }

    /// The log has what it was asked for.
    fn answer_loads(&mut self) {
        for load in std::mem::take(&mut self.loads) {
            let messages = self.replay.load(&load);
            let session = load.session;
            self.world.input(Input::Loaded { session, messages });
            self.listen();
        }
    }

    fn crash(&mut self) {
        self.replay.check(&self.world.engine);
        let cold = self.random.below(20).try_into().unwrap();
        let restored = self.replay.restored(cold);
        self.choose_policy();
        self.world.crash(&self.rules, restored);
        self.loads.clear();
        self.closed
            .extend(self.connections.iter().map(|(id, _)| *id));
        self.world.input(Input::Tick);
        self.listen();
        self.replay.check(&self.world.engine);
    }

    fn change_policy(&mut self) {
        self.choose_policy();
        self.world.load_policy(&self.rules);
    }

    fn choose_policy(&mut self) {
        let narrow = OPEN.to_owned() + "deny_subscribe = [\"secret/#\"]\ndeny_publish = [\"a/b\"]";
        let open = OPEN.to_owned();
        let rules = if self.random.yes() { open } else { narrow };
        self.policy = parse(&rules);
        self.rights.clear();
        self.rules = rules;
    }

    fn packet(&mut self) -> Packet {
        let random = &mut self.random;
        let reason = random.one_of(&[ReasonCode::Success, ReasonCode::QuotaExceeded]);
        let ack = Ack::new(id(random.id()), reason);
        match random.below(14) {
            0..4 => {
                let number = random.id();
                let payload = random.one_of(&["", "x", LONG]);
                let publish = publish(random.one_of(&TOPICS), payload, random.one_of(&QOS), number);
                let publish = expiring(publish, random.one_of(&[None, None, Some(5)]));
                let (retain, dup) = (random.below(4) == 0, random.yes());
                Packet::Publish(Publish {
                    retain,
                    dup,
                    ..publish
                })
            }
            4..6 => Packet::Puback(ack),
            6 => Packet::Pubrec(ack),
            7 => Packet::Pubrel(ack),
            8 => Packet::Pubcomp(ack),
            9..12 => {
                let filter = subscription(random.one_of(&FILTERS), random.one_of(&QOS));
                let no_local = random.yes() && filter.filter.share_group().is_none();
                let retain_as_published = random.yes();
                let subscription = Subscription {
                    no_local,
                    retain_as_published,
                    ..filter
                };
                subscribe_to(vec![subscription], random.one_of(&[None, Some(7), Some(9)]))
            }
            12 => unsubscribe(&[random.one_of(&FILTERS)]),
            _ if random.below(4) > 0 => Packet::Pingreq,
            _ => {
                let reasons = [ReasonCode::Success, ReasonCode::DisconnectWithWill];
                let session_expiry_interval = random.one_of(&[None, Some(0), Some(60)]);
                let disconnect = Disconnect::new(random.one_of(&reasons));
                Packet::Disconnect(Box::new(Disconnect {
                    session_expiry_interval,
                    ..disconnect
                }))
            }
        }
    }

    /// Takes note of what a client that is heard acknowledges.
    fn note_acknowledged(&mut self, connection: ConnectionId, device: &str, packet: &Packet) {
        if self.closed.contains(&connection) {
            return;
        }
        let Some(in_flight) = self.in_flight.get_mut(device) else {
            return;
        };
        let (ack, qos, ends) = match packet {
            Packet::Puback(ack) => (ack, QoS::AtLeastOnce, true),
            Packet::Pubrec(ack) => (ack, QoS::ExactlyOnce, ack.reason.is_error()),
            // Free at the latest; a PUBCOMP too early frees nothing, which is then seen as reuse
            // of an identifier that the model thinks free: allowed.
            Packet::Pubcomp(ack) => (ack, QoS::ExactlyOnce, true),
            _ => return,
        };
        if ends && in_flight.get(&ack.packet_id) == Some(&qos) {
            in_flight.remove(&ack.packet_id);
        }
    }

    /// Hears what all connections are told.
    fn listen(&mut self) {
        for (connection, heard) in self.world.take_heard() {
            let (_, device) = *self
                .connections
                .iter()
                .rfind(|(it, _)| *it == connection)
                .unwrap();
            for (_, heard) in heard {
                assert!(
                    !self.closed.contains(&connection),
                    "{heard:?} after the last word"
                );
                match heard {
                    Heard::Packet(Packet::Connack(connack)) => {
                        // A client remembers identifiers of QoS 2 alone.
                        if let Some(in_flight) = self.in_flight.get_mut(device) {
                            in_flight.retain(|_, qos| *qos == QoS::ExactlyOnce);
                        }
                        if !connack.session_present {
                            self.in_flight.remove(device);
                        }
                    }
                    Heard::Packet(Packet::Publish(publish)) => {
                        self.note_delivered(device, &publish);
                    }
                    Heard::Packet(_) | Heard::AskDrained => {}
                    Heard::Close(why) => {
                        if why == CloseReason::NoRoomForConnack {
                            // It cannot be told that the session is new.
                            self.in_flight.remove(device);
                        }
                        self.closed.insert(connection);
                    }
                }
            }
        }
        for record in self.world.records() {
            self.replay.apply(record);
        }
        self.replay.trim();
        for load in self.world.loads() {
            let is_new = self.loads.iter().all(|it| it.session != load.session);
            assert!(is_new, "{load:?} while another is under way");
            self.loads.push(load);
        }
    }

    fn note_delivered(&mut self, device: &'static str, publish: &Publish) {
        let topic = &publish.topic;
        let filter = TopicFilter::parse(topic.as_str()).unwrap();
        let policy = &self.policy;
        let rights = self
            .rights
            .entry(device)
            .or_insert_with(|| rights_by(policy, device));
        assert!(
            rights.permit_subscribe(&filter, self.world.now).is_some(),
            "{device} got {topic}"
        );
        let Some(packet_id) = publish.packet_id else {
            return;
        };
        let in_flight = self.in_flight.entry(device).or_default();
        let before = in_flight.insert(packet_id, publish.qos);
        assert!(
            before.is_none() || publish.dup,
            "{packet_id} is in flight twice"
        );
    }

    fn check(&self) {
        let engine = &self.world.engine;
        let mut subscriptions = 0;
        for session in engine.sessions() {
            assert!(session.queue_len <= 5, "{session:?}");
            assert!(session.in_flight_len <= 8, "{session:?}");
            assert!(session.unreleased_len <= 6, "{session:?}");
            assert!(session.subscriptions_len <= 4, "{session:?}");
            subscriptions += session.subscriptions_len;
        }
        assert_eq!(engine.subscriptions_len(), subscriptions);
        assert!(engine.sessions_len() <= DEVICES.len());
        assert!(engine.retained_len() <= 2);
        assert!(engine.deadline().is_none_or(|at| at > self.world.now));
        let sessions = engine.sessions.iter();
        let ready = sessions.flat_map(|(_, session)| session.queue.waiting().0);
        assert_eq!(engine.cache.used(), Cache::used_by(ready));
    }
}

/// So small that every limit is met.
fn small(limits: &mut Limits) {
    limits.queue_len_max = 5;
    limits.in_flight_len_max = 8.try_into().unwrap();
    limits.receive_maximum = 3.try_into().unwrap();
    limits.subscriptions_max = 4;
    limits.retained_len_max = 2;
}
