//! What was published: who said it, when the broker may have heard it, and what it answered.
//!
//! Known to the simulation alone. Steps are its order of time: what ended at one step and what
//! began at a later one cannot have happened the other way round.

use broker::engine::Time;
use protocol::packet::QoS;
use std::collections::BTreeMap;

/// A step of the simulation.
pub(crate) type Step = u64;

/// A message, in the order in which they were thought of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct MessageId(pub(crate) usize);

/// One message.
#[derive(Clone, Debug)]
pub(crate) struct Published {
    /// Which client.
    pub(crate) publisher: usize,
    pub(crate) topic: String,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    /// It says nothing, and so takes a retained message away.
    pub(crate) is_empty: bool,
    pub(crate) expiry: Option<u32>,
    pub(crate) first_sent: Step,
    pub(crate) last_sent: Step,
    /// The broker cannot take it any more from here on.
    pub(crate) over: Option<Step>,
    /// The publisher was told that it is taken.
    pub(crate) acknowledged: Option<Step>,
    /// The publisher was told that it is not.
    pub(crate) is_refused: bool,
    /// When a shard was given it first, and when last, if it was expiring then.
    pub(crate) given: Option<(Time, Option<Time>)>,
}

/// All that was published.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    all: Vec<Published>,
    /// Which shard each client is in.
    pub(crate) shards: Vec<usize>,
}

/// Where wills are published, and nothing else.
pub(crate) const WILL: &str = "w/0";

/// What it says: its number, and some more.
pub(crate) fn payload(id: MessageId, filling: usize) -> String {
    format!("{} {:x<filling$}", id.0, "")
}

/// Which message says this. None of an empty one.
pub(crate) fn said(payload: &[u8]) -> Option<MessageId> {
    let text = std::str::from_utf8(payload).ok()?;
    let (number, _) = text.split_once(' ')?;
    number.parse().ok().map(MessageId)
}

impl Truth {
    pub(crate) fn add(&mut self, published: Published) -> MessageId {
        self.all.push(published);
        MessageId(self.all.len() - 1)
    }

    pub(crate) fn len(&self) -> u64 {
        self.all.len() as u64
    }

    /// Whether what one client publishes is forwarded to another.
    pub(crate) fn is_forwarded(&self, from: usize, to: usize) -> bool {
        self.shards[from] != self.shards[to]
    }

    pub(crate) fn of(&self, id: MessageId) -> &Published {
        &self.all[id.0]
    }

    pub(crate) fn change(&mut self, id: MessageId) -> &mut Published {
        &mut self.all[id.0]
    }

    /// Who has published on a topic.
    pub(crate) fn publishers(&self, topic: &str) -> impl Iterator<Item = usize> {
        let of_topic = self.all.iter().filter(move |it| it.topic == topic);
        of_topic.map(|it| it.publisher)
    }

    /// What a retained topic may hold in the end, by topic: of all that may have been taken, what
    /// nothing acknowledged followed for sure. None stands for nothing at all.
    pub(crate) fn retained(
        &self,
        counts: impl Fn(&str) -> bool,
    ) -> BTreeMap<String, Vec<Option<MessageId>>> {
        let mut by_topic: BTreeMap<String, Vec<MessageId>> = BTreeMap::new();
        for (place, published) in self.all.iter().enumerate() {
            if published.retain && counts(&published.topic) {
                let of_topic = by_topic.entry(published.topic.clone()).or_default();
                of_topic.push(MessageId(place));
            }
        }
        let may = |ids: Vec<MessageId>| self.last_of(&ids);
        by_topic
            .into_iter()
            .map(|(topic, ids)| (topic, may(ids)))
            .collect()
    }

    fn last_of(&self, ids: &[MessageId]) -> Vec<Option<MessageId>> {
        let sure = ids
            .iter()
            .filter(|id| self.of(**id).acknowledged.is_some())
            .map(|id| self.of(*id).first_sent)
            .max();
        let is_last = |id: &&MessageId| {
            let it = self.of(**id);
            let over = it.acknowledged.or(it.over).unwrap_or(Step::MAX);
            let is_none = it.is_refused && it.first_sent == it.last_sent;
            !is_none && sure.is_none_or(|sure| over >= sure)
        };
        let mut may: Vec<Option<MessageId>> = ids
            .iter()
            .filter(is_last)
            .map(|id| (!self.of(*id).is_empty).then_some(*id))
            .collect();
        if sure.is_none() {
            may.push(None);
        }
        may
    }
}

impl Published {
    /// Whether the broker may have taken it between these steps; if it `is_forwarded`, that may be
    /// later than its publisher knows.
    pub(crate) fn may_be_taken(&self, span: (Step, Option<Step>), is_forwarded: bool) -> bool {
        let (begin, end) = span;
        let over = self.over.filter(|_| !is_forwarded).unwrap_or(Step::MAX);
        self.first_sent <= end.unwrap_or(Step::MAX) && begin <= over
    }

    /// A shard is given it, expiring or not: in 3.1.1 it is not.
    pub(crate) fn given(&mut self, expiry: Option<u32>, now: Time) {
        let (first, last) = self.given.unwrap_or((now, Some(now)));
        self.given = Some((first, last.and(expiry).map(|_| now)));
    }

    /// Whether its time may be over at `now`, and whether it surely is.
    pub(crate) fn is_expired(&self, now: Time) -> (bool, bool) {
        let (Some(expiry), Some((first, last))) = (self.expiry, self.given) else {
            return (false, false);
        };
        let is_over = |given: Time| given.after_seconds(expiry) <= now;
        (is_over(first), last.is_some_and(is_over))
    }
}
