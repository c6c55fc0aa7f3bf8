//! Queue: the messages that wait for a session, in their order.
//!
//! Bounded in messages and bytes: nothing that was taken is dropped, the newcomer is. QoS 0 does
//! not wait.

use crate::engine::limits::Limits;
use crate::engine::message::{Message, SubscriptionIds};
use crate::engine::record::MessageNumber;
use crate::engine::time::Time;
use protocol::packet::QoS;
use protocol::topic::TopicFilter;
use std::collections::vec_deque::{self, VecDeque};
use std::sync::Arc;

/// A message a session owes to its client, waiting or in flight.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Pending {
    pub(in crate::engine) message: Arc<Message>,
    /// What the records call it, if it is in them.
    pub(in crate::engine) number: Option<MessageNumber>,
    pub(in crate::engine) subscription_ids: SubscriptionIds,
    /// The shared filter it came by.
    pub(in crate::engine) share: Option<Arc<TopicFilter>>,
    pub(in crate::engine) qos: QoS,
    pub(in crate::engine) retain: bool,
}

/// The messages that wait.
#[derive(Debug)]
pub(in crate::engine) struct Queue {
    waiting: VecDeque<Pending>,
    bytes: usize,
    len_max: usize,
    bytes_max: usize,
    /// No message in here expires before this.
    earliest_expiry: Option<Time>,
    /// How many, from the front, were taken under an earlier policy: they are judged again.
    unjudged: usize,
}

/// There is no room: the newcomer is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) struct Full;

/// How many places an emptied queue keeps.
const SPARE_ROOM: usize = 16;

impl Queue {
    pub(in crate::engine) fn new(limits: &Limits) -> Self {
        Self {
            waiting: VecDeque::new(),
            bytes: 0,
            len_max: limits.queue_len_max,
            bytes_max: limits.queue_bytes_max,
            earliest_expiry: None,
            unjudged: 0,
        }
    }

    pub(in crate::engine) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(in crate::engine) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    #[cfg(test)]
    pub(in crate::engine) fn iter(&self) -> impl Iterator<Item = &Pending> {
        self.waiting.iter()
    }

    /// Behind how many others a message with such a payload would wait; `None` without room.
    pub(in crate::engine) fn room_behind(&self, payload_len: usize) -> Option<usize> {
        let fits = self.bytes.saturating_add(payload_len) <= self.bytes_max;
        (fits && self.waiting.len() < self.len_max).then_some(self.waiting.len())
    }

    /// Takes a message in.
    ///
    /// # Errors
    /// If there is no room for it.
    pub(in crate::engine) fn push(&mut self, pending: Pending) -> Result<(), Full> {
        let len = pending.message.payload().len();
        self.room_behind(len).ok_or(Full)?;
        let expires = pending.message.expires_at();
        self.earliest_expiry = [self.earliest_expiry, expires].into_iter().flatten().min();
        self.bytes += len;
        self.waiting.push_back(pending);
        Ok(())
    }

    /// Takes the next message out, and whether it was taken in under the policy in force.
    pub(in crate::engine) fn pop(&mut self) -> Option<(Pending, Judged)> {
        let pending = self.waiting.pop_front()?;
        self.bytes -= pending.message.payload().len();
        if self.waiting.is_empty() {
            self.waiting.shrink_to(SPARE_ROOM);
            self.earliest_expiry = None;
        }
        if self.unjudged == 0 {
            return Some((pending, Judged::Already));
        }
        self.unjudged -= 1;
        Some((pending, Judged::Anew))
    }

    /// The policy has changed: what waits is judged again when its turn comes.
    pub(in crate::engine) fn judge_anew(&mut self) {
        self.unjudged = self.waiting.len();
    }

    /// Whether [`Self::take_expired`] would find something.
    pub(in crate::engine) fn has_expired(&self, now: Time) -> bool {
        self.earliest_expiry.is_some_and(|at| at <= now)
    }

    /// Takes out what is no longer worth delivering [MQTT-3.3.2-5].
    pub(in crate::engine) fn take_expired(&mut self, now: Time) -> Vec<Pending> {
        self.take_where(|pending| pending.message.is_expired(now))
    }

    /// Takes out what came by a shared filter.
    pub(in crate::engine) fn take_shared(&mut self, filter: &TopicFilter) -> Vec<Pending> {
        self.take_where(|pending| pending.share.as_deref() == Some(filter))
    }

    /// Takes all out, in their order.
    pub(in crate::engine) fn take_all(&mut self) -> vec_deque::IntoIter<Pending> {
        self.bytes = 0;
        self.unjudged = 0;
        self.earliest_expiry = None;
        std::mem::take(&mut self.waiting).into_iter()
    }

    fn take_where(&mut self, unwanted: impl Fn(&Pending) -> bool) -> Vec<Pending> {
        let unjudged = self.unjudged;
        let mut taken = Vec::new();
        for (place, pending) in self.take_all().enumerate() {
            if unwanted(&pending) {
                taken.push(pending);
                continue;
            }
            self.unjudged += usize::from(place < unjudged);
            self.bytes += pending.message.payload().len();
            let expires = pending.message.expires_at();
            self.earliest_expiry = [self.earliest_expiry, expires].into_iter().flatten().min();
            self.waiting.push_back(pending);
        }
        taken
    }
}

/// Whether the policy in force has judged a message's receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Judged {
    /// When the message was routed.
    Already,
    /// It has yet to.
    Anew,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::test_world::message;

    fn pending(topic: &str, expires_at: Option<Time>, share: Option<&str>) -> Pending {
        let filter = |text| Arc::new(TopicFilter::parse(text).unwrap());
        Pending {
            message: message("dev-1", topic, "0123456789", expires_at),
            number: None,
            subscription_ids: SubscriptionIds::new(),
            share: share.map(filter),
            qos: QoS::AtLeastOnce,
            retain: false,
        }
    }

    fn queue(len_max: usize, bytes_max: usize) -> Queue {
        let limits = Limits {
            queue_len_max: len_max,
            queue_bytes_max: bytes_max,
            ..Limits::default()
        };
        Queue::new(&limits)
    }

    fn topics(taken: &[Pending]) -> Vec<&str> {
        taken.iter().map(|it| it.message.topic().as_str()).collect()
    }

    #[test]
    fn what_does_not_fit_is_not_taken() {
        for (len_max, bytes_max) in [(2, 1000), (10, 29), (2, 20)] {
            let mut queue = queue(len_max, bytes_max);
            assert_eq!(queue.push(pending("a", None, None)), Ok(()));
            assert_eq!(queue.room_behind(10), Some(1));
            assert_eq!(queue.push(pending("b", None, None)), Ok(()));
            assert_eq!(queue.room_behind(10), None);
            assert_eq!(queue.push(pending("c", None, None)), Err(Full));
            let (first, _) = queue.pop().unwrap();
            assert_eq!(first.message.topic().as_str(), "a");
            assert_eq!(queue.push(pending("c", None, None)), Ok(()));
        }
    }

    #[test]
    fn what_is_taken_out_of_the_middle_leaves_the_rest_in_order_and_room() {
        let at = |seconds| Some(Time::default().after_seconds(seconds));
        let mut queue = queue(5, 50);
        for (topic, expires_at, share) in [
            ("a", at(20), None),
            ("b", None, Some("$share/g/b")),
            ("c", at(10), None),
            ("d", None, Some("$share/h/b")),
        ] {
            queue.push(pending(topic, expires_at, share)).unwrap();
        }
        assert!(!queue.has_expired(at(9).unwrap()));
        assert!(queue.has_expired(at(10).unwrap()));
        assert_eq!(topics(&queue.take_expired(at(10).unwrap())), ["c"]);
        assert!(!queue.has_expired(at(19).unwrap()), "the next is a");
        let filter = TopicFilter::parse("$share/g/b").unwrap();
        assert_eq!(topics(&queue.take_shared(&filter)), ["b"]);
        assert_eq!(queue.room_behind(30), Some(2));
        assert_eq!(queue.room_behind(31), None);
        let rest: Vec<_> = queue.take_all().collect();
        assert_eq!(topics(&rest), ["a", "d"]);
        assert_eq!(queue.room_behind(50), Some(0));
    }

    #[test]
    fn what_waited_under_an_earlier_policy_is_judged_anew_and_nothing_else() {
        let mut queue = queue(10, 1000);
        let soon = Time::default().after_seconds(1);
        for expires_at in [None, Some(soon), None] {
            queue.push(pending("old", expires_at, None)).unwrap();
        }
        queue.judge_anew();
        queue.push(pending("new", None, None)).unwrap();
        queue.take_expired(soon);
        let judged: Vec<_> = std::iter::from_fn(|| queue.pop())
            .map(|(it, judged)| (it.message.topic().to_string(), judged))
            .collect();
        let old = || ("old".to_owned(), Judged::Anew);
        let new = ("new".to_owned(), Judged::Already);
        assert_eq!(judged, [old(), old(), new]);
    }
}
