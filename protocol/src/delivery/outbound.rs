//! What we have sent at QoS 1 and 2 and the peer has not yet acknowledged to the end.
//!
//! Never more is in flight than the peer's receive maximum, and nothing stays in the window that
//! the peer has answered for good.

use super::packet_ids::PacketIds;
use super::window::Window;
use crate::ReasonCode;
use crate::packet::{PacketId, QoS};
use std::collections::VecDeque;
use std::num::NonZeroU16;

/// The deliveries of one session to its client; `M` is what the caller keeps of a message.
///
/// It is closed (has no room) until the first [`Self::open`].
#[derive(Debug)]
pub struct Outbound<M> {
    ids: PacketIds,
    in_flight: Window<Delivery<M>>,
    /// How many of them the present connection has seen.
    said: usize,
    /// The others, in the order in which they are due; may also name some that ended meanwhile.
    unsaid: VecDeque<PacketId>,
    receive_maximum: u16,
    stamps: u64,
}

#[derive(Debug)]
struct Delivery<M> {
    stage: Stage<M>,
    /// Rises with each PUBLISH sent and each PUBREC taken.
    stamp: u64,
    said: bool,
}

#[derive(Debug)]
enum Stage<M> {
    /// PUBLISH was sent: PUBACK or PUBREC comes next.
    Published { qos: QoS, message: M },
    /// PUBREL was sent: PUBCOMP comes next.
    Released,
}

/// What is sent again after a reconnect [MQTT-4.4.0-1].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resend<'a, M> {
    /// The PUBLISH, with DUP [MQTT-3.3.1-1].
    Publish {
        /// The same as before.
        packet_id: PacketId,
        /// The same as before.
        qos: QoS,
        /// What [`Outbound::send`] was given.
        message: &'a M,
    },
    /// The PUBREL.
    Pubrel {
        /// The same as before.
        packet_id: PacketId,
    },
}

/// What a PUBREC means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pubrec<M> {
    /// The peer has the message, which need not be kept: send PUBREL [MQTT-4.3.3-4].
    Received(M),
    /// The peer had it before: send PUBREL again.
    Repeated,
    /// The peer refused the message: the delivery has ended, and nothing is sent.
    Refused(M),
    /// There is no such delivery: send PUBREL with 0x92, *packet identifier not found*.
    Unknown,
}

/// The peer acknowledged what is not in flight, or not in the way its QoS demands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("packet identifier {0} is not in flight")]
pub struct UnknownPacketId(pub PacketId);

impl<M> Outbound<M> {
    /// Nothing in flight, and no room before [`Self::open`].
    pub fn new() -> Self {
        Self {
            ids: PacketIds::new(),
            in_flight: Window::new(),
            said: 0,
            unsaid: VecDeque::new(),
            receive_maximum: 0,
            stamps: 0,
        }
    }

    /// A connection begins. All that is in flight is due again: see [`Self::resend`].
    pub fn open(&mut self, receive_maximum: NonZeroU16) {
        self.receive_maximum = receive_maximum.get();
        self.said = 0;
        for delivery in self.in_flight.values_mut() {
            delivery.said = false;
        }
        self.unsaid = self.in_order().into_iter().map(|(id, _)| id).collect();
    }

    /// Whether another message may be sent now. Not before all is sent again that is due.
    pub fn has_room(&self) -> bool {
        self.said == self.in_flight.len() && self.said < usize::from(self.receive_maximum)
    }

    /// How many deliveries have not ended.
    pub fn len(&self) -> usize {
        self.in_flight.len()
    }

    /// Whether all deliveries have ended.
    pub fn is_empty(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// A message of QoS 1 or 2 is about to be sent under the identifier returned; the message is
    /// where it is kept.
    ///
    /// `None`, and the message is gone, where there is no room: ask [`Self::has_room`] first.
    pub fn send(&mut self, message: M, qos: QoS) -> Option<(PacketId, &M)> {
        debug_assert_ne!(qos, QoS::AtMostOnce, "QoS 0 is not a delivery");
        if !self.has_room() {
            return None;
        }
        let in_flight = &self.in_flight;
        let is_in_use = |id: PacketId| in_flight.is_taken(id);
        let id = self.ids.take(in_flight.len(), is_in_use)?;
        match &self
            .insert(id, Stage::Published { qos, message }, true)?
            .stage
        {
            Stage::Published { message, .. } => Some((id, message)),
            Stage::Released => None,
        }
    }

    /// PUBACK, whatever its reason: the delivery at QoS 1 has ended.
    ///
    /// # Errors
    /// If no PUBLISH of QoS 1 with this identifier is in flight.
    pub fn puback(&mut self, id: PacketId) -> Result<M, UnknownPacketId> {
        match self.published(id) {
            Some(QoS::AtLeastOnce) => self.end(id).ok_or(UnknownPacketId(id)),
            Some(QoS::AtMostOnce | QoS::ExactlyOnce) | None => Err(UnknownPacketId(id)),
        }
    }

    /// PUBREC, with its reason: what it means for the delivery at QoS 2.
    pub fn pubrec(&mut self, id: PacketId, reason: ReasonCode) -> Pubrec<M> {
        match self.published(id) {
            Some(QoS::ExactlyOnce) if reason.is_error() => {
                self.end(id).map_or(Pubrec::Unknown, Pubrec::Refused)
            }
            Some(QoS::ExactlyOnce) => self.received(id),
            None if self.in_flight.get(id).is_some() => Pubrec::Repeated,
            Some(QoS::AtMostOnce | QoS::AtLeastOnce) | None => Pubrec::Unknown,
        }
    }

    /// PUBCOMP, whatever its reason: the delivery at QoS 2 has ended.
    ///
    /// # Errors
    /// If no PUBREL with this identifier is in flight.
    pub fn pubcomp(&mut self, id: PacketId) -> Result<(), UnknownPacketId> {
        let delivery = self.in_flight.get(id);
        if !delivery.is_some_and(|it| matches!(it.stage, Stage::Released)) {
            return Err(UnknownPacketId(id));
        }
        self.end(id);
        Ok(())
    }

    /// What has to be sent again and may be sent now: every PUBREL, and as many PUBLISH as the
    /// receive maximum allows [MQTT-4.9.0-2], in their first order [MQTT-4.6.0-1].
    ///
    /// Each is handed out once a connection. If the client lowered its receive maximum, the rest
    /// comes when this is called again after an acknowledgement.
    pub fn resend(&mut self) -> impl Iterator<Item = Resend<'_, M>> {
        let mut due = Vec::new();
        while let Some(id) = self.unsaid.front() {
            match self.in_flight.get_mut(*id) {
                Some(delivery) if !delivery.said => {
                    let full = self.said >= usize::from(self.receive_maximum);
                    if full && matches!(delivery.stage, Stage::Published { .. }) {
                        break;
                    }
                    delivery.said = true;
                    self.said += 1;
                    due.push(*id);
                }
                Some(_) | None => {}
            }
            self.unsaid.pop_front();
        }
        self.unsaid.shrink_to(SPARE_ROOM);
        let in_flight = &self.in_flight;
        due.into_iter()
            .filter_map(|id| Some(in_flight.get(id)?.resend(id)))
    }

    /// All that is in flight, as it would be sent again: every PUBREL in the order of its PUBREC
    /// [MQTT-4.6.0-4], then every PUBLISH in its first order.
    pub fn in_flight(&self) -> impl Iterator<Item = Resend<'_, M>> {
        self.in_order()
            .into_iter()
            .map(|(id, delivery)| delivery.resend(id))
    }

    /// The session ends: hands out the messages that were not delivered, in their order, and
    /// forgets all deliveries.
    pub fn drain(&mut self) -> impl Iterator<Item = M> {
        self.ids.release_all();
        self.unsaid.clear();
        self.said = 0;
        let mut deliveries: Vec<_> = self.in_flight.drain().collect();
        deliveries.sort_unstable_by_key(|delivery| delivery.stamp);
        deliveries
            .into_iter()
            .filter_map(|delivery| delivery.stage.message())
    }

    /// The next identifier is the one behind `last`, as if that had been the last to be sent.
    pub fn count_from(&mut self, last: PacketId) {
        self.ids.count_from(last);
    }

    /// Takes up a delivery that storage kept, behind those taken up before.
    pub fn restore_publish(&mut self, id: PacketId, qos: QoS, message: M) {
        self.insert(id, Stage::Published { qos, message }, false);
    }

    /// Takes up a delivery that storage kept, of which only PUBCOMP is missing.
    pub fn restore_pubrel(&mut self, id: PacketId) {
        self.insert(id, Stage::Released, false);
    }

    fn insert(&mut self, id: PacketId, stage: Stage<M>, said: bool) -> Option<&Delivery<M>> {
        let stamp = self.stamp();
        self.said += usize::from(said);
        let delivery = Delivery { stage, stamp, said };
        self.in_flight.insert(id, delivery)
    }

    fn stamp(&mut self) -> u64 {
        self.stamps += 1;
        self.stamps
    }

    /// The QoS of a delivery whose PUBLISH is not yet answered.
    fn published(&self, id: PacketId) -> Option<QoS> {
        match self.in_flight.get(id)?.stage {
            Stage::Published { qos, .. } => Some(qos),
            Stage::Released => None,
        }
    }

    fn received(&mut self, id: PacketId) -> Pubrec<M> {
        let stamp = self.stamp();
        let Some(delivery) = self.in_flight.get_mut(id) else {
            return Pubrec::Unknown;
        };
        // An answer to what an earlier connection said: the PUBREL that follows is said by this.
        self.said += usize::from(!delivery.said);
        delivery.said = true;
        delivery.stamp = stamp;
        match std::mem::replace(&mut delivery.stage, Stage::Released) {
            Stage::Published { message, .. } => Pubrec::Received(message),
            Stage::Released => Pubrec::Repeated,
        }
    }

    fn end(&mut self, id: PacketId) -> Option<M> {
        let delivery = self.in_flight.remove(id)?;
        self.ids.release(id, self.in_flight.len());
        self.said -= usize::from(delivery.said);
        delivery.stage.message()
    }

    fn in_order(&self) -> Vec<(PacketId, &Delivery<M>)> {
        let mut all: Vec<_> = self.in_flight.iter().collect();
        all.sort_unstable_by_key(|(_, delivery)| {
            let published = matches!(delivery.stage, Stage::Published { .. });
            (published, delivery.stamp)
        });
        all
    }
}

/// How many deliveries that are due again an idle session keeps room for.
const SPARE_ROOM: usize = 32;

impl<M> Default for Outbound<M> {
    fn default() -> Self {
        Self::new()
    }
}

impl<M> Delivery<M> {
    fn resend(&self, packet_id: PacketId) -> Resend<'_, M> {
        match &self.stage {
            Stage::Published { qos, message } => Resend::Publish {
                packet_id,
                qos: *qos,
                message,
            },
            Stage::Released => Resend::Pubrel { packet_id },
        }
    }
}

impl<M> Stage<M> {
    fn message(self) -> Option<M> {
        match self {
            Self::Published { message, .. } => Some(message),
            Self::Released => None,
        }
    }
}

#[cfg(test)]
mod tests;
