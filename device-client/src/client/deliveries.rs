//! Messages that came and are not acknowledged: they are ours to take care of, once.
//!
//! A message is acknowledged when the application has taken it, on the connection it came with.
//! When that connection is lost before the broker knows, the broker sends the message again in the
//! same session, under the same packet id [MQTT-4.4.0-1]; it is known by that and not given to the
//! application twice. In doubt it is given twice rather than lost.

use std::collections::{HashMap, VecDeque};

use crate::wire::Receipt;

/// What is in the hands of the application, by packet id.
#[derive(Debug)]
pub(crate) struct Deliveries {
    in_hand: HashMap<u16, State>,
    /// Acknowledged last on this connection: the broker cannot wait for more than these.
    acknowledged: VecDeque<u16>,
    receive_max: usize,
    session: u32,
}

/// One delivery. The packet ids of another session are others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Delivery {
    pub(crate) receipt: Receipt,
    session: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Came with this connection; not taken.
    Here,
    /// Came with an earlier one; not taken, and not come again.
    Before,
    /// Came with an earlier one, and has been taken since.
    TakenBefore,
    /// Acknowledged on the connection before this one; the broker may not know.
    InDoubt,
}

/// What the broker says about a message that arrives [MQTT-3.3.1-1].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    First,
    Again,
}

/// What to do with a message that arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// Give it to the application.
    New(Delivery),
    /// The application has it already.
    Known,
    /// The application has it and took it: acknowledge it at once.
    Taken,
}

impl Deliveries {
    pub(crate) fn new(receive_max: u16) -> Self {
        Self {
            in_hand: HashMap::new(),
            acknowledged: VecDeque::new(),
            receive_max: receive_max.into(),
            session: 0,
        }
    }

    /// A message arrived.
    pub(crate) fn arrived(&mut self, receipt: Receipt, sent: Sent) -> Arrival {
        match self.in_hand.insert(receipt.packet_id, State::Here) {
            Some(State::Here | State::Before) => Arrival::Known,
            Some(State::TakenBefore) => self.taken_already(receipt),
            Some(State::InDoubt) if sent == Sent::Again => self.taken_already(receipt),
            Some(State::InDoubt) | None => Arrival::New(Delivery {
                receipt,
                session: self.session,
            }),
        }
    }

    /// The application took it. True when it is to be acknowledged now.
    pub(crate) fn taken(&mut self, delivery: Delivery) -> bool {
        if delivery.session != self.session {
            return false;
        }
        match self.in_hand.get_mut(&delivery.receipt.packet_id) {
            Some(State::Here) => {
                self.note_acknowledged(delivery.receipt);
                true
            }
            Some(state @ State::Before) => {
                *state = State::TakenBefore;
                false
            }
            Some(State::TakenBefore | State::InDoubt) | None => false,
        }
    }

    /// A connection that goes on with the session.
    pub(crate) fn session_goes_on(&mut self) {
        // What was in doubt before would have come again with the connection that is lost now. Its
        // packet id may mean another message already.
        self.in_hand.retain(|_, state| *state != State::InDoubt);
        for state in self.in_hand.values_mut() {
            if *state == State::Here {
                *state = State::Before;
            }
        }
        for packet_id in self.acknowledged.drain(..) {
            self.in_hand.entry(packet_id).or_insert(State::InDoubt);
        }
    }

    /// A connection whose session is another: what the old one sent is acknowledged no more.
    pub(crate) fn session_is_new(&mut self) {
        self.in_hand.clear();
        self.acknowledged.clear();
        self.session = self.session.wrapping_add(1);
    }

    fn taken_already(&mut self, receipt: Receipt) -> Arrival {
        self.note_acknowledged(receipt);
        Arrival::Taken
    }

    fn note_acknowledged(&mut self, receipt: Receipt) {
        self.in_hand.remove(&receipt.packet_id);
        if self.acknowledged.len() >= self.receive_max {
            self.acknowledged.pop_front();
        }
        self.acknowledged.push_back(receipt.packet_id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::QoS;

    const SEVEN: Receipt = Receipt {
        packet_id: 7,
        qos: QoS::AtLeastOnce,
    };

    fn new(arrival: Arrival) -> Delivery {
        match arrival {
            Arrival::New(delivery) => delivery,
            Arrival::Known | Arrival::Taken => panic!("{arrival:?}"),
        }
    }

    #[test]
    fn a_message_is_acknowledged_when_it_is_taken_and_only_once() {
        let mut deliveries = Deliveries::new(2);
        let delivery = new(deliveries.arrived(SEVEN, Sent::First));
        assert!(deliveries.taken(delivery));
        assert!(!deliveries.taken(delivery));
        new(deliveries.arrived(SEVEN, Sent::First));
    }

    #[test]
    fn a_message_that_comes_again_is_not_given_twice_and_acknowledged_when_taken() {
        let mut deliveries = Deliveries::new(2);
        let delivery = new(deliveries.arrived(SEVEN, Sent::First));
        deliveries.session_goes_on();
        assert_eq!(deliveries.arrived(SEVEN, Sent::Again), Arrival::Known);
        assert!(deliveries.taken(delivery));
    }

    #[test]
    fn a_message_taken_between_two_connections_is_acknowledged_when_it_comes_again() {
        let mut deliveries = Deliveries::new(2);
        let delivery = new(deliveries.arrived(SEVEN, Sent::First));
        deliveries.session_goes_on();
        assert!(
            !deliveries.taken(delivery),
            "the broker would not know what is acknowledged"
        );
        assert_eq!(deliveries.arrived(SEVEN, Sent::Again), Arrival::Taken);
        new(deliveries.arrived(SEVEN, Sent::First));
    }

    #[test]
    fn a_message_of_a_session_that_is_gone_is_never_acknowledged() {
        let mut deliveries = Deliveries::new(2);
        let old = new(deliveries.arrived(SEVEN, Sent::First));
        deliveries.session_is_new();
        let other = new(deliveries.arrived(SEVEN, Sent::First));
        assert!(!deliveries.taken(old));
        assert!(deliveries.taken(other));
    }

    #[test]
    fn an_acknowledgement_that_was_lost_on_the_way_is_made_again_and_the_message_not_given_twice() {
        let mut deliveries = Deliveries::new(2);
        let delivery = new(deliveries.arrived(SEVEN, Sent::First));
        assert!(deliveries.taken(delivery));
        deliveries.session_goes_on();
        assert_eq!(deliveries.arrived(SEVEN, Sent::Again), Arrival::Taken);
        deliveries.session_goes_on();
        assert_eq!(deliveries.arrived(SEVEN, Sent::Again), Arrival::Taken);
    }

    #[test]
    fn a_packet_id_in_doubt_is_not_held_against_another_message() {
        let mut deliveries = Deliveries::new(2);
        let delivery = new(deliveries.arrived(SEVEN, Sent::First));
        deliveries.taken(delivery);
        deliveries.session_goes_on();
        // The acknowledgement had arrived, and the id is used again.
        new(deliveries.arrived(SEVEN, Sent::First));

        let mut deliveries = Deliveries::new(2);
        let delivery = new(deliveries.arrived(SEVEN, Sent::First));
        deliveries.taken(delivery);
        deliveries.session_goes_on();
        // The id was used again on a connection of which we saw nothing.
        deliveries.session_goes_on();
        new(deliveries.arrived(SEVEN, Sent::Again));
    }

    #[test]
    fn no_more_acknowledgements_are_remembered_than_can_be_in_doubt() {
        let mut deliveries = Deliveries::new(2);
        for packet_id in 1..=100 {
            let receipt = Receipt {
                packet_id,
                qos: QoS::AtLeastOnce,
            };
            let delivery = new(deliveries.arrived(receipt, Sent::First));
            deliveries.taken(delivery);
        }
        deliveries.session_goes_on();
        assert_eq!(deliveries.in_hand.len(), 2);
    }
}
