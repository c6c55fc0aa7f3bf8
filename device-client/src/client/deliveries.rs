//! Messages that came and are not acknowledged: they are ours to take care of, once.
//!
//! A message is acknowledged when the application has taken it, on the connection it came with. When
//! that connection is lost first, the broker sends the message again in the same session, under the
//! same packet id [MQTT-4.4.0-1]; it is known by that and not given to the application twice.

use std::collections::HashMap;

use crate::wire::Receipt;

/// What is in the hands of the application, by packet id.
#[derive(Debug, Default)]
pub(crate) struct Deliveries {
    in_hand: HashMap<u16, State>,
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
    pub(crate) fn arrived(&mut self, receipt: Receipt) -> Arrival {
        let before = self.in_hand.insert(receipt.packet_id, State::Here);
        match before {
            None => Arrival::New(Delivery {
                receipt,
                session: self.session,
            }),
            Some(State::Here | State::Before) => Arrival::Known,
            Some(State::TakenBefore) => {
                self.in_hand.remove(&receipt.packet_id);
                Arrival::Taken
            }
        }
    }

    /// The application took it. True when it is to be acknowledged now.
    pub(crate) fn taken(&mut self, delivery: Delivery) -> bool {
        if delivery.session != self.session {
            return false;
        }
        match self.in_hand.get_mut(&delivery.receipt.packet_id) {
            Some(State::Here) => {
                self.in_hand.remove(&delivery.receipt.packet_id);
                true
            }
            Some(state @ State::Before) => {
                *state = State::TakenBefore;
                false
            }
            Some(State::TakenBefore) | None => false,
        }
    }

    /// A connection that goes on with the session.
    pub(crate) fn session_goes_on(&mut self) {
        for state in self.in_hand.values_mut() {
            if *state == State::Here {
                *state = State::Before;
            }
        }
    }

    /// A connection whose session is another: what the old one sent is acknowledged no more.
    pub(crate) fn session_is_new(&mut self) {
        self.in_hand.clear();
        self.session = self.session.wrapping_add(1);
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
        let mut deliveries = Deliveries::default();
        let delivery = new(deliveries.arrived(SEVEN));
        assert!(deliveries.taken(delivery));
        assert!(!deliveries.taken(delivery));
        new(deliveries.arrived(SEVEN));
    }

    #[test]
    fn a_message_that_comes_again_is_not_given_twice_and_acknowledged_when_taken() {
        let mut deliveries = Deliveries::default();
        let delivery = new(deliveries.arrived(SEVEN));
        deliveries.session_goes_on();
        assert_eq!(deliveries.arrived(SEVEN), Arrival::Known);
        assert!(deliveries.taken(delivery));
    }

    #[test]
    fn a_message_taken_between_two_connections_is_acknowledged_when_it_comes_again() {
        let mut deliveries = Deliveries::default();
        let delivery = new(deliveries.arrived(SEVEN));
        deliveries.session_goes_on();
        assert!(
            !deliveries.taken(delivery),
            "the broker would not know what is acknowledged"
        );
        assert_eq!(deliveries.arrived(SEVEN), Arrival::Taken);
        new(deliveries.arrived(SEVEN));
    }

    #[test]
    fn a_message_of_a_session_that_is_gone_is_never_acknowledged() {
        let mut deliveries = Deliveries::default();
        let old = new(deliveries.arrived(SEVEN));
        deliveries.session_is_new();
        let other = new(deliveries.arrived(SEVEN));
        assert!(!deliveries.taken(old));
        assert!(deliveries.taken(other));
    }
}
