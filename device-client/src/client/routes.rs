//! Which messages go to which subscription.
//!
//! A broker names the subscriptions a message came for by their identifiers, where it can; then
//! copies sent for overlapping filters reach each subscriber once. Only a message without a name
//! that we know is matched by its topic. A message of quality of service 0 takes no place that one
//! of 1 or 2 may need: those always fit, as the broker may not send more than the receive maximum
//! [MQTT-3.3.4-9].

use std::sync::Arc;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use super::inbox::Delivered;
use super::subscription::{Claim, Item};
use crate::error::SubscribeError;
use crate::message::{Message, QoS};
use crate::topic;
use crate::wire::{Incoming, Subscribe, Ticket};

/// The subscriptions of a device.
#[derive(Debug)]
pub(super) struct Routes {
    all: Vec<Route>,
    last_id: u32,
    /// Places that are kept for messages that must be acknowledged, and for the last word.
    reserved: usize,
}

#[derive(Debug)]
struct Route {
    id: u32,
    request: Subscribe,
    turn: u32,
    asked: Ask,
    items: mpsc::Sender<Item>,
    stage: Stage,
}

/// Whether the broker has been asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ask {
    Due,
    Done,
}

#[derive(Debug)]
enum Stage {
    /// The application waits for the first answer.
    Asked(oneshot::Sender<Result<Granted, SubscribeError>>),
    /// Granted once; made again when the broker forgot it.
    Granted,
}

/// What the application is given for a subscription that was granted.
#[derive(Debug)]
pub(super) struct Granted {
    pub(super) id: u32,
    pub(super) qos: QoS,
}

impl Routes {
    pub(super) fn new(receive_max: u16) -> Self {
        Self {
            all: Vec::new(),
            last_id: 0,
            reserved: usize::from(receive_max) + 1,
        }
    }

    /// How long a queue must be for `len` messages of quality of service 0.
    pub(super) fn queue_len(receive_max: u16, len: usize) -> usize {
        len + usize::from(receive_max) + 1
    }

    /// Adds a subscription, for which the broker is to be asked.
    pub(super) fn add(
        &mut self,
        mut request: Subscribe,
        items: mpsc::Sender<Item>,
        answer: oneshot::Sender<Result<Granted, SubscribeError>>,
    ) {
        self.last_id += 1;
        request.identifier = self.last_id;
        self.all.push(Route {
            id: self.last_id,
            request,
            turn: 0,
            asked: Ask::Due,
            items,
            stage: Stage::Asked(answer),
        });
    }

    /// What the broker has to be asked for.
    pub(super) fn requests(&mut self) -> Vec<(Ticket, Subscribe)> {
        let due = self.all.iter_mut().filter(|route| route.asked == Ask::Due);
        due.map(Route::request).collect()
    }

    /// The broker knows of no subscription any more.
    pub(super) fn all_forgotten(&mut self) {
        for route in &mut self.all {
            route.asked = Ask::Due;
        }
    }

    /// What was asked under `ticket` was never answered.
    pub(super) fn forgotten(&mut self, ticket: Ticket) {
        for route in self.all.iter_mut().filter(|route| route.ticket() == ticket) {
            route.asked = Ask::Due;
        }
    }

    /// The broker granted a subscription.
    pub(super) fn granted(&mut self, ticket: Ticket, qos: QoS) {
        let of_ticket = |route: &&mut Route| route.ticket().id == ticket.id;
        let Some(route) = self.all.iter_mut().find(of_ticket) else {
            return;
        };
        if let Stage::Asked(answer) = std::mem::replace(&mut route.stage, Stage::Granted) {
            // The application may have stopped waiting; then the queue is closed too.
            let _ = answer.send(Ok(Granted { id: route.id, qos }));
        }
    }

    /// The broker refused a subscription, the first time or when it was made again.
    pub(super) fn refused(&mut self, ticket: Ticket, error: SubscribeError) {
        if let Some(place) = self.all.iter().position(|route| route.ticket() == ticket) {
            self.all.swap_remove(place).end(error);
        }
    }

    /// Takes out a subscription, and says which filter nobody asks for any more.
    pub(super) fn remove(&mut self, id: u32) -> Option<String> {
        let place = self.all.iter().position(|route| route.id == id)?;
        let route = self.all.swap_remove(place);
        self.orphaned(route)
    }

    /// Takes out the subscriptions that were dropped, and says which filters nobody asks for.
    pub(super) fn remove_dropped(&mut self) -> Vec<String> {
        let dropped = self.all.extract_if(.., |route| route.items.is_closed());
        let dropped: Vec<_> = dropped.collect();
        dropped
            .into_iter()
            .filter_map(|route| self.orphaned(route))
            .collect()
    }

    fn orphaned(&self, route: Route) -> Option<String> {
        let filter = route.request.filter;
        let shared = self.all.iter().any(|other| other.request.filter == filter);
        (!shared).then_some(filter)
    }

    /// Whether some subscription asks for this message.
    pub(super) fn want(&self, incoming: &Incoming) -> bool {
        let filters = self.named(incoming);
        self.all.iter().any(|route| route.wants(incoming, &filters))
    }

    /// Gives a message to all that asked for it. `claim` is shared by them.
    pub(super) fn deliver(&self, incoming: &Incoming, claim: Option<&Arc<Claim>>) -> Delivered {
        let filters = self.named(incoming);
        let mut delivered = Delivered::default();
        for route in self
            .all
            .iter()
            .filter(|route| route.wants(incoming, &filters))
        {
            match route.offer(incoming.message.clone(), claim.cloned(), self.reserved) {
                Ok(()) => delivered.taken += 1,
                Err(TrySendError::Full(())) => delivered.dropped += 1,
                Err(TrySendError::Closed(())) => delivered.gone += 1,
            }
        }
        delivered
    }

    /// The filters of the subscriptions that the broker named. Two with the same filter are one
    /// subscription to the broker, which knows the identifier of the later only [MQTT-3.8.4-3].
    fn named(&self, incoming: &Incoming) -> Vec<&str> {
        let topic = incoming.message.topic.as_str();
        let named = self.all.iter().filter(|route| {
            incoming.identifiers.contains(&route.id) && topic::matches(&route.request.filter, topic)
        });
        named.map(|route| route.request.filter.as_str()).collect()
    }

    /// Tells everybody that no more will come, and why if there is a reason.
    pub(super) fn end_all(&mut self, error: &SubscribeError) {
        for route in self.all.drain(..) {
            match (&route.stage, error) {
                // Who asked for the end needs no reason for it.
                (Stage::Granted, SubscribeError::Disconnected) => {}
                _ => route.end(error.clone()),
            }
        }
    }
}

impl Route {
    fn request(&mut self) -> (Ticket, Subscribe) {
        self.turn += 1;
        self.asked = Ask::Done;
        (self.ticket(), self.request.clone())
    }

    fn ticket(&self) -> Ticket {
        Ticket {
            id: self.id.into(),
            turn: self.turn,
        }
    }

    fn wants(&self, incoming: &Incoming, named: &[&str]) -> bool {
        if named.is_empty() {
            topic::matches(&self.request.filter, &incoming.message.topic)
        } else {
            named.contains(&self.request.filter.as_str())
        }
    }

    fn offer(
        &self,
        message: Message,
        claim: Option<Arc<Claim>>,
        reserved: usize,
    ) -> Result<(), TrySendError<()>> {
        if claim.is_none() && self.items.capacity() <= reserved {
            return Err(TrySendError::Full(()));
        }
        self.items
            .try_send(Ok((message, claim)))
            .map_err(|error| match error {
                TrySendError::Full(_) => TrySendError::Full(()),
                TrySendError::Closed(_) => TrySendError::Closed(()),
            })
    }

    fn end(self, error: SubscribeError) {
        match self.stage {
            Stage::Asked(answer) => drop(answer.send(Err(error))),
            Stage::Granted => drop(self.items.try_send(Err(error))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::deliveries::{Arrival, Deliveries, Sent};
    use crate::wire::{Receipt, Retained};

    /// Subscriptions to these filters, granted, and their streams.
    fn granted(filters: &[&str], queue_len: usize) -> (Routes, Vec<mpsc::Receiver<Item>>) {
        let mut routes = Routes::new(2);
        let streams = filters
            .iter()
            .map(|filter| add(&mut routes, filter, queue_len).0)
            .collect();
        for (ticket, request) in routes.requests() {
            routes.granted(ticket, request.qos);
        }
        (routes, streams)
    }

    type Answer = oneshot::Receiver<Result<Granted, SubscribeError>>;

    fn add(routes: &mut Routes, filter: &str, len: usize) -> (mpsc::Receiver<Item>, Answer) {
        let (items, stream) = mpsc::channel(Routes::queue_len(2, len));
        let (answer, answered) = oneshot::channel();
        let (filter, qos, retained) = (filter.into(), QoS::AtLeastOnce, Retained::Send);
        routes.add(
            Subscribe {
                filter,
                qos,
                retained,
                identifier: 0,
            },
            items,
            answer,
        );
        (stream, answered)
    }

    fn message(topic: &str, identifiers: &[u32]) -> Incoming {
        let (topic, payload) = (topic.into(), "".into());
        let (qos, retain, duplicate, properties) = Default::default();
        let message = Message {
            topic,
            payload,
            qos,
            retain,
            duplicate,
            properties,
        };
        Incoming {
            message,
            identifiers: identifiers.into(),
            receipt: None,
        }
    }

    /// How many messages wait in each stream.
    fn lens(streams: &[mpsc::Receiver<Item>]) -> Vec<usize> {
        streams.iter().map(mpsc::Receiver::len).collect()
    }

    #[test]
    fn each_copy_of_overlapping_subscriptions_goes_to_the_one_it_names() {
        let (routes, streams) = granted(&["a/#", "a/b"], 9);
        routes.deliver(&message("a/b", &[1]), None);
        assert_eq!(lens(&streams), [1, 0]);
        routes.deliver(&message("a/b", &[2]), None);
        assert_eq!(lens(&streams), [1, 1]);
        routes.deliver(&message("a/b", &[1, 2]), None);
        assert_eq!(lens(&streams), [2, 2]);
    }

    #[test]
    fn without_a_name_all_that_match_are_meant() {
        let (routes, streams) = granted(&["a/#", "a/b", "c"], 9);
        routes.deliver(&message("a/b", &[]), None);
        assert_eq!(lens(&streams), [1, 1, 0]);
    }

    #[test]
    fn an_identifier_of_an_earlier_life_does_not_mislead() {
        let (routes, streams) = granted(&["a", "b"], 9);
        routes.deliver(&message("b", &[1]), None);
        assert_eq!(lens(&streams), [0, 1]);
    }

    #[test]
    fn two_subscriptions_to_one_filter_are_both_served_and_left_one_by_one() {
        let (mut routes, streams) = granted(&["a", "a"], 9);
        routes.deliver(&message("a", &[2]), None);
        assert_eq!(lens(&streams), [1, 1]);
        assert_eq!(routes.remove(1), None);
        assert_eq!(routes.remove(2), Some("a".into()));
    }

    #[test]
    fn a_full_queue_drops_qos_0_and_keeps_places_for_the_rest() {
        let (routes, streams) = granted(&["a"], 1);
        let delivered = [(); 2].map(|()| routes.deliver(&message("a", &[]), None));
        assert_eq!(delivered.map(|d| (d.taken, d.dropped)), [(1, 0), (0, 1)]);
        let (taken, _receiver) = mpsc::unbounded_channel();
        let mut deliveries = Deliveries::new(2);
        for packet_id in 1..=2 {
            let receipt = Receipt {
                packet_id,
                qos: QoS::AtLeastOnce,
            };
            let Arrival::New(delivery) = deliveries.arrived(receipt, Sent::First) else {
                panic!("known")
            };
            let claim = Arc::new(Claim {
                delivery,
                taken: taken.clone(),
            });
            assert_eq!(routes.deliver(&message("a", &[]), Some(&claim)).taken, 1);
        }
        assert_eq!(lens(&streams), [3]);
    }

    #[test]
    fn a_refusal_after_a_lost_session_ends_the_stream_with_the_reason() {
        let (mut routes, mut streams) = granted(&["a"], 9);
        routes.all_forgotten();
        let (ticket, _) = routes.requests().remove(0);
        routes.refused(ticket, SubscribeError::NotAuthorized);
        let last = streams[0].blocking_recv();
        assert!(
            matches!(last, Some(Err(SubscribeError::NotAuthorized))),
            "{last:?}"
        );
        assert!(streams[0].blocking_recv().is_none());
    }

    #[test]
    fn an_answer_from_before_the_session_was_lost_refuses_nothing() {
        let mut routes = Routes::new(2);
        let (_stream, mut answered) = add(&mut routes, "a", 9);
        let (before, _) = routes.requests().remove(0);
        routes.all_forgotten();
        let (now, _) = routes.requests().remove(0);
        routes.refused(before, SubscribeError::NotAuthorized);
        routes.forgotten(before);
        assert_eq!(routes.requests(), []);
        routes.granted(now, QoS::AtMostOnce);
        assert_eq!(answered.try_recv().unwrap().unwrap().qos, QoS::AtMostOnce);
    }

    #[test]
    fn a_dropped_stream_is_noticed_and_its_filter_given_up() {
        let (mut routes, streams) = granted(&["a"], 9);
        drop(streams);
        assert_eq!(routes.deliver(&message("a", &[]), None).gone, 1);
        assert_eq!(routes.remove_dropped(), ["a"]);
    }
}
