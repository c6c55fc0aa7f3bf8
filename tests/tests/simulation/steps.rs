//! Steps: one thing that happens, chosen by chance.

use super::client::Moment;
use super::disk::Fault;
use super::host::{Host, Start};
use super::identity::{Rules, SECRET, policy};
use super::plan::OUTGOING_MAX;
use super::truth::{Published, payload};
use super::world::{FORWARDS_ARE_DURABLE, World};
use broker::engine::Input;
use broker::storage::log::Durability;
use protocol::ReasonCode;
use protocol::Text;
use protocol::packet::{
    Connect, ConnectProperties, Disconnect, ForwardedProperties, Packet, QoS, RetainHandling,
    Subscribe, Subscription, Unsubscribe, Version, Will,
};
use protocol::topic::{TopicFilter, TopicName};

const TOPICS: [&str; 8] = ["t/0", "t/1", "t/0", "t/1", "t/2", "secret/0", "r/0", "r/1"];
const FILTERS: [&str; 9] = [
    "t/0", "t/1", "t/+", "t/#", "#", "secret/#", "r/#", "r/0", "w/+",
];
const QOS: [QoS; 5] = [
    QoS::AtMostOnce,
    QoS::AtLeastOnce,
    QoS::AtLeastOnce,
    QoS::ExactlyOnce,
    QoS::ExactlyOnce,
];

/// Until a restarted broker knows under which identifiers it has given up a QoS 2 delivery that a
/// new policy forbids, what is sent under the same one is a duplicate to the client, and lost:
/// nothing that may be forbidden is published at QoS 2.
const GIVEN_UP_IS_REMEMBERED: bool = false;

impl World {
    /// Something happens.
    pub(crate) fn happen(&mut self) {
        self.step += 1;
        if self.host.is_none() {
            return match self.random.below(4) {
                0 => self.pass_time(),
                _ => drop(self.restart()),
            };
        }
        if self.random.below(self.plan.crash_odds) == 0 {
            return self.crash();
        }
        match self.random.below(100) {
            0..45 => self.act(),
            45..80 => self.transport(),
            80..92 => self.write(),
            92..96 => self.serve_storage(),
            96..98 => self.pass_time(),
            98 => self.change_policy(),
            _ => self.check_bounds(),
        }
        if self.host.as_ref().is_some_and(Host::is_failed) {
            self.fail();
        }
    }

    /// A shard has failed, and the process with it.
    fn fail(&mut self) {
        assert!(self.may_fail, "the broker failed on a disk that is whole");
        self.tell(|| "the broker fails".to_owned());
        self.crash();
    }

    /// The process ends, with or without the power.
    fn crash(&mut self) {
        let is_power = self.plan.durability == Durability::Sync && self.random.below(2) == 0;
        self.tell(|| format!("the broker dies, power cut: {is_power}"));
        self.stop_host();
        for disk in &self.disks {
            disk.mend();
            if is_power {
                disk.lose_power(&mut self.random);
            }
        }
        self.may_fail = false;
    }

    /// Starts the broker on disks that may be broken. Whether it could.
    pub(crate) fn restart(&mut self) -> bool {
        if self.random.below(10) == 0 {
            self.check_flipped();
        }
        if self.random.below(self.plan.fault_odds) == 0 {
            self.break_disk();
        }
        let started = self.start_host();
        if !started {
            // There is room again, or another disk.
            self.disks.iter().for_each(|it| it.fill_up_at(usize::MAX));
            self.crash();
        }
        started
    }

    fn check_flipped(&mut self) {
        let start = Start {
            plan: &self.plan,
            disks: &self.disks,
            clock: &self.clock,
            rules: self.rules,
            syncs: &self.syncs,
            disk_bytes_max: self.disk_bytes_max,
        };
        start.check_flipped(0, &mut self.random);
    }

    fn break_disk(&mut self) {
        let place = self.random.below(self.disks.len());
        let step = 1 + self.random.below(6) as u64;
        let fault = *self.random.choose(&[Fault::PowerCut, Fault::SyncFails]);
        self.disks[place].break_at(step, fault);
        self.may_fail = true;
        self.tell(|| format!("disk {place} breaks after {step}: {fault:?}"));
    }

    /// A log is written.
    fn write(&mut self) {
        if self.random.below(self.plan.fault_odds) == 0 {
            self.break_disk();
        }
        let place = self.random.below(self.plan.shards);
        let follows = self.random.below(2) == 0;
        let Some(host) = &mut self.host else {
            return;
        };
        let written = host.stores[place].steps.write();
        if follows {
            host.follow();
        }
        self.tell(|| format!("log {place} is written: {written:?}"));
    }

    /// Storage does something beside writing.
    fn serve_storage(&mut self) {
        let place = self.random.below(self.plan.shards);
        let what = self.random.below(4);
        let Some(host) = &mut self.host else {
            return;
        };
        let steps = &mut host.stores[place].steps;
        match what {
            0 => host.follow(),
            1 | 2 => {
                let done = steps.make_room();
                self.tell(|| format!("storage {place} makes room: {done:?}"));
            }
            _ => {
                let done = steps.load();
                self.tell(|| format!("storage {place} loads: {done:?}"));
            }
        }
    }

    /// Bytes travel on some connection.
    fn transport(&mut self) {
        if self.links.is_empty() {
            return;
        }
        let place = self.random.below(self.links.len());
        let len = *self.random.choose(&[3, 40, 400, 4096]);
        if self.random.below(4) > 0 {
            self.arrive(place, len);
        }
        if self.random.below(4) > 0 {
            self.speak(place);
        }
        if self.random.below(4) > 0 {
            self.hear(place, len);
        }
        let link = &self.links[place];
        let is_silent = link.is_left && link.closed.is_none() && !link.has_words();
        if is_silent && self.random.below(2) == 0 {
            self.close(place);
        }
        self.sweep();
    }

    /// All that is decided is said, and all that may be said by now.
    pub(crate) fn say_all(&mut self) {
        let mut any = true;
        while std::mem::take(&mut any) {
            if let Some(host) = &mut self.host {
                host.follow();
                for store in &mut host.stores {
                    // Where it fails, that is seen behind this step.
                    any |= matches!(store.steps.write(), Ok(true));
                }
            }
            for place in 0..self.links.len() {
                any |= self.speak(place);
                self.hear(place, usize::MAX);
            }
        }
    }

    fn pass_time(&mut self) {
        // What was decided before must not be heard later.
        self.say_all();
        if self.host.as_ref().is_some_and(Host::is_failed) {
            return;
        }
        let seconds = *self.random.choose(&[1, 5, 30, 400, 4000, 700_000]);
        self.clock
            .advance(seconds * 1000 + self.random.below(1000) as u64);
        self.tell(|| format!("{seconds} s pass"));
        if let Some(host) = &mut self.host {
            host.tick();
        }
    }

    fn change_policy(&mut self) {
        let rules = *self.random.choose(&[Rules::Open, Rules::Narrow]);
        self.set_rules(rules);
    }

    pub(crate) fn set_rules(&mut self, rules: Rules) {
        self.say_all();
        self.rules = rules;
        if let Some(host) = &self.host {
            host.shards.tell_all(|| Input::Policy(policy(rules)));
        }
        let secret = TopicName::parse(&format!("{SECRET}0")).unwrap();
        for client in &mut self.clients {
            let truth = &self.truth;
            let session = &mut client.session;
            session.forgive(|id| truth.of(id).topic.starts_with(SECRET));
            session.doubt(|filter| filter.matches(&secret) && filter.pattern() != "#");
        }
        self.tell(|| format!("the rules are {rules:?}"));
    }

    /// No queue is longer than it may be.
    fn check_bounds(&mut self) {
        self.note_dropped();
        let limits = &self.plan.limits;
        let Some(host) = &self.host else {
            return;
        };
        for shard in host.shards.all() {
            shard.look(|engine| {
                for session in engine.sessions() {
                    let (queue, in_flight) = (session.queue_len, session.in_flight_len);
                    let in_flight_max = usize::from(limits.in_flight_len_max.get());
                    assert!(in_flight <= in_flight_max, "{session:?}");
                    // What was in flight waits again after a restart.
                    let len_max = limits.queue_len_max + in_flight_max;
                    assert!(queue + in_flight <= len_max, "{session:?}");
                    assert!(session.unreleased_len <= OUTGOING_MAX + 2, "{session:?}");
                    assert!(session.subscriptions_len <= FILTERS.len(), "{session:?}");
                }
            });
        }
    }

    /// A client does something.
    fn act(&mut self) {
        let index = self.random.below(self.clients.len());
        let client = &self.clients[index];
        if client.connection.is_none() {
            let connect = self.think_of_connect(index);
            return self.connect(index, &connect);
        }
        if !client.is_greeted {
            if self.random.below(20) == 0 {
                self.cut(index);
            }
            return;
        }
        match self.random.below(100) {
            0..55 => self.publish(index),
            55..68 => self.subscribe(index),
            68..70 => self.unsubscribe(index),
            70..92 => {
                let count = *self.random.choose(&[1, 2, 100]);
                self.clients[index].acknowledge(count);
            }
            92..94 => self.disconnect(index),
            94..97 => self.cut(index),
            97 => {
                // The one before is not over for the server.
                self.cut(index);
                let connect = self.think_of_connect(index);
                self.connect(index, &connect);
            }
            _ => {}
        }
        self.send_words(index);
    }

    fn cut(&mut self, index: usize) {
        let arriving = *self.random.choose(&[0, 20, usize::MAX]);
        self.tell(|| format!("dev-{index} is cut off"));
        self.leave(index, arriving);
    }

    fn think_of_connect(&mut self, index: usize) -> Connect {
        let random = &mut self.random;
        let client = &self.clients[index];
        let version = *random.choose(&[Version::V5, Version::V5, Version::V311]);
        let clean_start = client.session.must_begin_anew(self.clock.now()) || random.below(12) == 0;
        let expiry = *random.choose(&[0, 20, 3600, 3600, u32::MAX, u32::MAX]);
        let expiry = match version {
            Version::V5 => expiry,
            Version::V311 if clean_start => 0,
            Version::V311 => u32::MAX,
        };
        let receive_maximum = *random.choose(&[1, 2, 65_535]);
        let receive_maximum = match version {
            Version::V5 => receive_maximum,
            Version::V311 => 65_535,
        };
        Connect {
            version,
            clean_start,
            keep_alive: 0,
            client_id: Text::parse(&client.name).unwrap(),
            will: self.think_of_will(index, version),
            username: None,
            password: None,
            properties: ConnectProperties {
                session_expiry_interval: expiry,
                receive_maximum: receive_maximum.try_into().unwrap(),
                topic_alias_maximum: match version {
                    Version::V5 => 2,
                    Version::V311 => 0,
                },
                ..ConnectProperties::default()
            },
        }
    }

    fn think_of_will(&mut self, index: usize, version: Version) -> Option<Will> {
        if self.random.below(4) > 0 {
            return None;
        }
        let qos = match self.plan.shards > 1 && !FORWARDS_ARE_DURABLE {
            true => QoS::AtLeastOnce,
            false => *self.random.choose(&QOS),
        };
        let delay = *self.random.choose(&[0, 5, 500]);
        let id = self.truth.add(Published {
            is_will: true,
            retain: false,
            expiry: None,
            is_empty: false,
            ..self.thought(index, "w/0", qos)
        });
        Some(Will {
            qos,
            retain: false,
            topic: TopicName::parse("w/0").unwrap(),
            payload: payload(id, 3).into(),
            delay_interval: if version == Version::V5 { delay } else { 0 },
            message_expiry_interval: None,
            forwarded: ForwardedProperties::default(),
        })
    }

    fn thought(&self, publisher: usize, topic: &str, qos: QoS) -> Published {
        Published {
            publisher,
            topic: topic.to_owned(),
            qos,
            retain: topic.starts_with("r/"),
            is_empty: false,
            is_will: false,
            expiry: None,
            first_sent: self.step,
            last_sent: self.step,
            over: None,
            acknowledged: None,
            is_refused: false,
            given: None,
        }
    }

    fn publish(&mut self, index: usize) {
        let client = &self.clients[index];
        let qos = *self.random.choose(&QOS);
        if qos != QoS::AtMostOnce && client.outgoing.len() >= OUTGOING_MAX {
            return;
        }
        let topic = *self.random.choose(&TOPICS);
        let qos = match topic.starts_with(SECRET) && !GIVEN_UP_IS_REMEMBERED {
            true => qos.min(QoS::AtLeastOnce),
            false => qos,
        };
        let expiry = *self.random.choose(&[None, None, None, Some(3), Some(600)]);
        let is_v5 = client.version == Version::V5;
        let retain = topic.starts_with("r/");
        let published = Published {
            expiry: expiry.filter(|_| is_v5 && !retain),
            is_empty: retain && self.random.below(5) == 0,
            ..self.thought(index, topic, qos)
        };
        let id = self.truth.add(published.clone());
        let filling = *self.random.choose(&[1, 10, 100, 700]);
        let payload = match published.is_empty {
            true => String::new(),
            false => payload(id, filling),
        };
        self.clients[index].publish(id, payload, &published);
        self.tell(|| format!("dev-{index} publishes {id:?}"));
    }

    fn subscribe(&mut self, index: usize) {
        let filter = *self.random.choose(&FILTERS);
        let qos = *self.random.choose(&QOS);
        self.subscribe_to(index, filter, qos);
    }

    pub(crate) fn subscribe_to(&mut self, index: usize, filter: &str, qos: QoS) {
        let filter = TopicFilter::parse(filter).unwrap();
        let step = self.step;
        let client = &mut self.clients[index];
        let packet_id = client.free_id();
        client.subscribes(packet_id, &filter, qos, step);
        let subscription = Subscription {
            filter,
            qos,
            no_local: false,
            retain_as_published: false,
            retain_handling: RetainHandling::Send,
        };
        client.words.push(Packet::Subscribe(Box::new(Subscribe {
            packet_id,
            subscriptions: vec![subscription],
            subscription_id: None,
            user_properties: Vec::new(),
        })));
    }

    fn unsubscribe(&mut self, index: usize) {
        let filter = *self.random.choose(&FILTERS);
        let filter = TopicFilter::parse(filter).unwrap();
        let moment = Moment {
            step: self.step,
            now: self.clock.now(),
            truth: &mut self.truth,
        };
        let client = &mut self.clients[index];
        let packet_id = client.free_id();
        client.unsubscribes(packet_id, &filter, &moment);
        client.words.push(Packet::Unsubscribe(Box::new(Unsubscribe {
            packet_id,
            filters: vec![filter],
            user_properties: Vec::new(),
        })));
    }

    /// A client says goodbye, and perhaps that its session ends earlier or later.
    fn disconnect(&mut self, index: usize) {
        let wish = *self.random.choose(&[None, None, Some(0), Some(30)]);
        let client = &mut self.clients[index];
        let wish = wish.filter(|_| client.version == Version::V5 && client.session.expiry.0 > 0);
        if let Some(expiry) = wish {
            client.widen_expiry(expiry);
        }
        let mut disconnect = Disconnect::new(ReasonCode::Success);
        disconnect.session_expiry_interval = wish;
        client.words.push(Packet::Disconnect(Box::new(disconnect)));
        self.send_words(index);
        self.leave(index, usize::MAX);
    }
}
