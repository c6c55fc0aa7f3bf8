//! Queue: the messages that wait for a session, in their order.
//!
//! Bounded in messages and bytes: nothing that was taken is dropped, the newcomer is. QoS 0 waits
//! only if it was chosen to. First stand those whose content is here, then those whose content is
//! in the log.

use super::cache::{Cache, Reader};
use super::pending::{Judged, Pending, Waiting};
use super::stored::Stored;
use crate::engine::RestoredPending;
use crate::engine::limits::Limits;
use crate::engine::message::Message;
use crate::engine::record::MessageNumber;
use crate::engine::time::Time;
use protocol::topic::TopicFilter;
use std::collections::VecDeque;
use std::sync::Arc;

/// The messages that wait.
#[derive(Debug)]
pub(in crate::engine) struct Queue {
    ready: VecDeque<Pending>,
    /// All of them behind all that are ready.
    stored: VecDeque<Stored>,
    /// Payload bytes, of both.
    bytes: usize,
    ready_bytes: usize,
    len_max: usize,
    bytes_max: usize,
    /// Whether the log was asked for the first that are stored.
    is_loading: bool,
    /// No message in here expires before this.
    earliest_expiry: Option<Time>,
    /// How many, from the front, were taken under an earlier policy: they are judged again.
    unjudged: usize,
}

/// There is no room: the newcomer is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) struct Full;

/// How much is loaded at once.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct Batch {
    pub(in crate::engine) len_max: usize,
    /// Payload bytes; one message may exceed them.
    pub(in crate::engine) bytes_max: usize,
}

/// How many places an emptied queue keeps.
const SPARE_ROOM: usize = 16;

impl Queue {
    pub(in crate::engine) fn new(limits: &Limits) -> Self {
        Self {
            ready: VecDeque::new(),
            stored: VecDeque::new(),
            bytes: 0,
            ready_bytes: 0,
            len_max: limits.queue_len_max,
            bytes_max: limits.queue_bytes_max,
            is_loading: false,
            earliest_expiry: None,
            unjudged: 0,
        }
    }

    pub(in crate::engine) fn len(&self) -> usize {
        self.ready.len() + self.stored.len()
    }

    pub(in crate::engine) fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.stored.is_empty()
    }

    /// Bytes of payload, in memory or in the log alone.
    pub(in crate::engine) fn bytes(&self) -> usize {
        self.bytes
    }

    /// All of them, those first whose content is here.
    #[cfg(test)]
    pub(in crate::engine) fn waiting(
        &self,
    ) -> (
        impl Iterator<Item = &Pending>,
        impl Iterator<Item = &Stored>,
    ) {
        (self.ready.iter(), self.stored.iter())
    }

    /// Whether the content of some is in the log alone.
    pub(in crate::engine) fn has_stored(&self) -> bool {
        !self.stored.is_empty()
    }

    /// Behind how many others a message with such a payload would wait; `None` without room.
    pub(in crate::engine) fn room_behind(&self, payload_len: usize) -> Option<usize> {
        let fits = self.bytes.saturating_add(payload_len) <= self.bytes_max;
        (fits && self.len() < self.len_max).then_some(self.len())
    }

    /// Takes a message in, with its content.
    ///
    /// # Errors
    /// If there is no room for it.
    pub(in crate::engine) fn push(
        &mut self,
        pending: Pending,
        cache: &mut Cache,
    ) -> Result<(), Full> {
        self.room_behind(pending.message.payload().len())
            .ok_or(Full)?;
        self.put_behind(Waiting::Ready(pending), cache);
        Ok(())
    }

    /// Takes a message in whose content is in the log.
    ///
    /// # Errors
    /// If there is no room for it.
    pub(in crate::engine) fn store(&mut self, stored: Stored) -> Result<(), Full> {
        self.room_behind(stored.payload_len()).ok_or(Full)?;
        self.put_stored(stored);
        Ok(())
    }

    /// Takes in what an earlier process has taken, whatever the limits say now.
    pub(in crate::engine) fn restore(&mut self, pending: RestoredPending, cache: &mut Cache) {
        let message = pending.message.clone();
        let stored = Stored::from(pending);
        match message {
            Some(message) if self.stored.is_empty() && cache.has_room(Reader::Away) => {
                self.put_behind(Waiting::Ready(stored.with(message)), cache);
            }
            Some(_) | None => self.put_stored(stored),
        }
    }

    /// Takes the next message out, and whether it was taken in under the policy in force. `None`
    /// too where its content has yet to be loaded.
    pub(in crate::engine) fn pop(&mut self, cache: &mut Cache) -> Option<(Pending, Judged)> {
        if self.ready.is_empty() {
            self.take_known(cache);
        }
        let pending = self.ready.pop_front()?;
        let len = pending.message.payload().len();
        cache.let_go(&pending);
        self.bytes -= len;
        self.ready_bytes -= len;
        if self.is_empty() {
            self.ready.shrink_to(SPARE_ROOM);
            self.stored = VecDeque::new();
            self.earliest_expiry = None;
        }
        if self.unjudged == 0 {
            return Some((pending, Judged::Already));
        }
        self.unjudged -= 1;
        Some((pending, Judged::Anew))
    }

    /// Which ones are to be loaded now: the first that are stored, if few are ready and none was
    /// asked for. They are asked for by this.
    pub(in crate::engine) fn next_load(&mut self, batch: Batch) -> Option<Vec<MessageNumber>> {
        let is_low = self.ready.len() < batch.len_max / 2 && self.ready_bytes < batch.bytes_max / 2;
        if self.is_loading || !(is_low || self.ready.is_empty()) {
            return None;
        }
        let mut bytes = 0;
        let within = |stored: &&Stored| {
            let is_within = bytes < batch.bytes_max;
            bytes += stored.payload_len();
            is_within
        };
        let first = self.stored.iter().take(batch.len_max).take_while(within);
        let unknown = first.filter(|stored| stored.content().is_none());
        let numbers: Vec<_> = unknown.map(Stored::number).collect();
        self.is_loading = !numbers.is_empty();
        self.is_loading.then_some(numbers)
    }

    /// Takes the contents that were asked for, in the order in which they were.
    pub(in crate::engine) fn loaded(
        &mut self,
        messages: Vec<(MessageNumber, Arc<Message>)>,
        cache: &mut Cache,
    ) {
        self.is_loading = false;
        for (number, message) in messages {
            self.take_known(cache);
            // One that was taken out meanwhile is needed no more.
            let next = self.stored.pop_front_if(|next| next.number() == number);
            if let Some(next) = next {
                self.put_ready(next.with(message), cache);
            }
        }
    }

    /// Leaves the content of all that are in the log to the log.
    pub(in crate::engine) fn unload(&mut self, cache: &mut Cache) {
        while let Some(pending) = self.ready.pop_back_if(|it| it.number.is_some()) {
            cache.let_go(&pending);
            if let Some(number) = pending.number {
                self.ready_bytes -= pending.message.payload().len();
                self.stored.push_front(Stored::new(pending, number));
            }
        }
    }

    /// Gives back what more messages would have taken.
    pub(in crate::engine) fn shrink(&mut self) {
        self.ready.shrink_to_fit();
    }

    /// The policy has changed: what waits is judged again when its turn comes.
    pub(in crate::engine) fn judge_anew(&mut self) {
        self.unjudged = self.len();
    }

    /// Whether [`Self::take_expired`] would find something.
    pub(in crate::engine) fn has_expired(&self, now: Time) -> bool {
        self.earliest_expiry.is_some_and(|at| at <= now)
    }

    /// Takes out what is no longer worth delivering [MQTT-3.3.2-5].
    pub(in crate::engine) fn take_expired(&mut self, now: Time, cache: &mut Cache) -> Vec<Waiting> {
        self.take_where(cache, |it| it.expires_at().is_some_and(|at| at <= now))
    }

    /// Takes out what came by a shared filter.
    pub(in crate::engine) fn take_shared(
        &mut self,
        filter: &TopicFilter,
        cache: &mut Cache,
    ) -> Vec<Waiting> {
        self.take_where(cache, |it| it.share() == Some(filter))
    }

    /// Takes all out, in their order.
    pub(in crate::engine) fn take_all(
        &mut self,
        cache: &mut Cache,
    ) -> impl Iterator<Item = Waiting> + use<> {
        self.ready.iter().for_each(|pending| cache.let_go(pending));
        self.bytes = 0;
        self.ready_bytes = 0;
        self.unjudged = 0;
        self.earliest_expiry = None;
        let ready = std::mem::take(&mut self.ready).into_iter();
        let stored = std::mem::take(&mut self.stored).into_iter();
        ready.map(Waiting::Ready).chain(stored.map(Waiting::Stored))
    }

    fn take_where(
        &mut self,
        cache: &mut Cache,
        is_unwanted: impl Fn(&Waiting) -> bool,
    ) -> Vec<Waiting> {
        let unjudged = self.unjudged;
        let mut taken = Vec::new();
        for (place, waiting) in self.take_all(cache).enumerate() {
            if is_unwanted(&waiting) {
                taken.push(waiting);
                continue;
            }
            self.unjudged += usize::from(place < unjudged);
            self.put_behind(waiting, cache);
        }
        taken
    }

    fn put_behind(&mut self, waiting: Waiting, cache: &mut Cache) {
        match waiting {
            Waiting::Ready(pending) => {
                self.bytes += pending.message.payload().len();
                self.note_expiry(pending.message.expires_at());
                self.put_ready(pending, cache);
            }
            Waiting::Stored(stored) => self.put_stored(stored),
        }
    }

    fn put_ready(&mut self, pending: Pending, cache: &mut Cache) {
        cache.take_in(&pending);
        self.ready_bytes += pending.message.payload().len();
        self.ready.push_back(pending);
    }

    fn put_stored(&mut self, stored: Stored) {
        self.bytes += stored.payload_len();
        self.note_expiry(stored.expires_at());
        if self.stored.len() == self.stored.capacity() {
            // Twice as many places would be half empty on average.
            self.stored
                .reserve_exact(SPARE_ROOM + self.stored.len() / 4);
        }
        self.stored.push_back(stored);
    }

    /// Makes the first that are stored ready as far as their content is known.
    fn take_known(&mut self, cache: &mut Cache) {
        while let Some(known) = self.stored.pop_front_if(|it| it.content().is_some()) {
            if let Some(message) = known.content().cloned() {
                self.put_ready(known.with(message), cache);
            }
        }
    }

    fn note_expiry(&mut self, expires_at: Option<Time>) {
        let both = [self.earliest_expiry, expires_at];
        self.earliest_expiry = both.into_iter().flatten().min();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::message::SubscriptionIds;
    use crate::engine::test_world::message;
    use protocol::packet::QoS;
    use std::num::NonZeroU64;

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

    fn number(number: u64) -> MessageNumber {
        MessageNumber(NonZeroU64::new(number).unwrap())
    }

    fn recorded(at: u64, share: Option<&str>) -> Pending {
        Pending {
            number: Some(number(at)),
            ..pending(&at.to_string(), None, share)
        }
    }

    fn queue(len_max: usize, bytes_max: usize) -> (Queue, Cache) {
        let limits = Limits {
            queue_len_max: len_max,
            queue_bytes_max: bytes_max,
            ..Limits::default()
        };
        (Queue::new(&limits), Cache::unbounded())
    }

    /// One in which these are stored, the last of them shared.
    fn stored(numbers: std::ops::RangeInclusive<u64>) -> (Queue, Cache) {
        let (mut queue, cache) = queue(100, 1000);
        let last = *numbers.end();
        for at in numbers {
            let pending = recorded(at, (at == last).then_some("$share/g/a"));
            queue.store(Stored::new(pending, number(at))).unwrap();
        }
        (queue, cache)
    }

    fn answer(numbers: &[u64]) -> Vec<(MessageNumber, Arc<Message>)> {
        let content = |at: &u64| recorded(*at, None).message;
        numbers
            .iter()
            .map(|at| (number(*at), content(at)))
            .collect()
    }

    fn topics(taken: Vec<Waiting>) -> Vec<String> {
        let topic = |it: Waiting| it.into_pending().unwrap().message.topic().to_string();
        taken.into_iter().map(topic).collect()
    }

    fn popped(queue: &mut Queue, cache: &mut Cache) -> Vec<String> {
        let all = std::iter::from_fn(|| queue.pop(cache));
        all.map(|(it, _)| it.message.topic().to_string()).collect()
    }

    const BATCH: Batch = Batch {
        len_max: 4,
        bytes_max: 1000,
    };

    #[test]
    fn what_does_not_fit_is_not_taken() {
        for (len_max, bytes_max) in [(2, 1000), (10, 29), (2, 20)] {
            let (mut queue, mut cache) = queue(len_max, bytes_max);
            let mut push = |queue: &mut Queue, topic| {
                let pending = pending(topic, None, None);
                queue.push(pending, &mut cache)
            };
            assert_eq!(push(&mut queue, "a"), Ok(()));
            assert_eq!(queue.room_behind(10), Some(1));
            assert_eq!(push(&mut queue, "b"), Ok(()));
            assert_eq!(queue.room_behind(10), None);
            assert_eq!(push(&mut queue, "c"), Err(Full));
            let cold = Stored::new(recorded(1, None), number(1));
            assert_eq!(queue.store(cold), Err(Full));
            let (first, _) = queue.pop(&mut Cache::unbounded()).unwrap();
            assert_eq!(first.message.topic().as_str(), "a");
            let cold = Stored::new(recorded(1, None), number(1));
            assert_eq!(queue.store(cold), Ok(()));
            assert_eq!(queue.room_behind(10), None);
        }
    }

    #[test]
    fn what_is_taken_out_of_the_middle_leaves_the_rest_in_order_and_room() {
        let at = |seconds| Some(Time::default().after_seconds(seconds));
        let (mut queue, mut cache) = queue(5, 50);
        for (topic, expires_at, share) in [
            ("a", at(20), None),
            ("b", None, Some("$share/g/b")),
            ("c", at(10), None),
            ("d", None, Some("$share/h/b")),
        ] {
            let pending = pending(topic, expires_at, share);
            queue.push(pending, &mut cache).unwrap();
        }
        assert!(!queue.has_expired(at(9).unwrap()));
        assert!(queue.has_expired(at(10).unwrap()));
        let expired = queue.take_expired(at(10).unwrap(), &mut cache);
        assert_eq!(topics(expired), ["c"]);
        assert!(!queue.has_expired(at(19).unwrap()), "the next is a");
        let filter = TopicFilter::parse("$share/g/b").unwrap();
        assert_eq!(topics(queue.take_shared(&filter, &mut cache)), ["b"]);
        assert_eq!(queue.room_behind(30), Some(2));
        assert_eq!(queue.room_behind(31), None);
        let rest = queue.take_all(&mut cache).collect();
        assert_eq!(topics(rest), ["a", "d"]);
        assert_eq!(queue.room_behind(50), Some(0));
    }

    #[test]
    fn what_waited_under_an_earlier_policy_is_judged_anew_and_nothing_else() {
        let (mut queue, mut cache) = queue(10, 1000);
        let soon = Time::default().after_seconds(1);
        for expires_at in [None, Some(soon), None] {
            let pending = pending("old", expires_at, None);
            queue.push(pending, &mut cache).unwrap();
        }
        queue
            .store(Stored::new(recorded(1, None), number(1)))
            .unwrap();
        queue.judge_anew();
        queue
            .store(Stored::new(recorded(2, None), number(2)))
            .unwrap();
        queue.take_expired(soon, &mut cache);
        queue.next_load(BATCH);
        queue.loaded(answer(&[1, 2]), &mut cache);
        let judged: Vec<_> = std::iter::from_fn(|| queue.pop(&mut cache))
            .map(|(it, judged)| (it.message.topic().to_string(), judged))
            .collect();
        let anew = |topic: &str| (topic.to_owned(), Judged::Anew);
        let new = ("2".to_owned(), Judged::Already);
        assert_eq!(judged, [anew("old"), anew("old"), anew("1"), new]);
    }

    #[test]
    fn what_is_stored_is_asked_for_once_and_comes_in_its_order() {
        let (mut queue, mut cache) = stored(1..=6);
        let pop = |queue: &mut Queue, cache: &mut Cache| popped(queue, cache);
        assert_eq!(
            queue.next_load(BATCH),
            Some([1, 2, 3, 4].map(number).into())
        );
        assert_eq!(queue.next_load(BATCH), None, "it was asked for");
        assert_eq!(pop(&mut queue, &mut cache), [""; 0]);
        queue.loaded(answer(&[1, 2, 3, 4]), &mut cache);
        assert_eq!(queue.next_load(BATCH), None, "enough is here");
        assert_eq!(pop(&mut queue, &mut cache), ["1", "2", "3", "4"]);
        assert_eq!(queue.next_load(BATCH), Some(vec![number(5)]), "6 is known");
        queue.loaded(answer(&[5]), &mut cache);
        assert_eq!(pop(&mut queue, &mut cache), ["5", "6"]);
        assert_eq!((queue.is_empty(), cache.used()), (true, 0));
    }

    #[test]
    fn one_load_has_a_limit_of_bytes_which_one_message_may_exceed() {
        for (bytes_max, len) in [(20, 2), (11, 2), (10, 1), (1, 1)] {
            let (mut queue, _) = stored(1..=6);
            let batch = Batch { bytes_max, ..BATCH };
            assert_eq!(queue.next_load(batch).unwrap().len(), len, "{bytes_max}");
        }
    }

    #[test]
    fn what_was_taken_out_while_it_was_loaded_is_not_waited_for() {
        let (mut queue, mut cache) = stored(1..=4);
        queue.next_load(BATCH);
        let taken = queue.take_where(&mut cache, |it| it.number() != Some(number(2)));
        assert_eq!(taken.len(), 3);
        queue.loaded(answer(&[1, 2, 3]), &mut cache);
        assert_eq!(popped(&mut queue, &mut cache), ["2"]);
    }

    #[test]
    fn what_was_here_may_go_back_to_the_log_even_while_more_is_loaded() {
        let (mut queue, mut cache) = stored(3..=5);
        queue.loaded(answer(&[3]), &mut cache);
        assert_eq!(queue.next_load(BATCH), Some(vec![number(4)]));
        queue.unload(&mut cache);
        assert_eq!((queue.len(), cache.used()), (3, 0));
        queue.loaded(answer(&[4]), &mut cache);
        assert_eq!(popped(&mut queue, &mut cache), [""; 0], "3 comes first");
        assert_eq!(queue.next_load(BATCH), Some([3, 4].map(number).into()));
        queue.loaded(answer(&[3, 4]), &mut cache);
        assert_eq!(popped(&mut queue, &mut cache), ["3", "4", "5"]);
    }
}
