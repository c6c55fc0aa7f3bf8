//! Messages from being accepted to being acknowledged, in the order they came.
//!
//! A message leaves only by being settled. One that was handed over and forgotten is handed over
//! again before any that came later, so that no loss of a connection turns the order around. How
//! many may wait is limited by whoever puts them in.

pub(crate) mod clock;
pub(crate) mod disk;
mod room;

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::message::{Publish, QoS};
use crate::wire::Ticket;

pub use room::{OutboxCounts, WhenFull};
pub(crate) use room::{Place, Room};

/// The messages of a device that are not settled. `D` is told how it ended.
#[derive(Debug)]
pub(crate) struct Outbox<D> {
    entries: BTreeMap<u64, Entry<D>>,
    last_id: u64,
    /// All before this one are handed over or gone.
    next: u64,
    handed_over: usize,
    in_flight_max: usize,
    /// Nothing expires before this time.
    expires: Option<Instant>,
}

#[derive(Debug)]
struct Entry<D> {
    publish: Publish,
    /// After this time it is of no use.
    expires: Option<Instant>,
    done: D,
    turn: u32,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    HandedOver,
}

impl<D> Outbox<D> {
    /// At most `in_flight_max` messages are handed over at a time.
    pub(crate) fn new(in_flight_max: u16) -> Self {
        Self {
            entries: BTreeMap::new(),
            last_id: 0,
            next: 0,
            handed_over: 0,
            in_flight_max: in_flight_max.into(),
            expires: None,
        }
    }

    /// No message gets an id up to this.
    pub(crate) fn begin_after(&mut self, last_id: u64) {
        self.last_id = self.last_id.max(last_id);
    }

    /// Takes a message in, and says which id it has.
    pub(crate) fn push(&mut self, publish: Publish, done: D, now: Instant) -> u64 {
        self.last_id += 1;
        let expires = publish.properties.expiry;
        let expires = expires.and_then(|left| now.checked_add(left));
        self.restore(self.last_id, (publish, expires), done);
        self.last_id
    }

    /// Takes a message in that was accepted in an earlier life, and expires then.
    pub(crate) fn restore(
        &mut self,
        id: u64,
        (publish, expires): (Publish, Option<Instant>),
        done: D,
    ) {
        self.begin_after(id);
        self.expires = self.expires.into_iter().chain(expires).min();
        let entry = Entry {
            publish,
            expires,
            done,
            turn: 0,
            state: State::Waiting,
        };
        self.entries.insert(id, entry);
    }

    /// The next message to hand over, if another may be under way.
    pub(crate) fn hand_over(&mut self, now: Instant) -> Option<(Ticket, &Publish)> {
        if self.handed_over >= self.in_flight_max {
            return None;
        }
        let mut behind = self.entries.range_mut(self.next..);
        let (&id, entry) = behind.find(|(_, entry)| entry.state == State::Waiting)?;
        self.next = id + 1;
        self.handed_over += 1;
        Some((entry.hand_over(id, now), &entry.publish))
    }

    /// A message that the broker is to have in any case is under way: its ticket.
    pub(crate) fn is_under_way(&mut self, id: u64) -> Option<Ticket> {
        let entry = self.entries.get_mut(&id)?;
        self.handed_over += 1;
        entry.state = State::HandedOver;
        entry.turn += 1;
        let turn = entry.turn;
        Some(Ticket { id, turn })
    }

    /// Takes out a message that was answered, whichever time it was handed over.
    pub(crate) fn settle(&mut self, id: u64) -> Option<D> {
        let entry = self.entries.remove(&id)?;
        if entry.state == State::HandedOver {
            self.handed_over -= 1;
        }
        Some(entry.done)
    }

    /// What was handed over under `ticket` is forgotten: it waits again.
    pub(crate) fn forgotten(&mut self, ticket: Ticket) {
        let Ticket { id, turn } = ticket;
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        // It may have been handed over once more since.
        if entry.turn == turn && entry.state == State::HandedOver {
            entry.state = State::Waiting;
            self.handed_over -= 1;
            self.next = self.next.min(id);
            self.expires = self.expires.into_iter().chain(entry.expires).min();
        }
    }

    /// All that was handed over is forgotten.
    pub(crate) fn all_forgotten(&mut self) {
        for entry in self.entries.values_mut() {
            entry.state = State::Waiting;
            self.expires = self.expires.into_iter().chain(entry.expires).min();
        }
        self.next = 0;
        self.handed_over = 0;
    }

    /// When the next message may expire.
    pub(crate) fn expires(&self) -> Option<Instant> {
        self.expires
    }

    /// The messages that have expired. One that is under way is past being called back.
    pub(crate) fn expired(&mut self, now: Instant) -> Vec<u64> {
        if self.expires.is_none_or(|first| now < first) {
            return Vec::new();
        }
        let mut gone = Vec::new();
        self.expires = None;
        for (id, entry) in &self.entries {
            match entry.expires {
                Some(expires) if expires > now => {
                    self.expires = self.expires.into_iter().chain([expires]).min();
                }
                Some(_) if entry.state == State::Waiting => gone.push(*id),
                Some(_) | None => {}
            }
        }
        gone
    }

    /// The message that has waited longest and is not under way.
    pub(crate) fn oldest_waiting(&self) -> Option<u64> {
        let mut all = self.entries.iter();
        let (id, _) = all.find(|(_, entry)| entry.state == State::Waiting)?;
        Some(*id)
    }

    /// The quality of service of a message that is still here.
    pub(crate) fn qos(&self, id: u64) -> Option<QoS> {
        Some(self.entries.get(&id)?.publish.qos)
    }

    /// Whether anything was handed over and is not answered.
    pub(crate) fn has_under_way(&self) -> bool {
        self.handed_over > 0
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Takes everything out, unsettled.
    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = D> {
        (self.next, self.handed_over) = (0, 0);
        std::mem::take(&mut self.entries)
            .into_values()
            .map(|entry| entry.done)
    }
}

impl<D> Entry<D> {
    fn hand_over(&mut self, id: u64, now: Instant) -> Ticket {
        self.state = State::HandedOver;
        self.turn += 1;
        if let Some(expires) = self.expires {
            // The broker counts from when it gets the message, and knows nothing of our waiting.
            let left = expires.saturating_duration_since(now);
            self.publish.properties.expiry = Some(left.max(Duration::from_secs(1)));
        }
        let turn = self.turn;
        Ticket { id, turn }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An outbox of messages named by what their `done` says.
    fn outbox(in_flight_max: u16, messages: &[&'static str]) -> Outbox<&'static str> {
        let mut outbox = Outbox::new(in_flight_max);
        for name in messages {
            let publish = Publish::new(*name, "").qos(QoS::AtLeastOnce);
            outbox.push(publish, *name, Instant::now());
        }
        outbox
    }

    fn hand_over_all(outbox: &mut Outbox<&'static str>) -> Vec<(Ticket, String)> {
        let mut handed = Vec::new();
        while let Some((ticket, publish)) = outbox.hand_over(Instant::now()) {
            handed.push((ticket, publish.topic.clone()));
        }
        handed
    }

    fn names(handed: &[(Ticket, String)]) -> Vec<&str> {
        handed.iter().map(|(_, name)| name.as_str()).collect()
    }

    #[test]
    fn messages_are_handed_over_in_order_up_to_the_window() {
        let mut outbox = outbox(2, &["a", "b", "c"]);
        let handed = hand_over_all(&mut outbox);
        assert_eq!(names(&handed), ["a", "b"]);
        assert_eq!(outbox.settle(handed[1].0.id), Some("b"));
        assert_eq!(names(&hand_over_all(&mut outbox)), ["c"]);
    }

    #[test]
    fn forgotten_messages_go_before_later_ones_and_in_order() {
        let mut outbox = outbox(3, &["a", "b", "c", "d"]);
        let handed = hand_over_all(&mut outbox);
        assert_eq!(outbox.settle(handed[1].0.id), Some("b"));
        outbox.all_forgotten();
        assert_eq!(names(&hand_over_all(&mut outbox)), ["a", "c", "d"]);
    }

    #[test]
    fn one_that_is_forgotten_is_the_next() {
        let mut outbox = outbox(2, &["a", "b", "c"]);
        let handed = hand_over_all(&mut outbox);
        outbox.forgotten(handed[0].0);
        assert_eq!(names(&hand_over_all(&mut outbox)), ["a"]);
    }

    #[test]
    fn an_answer_to_an_earlier_turn_does_not_forget_the_later_one() {
        let mut outbox = outbox(1, &["a"]);
        let earlier = hand_over_all(&mut outbox)[0].0;
        outbox.all_forgotten();
        let later = hand_over_all(&mut outbox)[0].0;
        assert_eq!(earlier.id, later.id);
        outbox.forgotten(earlier);
        assert_eq!(hand_over_all(&mut outbox), []);
        outbox.forgotten(later);
        assert_eq!(hand_over_all(&mut outbox).len(), 1);
    }

    #[test]
    fn a_message_is_settled_once() {
        let mut outbox = outbox(4, &["a", "b"]);
        let handed = hand_over_all(&mut outbox);
        assert_eq!(outbox.settle(handed[0].0.id), Some("a"));
        assert_eq!(outbox.settle(handed[0].0.id), None);
        assert_eq!((outbox.len(), outbox.is_empty()), (1, false));
        assert_eq!(outbox.settle(handed[1].0.id), Some("b"));
        assert!(outbox.is_empty());
    }

    #[test]
    fn places_are_found_after_the_front_is_gone() {
        let mut outbox = outbox(10, &["a", "b", "c"]);
        let handed = hand_over_all(&mut outbox);
        outbox.settle(handed[1].0.id);
        outbox.settle(handed[0].0.id);
        outbox.push(Publish::new("d", ""), "d", Instant::now());
        let more = hand_over_all(&mut outbox);
        assert_eq!(names(&more), ["d"]);
        assert_eq!(outbox.settle(handed[2].0.id), Some("c"));
        assert_eq!(outbox.settle(more[0].0.id), Some("d"));
        assert!(outbox.is_empty());
    }

    #[test]
    fn whatever_is_left_is_taken_out_in_order() {
        let mut outbox = outbox(1, &["a", "b"]);
        hand_over_all(&mut outbox);
        assert_eq!(outbox.take_all().collect::<Vec<_>>(), ["a", "b"]);
        assert!(outbox.is_empty());
    }

    #[test]
    fn a_message_expires_while_it_waits_and_not_while_it_is_under_way() {
        let now = Instant::now();
        let mut outbox = Outbox::new(1);
        for (name, seconds) in [("a", 5), ("b", 5), ("c", 50)] {
            let publish = Publish::new(name, "").expiry(Duration::from_secs(seconds));
            outbox.push(publish, name, now);
        }
        outbox.push(Publish::new("d", ""), "d", now);
        hand_over_all(&mut outbox);
        assert_eq!(outbox.expires(), Some(now + Duration::from_secs(5)));
        assert!(outbox.expired(now + Duration::from_secs(4)).is_empty());
        let expired = outbox.expired(now + Duration::from_secs(5));
        assert_eq!(expired.len(), 1);
        assert_eq!(outbox.settle(expired[0]), Some("b"));
        assert_eq!(outbox.expires(), Some(now + Duration::from_secs(50)));
    }

    #[test]
    fn the_time_a_message_has_waited_is_taken_off_its_expiry() {
        let now = Instant::now();
        let mut outbox = Outbox::new(1);
        let publish = Publish::new("a", "").expiry(Duration::from_mins(1));
        outbox.push(publish, (), now);
        for (waited, left) in [(20, 40), (59, 1)] {
            let (_, publish) = outbox.hand_over(now + Duration::from_secs(waited)).unwrap();
            assert_eq!(publish.properties.expiry, Some(Duration::from_secs(left)));
            outbox.all_forgotten();
        }
    }

    #[test]
    fn what_an_earlier_life_accepted_goes_first_and_under_its_own_id() {
        let now = Instant::now();
        let mut outbox = Outbox::new(9);
        outbox.restore(7, (Publish::new("old", ""), None), "old");
        outbox.restore(9, (Publish::new("sent", ""), None), "sent");
        let sent = outbox.is_under_way(9).unwrap();
        assert_eq!(outbox.push(Publish::new("new", ""), "new", now), 10);
        assert_eq!(names(&hand_over_all(&mut outbox)), ["old", "new"]);
        outbox.forgotten(sent);
        assert_eq!(names(&hand_over_all(&mut outbox)), ["sent"]);
    }
}
