//! The end of a connection: said by the client, lost, taken over, refused, or ours.
//!
//! A will is discarded only where the client says so [MQTT-3.14.4-3]; in every other case it is
//! due, at once or after its delay.

use super::close_reason::CloseReason;
use super::deadlines::Deadline;
use super::message::Message;
use super::policy::{Publication, without_stamp};
use super::record::Record;
use super::session::{Presence, Session, SessionId};
use super::{ConnectionId, Engine};
use protocol::packet::{Disconnect, PropertiesTooLong, Will};
use protocol::{ProtocolError, ReasonCode};
use std::sync::Arc;

impl Engine {
    /// The client says goodbye.
    pub(super) fn disconnect(&mut self, id: SessionId, disconnect: &Disconnect) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        if let Some(wish) = disconnect.session_expiry_interval {
            if session.expiry == 0 && wish > 0 {
                return self.broke(id, ProtocolError::SessionExpiryFromZero);
            }
            session.expiry = wish.min(self.limits.session_expiry_max);
        }
        if disconnect.reason == ReasonCode::Success {
            self.discard_will(id);
        }
        self.close(id, CloseReason::Disconnected);
    }

    /// The connection ended without a word.
    pub(super) fn lost(&mut self, connection: ConnectionId) {
        if let Some(id) = self.sessions.of_connection(connection) {
            self.leave(id);
        }
    }

    /// The peer sent what is no MQTT.
    pub(super) fn broke_off(&mut self, connection: ConnectionId, error: ProtocolError) {
        if let Some(id) = self.sessions.of_connection(connection) {
            self.broke(id, error);
        }
    }

    /// The client broke the protocol towards its session.
    pub(super) fn broke(&mut self, id: SessionId, error: ProtocolError) {
        self.counters.protocol_errors += 1;
        self.close(id, CloseReason::Broke(error));
    }

    /// The broker stops: everybody is told.
    pub(super) fn shut_down(&mut self) {
        let connected: Vec<SessionId> = self.sessions.connected().collect();
        for id in connected {
            self.close(id, CloseReason::Shutdown);
        }
    }

    /// Lets go of a session's connection and tells it why.
    pub(super) fn close(&mut self, id: SessionId, why: CloseReason) {
        let session = self.sessions.get_mut(id);
        let Some(connected) = session.and_then(Session::connected_mut) else {
            return;
        };
        self.effects.close(connected, why);
        self.leave(id);
    }

    /// A session's connection is gone: its clocks begin to run, or it ends.
    pub(super) fn leave(&mut self, id: SessionId) {
        let now = self.now;
        self.forget_proof(id);
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        let expiry = session.expiry;
        let ends_at = now.after_seconds(expiry);
        self.sessions.disconnect(id, ends_at);
        if expiry == 0 {
            return self.end_session(id);
        }
        self.deadlines.add(ends_at, Deadline::SessionEnd(id));
        if let Some(session) = self.lasting(id) {
            self.record(Record::SessionLeft {
                session,
                at: now,
                expiry,
            });
        }
        self.bring_will_forward(id);
        self.unload(id);
        if let Some(session) = self.sessions.get_mut(id) {
            session.rest();
        }
    }

    /// Publishes a session's will, or if it has a delay, when that is over.
    fn bring_will_forward(&mut self, id: SessionId) {
        let now = self.now;
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        let Some(will) = &mut session.will else {
            return;
        };
        if will.will.delay_interval == 0 {
            return self.publish_will(id);
        }
        let due = now.after_seconds(will.will.delay_interval);
        will.due = Some(due);
        self.deadlines.add(due, Deadline::Will(id));
    }

    /// Publishes a session's will, if it has one and may still publish it.
    pub(super) fn publish_will(&mut self, id: SessionId) {
        let Some(will) = self.take_will(id) else {
            return;
        };
        let Some(session) = self.sessions.get(id) else {
            return;
        };
        // The policy may have changed since CONNECT.
        let rights = session.rights(&self.policy);
        let publication = Publication::of_will(&will, self.now);
        let permit = rights.and_then(|rights| rights.permit_publish(&will.topic, &publication));
        let Some(permit) = permit else {
            self.counters.wills_denied += 1;
            return;
        };
        let stamp = self.stamp(id, &permit);
        let told = stamp.map_or_else(
            || without_stamp(&will.forwarded),
            |stamp| Some(stamp.put_on(&will.forwarded)),
        );
        let will = match told {
            None => will,
            Some(Ok(forwarded)) => Arc::new(Will {
                forwarded,
                ..(*will).clone()
            }),
            Some(Err(PropertiesTooLong)) => {
                self.counters.wills_denied += 1;
                return;
            }
        };
        let message = Message::of_will(permit, &will, self.now);
        if message.retain() && !message.payload().is_empty() {
            let (len, device) = (message.payload().len(), &session.key.subject);
            if self.retained.admit(message.topic(), len, device).is_err() {
                self.counters.wills_denied += 1;
                return;
            }
        }
        self.counters.wills_published += 1;
        self.give_out_unasked(message, id);
    }

    /// Forgets a session's will.
    pub(super) fn discard_will(&mut self, id: SessionId) {
        drop(self.take_will(id));
    }

    fn take_will(&mut self, id: SessionId) -> Option<Arc<Will>> {
        let session = self.sessions.get_mut(id)?;
        let will = session.will.take()?;
        if let Some(due) = will.due {
            self.deadlines.remove(due, Deadline::Will(id));
        }
        if let Some(session) = self.lasting(id) {
            self.record(Record::WillCleared { session });
        }
        Some(will.will)
    }

    /// Takes out everything that time would have done to a session without a connection.
    pub(super) fn cancel_deadlines(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        if let Presence::Away(ends_at) = session.presence {
            self.deadlines.remove(ends_at, Deadline::SessionEnd(id));
        }
        if let Some(due) = session.will.as_mut().and_then(|will| will.due.take()) {
            self.deadlines.remove(due, Deadline::Will(id));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::test_world::*;
    use crate::engine::{ConnectionId, Input};
    use protocol::packet::{Connect, Disconnect, Packet, QoS, Will};
    use protocol::{ProtocolError, ReasonCode};

    /// A client with a will on `will`, and one that subscribes to it.
    fn pair(change: impl FnOnce(&mut Connect)) -> (World, ConnectionId, ConnectionId) {
        let mut world = World::open();
        let heir = world.enter("heir");
        world.subscribe(heir, "will", QoS::AtLeastOnce);
        let client = world.enter_with("dev-1", |connect| {
            connect.will = Some(will("will"));
            change(connect);
        });
        (world, client, heir)
    }

    fn delayed(seconds: u32) -> impl Fn(&mut Connect) {
        move |connect| {
            lasting(connect);
            connect.will = Some(Will {
                delay_interval: seconds,
                ..will("will")
            });
        }
    }

    const PUBLISHED: &str = "PUBLISH will=gone q1 #1";

    #[test]
    fn mqtt_3_1_2_8_a_lost_connection_publishes_the_will() {
        for change in [|_: &mut Connect| {}, lasting, v311] {
            let (mut world, client, heir) = pair(change);
            world.lose(client);
            assert_eq!(world.heard(heir), [PUBLISHED]);
            assert_eq!(world.counters().wills_published, 1);
            world.lose(client);
            assert_eq!(world.heard(heir), [""; 0]);
        }
    }

    #[test]
    fn mqtt_3_14_4_3_only_a_normal_disconnection_discards_the_will() {
        let cases = [
            (ReasonCode::Success, 0),
            (ReasonCode::DisconnectWithWill, 1),
            (ReasonCode::UnspecifiedError, 1),
        ];
        for (reason, wills) in cases {
            let (mut world, client, heir) = pair(|_| {});
            world.send(client, disconnect(reason));
            assert_eq!(world.heard(client), ["bye"]);
            assert_eq!(world.heard(heir).len(), wills, "{reason:?}");
        }
    }

    #[test]
    fn a_client_that_breaks_the_protocol_is_closed_and_its_will_published() {
        let (mut world, client, heir) = pair(|_| {});
        world.send(client, Packet::Pingresp);
        assert_eq!(world.heard(client), ["CLOSE 82"]);
        assert_eq!(world.heard(heir), [PUBLISHED]);
        assert_eq!(world.counters().protocol_errors, 1);
        let (mut world, client, heir) = pair(|_| {});
        world.send(client, qos1("a", "b", 1));
        let error = ProtocolError::PacketTypeReserved;
        world.input(Input::Broke {
            connection: client,
            error,
        });
        assert_eq!(world.heard(client), ["PUBACK #1 10", "CLOSE 81"]);
        assert_eq!(world.heard(heir), [PUBLISHED]);
        assert_eq!(world.counters().protocol_errors, 1);
    }

    #[test]
    fn a_retained_will_is_retained() {
        let (mut world, client, _) = pair(|connect| {
            connect.will = Some(Will {
                retain: true,
                ..will("will")
            });
        });
        world.lose(client);
        let late = world.enter("late");
        world.subscribe(late, "will", QoS::AtMostOnce);
        assert_eq!(world.heard(late), ["PUBLISH will=gone q0 retain"]);
    }

    #[test]
    fn a_will_waits_for_its_delay() {
        let (mut world, client, heir) = pair(delayed(10));
        world.lose(client);
        world.wait(9);
        assert_eq!(world.heard(heir), [""; 0]);
        world.wait(1);
        assert_eq!(world.heard(heir), [PUBLISHED]);
        world.wait(4000);
        assert_eq!(world.heard(heir), [""; 0]);
    }

    #[test]
    fn mqtt_3_1_3_9_a_client_that_comes_back_in_time_cancels_its_will() {
        let (mut world, client, heir) = pair(delayed(10));
        world.lose(client);
        world.wait(9);
        let client = world.enter_with("dev-1", lasting);
        world.wait(100);
        world.lose(client);
        world.wait(4000);
        assert_eq!(world.heard(heir), [""; 0]);
    }

    #[test]
    fn a_will_does_not_wait_longer_than_its_session() {
        // The session's time is over.
        let (mut world, client, heir) = pair(delayed(u32::MAX));
        world.lose(client);
        world.wait(3599);
        assert_eq!(world.heard(heir), [""; 0]);
        world.wait(1);
        assert_eq!(world.heard(heir), [PUBLISHED]);
        // The session ends with its connection.
        let (mut world, client, heir) = pair(|connect| {
            connect.will = Some(Will {
                delay_interval: 10,
                ..will("will")
            });
        });
        world.lose(client);
        assert_eq!(world.heard(heir), [PUBLISHED]);
        // The client begins anew.
        let (mut world, client, heir) = pair(delayed(10));
        world.lose(client);
        world.enter("dev-1");
        assert_eq!(world.heard(heir), [PUBLISHED]);
        world.wait(100);
        assert_eq!(world.heard(heir), [""; 0]);
    }

    #[test]
    fn a_takeover_publishes_the_will_unless_its_delay_is_not_over() {
        let (mut world, _, heir) = pair(lasting);
        world.enter_with("dev-1", lasting);
        assert_eq!(world.heard(heir), [PUBLISHED]);
        let (mut world, _, heir) = pair(delayed(10));
        world.enter_with("dev-1", lasting);
        world.wait(100);
        assert_eq!(world.heard(heir), [""; 0]);
    }

    #[test]
    fn a_will_forbidden_since_connect_is_not_published() {
        let (mut world, client, heir) = pair(|_| {});
        world.load_policy(&OPEN.replace(r##"publish = ["#"]"##, r#"publish = ["other"]"#));
        world.lose(client);
        assert_eq!(world.heard(heir), [""; 0]);
        assert_eq!(world.counters().wills_denied, 1);
    }

    #[test]
    fn a_will_counts_as_published_when_it_is() {
        let (mut world, client, heir) = pair(|connect| {
            delayed(10)(connect);
            connect.will.as_mut().unwrap().message_expiry_interval = Some(5);
        });
        world.lose(client);
        world.wait(20);
        assert_eq!(world.heard(heir), [format!("{PUBLISHED} expires[5]")]);
    }

    #[test]
    fn disconnect_may_change_how_long_the_session_lasts() {
        let leave = |seconds| {
            let disconnect = Disconnect::new(ReasonCode::Success);
            let session_expiry_interval = Some(seconds);
            Packet::Disconnect(Box::new(Disconnect {
                session_expiry_interval,
                ..disconnect
            }))
        };
        for (seconds, lasts) in [(0, 0), (10, 10), (u32::MAX, 7 * 24 * 3600)] {
            let mut world = World::open();
            let client = world.enter_with("dev-1", lasting);
            world.send(client, leave(seconds));
            assert_eq!(world.heard(client), ["bye"]);
            if lasts > 0 {
                world.wait(lasts - 1);
                assert_eq!(world.engine.sessions_len(), 1);
                world.wait(1);
            }
            assert_eq!(world.engine.sessions_len(), 0);
            assert_eq!(world.record_names().last().unwrap(), "SessionEnded");
        }
        // What ends with its connection cannot be made to last.
        let mut world = World::open();
        let client = world.enter("dev-1");
        world.send(client, leave(10));
        assert_eq!(world.heard(client), ["CLOSE 82"]);
        assert_eq!(world.engine.sessions_len(), 0);
    }

    #[test]
    fn a_broker_that_stops_tells_everybody() {
        let (mut world, client, heir) = pair(lasting);
        let last = world.enter("last");
        world.input(Input::Shutdown);
        for connection in [client, heir, last] {
            assert_eq!(world.heard(connection).last().unwrap(), "CLOSE 8b");
        }
        assert_eq!(world.engine.connected_len(), 0);
        assert_eq!(world.engine.sessions_len(), 1, "what lasts stays");
    }
}
