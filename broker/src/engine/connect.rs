//! CONNECT: a device asks for a session [MQTT 5.0 §3.1.4].
//!
//! A session is found by device and client id together, so that nobody can reach another
//! device's. A refused CONNECT changes nothing.

use super::close_reason::{CloseReason, ConnectRefusal};
use super::input::Arrival;
use super::policy::Rights;
use super::record::{Record, SessionNumber};
use super::session::{Connected, Session, SessionId, SessionKey, SessionWill};
use super::{After, Engine, Outgoing};
use certs::Subject;
use protocol::packet::{Connack, ConnackProperties, Connect, Packet, Version};
use protocol::{ReasonCode, Text};

/// A CONNECT that was found good.
struct Admitted {
    key: SessionKey,
    rights: Rights,
    assigned_client_id: Option<Text>,
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
            rights,
            assigned_client_id,
        } = admitted;
        let opened = self.open_session(key, rights, &arrival.connect);
        let Arrival {
            connection,
            device,
            connect,
            ..
        } = arrival;
        let connack = self.connack(&connect, opened.session_present, assigned_client_id);
        self.say(connection, Packet::Connack(Box::new(connack)), opened.after);
        let connected = Connected::new(connection, device, &connect);
        self.sessions.connect(opened.id, connected);
        self.pump(opened.id);
    }

    /// Judges a CONNECT.
    fn admit(&self, arrival: &Arrival) -> Result<Admitted, ConnectRefusal> {
        let Arrival {
            device,
            connect,
            nonce,
            ..
        } = arrival;
        let subject = device.subject();
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
        let rights =
            self.policy
                .rights(subject, &client_id)
                .map_err(|cause| ConnectRefusal::ClientId {
                    client_id: client_id.clone(),
                    cause,
                })?;
        self.admit_will(&rights, connect)?;
        let key = SessionKey {
            subject: subject.clone(),
            client_id,
        };
        let is_new = self.sessions.find(&key).is_none();
        if is_new && self.sessions.len_of(subject) >= self.limits.sessions_per_device_max {
            return Err(ConnectRefusal::TooManySessions);
        }
        Ok(Admitted {
            key,
            rights,
            assigned_client_id,
        })
    }

    fn admit_will(&self, rights: &Rights, connect: &Connect) -> Result<(), ConnectRefusal> {
        let Some(will) = &connect.will else {
            return Ok(());
        };
        if will.topic.levels_len() > self.limits.topic_levels_max {
            return Err(ConnectRefusal::WillLevels);
        }
        match rights.permit_publish(&will.topic) {
            Some(_) => Ok(()),
            None => Err(ConnectRefusal::WillDenied(will.topic.clone())),
        }
    }

    fn refuse(&mut self, arrival: &Arrival, refusal: ConnectRefusal) {
        self.counters.connects_refused += 1;
        let mut connack = Connack::refused(refusal.reason_code());
        if arrival.connect.properties.request_problem_information {
            connack.properties.reason_string = Text::parse(&refusal.to_string()).ok();
        }
        let connack = Packet::Connack(Box::new(connack));
        self.say(arrival.connection, connack, After::Nothing);
        let close = Outgoing::Close(CloseReason::Refused(refusal));
        self.speak(arrival.connection, close, After::Nothing);
    }

    /// Finds or makes the session, taken from whoever has it, and makes it ready for the client.
    fn open_session(&mut self, key: SessionKey, rights: Rights, connect: &Connect) -> Opened {
        let mut after = After::Nothing;
        if let Some(id) = self.sessions.find(&key) {
            after = After::record(self.lasting(id));
            self.take_over(id, connect.clean_start);
        }
        let resumed = self.sessions.find(&key);
        let expiry = connect
            .properties
            .session_expiry_interval
            .min(self.limits.session_expiry_max);
        let id = match resumed {
            Some(id) => self.resume(id, expiry),
            None => self.create(key, &rights, expiry),
        };
        self.set_up(id, rights, connect);
        let after = after.max(After::record(self.lasting(id)));
        Opened {
            id,
            session_present: resumed.is_some(),
            after,
        }
    }

    /// Takes a session from the connection it has, and ends it where the client begins anew.
    fn take_over(&mut self, id: SessionId, clean_start: bool) {
        if self
            .sessions
            .get(id)
            .is_some_and(|session| session.connected().is_some())
        {
            self.counters.takeovers += 1;
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
        session.expiry = expiry;
        session.inbound.resume(self.limits.receive_maximum);
        let session = session.number;
        self.record(match expiry {
            // From here on it ends with its connection, whatever happens to us.
            0 => Record::SessionEnded { session },
            _ => Record::SessionResumed { session, expiry },
        });
        id
    }

    fn create(&mut self, key: SessionKey, rights: &Rights, expiry: u32) -> SessionId {
        let number = SessionNumber(self.next_session);
        self.next_session += 1;
        let mut session = Session::new(key, number, rights.clone(), &self.limits);
        session.expiry = expiry;
        if session.is_lasting() {
            let key = session.key.clone();
            self.record(Record::SessionCreated {
                session: number,
                key,
                expiry,
            });
        }
        self.sessions.insert(session)
    }

    fn set_up(&mut self, id: SessionId, rights: Rights, connect: &Connect) {
        let window = connect
            .properties
            .receive_maximum
            .min(self.limits.in_flight_len_max);
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        session.rights = rights;
        session.outbound.open(window);
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
