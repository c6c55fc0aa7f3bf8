//! Several shards that forward to each other and die together, each with what was durable of it.
//!
//! Whatever is lost on the way, what a client was told to be taken arrives: at QoS 2 once, and in
//! its order. A failing seed is printed.

use super::replay::Replay;
use super::sequences::Random;
use super::*;
use protocol::packet::{Ack, PacketId};
use std::collections::{BTreeSet, VecDeque};

const SEQUENCES: u64 = 2_000;
const STEPS: usize = 150;
const SHARDS: usize = 3;
/// One of each shard.
const DEVICES: [&str; SHARDS] = ["dev-0", "dev-1", "dev-2"];
const TOPICS: [&str; SHARDS] = ["0", "1", "2"];
const CRASH_ODDS: usize = 50;

#[test]
fn whatever_is_lost_in_a_crash_what_was_acknowledged_reaches_all_shards_once_and_in_order() {
    for seed in 1..=SEQUENCES {
        let outcome = std::panic::catch_unwind(|| Broker::new(seed).run());
        assert!(outcome.is_ok(), "seed {seed}");
    }
}

/// A shard with a log that is slow.
struct Shard {
    world: World,
    log: Replay,
    /// The turns that are not durable, and how many are.
    pending: VecDeque<Vec<Record>>,
    durable: usize,
    /// What waits for the log, each until so many turns are durable.
    speech: VecDeque<(usize, Heard)>,
    forwards: VecDeque<(usize, Forward)>,
    taken: VecDeque<(usize, ForwardsTaken)>,
    client: Client,
}

/// A message that a client has published and that is not acknowledged to the end.
struct Unacknowledged {
    id: u16,
    number: u32,
    qos: QoS,
    is_retained: bool,
    is_released: bool,
}

/// A client that never forgets, on connections that end with the broker.
struct Client {
    topic: &'static str,
    connection: ConnectionId,
    is_greeted: bool,
    unacknowledged: VecDeque<Unacknowledged>,
    next_id: u16,
    /// By number, which QoS it was published with.
    published: Vec<QoS>,
    acknowledged: BTreeSet<u32>,
    /// Who published what, as it came in.
    got: Vec<(usize, u32)>,
    remembers: BTreeSet<PacketId>,
    answers: VecDeque<Packet>,
}

struct Broker {
    random: Random,
    shards: Vec<Shard>,
    /// What is in the mailbox of each shard, from each.
    links: BTreeMap<(usize, usize), VecDeque<Input>>,
}

impl Broker {
    fn new(seed: u64) -> Self {
        let mut broker = Self {
            random: Random(seed),
            shards: (0..SHARDS).map(Shard::new).collect(),
            links: BTreeMap::new(),
        };
        broker.settle_down();
        broker
    }

    fn run(mut self) {
        for _ in 0..STEPS {
            self.step();
        }
        self.settle_down();
        self.check();
        // Nothing of it is needed any more, and nothing comes twice.
        self.crash();
        self.settle_down();
        self.check();
    }

    fn step(&mut self) {
        if self.random.below(CRASH_ODDS) == 0 {
            return self.crash();
        }
        let place = self.random.below(SHARDS);
        let other = self.random.below(SHARDS);
        match self.random.below(8) {
            0..3 => {
                let qos = self.random.one_of(&[QoS::AtLeastOnce, QoS::ExactlyOnce]);
                let is_retained = self.random.below(4) == 0;
                self.shards[place].publish(qos, is_retained);
            }
            3 => {
                let turns = self.random.below(self.shards[place].pending.len() + 1);
                self.shards[place].sync(turns);
            }
            4 => self.shards[place].listen(),
            5 => self.shards[place].answer(),
            6 => self.hand_over(place),
            _ => {
                self.take_mail(other, place);
            }
        }
    }

    /// What may leave a shard is left in the mailboxes of the others.
    fn hand_over(&mut self, from: usize) {
        let shard = &mut self.shards[from];
        let durable = shard.durable;
        while let Some((_, forward)) = shard.forwards.pop_front_if(|(at, _)| *at <= durable) {
            for to in (0..SHARDS).filter(|to| *to != from) {
                let link = self.links.entry((from, to)).or_default();
                link.push_back(Input::Forward(forward.clone()));
            }
        }
        while let Some((_, taken)) = shard.taken.pop_front_if(|(at, _)| *at <= durable) {
            let to = usize::try_from(taken.from).unwrap();
            let link = self.links.entry((from, to)).or_default();
            link.push_back(Input::ForwardsTaken(taken));
        }
    }

    /// A shard takes the next of what another one has left with it.
    fn take_mail(&mut self, from: usize, to: usize) -> bool {
        let next = self.links.entry((from, to)).or_default().pop_front();
        let is_any = next.is_some();
        if let Some(input) = next {
            self.shards[to].input(input);
        }
        is_any
    }

    /// All die at once, and others go on with what was durable of each, or a little more.
    fn crash(&mut self) {
        self.links.clear();
        let random = &mut self.random;
        let mut restored: Vec<_> = self
            .shards
            .iter_mut()
            .map(|shard| {
                shard.sync(random.below(shard.pending.len() + 1));
                shard.log.restored(u64::MAX)
            })
            .collect();
        Restored::begin_together(&mut restored);
        for (place, restored) in restored.into_iter().enumerate() {
            self.shards[place].begin(place, restored);
        }
    }

    /// Everything that can happen without anybody's doing happens.
    fn settle_down(&mut self) {
        let mut is_any = true;
        while is_any {
            is_any = false;
            for place in 0..SHARDS {
                let shard = &mut self.shards[place];
                is_any |= !shard.pending.is_empty();
                shard.sync(shard.pending.len());
                shard.listen();
                is_any |= !shard.client.answers.is_empty();
                shard.answer();
                self.hand_over(place);
                for from in 0..SHARDS {
                    while self.take_mail(from, place) {
                        is_any = true;
                    }
                }
            }
        }
    }

    fn check(&self) {
        for shard in &self.shards {
            shard.log.check(&shard.world.engine);
            assert!(shard.log.forwards.is_empty());
            let retained: Vec<_> = shard.log.retained.values().collect();
            let other: Vec<_> = self.shards[0].log.retained.values().collect();
            assert_eq!(format!("{retained:?}"), format!("{other:?}"));
            assert!(shard.client.unacknowledged.is_empty());
            for (publisher, other) in self.shards.iter().enumerate() {
                shard.client.check(publisher, &other.client);
            }
        }
    }
}

impl Shard {
    fn new(place: usize) -> Self {
        let at = ShardPlace {
            index: place.try_into().unwrap(),
            count: SHARDS.try_into().unwrap(),
        };
        let mut shard = Self {
            world: World::in_place(Limits::default(), OPEN, at),
            log: Replay::default(),
            pending: VecDeque::new(),
            durable: 0,
            speech: VecDeque::new(),
            forwards: VecDeque::new(),
            taken: VecDeque::new(),
            client: Client::new(place),
        };
        shard.begin(place, Restored::default());
        let wish = subscribe(&[("#", QoS::ExactlyOnce)]);
        shard.world.send(shard.client.connection, wish);
        shard.end_turn();
        shard
    }

    /// An engine begins, and the client comes.
    fn begin(&mut self, place: usize, restored: Restored) {
        self.pending.clear();
        self.speech.clear();
        self.forwards.clear();
        self.taken.clear();
        self.world.crash(OPEN, restored);
        self.world.input(Input::Tick);
        self.end_turn();
        self.client.answers.clear();
        self.client.is_greeted = false;
        self.client.connection = self.world.knock(DEVICES[place], lasting);
        self.end_turn();
    }

    fn input(&mut self, input: Input) {
        self.world.input(input);
        self.end_turn();
    }

    /// Takes what a turn has led to.
    fn end_turn(&mut self) {
        let records = self.world.records();
        if !records.is_empty() {
            self.pending.push_back(records);
        }
        let position = self.durable + self.pending.len();
        let at = |after| match after {
            After::Sync => position,
            After::Nothing => 0,
        };
        let forwards = self.world.forwards().into_iter();
        self.forwards
            .extend(forwards.map(|forward| (at(forward.after), forward)));
        let taken = self.world.taken().into_iter();
        self.taken.extend(taken.map(|it| (position, it)));
        let heard = self.world.take_heard().into_values().flatten();
        self.speech
            .extend(heard.map(|(after, heard)| (at(after), heard)));
    }

    /// So many more turns are durable.
    fn sync(&mut self, turns: usize) {
        for records in self.pending.drain(..turns) {
            self.durable += 1;
            for record in records {
                self.log.apply(record);
            }
            self.log.trim();
        }
    }

    /// The client hears what it may.
    fn listen(&mut self) {
        let durable = self.durable;
        while let Some((_, heard)) = self.speech.pop_front_if(|(at, _)| *at <= durable) {
            match heard {
                Heard::Packet(packet) => self.client.hear(packet),
                Heard::AskDrained => self.answer_drained(),
                Heard::Close(why) => panic!("{why}"),
            }
        }
    }

    fn answer_drained(&mut self) {
        let connection = self.client.connection;
        self.input(Input::Drained { connection });
    }

    /// The client says all that it has to say.
    fn answer(&mut self) {
        for packet in std::mem::take(&mut self.client.answers) {
            self.world.send(self.client.connection, packet);
            self.end_turn();
        }
    }

    fn publish(&mut self, qos: QoS, is_retained: bool) {
        let client = &mut self.client;
        if !client.is_greeted || client.unacknowledged.len() >= 5 {
            return;
        }
        let number = client.published.len().try_into().unwrap();
        client.published.push(qos);
        client.next_id = client.next_id % 50 + 1;
        client.unacknowledged.push_back(Unacknowledged {
            id: client.next_id,
            number,
            qos,
            is_retained,
            is_released: false,
        });
        let packet = client.unacknowledged.back().unwrap().packet(client.topic);
        client.answers.push_back(packet);
    }
}

impl Unacknowledged {
    fn packet(&self, topic: &str) -> Packet {
        if self.is_released {
            return pubrel(self.id);
        }
        let payload = self.number.to_string();
        let packet = Packet::Publish(publish(topic, &payload, self.qos, self.id));
        if self.is_retained {
            retained(packet)
        } else {
            packet
        }
    }
}

impl Client {
    fn new(place: usize) -> Self {
        Self {
            topic: TOPICS[place],
            connection: ConnectionId(0),
            is_greeted: false,
            unacknowledged: VecDeque::new(),
            next_id: 0,
            published: Vec::new(),
            acknowledged: BTreeSet::new(),
            got: Vec::new(),
            remembers: BTreeSet::new(),
            answers: VecDeque::new(),
        }
    }

    fn hear(&mut self, packet: Packet) {
        match packet {
            Packet::Connack(connack) => {
                assert!(connack.session_present || self.published.is_empty());
                self.is_greeted = true;
                let again = self.unacknowledged.iter().map(|it| it.packet(self.topic));
                self.answers.extend(again);
            }
            Packet::Publish(publish) => self.take(&publish),
            Packet::Puback(ack) => self.end(&ack, QoS::AtLeastOnce),
            Packet::Pubcomp(ack) => self.end(&ack, QoS::ExactlyOnce),
            Packet::Pubrec(ack) => {
                let id = ack.packet_id.get();
                let all = self.unacknowledged.iter_mut();
                if let Some(released) = all.into_iter().find(|it| it.id == id) {
                    released.is_released = true;
                    self.acknowledged.insert(released.number);
                }
                self.answers.push_back(pubrel(id));
            }
            Packet::Pubrel(ack) => {
                self.remembers.remove(&ack.packet_id);
                self.answers.push_back(Packet::Pubcomp(ack));
            }
            Packet::Suback(_) => {}
            other => panic!("{other:?}"),
        }
    }

    fn take(&mut self, publish: &protocol::packet::Publish) {
        let id = publish.packet_id.expect("nothing comes at QoS 0");
        let is_new = publish.qos == QoS::AtLeastOnce || self.remembers.insert(id);
        if is_new {
            let number = std::str::from_utf8(&publish.payload).unwrap();
            let publisher = publish.topic.as_str().parse().unwrap();
            self.got.push((publisher, number.parse().unwrap()));
        }
        let ack = Ack::success(id);
        self.answers.push_back(match publish.qos {
            QoS::ExactlyOnce => Packet::Pubrec(ack),
            QoS::AtMostOnce | QoS::AtLeastOnce => Packet::Puback(ack),
        });
    }

    fn end(&mut self, ack: &Ack, qos: QoS) {
        assert!(!ack.reason.is_error() || qos == QoS::ExactlyOnce, "{ack:?}");
        let id = ack.packet_id.get();
        let all = &mut self.unacknowledged;
        if let Some(place) = all.iter().position(|it| it.id == id && it.qos == qos) {
            let ended = all.remove(place).unwrap();
            self.acknowledged.insert(ended.number);
        }
    }

    /// Whether all that another one has published has come.
    fn check(&self, publisher: usize, other: &Self) {
        let got = self.got.iter().filter(|(it, _)| *it == publisher);
        let got: Vec<u32> = got.map(|(_, number)| *number).collect();
        for number in &other.acknowledged {
            assert!(got.contains(number), "{number} of {publisher} was lost");
        }
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let is_of = |number: &&u32| other.published[usize::try_from(**number).unwrap()] == qos;
            let mut seen = BTreeSet::new();
            let first: Vec<_> = got.iter().filter(is_of).copied().collect();
            let len = first.len();
            let first: Vec<_> = first.into_iter().filter(|it| seen.insert(*it)).collect();
            assert!(first.is_sorted(), "{first:?} of {publisher} at {qos:?}");
            assert!(
                qos == QoS::AtLeastOnce || len == first.len(),
                "{publisher}: twice"
            );
        }
    }
}
