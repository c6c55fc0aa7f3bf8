//! What a client may and must be given: a session as both sides know it.
//!
//! Checked at each delivery: nothing that was not subscribed to, nothing at QoS 2 twice, and the
//! order of each publisher, topic and QoS. What is owed is checked in the end.

use crate::model::truth::{MessageId, Step, Truth, WILL};
use broker::engine::Time;
use protocol::packet::QoS;
use protocol::topic::{TopicFilter, TopicName};
use std::collections::{BTreeMap, BTreeSet};

/// A session of one client.
#[derive(Debug, Default)]
pub(crate) struct Session {
    /// The client knows that it is there since this step.
    pub(crate) established: Option<Step>,
    /// Seconds it outlives its connection; a range where a CONNECT was not answered.
    pub(crate) expiry: (u32, u32),
    /// The client has asked for its end, and does not know whether it was heard.
    pub(crate) is_doomed: bool,
    /// The client has asked for it and was not answered: that may have made another one, if its
    /// time was over when it was heard.
    pub(crate) is_asked: bool,
    /// The client was there at this time, and the broker has known that it is gone by that.
    pub(crate) left: (Time, Time),
    subscriptions: Vec<Subscription>,
    /// What it must yet be given.
    pub(crate) owed: BTreeSet<MessageId>,
    given: BTreeSet<MessageId>,
    order: BTreeMap<Lane, Vec<MessageId>>,
}

/// A subscription, from the step at which it was asked for.
#[derive(Debug)]
struct Subscription {
    filter: TopicFilter,
    qos: QoS,
    begin: Step,
    confirmed: Option<Step>,
    /// The client has asked for its end or for another one in its place.
    is_ending: bool,
    end: Option<Step>,
}

/// What is given in order: from whom, about what, how published and how given.
type Lane = (usize, String, u8, u8);

/// A message that a client was given.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Given {
    pub(crate) id: MessageId,
    pub(crate) qos: QoS,
    /// Which client.
    pub(crate) to: usize,
    /// The client has not seen its packet identifier, or at QoS 1 does not care.
    pub(crate) is_new: bool,
}

impl Session {
    /// A session that the client has just been told of.
    pub(crate) fn begun(step: Step, expiry: (u32, u32), left: (Time, Time)) -> Self {
        Self {
            established: Some(step),
            expiry,
            left,
            ..Self::default()
        }
    }

    /// Whether it outlives its connection and any crash, for all the client knows.
    pub(crate) fn surely_lasts(&self) -> bool {
        self.established.is_some() && self.expiry.0 > 0 && !self.is_doomed
    }

    /// Whether a client that comes has to begin anew, not to take another session for this one.
    pub(crate) fn must_begin_anew(&self, now: Time) -> bool {
        let is_over = now >= self.left.0.after_seconds(self.expiry.0);
        self.is_doomed || (self.is_asked && self.established.is_some() && is_over)
    }

    /// Whether it has to be there for a client that comes now, and whether it may be.
    pub(crate) fn presence(&self, now: Time) -> (bool, bool) {
        let until = |left: Time, expiry: u32| left.after_seconds(expiry);
        let must = self.surely_lasts() && now < until(self.left.0, self.expiry.0);
        let may = self.expiry.1 > 0 && now <= until(self.left.1, self.expiry.1);
        (must, may)
    }

    pub(crate) fn subscribe(&mut self, filter: &TopicFilter, qos: QoS, now: Step) {
        for held in self.open(filter) {
            held.is_ending |= held.qos != qos;
        }
        self.subscriptions.push(Subscription {
            filter: filter.clone(),
            qos,
            begin: now,
            confirmed: None,
            is_ending: false,
            end: None,
        });
    }

    /// The broker has answered a SUBSCRIBE that was sent at `begin`.
    pub(crate) fn subscribed(&mut self, filter: &TopicFilter, begin: Step, answer: (bool, Step)) {
        let (is_granted, now) = answer;
        for held in self.open(filter) {
            if held.begin == begin && is_granted {
                held.confirmed = Some(now);
            } else if held.begin <= begin {
                held.end = Some(now);
            }
        }
    }

    pub(crate) fn unsubscribe(&mut self, filter: &TopicFilter, truth: &Truth) {
        self.open(filter).for_each(|held| held.is_ending = true);
        self.forgive(|id| matches(filter, &truth.of(id).topic));
    }

    /// The broker has answered an UNSUBSCRIBE that was sent at `begin`.
    pub(crate) fn unsubscribed(&mut self, filter: &TopicFilter, begin: Step, now: Step) {
        for held in self.open(filter) {
            if held.begin < begin {
                held.end = Some(now);
            }
        }
    }

    /// What may have ended behind the client's back.
    pub(crate) fn doubt(&mut self, doubts: impl Fn(&TopicFilter) -> bool) {
        let all = self.subscriptions.iter_mut();
        all.filter(|it| doubts(&it.filter))
            .for_each(|it| it.is_ending = true);
    }

    pub(crate) fn forgive(&mut self, forgives: impl Fn(MessageId) -> bool) {
        self.owed.retain(|id| !forgives(*id));
    }

    fn open(&mut self, filter: &TopicFilter) -> impl Iterator<Item = &mut Subscription> {
        let all = self.subscriptions.iter_mut();
        all.filter(move |it| it.end.is_none() && it.filter == *filter)
    }

    /// A message was acknowledged: whether this session must be given it.
    pub(crate) fn owe(&mut self, id: MessageId, truth: &Truth) {
        let published = truth.of(id);
        let begin = published.first_sent;
        if published.is_empty
            || !self.surely_lasts()
            || self.established.is_none_or(|at| at >= begin)
        {
            return;
        }
        let is_sure = |it: &Subscription| {
            it.end.is_none()
                && !it.is_ending
                && it.qos != QoS::AtMostOnce
                && it.confirmed.is_some_and(|at| at < begin)
                && matches(&it.filter, &published.topic)
        };
        if !self.given.contains(&id) && self.subscriptions.iter().any(is_sure) {
            self.owed.insert(id);
        }
    }

    /// A message has come that was published now.
    pub(crate) fn take(&mut self, given: Given, truth: &Truth) {
        let published = truth.of(given.id);
        let is_forwarded = truth.is_forwarded(published.publisher, given.to);
        let may = self.subscriptions.iter().any(|it| {
            let span = (it.begin, it.end);
            matches(&it.filter, &published.topic) && published.may_be_taken(span, is_forwarded)
        });
        assert!(may, "nobody subscribed to {given:?}: {published:?}");
        let is_none = published.is_refused && published.first_sent == published.last_sent;
        assert!(!is_none, "{given:?} was refused: {published:?}");
        self.owed.remove(&given.id);
        let is_first = self.given.insert(given.id);
        if given.qos == QoS::ExactlyOnce && given.is_new {
            assert!(is_first, "{given:?} at QoS 2 twice: {published:?}");
        }
        // A publisher may say at QoS 1 twice what is then given at QoS 0, and a broker a will.
        let is_said_once = published.qos != QoS::AtLeastOnce && published.topic != WILL;
        if given.qos == QoS::AtMostOnce && is_said_once {
            assert!(is_first, "{given:?} at QoS 0 twice: {published:?}");
        }
        if is_first {
            self.check_order(given, truth);
        }
    }

    fn check_order(&mut self, given: Given, truth: &Truth) {
        let published = truth.of(given.id);
        if published.topic == WILL {
            return;
        }
        let topic = published.topic.clone();
        let qos = (published.qos.bits(), given.qos.bits());
        let lane = (published.publisher, topic, qos.0, qos.1);
        let before = self.order.entry(lane).or_default();
        for earlier in before.iter().filter(|it| **it > given.id) {
            // What was sent again afterwards may come again, and for the first time.
            let is_repeated = published.last_sent > truth.of(*earlier).first_sent;
            let other = truth.of(*earlier);
            assert!(
                is_repeated,
                "{given:?} behind {earlier:?}: {published:?}, {other:?}"
            );
        }
        before.push(given.id);
    }

    /// Whether a retained message on this topic may come.
    pub(crate) fn check_retained(&self, topic: &str) {
        let may = self.subscriptions.iter();
        let mut may = may.filter(|it| matches(&it.filter, topic));
        assert!(may.next().is_some(), "nobody subscribed to {topic}");
    }
}

fn matches(filter: &TopicFilter, topic: &str) -> bool {
    filter.matches(&TopicName::parse(topic).unwrap())
}
