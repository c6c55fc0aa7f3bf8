//! CONNECT: a device asks for a session [MQTT 5.0 §3.1.4].
//!
//! A session is found by device and client id together, so that nobody can reach another
//! device's. A refused CONNECT changes nothing.

use super::Greeting;
use super::close_reason::{CloseReason, ConnectRefusal};
use super::input::Arrival;
use super::policy::{Credentials, Principal, Publication, Rights};
use super::publish::has_too_many_levels;
use super::record::{Record, SessionNumber};
use super::session::{Connected, Session, SessionId, SessionKey, SessionWill};
use super::{After, Engine};
use certs::Subject;
use protocol::packet::{Connack, ConnackProperties, Connect, Packet, Version};
use protocol::{ReasonCode, Text};
use std::num::NonZeroU16;
use std::sync::Arc;

/// A CONNECT that was found good.
struct Admitted {
    key: SessionKey,
    granted: Granted,
    assigned_client_id: Option<Text>,
}

/// What a device may do, and what it showed for that.
struct Granted {
    rights: Rights,
    credentials: Arc<Credentials>,
}

/// The session of a CONNECT.
struct Opened {
    id: SessionId,
    session_present: bool,
    after: After,
}

impl Engine {
    /// A device has come.
    pub(super) fn connect(&mut self, arrival: Arrival) {
        let admitted = match self.admit(&arrival) {
            Ok(admitted) => admitted,
            Err(refusal) => return self.refuse(&arrival, refusal),
        };
        self.counters.connects_accepted += 1;
        let Admitted {
            key,
            granted,
            assigned_client_id,
        } = admitted;
        let opened = self.open_session(key, granted, &arrival.connect);
        let Arrival {
            connection,
            device,
            connect,
            peer,
            ..
        } = arrival;
        let connack = self.connack(&connect, opened.session_present, assigned_client_id);
        self.watch_proof(opened.id, &device);
        let mut connected = Connected::new(
            connection,
            device,
            &connect,
            (self.limits.topic_alias_max, self.now),
        );
        connected.peer = peer;
        self.sessions.connect(opened.id, connected);
        self.greet(&opened, connack);
        self.pump(opened.id);
    }

    /// Sends the CONNACK. A client that cannot be answered cannot be served.
    fn greet(&mut self, opened: &Opened, connack: Connack) {
        let session = self.sessions.get_mut(opened.id);
        let Some(connected) = session.and_then(Session::connected_mut) else {
            return;
        };
        let greeting = Greeting {
            server_keep_alive: connack.properties.server_keep_alive,
        };
        let connack = Packet::Connack(Box::new(connack));
        if self.effects.say(connected, &connack, opened.after).is_err() {
            return self.close(opened.id, CloseReason::NoRoomForConnack);
        }
        self.effects.greet(connected, greeting);
    }

    /// Judges a CONNECT.
    fn admit(&self, arrival: &Arrival) -> Result<Admitted, ConnectRefusal> {
        let Arrival {
            device,
            connect,
            nonce,
            ..
        } = arrival;
        self.judge_newcomer(device)?;
        let subject = device.subject();
        let rest = self.pauses.rest(subject, self.now);
        if let (Version::V311, Some(rest)) = (connect.version, rest) {
            return Err(ConnectRefusal::TooSoon(rest));
        }
        if connect.properties.authentication.is_some() {
            return Err(ConnectRefusal::AuthenticationMethod);
        }
        let assigned_client_id = connect
            .client_id
            .is_empty()
            .then(|| assign(subject, *nonce))
            .flatten();
        let client_id = assigned_client_id
            .as_ref()
            .unwrap_or(&connect.client_id)
            .detached();
        let credentials = arrival.credentials();
        let principal = Principal {
            subject,
            credentials: Some(&credentials),
        };
        let rights = self.policy.rights(principal, &client_id).map_err(|cause| {
            ConnectRefusal::ClientId {
                client_id: client_id.clone(),
                cause,
            }
        })?;
        self.admit_will(&rights, connect)?;
        let key = SessionKey {
            subject: subject.clone(),
            client_id,
        };
        let known = self.sessions.find(&key);
        self.admit_one_more(&key, known)?;
        if self.lacks_room_for_session(known, connect) {
            return Err(ConnectRefusal::DiskFull);
        }
        let credentials = Arc::new(credentials);
        Ok(Admitted {
            key,
            granted: Granted {
                rights,
                credentials,
            },
            assigned_client_id,
        })
    }

    /// Whether the device may have one more session, one more connection, or take over the one it
    /// has.
    fn admit_one_more(
        &self,
        key: &SessionKey,
        known: Option<SessionId>,
    ) -> Result<(), ConnectRefusal> {
        let limits = &self.limits;
        if known.is_none() && self.sessions.len() >= limits.sessions_max {
            return Err(ConnectRefusal::TooManySessionsInAll);
        }
        let has = self.sessions.len_of(&key.subject);
        if known.is_none() && has >= limits.sessions_per_device_max {
            return Err(ConnectRefusal::TooManySessions);
        }
        let session = known.and_then(|id| self.sessions.get(id));
        if session.is_some_and(Session::is_here) {
            let rest = self.takeovers.rest(key, self.now);
            return rest.map_or(Ok(()), |rest| Err(ConnectRefusal::TakenOverTooOften(rest)));
        }
        let max = limits.connections_per_device_max;
        if has >= max && self.sessions.connected_len_of(&key.subject) >= max {
            return Err(ConnectRefusal::TooManyConnections);
        }
        Ok(())
    }

    fn admit_will(&self, rights: &Rights, connect: &Connect) -> Result<(), ConnectRefusal> {
        let Some(will) = &connect.will else {
            return Ok(());
        };
        if has_too_many_levels(&will.topic, self.limits.topic_levels_max) {
            return Err(ConnectRefusal::WillLevels);
        }
        let publication = Publication::of_will(will, self.now);
        match rights.permit_publish(&will.topic, &publication) {
            Some(_) => Ok(()),
            None => Err(ConnectRefusal::WillDenied(will.topic.clone())),
        }
    }

    fn refuse(&mut self, arrival: &Arrival, refusal: ConnectRefusal) {
        self.counters.refuse_connect(&refusal);
        let mut connack = Connack::refused(refusal.reason_code());
        if arrival.connect.properties.request_problem_information {
            connack.properties.reason_string = Text::parse(&refusal.to_string()).ok();
        }
        let connack = Packet::Connack(Box::new(connack));
        let connect = &arrival.connect;
        let size_max = connect.properties.packet_size_max();
        let answer = (&connack, connect.version, size_max);
        let why = CloseReason::Refused(refusal);
        self.effects.turn_away(arrival.connection, answer, why);
    }

    /// Finds or makes the session, taken from whoever has it, and makes it ready for the client.
    fn open_session(&mut self, key: SessionKey, granted: Granted, connect: &Connect) -> Opened {
        let mut after = After::Nothing;
        if let Some(id) = self.sessions.find(&key) {
            after = After::record(self.lasting(id));
            self.take_over(id, connect.clean_start);
        }
        let resumed = self.sessions.find(&key);
        let expiry = self.expiry_of(connect);
        let id = match resumed {
            Some(id) => self.resume(id, expiry),
            None => self.create(key, expiry),
        };
        self.set_up(id, granted, connect);
        let after = match resumed {
            Some(_) => after.max(After::record(self.lasting(id))),
            // One that ended a moment ago must not be there again after a crash.
            None => After::Sync,
        };
        Opened {
            id,
            session_present: resumed.is_some(),
            after,
        }
    }

    /// How long the session of a CONNECT outlives its connection, in seconds.
    pub(super) fn expiry_of(&self, connect: &Connect) -> u32 {
        let wish = connect.properties.session_expiry_interval;
        wish.min(self.limits.session_expiry_max)
    }

    /// Takes a session from the connection it has, and ends it where the client begins anew.
    fn take_over(&mut self, id: SessionId, clean_start: bool) {
        let session = self.sessions.get(id);
        if let Some(taken) = session.filter(|session| session.is_here()) {
            self.counters.takeovers += 1;
            self.takeovers.note(&taken.key, self.now);
            self.close(id, CloseReason::TakenOver);
        }
        // It may have ended with its connection; then its place is empty.
        if clean_start {
            self.end_session(id);
        }
    }

    /// Goes on with a session [MQTT-3.1.2-5]: the clocks stop, a will that was not yet due is
    /// not published [MQTT-3.1.3-9].
    fn resume(&mut self, id: SessionId, expiry: u32) -> SessionId {
        self.cancel_deadlines(id);
        self.discard_will(id);
        let Some(session) = self.sessions.get_mut(id) else {
            return id;
        };
        let (number, was_lasting) = (session.number, session.is_lasting);
        session.expiry = expiry;
        // What is in the log alone is there only as long as the records say who is to get it.
        session.is_lasting = was_lasting && (expiry > 0 || session.queue.has_stored());
        if session.is_lasting {
            self.record(Record::SessionResumed {
                session: number,
                expiry,
            });
        } else if was_lasting {
            // From here on it ends with its connection, whatever happens to us.
            self.record(Record::SessionEnded { session: number });
        }
        id
    }

    fn create(&mut self, key: SessionKey, expiry: u32) -> SessionId {
        let number = SessionNumber(self.next_session);
        self.next_session += 1;
        let mut session = Session::new(Arc::new(key), number, &self.limits);
        session.note_judged(self.rejudging.version());
        session.expiry = expiry;
        session.is_lasting = expiry > 0;
        if session.is_lasting {
            let key = session.key.clone();
            self.record(Record::SessionCreated {
                session: number,
                key,
                expiry,
            });
        }
        self.sessions.insert(session)
    }

    fn set_up(&mut self, id: SessionId, granted: Granted, connect: &Connect) {
        let window = connect
            .properties
            .receive_maximum
            .min(self.limits.in_flight_len_max);
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        let asked = self.policy.asks_credentials();
        session.give_rights(granted.rights, asked.then_some(granted.credentials));
        session.outbound.open(window);
        // A client of 3.1.1 is not told how many it may have under way.
        session.inbound.resume(match connect.version {
            Version::V311 => NonZeroU16::MAX,
            Version::V5 => self.limits.receive_maximum,
        });
        session.will = connect.will.as_ref().map(SessionWill::new);
        let will = session.will.as_ref().map(|will| will.will.clone());
        if let (Some(session), Some(will)) = (self.lasting(id), will) {
            self.record(Record::WillSet { session, will });
        }
    }

    fn connack(
        &self,
        connect: &Connect,
        session_present: bool,
        assigned_client_id: Option<Text>,
    ) -> Connack {
        let mut properties = ConnackProperties {
            assigned_client_id,
            ..ConnackProperties::default()
        };
        // What 3.1.1 cannot be told is not imposed on it either.
        if connect.version == Version::V5 {
            let (wish, max) = (
                connect.properties.session_expiry_interval,
                self.limits.session_expiry_max,
            );
            let keep_alive_max = self.limits.keep_alive_max.get();
            let is_endless = connect.keep_alive == 0 || connect.keep_alive > keep_alive_max;
            properties.session_expiry_interval = (wish > max).then_some(max);
            properties.receive_maximum = self.limits.receive_maximum;
            properties.maximum_packet_size = Some(self.limits.packet_size_max);
            properties.topic_alias_maximum = self.limits.topic_alias_max;
            properties.server_keep_alive = is_endless.then_some(keep_alive_max);
        }
        Connack {
            session_present,
            reason: ReasonCode::Success,
            properties,
        }
    }
}

/// A client id for a device that leaves the choice to us: its own id, then what nobody can guess.
fn assign(subject: &Subject, nonce: u64) -> Option<Text> {
    Text::parse(&format!("{}/{nonce:016x}", subject.id)).ok()
}

#[cfg(test)]
mod tests {
    use crate::engine::test_world::*;
    use crate::engine::{Limits, Record};
    use protocol::packet::{Authentication, Connack, Connect, Disconnect, Packet, QoS, Will};
    use protocol::{ReasonCode, Text};

    fn text(text: &str) -> Text {
        Text::parse(text).unwrap()
    }

    /// What the CONNACK says.
    #[track_caller]
    fn connack(world: &mut World, device: &str, change: impl FnOnce(&mut Connect)) -> Connack {
        let connection = world.knock(device, change);
        match world.last_words(connection).swap_remove(0) {
            Heard::Packet(Packet::Connack(connack)) => *connack,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_client_is_told_of_a_new_session_once_the_end_of_the_one_before_is_recorded() {
        let mut world = World::open();
        let first = world.enter_with("dev-1", lasting);
        let mut goodbye = Disconnect::new(ReasonCode::Success);
        goodbye.session_expiry_interval = Some(0);
        world.send(first, Packet::Disconnect(Box::new(goodbye)));
        assert!(world.record_names().contains(&"SessionEnded".to_owned()));
        // After a crash the one before would be there again.
        let second = world.knock("dev-1", |_| {});
        assert_eq!(world.heard(second), ["*CONNACK 00"]);
    }

    #[test]
    fn mqtt_3_1_2_4_clean_start_begins_a_new_session() {
        let mut world = World::open();
        let first = world.enter_with("dev-1", lasting);
        world.subscribe(first, "a", QoS::AtLeastOnce);
        world.lose(first);
        let second = world.knock("dev-1", |connect| {
            lasting(connect);
            connect.clean_start = true;
        });
        assert_eq!(world.heard(second), ["*CONNACK 00"]);
        assert_eq!(world.engine.subscriptions_len(), 0);
    }

    #[test]
    fn mqtt_3_1_2_5_a_session_that_lasts_goes_on_in_both_versions() {
        for change in [lasting, |connect: &mut Connect| {
            v311(connect);
            connect.clean_start = false;
            connect.properties.session_expiry_interval = u32::MAX;
        }] {
            let mut world = World::open();
            let first = world.enter_with("dev-1", change);
            world.subscribe(first, "a", QoS::AtLeastOnce);
            world.lose(first);
            let second = world.knock("dev-1", change);
            assert_eq!(world.heard(second), ["*CONNACK 00 present"]);
            world.send(second, qos1("a", "x", 1));
            assert_eq!(world.heard(second), ["PUBLISH a=x q1 #1", "*PUBACK #1 00"]);
        }
    }

    #[test]
    fn a_session_belongs_to_the_device_and_not_to_the_client_id() {
        let mut world = World::open();
        let same = |connect: &mut Connect| {
            lasting(connect);
            connect.client_id = text("shared");
        };
        let one = world.enter_with("dev-1", same);
        world.subscribe(one, "a", QoS::AtLeastOnce);
        world.heard(one);
        let other = world.knock("dev-2", same);
        assert_eq!(world.heard(other), ["*CONNACK 00"]);
        let app = world.knock("app/dev-1", same);
        assert_eq!(world.heard(app), ["*CONNACK 00"]);
        assert_eq!(world.heard(one), [""; 0]);
        assert_eq!(world.engine.sessions_len(), 3);
    }

    #[test]
    fn a_client_id_outside_the_rule_is_refused_and_touches_nobody() {
        let mut world = World::ruled("");
        let victim = world.enter_with("dev-1", lasting);
        let thief = world.knock("dev-2", |connect| connect.client_id = text("dev-1"));
        assert_eq!(world.heard(thief), ["CONNACK 85", "refused"]);
        assert_eq!(world.heard(victim), [""; 0]);
        assert_eq!(world.engine.sessions_len(), 1);
        assert_eq!(world.counters().connects_refused, 1);
    }

    #[test]
    fn a_refusal_has_words_only_where_they_are_wanted() {
        let mut world = World::ruled("");
        let strange = |connect: &mut Connect| connect.client_id = text("dev-1");
        let words = connack(&mut world, "dev-2", strange)
            .properties
            .reason_string;
        assert!(words.unwrap().contains("dev-1"));
        let silent = connack(&mut world, "dev-2", |connect| {
            strange(connect);
            connect.properties.request_problem_information = false;
        });
        assert_eq!(silent.properties.reason_string, None);
    }

    #[test]
    fn mqtt_3_1_3_6_an_empty_client_id_is_given_one_that_begins_with_the_device() {
        let mut world = World::ruled("");
        let connack = connack(&mut world, "dev-1", |connect| connect.client_id = text(""));
        assert_eq!(connack.reason, ReasonCode::Success);
        assert_eq!(
            connack.properties.assigned_client_id,
            Some(text("dev-1/000000000000abcd"))
        );
    }

    #[test]
    fn mqtt_4_12_0_1_an_authentication_method_is_refused() {
        let mut world = World::open();
        let connection = world.knock("dev-1", |connect| {
            let method = text("SCRAM-SHA-256");
            connect.properties.authentication = Some(Authentication { method, data: None });
        });
        assert_eq!(world.heard(connection), ["CONNACK 8c", "refused"]);
    }

    #[test]
    fn user_name_and_password_are_carried_and_ignored() {
        let mut world = World::open();
        let connection = world.knock("dev-1", |connect| {
            connect.username = Some(text("root"));
            connect.password = Some("toor".into());
        });
        assert_eq!(world.heard(connection), ["*CONNACK 00"]);
    }

    #[test]
    fn a_will_that_may_not_be_published_refuses_the_session() {
        let deep = "x/".repeat(200) + "x";
        for (topic, code) in [("devices/dev-2/x", "87"), (&*deep, "90"), ("$SYS/x", "87")] {
            let mut world = World::ruled("");
            let connection = world.knock("dev-1", |connect| connect.will = Some(will(topic)));
            assert_eq!(
                world.heard(connection),
                [&format!("CONNACK {code}"), "refused"]
            );
            assert_eq!(world.engine.sessions_len(), 0);
        }
    }

    #[test]
    fn a_device_has_no_more_sessions_than_it_may() {
        let mut world = World::limited(|limits| limits.sessions_per_device_max = 2);
        let named = |name: &'static str| {
            move |connect: &mut Connect| {
                lasting(connect);
                connect.client_id = text(name);
            }
        };
        world.enter_with("dev-1", named("a"));
        world.enter_with("dev-1", named("b"));
        let third = world.knock("dev-1", named("c"));
        assert_eq!(world.heard(third), ["CONNACK 97", "refused"]);
        // Neither an old session nor another device is concerned.
        world.enter_with("dev-1", named("a"));
        world.enter_with("dev-2", named("c"));
    }

    #[test]
    fn connack_says_what_differs_from_what_was_asked_for() {
        let limits = Limits::default();
        let mut world = World::open();
        let endless = connack(&mut world, "dev-1", |connect| {
            connect.keep_alive = 0;
            connect.properties.session_expiry_interval = u32::MAX;
        });
        let properties = endless.properties;
        assert_eq!(
            properties.session_expiry_interval,
            Some(limits.session_expiry_max)
        );
        assert_eq!(
            properties.server_keep_alive,
            Some(limits.keep_alive_max.get())
        );
        assert_eq!(properties.receive_maximum, limits.receive_maximum);
        assert_eq!(properties.maximum_packet_size, Some(limits.packet_size_max));
        assert_eq!(properties.topic_alias_maximum, limits.topic_alias_max);
        let modest = connack(&mut world, "dev-2", |connect| {
            connect.keep_alive = limits.keep_alive_max.get();
            connect.properties.session_expiry_interval = limits.session_expiry_max;
        });
        assert_eq!(modest.properties.session_expiry_interval, None);
        assert_eq!(modest.properties.server_keep_alive, None);
    }

    #[test]
    fn the_keep_alive_of_a_3_1_1_client_is_left_alone() {
        let mut world = World::open();
        let connack = connack(&mut world, "dev-1", |connect| {
            v311(connect);
            connect.keep_alive = 0;
        });
        assert_eq!(connack.properties.server_keep_alive, None);
    }

    #[test]
    fn mqtt_3_1_4_3_a_newer_connection_takes_the_session_over() {
        let mut world = World::open();
        let old = world.enter_with("dev-1", lasting);
        world.subscribe(old, "a", QoS::AtMostOnce);
        let new = world.knock("dev-1", lasting);
        assert_eq!(world.heard(old), ["CLOSE 8e"]);
        assert_eq!(world.heard(new), ["*CONNACK 00 present"]);
        // What the old one still sends is not heard.
        world.send(old, qos0("a", "old"));
        world.lose(old);
        assert_eq!(world.heard(new), [""; 0]);
        world.send(new, qos0("a", "new"));
        assert_eq!(world.heard(new), ["PUBLISH a=new q0"]);
        assert_eq!(world.counters().takeovers, 1);
    }

    #[test]
    fn a_session_that_ends_with_its_connection_is_not_taken_over() {
        let mut world = World::open();
        let old = world.enter("dev-1");
        world.subscribe(old, "a", QoS::AtMostOnce);
        let new = world.knock("dev-1", |connect| connect.clean_start = false);
        assert_eq!(world.heard(old), ["CLOSE 8e"]);
        assert_eq!(world.heard(new), ["*CONNACK 00"]);
        assert_eq!(world.engine.subscriptions_len(), 0);
    }

    #[test]
    fn a_resumed_session_may_be_made_to_end_with_its_connection() {
        let mut world = World::open();
        let first = world.enter_with("dev-1", lasting);
        world.lose(first);
        world.records();
        let second = world.knock("dev-1", |connect| connect.clean_start = false);
        assert_eq!(world.heard(second), ["*CONNACK 00 present"]);
        assert!(matches!(world.records()[..], [Record::SessionEnded { .. }]));
        world.lose(second);
        assert_eq!(world.engine.sessions_len(), 0);
        assert!(world.records().is_empty());
    }

    #[test]
    fn a_will_is_kept_in_memory_of_its_own() {
        let mut world = World::open();
        let frame = bytes::Bytes::from(vec![b'x'; 4096]);
        world.enter_with("dev-1", |connect| {
            connect.will = Some(Will {
                payload: frame.slice(..1),
                ..will("a")
            });
        });
        assert!(frame.is_unique());
    }

    #[test]
    fn two_that_fight_for_one_session_are_slowed_down_and_the_one_who_has_it_keeps_it() {
        let mut world = World::limited(|limits| limits.takeovers_per_minute_max = 5);
        let mut holder = world.enter("dev-1");
        for _ in 0..5 {
            let newer = world.enter("dev-1");
            assert_eq!(world.heard(holder), ["CLOSE 8e"]);
            holder = newer;
        }
        let refused = connack(&mut world, "dev-1", |_| {});
        assert_eq!(refused.reason, ReasonCode::ConnectionRateExceeded);
        let words = refused.properties.reason_string.unwrap();
        assert!(words.contains("two machines one certificate"), "{words}");
        assert_eq!(world.counters().takeovers, 5);
        assert_eq!(world.counters().connects_refused_takeovers, 1);
        world.send(holder, qos1("a", "x", 1));
        assert_eq!(world.heard(holder), ["PUBACK #1 10"]);
        // Other sessions of the device are none of theirs, and time forgives.
        world.enter_with("dev-1", |connect| connect.client_id = text("dev-1/b"));
        world.wait(12);
        world.enter("dev-1");
        assert_eq!(world.heard(holder), ["CLOSE 8e"]);
    }

    #[test]
    fn who_comes_back_after_its_connection_is_gone_takes_nothing_over() {
        let mut world = World::limited(|limits| limits.takeovers_per_minute_max = 1);
        for _ in 0..10 {
            let client = world.enter_with("dev-1", lasting);
            world.lose(client);
        }
        assert_eq!(world.counters().connects_refused, 0);
    }

    #[test]
    fn connections_of_a_device_beyond_its_maximum_are_refused() {
        let mut world = World::limited(|limits| limits.connections_per_device_max = 2);
        let named = |name: &str| {
            let name = text(name);
            move |connect: &mut Connect| {
                lasting(connect);
                connect.client_id = name;
            }
        };
        let first = world.enter_with("dev-1", named("dev-1/1"));
        world.enter_with("dev-1", named("dev-1/2"));
        let refused = connack(&mut world, "dev-1", named("dev-1/3"));
        assert_eq!(refused.reason, ReasonCode::QuotaExceeded);
        assert_eq!(world.counters().connects_refused_connections, 1);
        // One that takes the place of another is none more, and another device is not concerned.
        world.enter_with("dev-1", named("dev-1/2"));
        world.enter("dev-2");
        world.lose(first);
        world.enter_with("dev-1", named("dev-1/3"));
        let refused = connack(&mut world, "dev-1", named("dev-1/1"));
        assert_eq!(
            refused.reason,
            ReasonCode::QuotaExceeded,
            "a session alone is no connection"
        );
    }

    #[test]
    fn sessions_beyond_the_maximum_of_all_are_refused() {
        let mut world = World::limited(|limits| limits.sessions_max = 2);
        let one = world.enter_with("dev-1", lasting);
        world.lose(one);
        world.enter("dev-2");
        let refused = connack(&mut world, "dev-3", |_| {});
        assert_eq!(refused.reason, ReasonCode::QuotaExceeded);
        assert_eq!(world.counters().connects_refused_sessions, 1);
        world.enter_with("dev-1", lasting);
        assert_eq!(world.counters().connects_refused, 1);
    }
}
