//! What the peer has sent at QoS 2 and has not yet released.
//!
//! A QoS 2 message is fresh once; every copy until its PUBREL is a duplicate [MQTT-4.3.3-10].

use super::packet_ids::PacketIdHash;
use crate::ProtocolError;
use crate::packet::PacketId;
use std::collections::HashMap;
use std::num::NonZeroU16;

/// The deliveries of one client to its session.
#[derive(Debug)]
pub struct Inbound {
    receive_maximum: usize,
    qos2: HashMap<PacketId, Published, PacketIdHash>,
    /// How many of them the client has published on the present connection.
    open: usize,
}

/// Where a QoS 2 message was last published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Published {
    /// It takes room in the receive maximum.
    OnThisConnection,
    /// The client counts anew since [MQTT 5.0 §4.9].
    Before,
}

/// What a PUBLISH is to the receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// Not seen before: deliver and acknowledge it.
    Fresh,
    /// Seen before, whatever its DUP flag says: acknowledge it again and no more.
    Duplicate,
}

/// What a PUBREL is to the receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// Answer with PUBCOMP.
    Known,
    /// Answer with PUBCOMP and 0x92, *packet identifier not found*.
    Unknown,
}

impl Inbound {
    /// Nothing received so far. A client of 3.1.1 knows no receive maximum: it is given
    /// [`NonZeroU16::MAX`].
    pub fn new(receive_maximum: NonZeroU16) -> Self {
        Self {
            receive_maximum: usize::from(receive_maximum.get()),
            qos2: HashMap::default(),
            open: 0,
        }
    }

    /// A connection begins: the identifiers of QoS 2 are kept [MQTT 5.0 §4.1].
    pub fn resume(&mut self, receive_maximum: NonZeroU16) {
        self.receive_maximum = usize::from(receive_maximum.get());
        self.open = 0;
        for published in self.qos2.values_mut() {
            *published = Published::Before;
        }
    }

    /// How many deliveries are not acknowledged to the end.
    pub fn len(&self) -> usize {
        self.qos2.len()
    }

    /// Whether all deliveries are acknowledged to the end.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A PUBLISH of QoS 1, a duplicate or not: it is delivered at least once. It is acknowledged
    /// where it is taken, whatever becomes of it, so that nothing of it has to be remembered.
    ///
    /// # Errors
    /// If the client has too many in flight [MQTT-3.3.4-7].
    pub fn publish_qos1(&self) -> Result<(), ProtocolError> {
        if self.open >= self.receive_maximum {
            return Err(ProtocolError::ReceiveMaximumExceeded);
        }
        Ok(())
    }

    /// A PUBLISH of QoS 2.
    ///
    /// # Errors
    /// If the client has too many in flight [MQTT-3.3.4-7].
    pub fn publish_qos2(&mut self, id: PacketId) -> Result<Received, ProtocolError> {
        match self.qos2.get(&id) {
            Some(Published::OnThisConnection) => return Ok(Received::Duplicate),
            // Who publishes anew and leaves all unreleased, connection by connection, is stopped.
            None if self.qos2.len() >= 2 * self.receive_maximum => {
                return Err(ProtocolError::ReceiveMaximumExceeded);
            }
            Some(Published::Before) | None => {}
        }
        if self.open >= self.receive_maximum {
            return Err(ProtocolError::ReceiveMaximumExceeded);
        }
        self.open += 1;
        match self.qos2.insert(id, Published::OnThisConnection) {
            Some(_) => Ok(Received::Duplicate),
            None => Ok(Received::Fresh),
        }
    }

    /// PUBREC with an error is sent: the message is not ours, and its identifier is free
    /// [MQTT-4.3.3-9].
    pub fn refuse(&mut self, id: PacketId) {
        self.pubrel(id);
    }

    /// PUBREL: from here on the identifier stands for a new message [MQTT-4.3.3-12].
    pub fn pubrel(&mut self, id: PacketId) -> Release {
        match self.qos2.remove(&id) {
            Some(Published::OnThisConnection) => {
                self.open -= 1;
                Release::Known
            }
            Some(Published::Before) => Release::Known,
            None => Release::Unknown,
        }
    }

    /// Takes up a QoS 2 identifier that storage kept.
    pub fn restore(&mut self, id: PacketId) {
        self.qos2.entry(id).or_insert(Published::Before);
    }

    /// The QoS 2 identifiers that await their PUBREL, in no order.
    pub fn unreleased(&self) -> impl Iterator<Item = PacketId> {
        self.qos2.keys().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(id: u16) -> PacketId {
        PacketId::new(id).unwrap()
    }

    fn inbound(receive_maximum: u16) -> Inbound {
        Inbound::new(NonZeroU16::new(receive_maximum).unwrap())
    }

    #[test]
    fn mqtt_4_3_3_10_a_qos_2_message_is_fresh_once_until_pubrel() {
        let mut inbound = inbound(10);
        assert_eq!(inbound.publish_qos2(id(1)), Ok(Received::Fresh));
        assert_eq!(inbound.publish_qos2(id(1)), Ok(Received::Duplicate));
        assert_eq!(inbound.pubrel(id(1)), Release::Known);
        assert_eq!(inbound.pubrel(id(1)), Release::Unknown);
        assert_eq!(inbound.publish_qos2(id(1)), Ok(Received::Fresh));
    }

    #[test]
    fn mqtt_4_3_3_9_a_refused_id_stands_for_a_new_message() {
        let mut inbound = inbound(1);
        assert_eq!(inbound.publish_qos2(id(1)), Ok(Received::Fresh));
        inbound.refuse(id(1));
        assert!(inbound.is_empty());
        assert_eq!(inbound.publish_qos2(id(1)), Ok(Received::Fresh));
    }

    #[test]
    fn mqtt_3_3_4_7_more_than_the_receive_maximum_is_an_error() {
        let mut inbound = inbound(2);
        assert_eq!(inbound.publish_qos2(id(1)), Ok(Received::Fresh));
        assert_eq!(inbound.publish_qos1(), Ok(()));
        assert_eq!(inbound.publish_qos2(id(2)), Ok(Received::Fresh));
        let exceeded = ProtocolError::ReceiveMaximumExceeded;
        assert_eq!(inbound.publish_qos1(), Err(exceeded));
        assert_eq!(inbound.publish_qos2(id(3)), Err(exceeded));
        inbound.pubrel(id(1));
        inbound.pubrel(id(1));
        assert_eq!(inbound.publish_qos1(), Ok(()));
    }

    #[test]
    fn mqtt_4_1_a_reconnect_keeps_qos_2() {
        let mut inbound = inbound(2);
        assert_eq!(inbound.publish_qos2(id(2)), Ok(Received::Fresh));
        inbound.resume(NonZeroU16::MIN);
        assert_eq!(inbound.len(), 1);
        assert_eq!(inbound.publish_qos2(id(2)), Ok(Received::Duplicate));
        let exceeded = Err(ProtocolError::ReceiveMaximumExceeded);
        assert_eq!(inbound.publish_qos1(), exceeded);
        assert_eq!(inbound.pubrel(id(2)), Release::Known);
        assert_eq!(inbound.publish_qos1(), Ok(()));
    }

    #[test]
    fn mqtt_4_9_what_was_published_before_takes_no_room_now() {
        let mut inbound = inbound(1);
        inbound.restore(id(1));
        assert_eq!(inbound.publish_qos2(id(2)), Ok(Received::Fresh));
        assert_eq!(inbound.pubrel(id(1)), Release::Known);
        assert_eq!(inbound.unreleased().collect::<Vec<_>>(), [id(2)]);
    }

    #[test]
    fn what_is_never_released_is_bounded_over_all_connections() {
        let mut inbound = inbound(5);
        for connection in 0..10 {
            inbound.resume(NonZeroU16::new(5).unwrap());
            for number in 0..5 {
                let _ = inbound.publish_qos2(id(1 + connection * 5 + number));
            }
        }
        assert_eq!(inbound.len(), 10);
    }

    #[test]
    fn cve_2023_28366_one_id_100_000_times_is_one_id() {
        let mut inbound = inbound(10);
        let fresh = (0..100_000)
            .filter(|_| inbound.publish_qos2(id(1)) == Ok(Received::Fresh))
            .count();
        assert_eq!((fresh, inbound.len(), inbound.open), (1, 1, 1));
        assert!(inbound.qos2.capacity() < 10);
    }
}
