//! Retained messages: kept at PUBLISH, sent after SUBSCRIBE a few at a time.
//!
//! However many match, a turn sends a bounded number, and the next ones are sent when the socket
//! has taken these.

use super::message::Message;
use super::record::{Record, Target};
use super::route::may_receive;
use super::router::Grant;
use super::session::{Pending, SessionId};
use super::statistics::is_watching;
use super::{After, ConnectionId, Engine, Outgoing};
use protocol::packet::QoS;
use smallvec::smallvec;
use std::sync::Arc;

impl Engine {
    /// Keeps a message for its topic, or with an empty payload forgets what was kept
    /// [MQTT-3.3.1-5] [MQTT-3.3.1-6]. What depends on it waits for its record.
    pub(super) fn retain(&mut self, message: &Arc<Message>) -> After {
        if !message.payload().is_empty() {
            let message = message.detached();
            self.record(Record::Retained {
                message: Arc::clone(&message),
            });
            self.retained.set(message);
        } else if self.retained.clear(message.topic()) {
            self.record(Record::RetainedCleared {
                topic: message.topic().detached(),
            });
        } else {
            return After::Nothing;
        }
        After::Sync
    }

    /// The connection has written all it was given.
    pub(super) fn drained(&mut self, connection: ConnectionId) {
        let Some(id) = self.sessions.of_connection(connection) else {
            return;
        };
        let session = self.sessions.get_mut(id);
        if let Some(connected) = session.and_then(|session| session.connected_mut()) {
            connected.asked_drained = false;
        }
        self.send_retained(id);
    }

    /// Sends the next retained messages a session is to have, if the last ones are gone.
    pub(super) fn send_retained(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        let is_behind = !session.queue.is_empty();
        let asked = session
            .connected()
            .is_none_or(|connected| connected.asked_drained);
        if is_behind || asked {
            return;
        }
        let mut found = Vec::new();
        let Some(run) = session.subscriptions.run_mut() else {
            return;
        };
        let grant = run.grant;
        if is_watching(&run.filter) {
            run.scan.end();
            let filter = run.filter.clone();
            return self.send_statistics(id, &filter, grant);
        }
        self.retained.search(&run.filter, &mut run.scan, &mut found);
        for message in found {
            self.offer_retained(id, &message, grant);
        }
        self.ask_drained(id);
    }

    fn ask_drained(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        if session.subscriptions.run_mut().is_none() {
            return;
        }
        let Some(connected) = session.connected_mut() else {
            return;
        };
        connected.asked_drained = true;
        let connection = connected.id;
        self.speak(connection, Outgoing::AskDrained, After::Nothing);
    }

    /// Gives a session a message that was there before its subscription.
    pub(super) fn offer_retained(&mut self, id: SessionId, message: &Arc<Message>, grant: Grant) {
        let Some(session) = self.sessions.get(id) else {
            return;
        };
        let is_own = grant.no_local && message.publisher() == Some(&session.key);
        if message.is_expired(self.now) || is_own {
            return;
        }
        if grant.withholds && !may_receive(&session.rights, message.topic()) {
            self.counters.dropped_withheld += 1;
            return;
        }
        let qos = grant.qos.min(message.qos());
        let mut pending = Pending {
            message: Arc::clone(message),
            number: None,
            subscription_ids: grant.id.into_iter().collect(),
            share: None,
            qos,
            retain: true,
        };
        if qos != QoS::AtMostOnce {
            self.record_pending(id, &mut pending);
        }
        // The record it is retained by may be waiting yet.
        let after = After::record((message.qos() == QoS::ExactlyOnce).then_some(()));
        self.offer(id, pending, after);
    }

    /// Records a message that one lasting session is to get.
    pub(super) fn record_pending(&mut self, id: SessionId, pending: &mut Pending) {
        let Some(session) = self.lasting(id) else {
            return;
        };
        let target = Target {
            session,
            qos: pending.qos,
            retain: pending.retain,
            subscription_ids: pending.subscription_ids.clone(),
            share: pending.share.clone(),
        };
        match pending.number {
            Some(message) => self.record(Record::Target { message, target }),
            None => {
                let number = self.number_message();
                let message = Arc::clone(&pending.message);
                self.record(Record::Message {
                    number,
                    message,
                    targets: smallvec![target],
                });
                pending.number = Some(number);
            }
        }
    }
}
