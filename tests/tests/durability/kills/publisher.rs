//! A publisher that keeps its promises: what was not acknowledged it sends again, in order.
//!
//! Messages are numbered from 1 for each of its topics, without a gap, and so must they arrive.

use super::round::Round;
use crate::link::{Gone, Link, Present};
use countersign_tests::mqtt::answer::Ack;
use countersign_tests::mqtt::request::{self, Publish};
use countersign_tests::mqtt::{Frame, Kind, Version};
use countersign_tests::seeded::Seeded;
use std::collections::VecDeque;

/// So many are on their way at once at the most.
const WINDOW: usize = 12;

pub(super) struct Publisher {
    name: String,
    version: Version,
    qos: u8,
    lanes: Vec<Lane>,
    in_flight: VecDeque<Sent>,
    session: Present,
    packet_id: u16,
    random: Seeded,
}

/// One of its topics.
pub(super) struct Lane {
    pub(super) topic: String,
    pub(super) kind: LaneKind,
    /// The last number that was sent.
    pub(super) sent: u32,
    /// The last number that was acknowledged.
    pub(super) acknowledged: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LaneKind {
    /// Delivered.
    Passing,
    /// Delivered and retained.
    Kept,
    /// Retained and cleared in turn. Nobody subscribes to it.
    Cleared,
}

struct Sent {
    id: u16,
    lane: usize,
    number: u32,
    publish: Publish,
    /// At QoS 2: the broker has it.
    is_received: bool,
}

impl Publisher {
    pub(super) fn new(name: &str, (version, qos): (Version, u8), seed: u64) -> Self {
        let lane = |prefix, below, kind| Lane {
            topic: format!("{prefix}/{name}/{below}"),
            kind,
            sent: 0,
            acknowledged: 0,
        };
        let lanes = vec![
            lane("x", "a", LaneKind::Passing),
            lane("x", "b", LaneKind::Passing),
            lane("x", "kept", LaneKind::Kept),
            lane("r", "cleared", LaneKind::Cleared),
        ];
        Self {
            name: name.to_owned(),
            version,
            qos,
            lanes,
            in_flight: VecDeque::new(),
            session: Present::Unknown,
            packet_id: 0,
            random: Seeded::new(seed),
        }
    }

    pub(super) fn lanes(&self) -> &[Lane] {
        &self.lanes
    }

    /// Whether nothing of it is on its way.
    pub(super) fn is_done(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// Publishes until the broker is gone, or until all is acknowledged in a round that winds up.
    pub(super) fn run(&mut self, round: &Round) -> Result<(), Gone> {
        let who = (&*self.name, self.version);
        let mut link = Link::lasting(round.address, who, &mut self.session)?;
        for sent in &self.in_flight {
            link.send(&sent.again(self.version))?;
        }
        let window = 1 + self.random.below(WINDOW);
        loop {
            while self.in_flight.len() < window && !round.is_winding_up() {
                let bytes = self.publish();
                link.send(&bytes)?;
            }
            if self.in_flight.is_empty() {
                link.leave();
                return Ok(());
            }
            let frame = link.hear()?;
            self.take(&frame, &mut link, round)?;
        }
    }

    /// The next message.
    fn publish(&mut self) -> Vec<u8> {
        let place = self.random.below(self.lanes.len());
        let lane = &mut self.lanes[place];
        lane.sent += 1;
        let number = lane.sent;
        let is_clearing = lane.kind == LaneKind::Cleared && number.is_multiple_of(2);
        let payload = if is_clearing {
            String::new()
        } else {
            let padding = ".".repeat(self.random.below(1500));
            format!("{number} {padding}")
        };
        self.packet_id = self.packet_id.checked_add(1).unwrap_or(1);
        let publish = Publish::new(&lane.topic, payload).qos(self.qos);
        let publish = publish.id(self.packet_id);
        let publish = match lane.kind {
            LaneKind::Passing => publish,
            LaneKind::Kept | LaneKind::Cleared => publish.retain(),
        };
        let bytes = publish.bytes(self.version);
        self.in_flight.push_back(Sent {
            id: self.packet_id,
            lane: place,
            number,
            publish,
            is_received: false,
        });
        bytes
    }

    fn take(&mut self, frame: &Frame, link: &mut Link, round: &Round) -> Result<(), Gone> {
        let kind = frame.kind();
        let ack = Ack::read(frame, self.version, kind);
        let place = self.in_flight.iter().position(|it| it.id == ack.id);
        let place = place.unwrap_or_else(|| panic!("{}: nothing is sent: {frame:?}", self.name));
        // A PUBREL sent again may find that it was taken before (0x92).
        assert!(ack.code < 0x80 || kind == Kind::Pubcomp, "{ack:?}");
        match (self.qos, kind) {
            (1, Kind::Puback) => {
                self.acknowledge(place, round);
                self.in_flight.remove(place);
            }
            (2, Kind::Pubrec) => {
                self.acknowledge(place, round);
                self.in_flight[place].is_received = true;
                link.send(&request::ack(Kind::Pubrel, ack.id))?;
            }
            (2, Kind::Pubcomp) => drop(self.in_flight.remove(place)),
            _ => panic!("{}: {frame:?}", self.name),
        }
        Ok(())
    }

    fn acknowledge(&mut self, place: usize, round: &Round) {
        let sent = &self.in_flight[place];
        let lane = &mut self.lanes[sent.lane];
        lane.acknowledged = lane.acknowledged.max(sent.number);
        round.note();
    }
}

impl Sent {
    /// What is sent where the connection before did not see it through.
    fn again(&self, version: Version) -> Vec<u8> {
        if self.is_received {
            return request::ack(Kind::Pubrel, self.id);
        }
        self.publish.clone().dup().bytes(version)
    }
}
