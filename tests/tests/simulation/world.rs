//! The world: clients, their connections, the broker and its disks, and what happens to them.
//!
//! Everything follows from one seed. What must hold is checked as it happens.

use crate::link::{Door, Link};
use crate::machine::disk::SimulatedDisk;
use crate::machine::host::{Clock, Host, Start};
use crate::machine::identity::{Rules, SECRET, verified};
use crate::model::client::{Client, Moment};
use crate::model::truth::{MessageId, Step, Truth, said};
use crate::plan::{CLIENTS, Plan};
use broker::engine::{ConnectionId, Time};
use broker::shard::Outbox;
use countersign_tests::seeded::Seeded;
use protocol::packet::{Connect, Packet, QoS};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) random: Seeded,
    pub(crate) step: Step,
    pub(crate) clock: Clock,
    pub(crate) rules: Rules,
    /// When the rules were narrow last.
    pub(crate) narrowed: Step,
    pub(crate) truth: Truth,
    pub(crate) disks: Vec<SimulatedDisk>,
    pub(crate) syncs: Arc<AtomicU64>,
    pub(crate) disk_bytes_max: u64,
    /// None while the broker is down.
    pub(crate) host: Option<Host>,
    pub(crate) clients: Vec<Client>,
    pub(crate) links: Vec<Link>,
    connections: u64,
    /// Whether the session of a CONNECT must be there, and whether it may be.
    presence: BTreeMap<ConnectionId, (bool, bool)>,
    /// Some messages were dropped where a limit says so.
    pub(crate) has_dropped: bool,
    /// A fault was made, so that the broker may fail.
    pub(crate) may_fail: bool,
    /// What has happened, if anybody wants to know.
    pub(crate) story: Option<Vec<String>>,
}

impl World {
    pub(crate) fn new(plan: Plan) -> Self {
        let disk = |_| {
            let disk = SimulatedDisk::default();
            disk.fill_up_at(plan.capacity);
            disk
        };
        let client = |index| {
            let name = format!("dev-{index}");
            let device = verified(&name);
            Client::new(index, name, device)
        };
        Self {
            random: Seeded::new(plan.seed),
            step: 0,
            clock: Clock::new(),
            rules: Rules::Open,
            narrowed: 0,
            truth: Truth::default(),
            disks: (0..plan.shards).map(disk).collect(),
            syncs: Arc::default(),
            disk_bytes_max: plan.disk_bytes_max,
            host: None,
            clients: (0..CLIENTS).map(client).collect(),
            links: Vec::new(),
            connections: 0,
            presence: BTreeMap::new(),
            has_dropped: false,
            may_fail: false,
            story: None,
            plan,
        }
    }

    /// Tells what happens, to those who want to know.
    pub(crate) fn tell(&mut self, what: impl FnOnce() -> String) {
        if let Some(story) = &mut self.story {
            story.push(format!("{:>5}  {}", self.step, what()));
        }
    }

    /// Starts the broker. Whether it could.
    pub(crate) fn start_host(&mut self) -> bool {
        self.may_fail |= self.plan.capacity != usize::MAX;
        let start = Start {
            plan: &self.plan,
            disks: &self.disks,
            clock: &self.clock,
            rules: self.rules,
            syncs: &self.syncs,
            disk_bytes_max: self.disk_bytes_max,
        };
        match Host::start(&start, &mut self.random) {
            Ok(host) => {
                let place = |it: &Client| host.place_of(host.shards.of(it.device.subject()));
                self.truth.shards = self.clients.iter().map(place).collect();
                self.host = Some(host);
            }
            Err(error) => {
                assert!(self.may_fail, "the broker does not start: {error:?}");
                self.tell(|| format!("the broker does not start: {error}"));
                return false;
            }
        }
        let now = self.now();
        for client in &mut self.clients {
            client.session.left.1 = now;
        }
        self.tell(|| "the broker is there".to_owned());
        true
    }

    /// The process ends, and with it every connection.
    pub(crate) fn stop_host(&mut self) {
        self.note_dropped();
        self.host = None;
        self.presence.clear();
        let now = self.now();
        for link in self.links.drain(..) {
            let client = &mut self.clients[link.client];
            if client.connection == Some(link.id) {
                client.leave(link.closed.unwrap_or(now));
            }
        }
    }

    pub(crate) fn note_dropped(&mut self) {
        let Some(host) = &self.host else {
            return;
        };
        let dropped = |it: &broker::engine::Counters| it.dropped_queue_full > 0;
        self.has_dropped |= host.shards.all().any(|it| dropped(&it.counters()));
    }

    pub(crate) fn now(&self) -> Time {
        self.clock.now()
    }

    /// A client opens a connection and sends its CONNECT.
    pub(crate) fn connect(&mut self, index: usize, connect: &Connect) {
        let Some(host) = &self.host else {
            return;
        };
        let before = self.links.iter_mut().filter(|it| it.client == index);
        before.for_each(Link::replace);
        self.connections += 1;
        let id = ConnectionId(self.connections);
        let client = &mut self.clients[index];
        let shard = host.shards.of(client.device.subject());
        let seen = &host.stores[host.place_of(shard)].seen;
        let outbox = Outbox::new(self.plan.limits.outbox_bytes_max, 4 << 20);
        let mut link = Link::new((id, index), connect, (shard, seen), outbox);
        link.send(&Packet::Connect(Box::new(connect.clone())));
        client.version = connect.version;
        client.knock(id, connect);
        self.links.push(link);
        self.tell(|| format!("dev-{index} connects: {}", in_short(connect)));
    }

    /// What a client has to say goes on its way.
    pub(crate) fn send_words(&mut self, index: usize) {
        let client = &mut self.clients[index];
        let connection = client.connection;
        let Some(link) = self.links.iter_mut().find(|it| Some(it.id) == connection) else {
            client.words.clear();
            return;
        };
        for packet in client.words.drain(..) {
            link.send(&packet);
            if let Some(story) = &mut self.story {
                let told = format!("{:>5}  dev-{index} sends {packet:?}", self.step);
                story.push(told);
            }
        }
    }

    /// Bytes of a connection arrive at the server.
    pub(crate) fn arrive(&mut self, place: usize, len: usize) {
        self.note_presence(place);
        let link = &mut self.links[place];
        let mut door = Door {
            client: &self.clients[link.client],
            now: self.clock.now(),
            nonce: self.random.number(),
            presence: &mut self.presence,
        };
        let mut moment = Moment {
            step: self.step,
            now: self.clock.now(),
            truth: &mut self.truth,
        };
        link.read(len, &mut door, &mut moment);
    }

    /// A client that has another connection has not left yet.
    fn note_presence(&mut self, place: usize) {
        let (id, index) = (self.links[place].id, self.links[place].client);
        let mut others = self.links.iter().filter(|it| it.client == index);
        if others.any(|it| it.id != id && it.closed.is_none()) {
            self.clients[index].session.left.1 = self.clock.now();
        }
    }

    /// The server says on a connection what it may. Whether there was anything.
    pub(crate) fn speak(&mut self, place: usize) -> bool {
        let link = &mut self.links[place];
        let (rules, now, truth) = (self.rules, self.clock.now(), &self.truth);
        let mut heard = Vec::new();
        let is_telling = self.story.is_some();
        let said_some = link.speak(&self.clients[link.client], |packet| {
            judge(packet, (rules, now), truth);
            if is_telling {
                heard.push(format!("{packet:?}"));
            }
        });
        let name = link.client;
        for packet in heard {
            self.tell(|| format!("dev-{name} is told {packet}"));
        }
        if self.links[place].is_finished() {
            self.close(place);
        }
        said_some
    }

    /// The server lets go of a connection.
    pub(crate) fn close(&mut self, place: usize) {
        let now = self.now();
        let link = &mut self.links[place];
        link.close(now);
        let client = &mut self.clients[link.client];
        client.session.left.1 = now;
    }

    /// Bytes of a connection arrive at its client.
    pub(crate) fn hear(&mut self, place: usize, len: usize) {
        let link = &mut self.links[place];
        let (index, id) = (link.client, link.id);
        if link.is_left || self.clients[index].connection != Some(id) {
            return;
        }
        let packets = link.hear(len);
        let (closed, is_over) = (link.closed, !link.has_answers());
        for packet in packets {
            if let Packet::Connack(connack) = &packet
                && !connack.reason.is_error()
            {
                self.check_presence(index, (id, connack.session_present));
            }
            let mut moment = Moment {
                step: self.step,
                now: self.clock.now(),
                truth: &mut self.truth,
            };
            let acknowledged = self.clients[index].hear(packet, &mut moment);
            if let Some(message) = acknowledged {
                self.owe(message);
            }
        }
        self.send_words(index);
        if let Some(at) = closed.filter(|_| is_over) {
            self.tell(|| format!("dev-{index} sees its connection closed"));
            self.clients[index].leave(at);
            self.links[place].leave(0);
        }
    }

    fn check_presence(&mut self, index: usize, (id, is_present): (ConnectionId, bool)) {
        self.tell(|| format!("dev-{index} is let in, session present: {is_present}"));
        let Some((must, may)) = self.presence.remove(&id) else {
            return;
        };
        let client = &self.clients[index];
        let session = &client.session;
        if client.is_clean() {
            assert!(!is_present, "dev-{index} began anew and has a session");
            return;
        }
        assert!(
            is_present || !must,
            "dev-{index} lost its session: {session:?}"
        );
        assert!(
            !is_present || may,
            "dev-{index} has a session that is over: {session:?}"
        );
    }

    /// A message was acknowledged: who must be given it.
    fn owe(&mut self, message: MessageId) {
        let published = self.truth.of(message);
        // What came while it was permitted may have been taken back while it was not.
        let was_narrow = self.rules == Rules::Narrow || self.narrowed >= published.first_sent;
        if published.topic.starts_with(SECRET) && was_narrow {
            return;
        }
        for client in &mut self.clients {
            client.session.owe(message, &self.truth);
        }
    }

    /// A client leaves its connection; so many bytes of what it has sent still arrive.
    pub(crate) fn leave(&mut self, index: usize, arriving: usize) {
        let now = self.now();
        let client = &mut self.clients[index];
        let connection = client.connection;
        let Some(link) = self.links.iter_mut().find(|it| Some(it.id) == connection) else {
            return;
        };
        client.leave(link.closed.unwrap_or(now));
        link.leave(arriving);
    }

    /// Forgets the connections that are over on both sides.
    pub(crate) fn sweep(&mut self) {
        self.links.retain(|it| it.closed.is_none() || !it.is_left);
    }
}

/// What nobody may be told: what is not permitted, and what is expired.
fn judge(packet: &Packet, (rules, now): (Rules, Time), truth: &Truth) {
    let Packet::Publish(publish) = packet else {
        return;
    };
    let is_secret = publish.topic.as_str().starts_with(SECRET);
    assert!(!is_secret || rules == Rules::Open, "no permit: {packet:?}");
    let Some(id) = said(&publish.payload) else {
        return;
    };
    let published = truth.of(id);
    // What was in flight is sent again, whatever its time.
    let is_begun = publish.dup && publish.qos != QoS::AtMostOnce;
    let is_expired = published.is_expired(now).1 && !is_begun;
    assert!(!is_expired, "expired: {packet:?}, {published:?}");
}

fn in_short(connect: &Connect) -> String {
    format!(
        "{:?} clean start {} expiry {} will {}",
        connect.version,
        connect.clean_start,
        connect.properties.session_expiry_interval,
        connect.will.is_some(),
    )
}
