//! One session's deliveries, step by step and against a plain model.

use super::*;
use proptest::prelude::*;
use proptest::sample::Index;
use std::collections::HashSet;

fn id(id: u16) -> PacketId {
    PacketId::new(id).unwrap()
}

fn outbound(receive_maximum: u16) -> Outbound<u32> {
    let mut outbound = Outbound::new();
    outbound.open(NonZeroU16::new(receive_maximum).unwrap());
    outbound
}

fn reopen(outbound: &mut Outbound<u32>, receive_maximum: u16) {
    outbound.open(NonZeroU16::new(receive_maximum).unwrap());
}

/// Sends a message; the identifier it is sent under.
fn send(outbound: &mut Outbound<u32>, message: u32, qos: QoS) -> Option<PacketId> {
    let (id, kept) = outbound.send(message, qos)?;
    assert_eq!(*kept, message);
    Some(id)
}

fn publish(packet_id: u16, qos: QoS, message: &u32) -> Resend<'_, u32> {
    Resend::Publish {
        packet_id: id(packet_id),
        qos,
        message,
    }
}

fn pubrel(packet_id: u16) -> Resend<'static, u32> {
    Resend::Pubrel {
        packet_id: id(packet_id),
    }
}

#[test]
fn mqtt_4_3_2_a_delivery_of_qos_1_ends_with_puback() {
    let mut outbound = outbound(10);
    assert_eq!(send(&mut outbound, 7, QoS::AtLeastOnce), Some(id(1)));
    assert_eq!(outbound.pubrec(id(1), ReasonCode::Success), Pubrec::Unknown);
    assert_eq!(outbound.pubcomp(id(1)), Err(UnknownPacketId(id(1))));
    assert_eq!(outbound.puback(id(1)), Ok(7));
    assert_eq!(outbound.puback(id(1)), Err(UnknownPacketId(id(1))));
    assert!(outbound.is_empty());
    assert_eq!(send(&mut outbound, 8, QoS::AtLeastOnce), Some(id(2)));
}

#[test]
fn mqtt_4_3_3_a_delivery_of_qos_2_ends_with_pubcomp() {
    let mut outbound = outbound(1);
    assert_eq!(send(&mut outbound, 7, QoS::ExactlyOnce), Some(id(1)));
    assert_eq!(outbound.puback(id(1)), Err(UnknownPacketId(id(1))));
    assert_eq!(outbound.pubcomp(id(1)), Err(UnknownPacketId(id(1))));
    let success = ReasonCode::NoMatchingSubscribers;
    assert_eq!(outbound.pubrec(id(1), success), Pubrec::Received(7));
    assert_eq!(outbound.pubrec(id(1), success), Pubrec::Repeated);
    assert!(!outbound.has_room());
    assert_eq!(outbound.pubcomp(id(1)), Ok(()));
    assert_eq!(outbound.pubrec(id(1), success), Pubrec::Unknown);
    assert!(outbound.has_room());
}

#[test]
fn mqtt_4_9_a_refused_message_frees_its_place() {
    let mut outbound = outbound(1);
    for message in 0..100 {
        let id = send(&mut outbound, message, QoS::ExactlyOnce).unwrap();
        let outcome = outbound.pubrec(id, ReasonCode::NotAuthorized);
        assert_eq!(outcome, Pubrec::Refused(message));
    }
    assert!(outbound.is_empty());
    assert_eq!(send(&mut outbound, 100, QoS::ExactlyOnce), Some(id(101)));
}

#[test]
fn mqtt_4_9_0_2_no_more_is_in_flight_than_the_receive_maximum() {
    let mut outbound = outbound(2);
    assert_eq!(send(&mut outbound, 1, QoS::AtLeastOnce), Some(id(1)));
    assert_eq!(send(&mut outbound, 2, QoS::ExactlyOnce), Some(id(2)));
    assert_eq!(send(&mut outbound, 3, QoS::AtLeastOnce), None);
    assert_eq!(outbound.puback(id(1)), Ok(1));
    assert_eq!(send(&mut outbound, 3, QoS::AtLeastOnce), Some(id(3)));
    assert_eq!(outbound.len(), 2);
    assert!(!Outbound::<u32>::new().has_room());
}

#[test]
fn mqtt_4_4_0_1_all_in_flight_is_sent_again_in_order() {
    let mut outbound = outbound(10);
    for message in 1..=4 {
        outbound.send(message, QoS::ExactlyOnce);
    }
    outbound.send(5, QoS::AtLeastOnce);
    // [MQTT-4.6.0-4]: PUBREL in the order of the PUBRECs.
    for number in [4, 2] {
        outbound.pubrec(id(number), ReasonCode::Success);
    }
    reopen(&mut outbound, 10);
    assert!(!outbound.has_room());
    let expected = [
        pubrel(4),
        pubrel(2),
        publish(1, QoS::ExactlyOnce, &1),
        publish(3, QoS::ExactlyOnce, &3),
        publish(5, QoS::AtLeastOnce, &5),
    ];
    assert_eq!(outbound.in_flight().collect::<Vec<_>>(), expected);
    assert_eq!(outbound.resend().collect::<Vec<_>>(), expected);
    assert_eq!(outbound.resend().count(), 0);
    assert_eq!(send(&mut outbound, 6, QoS::AtLeastOnce), Some(id(6)));
}

#[test]
fn mqtt_4_9_0_2_a_lowered_receive_maximum_holds_when_sending_again() {
    let mut outbound = outbound(10);
    for message in 1..=5 {
        outbound.send(message, QoS::AtLeastOnce);
    }
    reopen(&mut outbound, 2);
    assert_eq!(outbound.resend().count(), 2);
    assert_eq!(outbound.puback(id(1)), Ok(1));
    // What an earlier connection said may be answered on this one.
    assert_eq!(outbound.puback(id(4)), Ok(4));
    let next: Vec<_> = outbound.resend().collect();
    assert_eq!(next, [publish(3, QoS::AtLeastOnce, &3)]);
    assert_eq!(send(&mut outbound, 6, QoS::AtLeastOnce), None);
    for number in [2, 3] {
        outbound.puback(id(number)).unwrap();
    }
    assert_eq!(outbound.resend().count(), 1);
    assert_eq!(send(&mut outbound, 6, QoS::AtLeastOnce), Some(id(6)));
}

#[test]
fn what_storage_kept_is_sent_again_and_its_ids_are_in_use() {
    let mut outbound = Outbound::new();
    outbound.restore_pubrel(id(2));
    outbound.restore_publish(id(1), QoS::AtLeastOnce, 10);
    reopen(&mut outbound, 10);
    let expected = [pubrel(2), publish(1, QoS::AtLeastOnce, &10)];
    assert_eq!(outbound.resend().collect::<Vec<_>>(), expected);
    assert_eq!(send(&mut outbound, 11, QoS::AtLeastOnce), Some(id(3)));
}

#[test]
fn mqtt_4_8_2_the_end_of_a_session_hands_out_what_was_not_delivered() {
    let mut outbound = outbound(10);
    for message in 1..=4 {
        outbound.send(message, QoS::ExactlyOnce);
    }
    outbound.pubrec(id(2), ReasonCode::Success);
    assert_eq!(outbound.drain().collect::<Vec<_>>(), [1, 3, 4]);
    assert!(outbound.is_empty() && outbound.has_room());
}

#[test]
fn acknowledgements_in_a_hostile_order_are_not_quadratic() {
    let mut outbound = outbound(u16::MAX);
    for message in 0..u32::from(u16::MAX) {
        assert!(outbound.send(message, QoS::AtLeastOnce).is_some());
    }
    assert_eq!(send(&mut outbound, 0, QoS::AtLeastOnce), None);
    // The one just behind the next: a search would go through all of them each time.
    for round in 0..200_000_u32 {
        let freed = id(u16::try_from(1 + round * 7919 % 65_535).unwrap());
        outbound.puback(freed).unwrap();
        assert_eq!(send(&mut outbound, round, QoS::AtLeastOnce), Some(freed));
    }
    for number in (1..=u16::MAX).rev() {
        outbound.puback(id(number)).unwrap();
    }
    assert!(outbound.in_flight.is_empty());
}

/// What a session does and what its peer answers.
#[derive(Clone, Copy, Debug)]
enum Step {
    Send(QoS),
    Puback(Index),
    Pubrec(Index, ReasonCode),
    Pubcomp(Index),
    Reconnect(u16),
}

fn any_step() -> impl Strategy<Value = Step> {
    let qos = prop::sample::select(vec![QoS::AtLeastOnce, QoS::ExactlyOnce]);
    let reasons = vec![ReasonCode::Success, ReasonCode::QuotaExceeded];
    let reason = prop::sample::select(reasons);
    prop_oneof![
        4 => qos.prop_map(Step::Send),
        2 => any::<Index>().prop_map(Step::Puback),
        2 => (any::<Index>(), reason).prop_map(|(at, reason)| Step::Pubrec(at, reason)),
        2 => any::<Index>().prop_map(Step::Pubcomp),
        1 => (1..6_u16).prop_map(Step::Reconnect),
    ]
}

/// The same session, kept plainly: what is in flight, and whether this connection has seen it.
#[derive(Default)]
struct Model {
    /// With the QoS and the message until the peer has it.
    in_flight: Vec<(PacketId, Option<(QoS, u32)>)>,
    said: HashSet<PacketId>,
    sent: u32,
}

impl Model {
    fn take(&mut self, step: Step, outbound: &mut Outbound<u32>) {
        let len = self.in_flight.len();
        match step {
            Step::Send(qos) => self.send(outbound, qos),
            Step::Reconnect(receive_maximum) => {
                reopen(outbound, receive_maximum);
                self.said.clear();
            }
            Step::Puback(_) | Step::Pubrec(..) | Step::Pubcomp(_) if len == 0 => {}
            Step::Puback(at) => self.puback(outbound, at.index(len)),
            Step::Pubrec(at, reason) => self.pubrec(outbound, at.index(len), reason),
            Step::Pubcomp(at) => self.pubcomp(outbound, at.index(len)),
        }
    }

    fn end(&mut self, place: usize) {
        let (id, _) = self.in_flight.remove(place);
        self.said.remove(&id);
    }

    fn send(&mut self, outbound: &mut Outbound<u32>, qos: QoS) {
        let all_said = self.in_flight.iter().all(|(id, _)| self.said.contains(id));
        let room = all_said && self.in_flight.len() < usize::from(outbound.receive_maximum);
        assert_eq!(outbound.has_room(), room);
        let sent = send(outbound, self.sent, qos);
        assert_eq!(sent.is_some(), room);
        if let Some(id) = sent {
            assert!(self.in_flight.iter().all(|(it, _)| *it != id));
            self.in_flight.push((id, Some((qos, self.sent))));
            self.said.insert(id);
            self.sent += 1;
        }
    }

    fn puback(&mut self, outbound: &mut Outbound<u32>, place: usize) {
        let (id, stage) = self.in_flight[place];
        match stage {
            Some((QoS::AtLeastOnce, message)) => {
                assert_eq!(outbound.puback(id), Ok(message));
                self.end(place);
            }
            _ => assert_eq!(outbound.puback(id), Err(UnknownPacketId(id))),
        }
    }

    fn pubrec(&mut self, outbound: &mut Outbound<u32>, place: usize, reason: ReasonCode) {
        let (id, stage) = self.in_flight[place];
        let outcome = outbound.pubrec(id, reason);
        match stage {
            Some((QoS::ExactlyOnce, message)) if reason.is_error() => {
                assert_eq!(outcome, Pubrec::Refused(message));
                self.end(place);
            }
            Some((QoS::ExactlyOnce, message)) => {
                assert_eq!(outcome, Pubrec::Received(message));
                self.in_flight[place].1 = None;
                self.said.insert(id);
            }
            Some(_) => assert_eq!(outcome, Pubrec::Unknown),
            None => assert_eq!(outcome, Pubrec::Repeated),
        }
    }

    fn pubcomp(&mut self, outbound: &mut Outbound<u32>, place: usize) {
        let (id, stage) = self.in_flight[place];
        if stage.is_none() {
            assert_eq!(outbound.pubcomp(id), Ok(()));
            self.end(place);
        } else {
            assert_eq!(outbound.pubcomp(id), Err(UnknownPacketId(id)));
        }
    }

    /// What is sent again is in flight, was not yet sent on this connection, and leaves room.
    fn resend(&mut self, outbound: &mut Outbound<u32>) {
        let receive_maximum = usize::from(outbound.receive_maximum);
        for resend in outbound.resend() {
            let (id, stage) = match resend {
                Resend::Publish {
                    packet_id,
                    qos,
                    message,
                } => (packet_id, Some((qos, *message))),
                Resend::Pubrel { packet_id } => (packet_id, None),
            };
            assert!(self.in_flight.contains(&(id, stage)));
            assert!(stage.is_none() || self.said.len() < receive_maximum);
            assert!(self.said.insert(id));
        }
        let unsaid = self.in_flight.len() - self.said.len();
        assert!(unsaid == 0 || self.said.len() >= receive_maximum);
    }
}

proptest! {
    #[test]
    fn whatever_the_peer_answers_no_message_is_lost_or_doubled(
        steps in prop::collection::vec(any_step(), 0..200),
    ) {
        let mut outbound = outbound(3);
        let mut model = Model::default();
        for step in steps {
            model.take(step, &mut outbound);
            model.resend(&mut outbound);
            prop_assert_eq!(outbound.len(), model.in_flight.len());
        }
        let left: Vec<u32> = outbound.drain().collect();
        let kept = model.in_flight.iter().filter_map(|(_, stage)| Some(stage.as_ref()?.1));
        prop_assert_eq!(left, kept.collect::<Vec<_>>());
    }
}
