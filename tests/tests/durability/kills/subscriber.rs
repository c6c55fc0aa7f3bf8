//! A subscriber that remembers over all lives of the broker what it was given.
//!
//! Nothing may be left out, nothing come out of order, and nothing come twice at QoS 2.

use super::publisher::{LaneKind, Publisher};
use super::round::Round;
use super::wills::Wills;
use crate::link::{Gone, Link, Present};
use countersign_tests::mqtt::answer::{Ack, Published};
use countersign_tests::mqtt::request;
use countersign_tests::mqtt::{Kind, Version};
use countersign_tests::seeded::Seeded;
use std::collections::HashMap;
use std::time::Duration;

/// The message behind all others.
pub(super) const END: &str = "x/end";

pub(super) struct Subscriber {
    pub(super) name: String,
    pub(super) version: Version,
    pub(super) qos: u8,
    /// In one of so many rounds it is connected.
    pub(super) one_round_in: usize,
    session: Present,
    /// The last number of each topic.
    last: HashMap<String, u32>,
    /// What came at QoS 2 and was not released yet.
    held: HashMap<u16, Vec<u8>>,
    random: Seeded,
}

/// The answers that it has not sent yet.
struct Answers {
    waiting: Vec<u8>,
    count: usize,
    /// So many are sent at once.
    at_once: usize,
}

impl Subscriber {
    pub(super) fn new(name: &str, (version, qos): (Version, u8), one_round_in: usize) -> Self {
        Self {
            name: name.to_owned(),
            version,
            qos,
            one_round_in,
            session: Present::Unknown,
            last: HashMap::new(),
            held: HashMap::new(),
            random: Seeded::new(one_round_in as u64),
        }
    }

    /// Makes its session and subscribes, before anything is published.
    pub(super) fn begin(&mut self, round: &Round) -> Result<(), Gone> {
        let mut link = self.connect(round)?;
        link.subscribe(&["x/#", "w/#"], self.qos)?;
        link.leave();
        Ok(())
    }

    /// Takes what comes until the broker is gone, or until the message behind all others.
    pub(super) fn run(&mut self, round: &Round, wills: &Wills) -> Result<(), Gone> {
        let mut link = self.connect(round)?;
        let mut answers = Answers {
            waiting: Vec::new(),
            count: 0,
            at_once: 1 + self.random.below(8),
        };
        let mut is_at_end = false;
        loop {
            if is_at_end && self.held.is_empty() {
                answers.send(&mut link)?;
                link.leave();
                return Ok(());
            }
            let Some(frame) = link.hear_within(Duration::from_millis(10))? else {
                answers.send(&mut link)?;
                continue;
            };
            let answer = if frame.kind() == Kind::Publish {
                let published = Published::read(&frame, self.version);
                let is_new = self.hold(&published);
                is_at_end |= is_new && self.take(&published, wills, round) == At::End;
                acknowledgement(&published)
            } else {
                let pubrel = Ack::read(&frame, self.version, Kind::Pubrel);
                self.held.remove(&pubrel.id);
                request::ack(Kind::Pubcomp, pubrel.id)
            };
            answers.add(&answer, &mut link)?;
        }
    }

    /// Nothing is left out at the end either.
    pub(super) fn check_all(&self, publishers: &[Publisher]) {
        let lanes = publishers.iter().flat_map(Publisher::lanes);
        for lane in lanes.filter(|it| it.kind != LaneKind::Cleared) {
            let last = self.last.get(&lane.topic).copied().unwrap_or_default();
            let topic = &lane.topic;
            let sent = lane.sent;
            assert_eq!(last, sent, "{}: the end of {topic} is lost", self.name);
        }
    }

    fn connect(&mut self, round: &Round) -> Result<Link, Gone> {
        let who = (&*self.name, self.version);
        Link::lasting(round.address, who, &mut self.session)
    }

    /// Remembers what came at QoS 2. Whether it is not there already.
    fn hold(&mut self, published: &Published) -> bool {
        let Some(id) = published.id.filter(|_| published.qos == 2) else {
            return true;
        };
        let before = self.held.insert(id, published.payload.clone());
        let is_same = before.as_ref().is_none_or(|it| *it == published.payload);
        assert!(is_same, "{}: {id} stands for something else now", self.name);
        before.is_none()
    }

    fn take(&mut self, published: &Published, wills: &Wills, round: &Round) -> At {
        let topic = &published.topic;
        if topic == END {
            let is_ours = published.text() == round.number.to_string();
            return if is_ours { At::End } else { At::Middle };
        }
        if topic.starts_with("w/") {
            wills.take(&self.name, published);
            return At::Middle;
        }
        let number = published.text().split(' ').next().unwrap();
        let number: u32 = number.parse().unwrap();
        let last = self.last.entry(topic.clone()).or_default();
        let name = &self.name;
        assert!(
            number <= *last + 1,
            "{name}: {topic} {number} came behind {last}: what is between them is lost"
        );
        let is_new = number == *last + 1;
        assert!(
            is_new || published.qos < 2,
            "{name}: {topic} {number} came twice at QoS 2; the last one was {last}"
        );
        *last = number.max(*last);
        At::Middle
    }
}

/// Whether there is more to come.
#[derive(PartialEq, Eq)]
enum At {
    Middle,
    End,
}

fn acknowledgement(published: &Published) -> Vec<u8> {
    match (published.qos, published.id) {
        (1, Some(id)) => request::ack(Kind::Puback, id),
        (2, Some(id)) => request::ack(Kind::Pubrec, id),
        _ => Vec::new(),
    }
}

impl Answers {
    fn add(&mut self, answer: &[u8], link: &mut Link) -> Result<(), Gone> {
        self.waiting.extend(answer);
        self.count += 1;
        if self.count >= self.at_once {
            self.send(link)?;
        }
        Ok(())
    }

    fn send(&mut self, link: &mut Link) -> Result<(), Gone> {
        self.count = 0;
        link.send(&std::mem::take(&mut self.waiting))
    }
}
