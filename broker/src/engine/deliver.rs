//! Delivery: what one session is sent, and what waits for it.
//!
//! Messages of one QoS leave a session in the order in which they came [MQTT-4.6.0-6]. Never is
//! more in flight than the client takes and the limits allow.

use super::message::{Delivery, Message, SubscriptionIds};
use super::record::{MessageNumber, Record};
use super::route::may_receive;
use super::session::{Judged, Pending, Session, SessionId};
use super::time::Time;
use super::{After, Engine, Outgoing};
use protocol::ReasonCode;
use protocol::delivery::{Pubrec, Resend};
use protocol::packet::{Ack, Packet, PacketId, QoS};
use std::sync::Arc;

/// Something to be sent again.
enum Due {
    Publish(Delivery),
    Pubrel(PacketId),
}

impl Engine {
    /// Sends a message to a session's client if it can be sent now, else lets it wait.
    pub(super) fn offer(&mut self, id: SessionId, pending: Pending, after: After) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        let is_here = session.connected().is_some();
        if pending.qos == QoS::AtMostOnce {
            if is_here {
                self.send(id, pending, after);
            }
            return;
        }
        if is_here && session.queue.is_empty() && session.has_window() {
            return self.send(id, pending, after);
        }
        let number = pending.number;
        if session.queue.push(pending).is_err() {
            self.counters.dropped_queue_full += 1;
            self.settle(id, number);
        }
    }

    /// Sends again what is due, then what waits, as far as the client takes it.
    pub(super) fn pump(&mut self, id: SessionId) {
        self.resend(id);
        while let Some((pending, judged)) = self.next_waiting(id) {
            let Some(session) = self.sessions.get(id) else {
                return;
            };
            let message = &pending.message;
            let withheld = judged == Judged::Anew && !may_receive(&session.rights, message.topic());
            if message.is_expired(self.now) {
                self.counters.dropped_expired += 1;
                self.settle(id, pending.number);
            } else if withheld {
                self.counters.dropped_withheld += 1;
                self.settle(id, pending.number);
            } else {
                // Its own records may be waiting yet.
                let after = After::record((message.qos() == QoS::ExactlyOnce).then_some(()));
                self.send(id, pending, after);
            }
        }
        self.send_retained(id);
    }

    fn next_waiting(&mut self, id: SessionId) -> Option<(Pending, Judged)> {
        let session = self.sessions.get_mut(id)?;
        if session.connected().is_none() || !session.has_window() {
            return None;
        }
        session.queue.pop()
    }

    /// Sends a message to a connected client, whose window has room if it is above QoS 0.
    fn send(&mut self, id: SessionId, pending: Pending, after: After) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        let Some(connection) = session.connection() else {
            return;
        };
        if !session.takes_packet(&pending.message, pending.qos, &pending.subscription_ids) {
            // Dropped as if it had been sent [MQTT-3.1.2-25].
            self.counters.dropped_too_large += 1;
            return self.settle(id, pending.number);
        }
        let mut delivery = pending.delivery(self.now);
        let mut after = after;
        if pending.qos != QoS::AtMostOnce {
            let (qos, number) = (pending.qos, pending.number);
            session.in_flight_bytes += pending.message.payload().len();
            delivery.packet_id = session.outbound.send(pending, qos);
            let Some(packet_id) = delivery.packet_id else {
                return;
            };
            let session = session.number;
            if let (QoS::ExactlyOnce, Some(message)) = (qos, number) {
                // It is sent again under this identifier, whatever happens to us.
                self.record(Record::Sent {
                    session,
                    message,
                    packet_id,
                });
                after = After::Sync;
            }
        }
        self.counters.messages_sent += 1;
        self.speak(connection, Outgoing::Deliver(delivery), after);
    }

    /// Sends again what an earlier connection did not see acknowledged [MQTT-4.4.0-1].
    fn resend(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        let Some(connection) = session.connection() else {
            return;
        };
        if session.outbound.has_room() || session.outbound.is_empty() {
            return;
        }
        let now = self.now;
        let due: Vec<Due> = session
            .outbound
            .resend()
            .map(|resend| Due::new(&resend, now))
            .collect();
        for due in due {
            match due {
                Due::Publish(delivery) => self.send_again(id, delivery),
                Due::Pubrel(packet_id) => {
                    let pubrel = Packet::Pubrel(Ack::success(packet_id));
                    self.say(connection, pubrel, After::record(self.lasting(id)));
                }
            }
        }
    }

    fn send_again(&mut self, id: SessionId, delivery: Delivery) {
        let (Some(session), Some(packet_id)) = (self.sessions.get(id), delivery.packet_id) else {
            return;
        };
        let Some(connection) = session.connection() else {
            return;
        };
        let message = &delivery.message;
        if !may_receive(&session.rights, message.topic()) {
            self.counters.dropped_withheld += 1;
            return self.give_up(id, packet_id);
        }
        if !session.takes_packet(message, delivery.qos, &delivery.subscription_ids) {
            self.counters.dropped_too_large += 1;
            return self.give_up(id, packet_id);
        }
        let is_recorded = session.is_lasting() && delivery.qos == QoS::ExactlyOnce;
        self.counters.messages_sent += 1;
        let after = After::record(is_recorded.then_some(()));
        self.speak(connection, Outgoing::Deliver(delivery), after);
    }

    /// Ends a delivery that was begun and is not sent again.
    fn give_up(&mut self, id: SessionId, packet_id: PacketId) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        if let Some(pending) = session.give_up(packet_id) {
            self.settle(id, pending.number);
        }
    }

    /// A session needs a message no more.
    pub(super) fn settle(&mut self, id: SessionId, number: Option<MessageNumber>) {
        if let (Some(message), Some(session)) = (number, self.lasting(id)) {
            self.record(Record::Settled { session, message });
        }
    }

    /// Drops what waits for a session and is no longer worth delivering.
    pub(super) fn drop_expired(&mut self, id: SessionId) {
        let now = self.now;
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        if !session.queue.has_expired(now) {
            return;
        }
        for pending in session.queue.take_expired(now) {
            self.counters.dropped_expired += 1;
            self.settle(id, pending.number);
        }
    }
}

impl Due {
    fn new(resend: &Resend<'_, Pending>, now: Time) -> Self {
        match *resend {
            Resend::Publish {
                packet_id,
                qos: _,
                message: pending,
            } => {
                let delivery = pending.delivery(now);
                Self::Publish(Delivery {
                    dup: true,
                    packet_id: Some(packet_id),
                    ..delivery
                })
            }
            Resend::Pubrel { packet_id } => Self::Pubrel(packet_id),
        }
    }
}

impl Pending {
    fn delivery(&self, now: Time) -> Delivery {
        Delivery {
            message: Arc::clone(&self.message),
            qos: self.qos,
            retain: self.retain,
            dup: false,
            packet_id: None,
            subscription_ids: self.subscription_ids.clone(),
            message_expiry_interval: self.message.remaining_seconds(now),
        }
    }
}

impl Session {
    /// Whether the client accepts so long a packet [MQTT-3.1.2-24].
    pub(super) fn takes_packet(
        &self,
        message: &Message,
        qos: QoS,
        subscription_ids: &SubscriptionIds,
    ) -> bool {
        self.connected().is_none_or(|connected| {
            let head = message.head(qos, subscription_ids);
            connected
                .packet_size_max
                .is_none_or(|max| head.encoded_len(connected.version) <= max)
        })
    }

    /// Ends a delivery whose PUBLISH was not answered.
    fn give_up(&mut self, packet_id: PacketId) -> Option<Pending> {
        let pending = match self.outbound.puback(packet_id) {
            Ok(pending) => pending,
            Err(_) => match self
                .outbound
                .pubrec(packet_id, ReasonCode::UnspecifiedError)
            {
                Pubrec::Refused(pending) => pending,
                Pubrec::Received(_) | Pubrec::Repeated | Pubrec::Unknown => return None,
            },
        };
        self.in_flight_bytes -= pending.message.payload().len();
        Some(pending)
    }
}
