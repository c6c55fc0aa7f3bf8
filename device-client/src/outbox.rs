//! Messages from being accepted to being acknowledged, in the order they came.
//!
//! A message leaves only by being settled. One that was handed over and forgotten is handed over
//! again before any that came later, so that no loss of a connection turns the order around. How
//! many may wait is limited by whoever puts them in.

use std::collections::VecDeque;

use crate::message::{Publish, QoS};
use crate::wire::Ticket;

/// The messages of a device that are not settled. `D` is told how it ended.
#[derive(Debug)]
pub(crate) struct Outbox<D> {
    /// The first is of id `first`, the next of the next. The first is never an empty place.
    entries: VecDeque<Option<Entry<D>>>,
    first: u64,
    /// All before this place are handed over or gone.
    next: usize,
    len: usize,
    handed_over: usize,
    in_flight_max: usize,
}

#[derive(Debug)]
struct Entry<D> {
    publish: Publish,
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
            entries: VecDeque::new(),
            first: 0,
            next: 0,
            len: 0,
            handed_over: 0,
            in_flight_max: in_flight_max.into(),
        }
    }

    pub(crate) fn push(&mut self, publish: Publish, done: D) {
        self.entries.push_back(Some(Entry {
            publish,
            done,
            turn: 0,
            state: State::Waiting,
        }));
        self.len += 1;
    }

    /// The next message to hand over, if another may be under way.
    pub(crate) fn hand_over(&mut self) -> Option<(Ticket, &Publish)> {
        if self.handed_over >= self.in_flight_max {
            return None;
        }
        let waits = |place: &Option<Entry<D>>| {
            place
                .as_ref()
                .is_some_and(|entry| entry.state == State::Waiting)
        };
        let behind = self.entries.range(self.next..).position(waits)?;
        let place = self.next + behind;
        self.next = place + 1;
        self.handed_over += 1;
        let id = self.id(place);
        let entry = self.entries.get_mut(place)?.as_mut()?;
        entry.state = State::HandedOver;
        entry.turn += 1;
        Some((
            Ticket {
                id,
                turn: entry.turn,
            },
            &entry.publish,
        ))
    }

    /// Takes out a message that was answered, whichever time it was handed over.
    pub(crate) fn settle(&mut self, id: u64) -> Option<D> {
        let place = self.place(id)?;
        let entry = self.entries.get_mut(place)?.take()?;
        if entry.state == State::HandedOver {
            self.handed_over -= 1;
        }
        self.len -= 1;
        self.drop_empty_front();
        Some(entry.done)
    }

    /// What was handed over under `ticket` is forgotten: it waits again.
    pub(crate) fn forgotten(&mut self, ticket: Ticket) {
        let Some(place) = self.place(ticket.id) else {
            return;
        };
        let Some(Some(entry)) = self.entries.get_mut(place) else {
            return;
        };
        // It may have been handed over once more since.
        if entry.turn == ticket.turn && entry.state == State::HandedOver {
            entry.state = State::Waiting;
            self.handed_over -= 1;
            self.next = self.next.min(place);
        }
    }

    /// All that was handed over is forgotten.
    pub(crate) fn all_forgotten(&mut self) {
        for entry in self.entries.iter_mut().flatten() {
            entry.state = State::Waiting;
        }
        self.next = 0;
        self.handed_over = 0;
    }

    /// The quality of service of a message that is still here.
    pub(crate) fn qos(&self, id: u64) -> Option<QoS> {
        let entry = self.entries.get(self.place(id)?)?.as_ref()?;
        Some(entry.publish.qos)
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Takes everything out, unsettled.
    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = D> {
        (self.next, self.len, self.handed_over) = (0, 0, 0);
        std::mem::take(&mut self.entries)
            .into_iter()
            .flatten()
            .map(|entry| entry.done)
    }

    fn id(&self, place: usize) -> u64 {
        self.first + place as u64
    }

    fn place(&self, id: u64) -> Option<usize> {
        usize::try_from(id.checked_sub(self.first)?).ok()
    }

    fn drop_empty_front(&mut self) {
        while let Some(None) = self.entries.front() {
            self.entries.pop_front();
            self.first += 1;
            self.next = self.next.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An outbox of messages named by what their `done` says.
    fn outbox(in_flight_max: u16, messages: &[&'static str]) -> Outbox<&'static str> {
        let mut outbox = Outbox::new(in_flight_max);
        for name in messages {
            outbox.push(Publish::new(*name, "").qos(QoS::AtLeastOnce), *name);
        }
        outbox
    }

    fn hand_over_all(outbox: &mut Outbox<&'static str>) -> Vec<(Ticket, String)> {
        let mut handed = Vec::new();
        while let Some((ticket, publish)) = outbox.hand_over() {
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
        outbox.push(Publish::new("d", ""), "d");
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
}
