//! The end of a session: its subscriptions, its will and its messages find their end too.
//!
//! Nothing names a session that has ended.

use super::Engine;
use super::record::Record;
use super::session::{Pending, SessionId};
use protocol::packet::QoS;

impl Engine {
    /// Ends a session that nobody is connected to. Its will, if it still has one, is published.
    pub(super) fn end_session(&mut self, id: SessionId) {
        self.cancel_deadlines(id);
        self.publish_will(id);
        let Some(session) = self.sessions.remove(id) else {
            return;
        };
        for (filter, _) in session.subscriptions.iter() {
            self.router.unsubscribe(id, filter);
            self.unwatch_statistics(filter);
        }
        if session.is_lasting() {
            self.record(Record::SessionEnded {
                session: session.number,
            });
        }
        let mut session = session;
        // What was sent at QoS 2 may have arrived: it goes to nobody else [MQTT-4.8.2-5].
        let sent: Vec<Pending> = session.outbound.drain().collect();
        let unsent: Vec<Pending> = session.queue.take_all().collect();
        let may_go_on = |pending: &Pending| pending.qos == QoS::AtLeastOnce;
        for pending in sent.into_iter().filter(may_go_on).chain(unsent) {
            self.hand_on(pending);
        }
    }

    /// Gives a message whose session does not get it to another member of its shared
    /// subscription, if there is one.
    pub(super) fn hand_on(&mut self, pending: Pending) {
        let sessions = &self.sessions;
        let picked = pending.share.as_deref().and_then(|filter| {
            let group = self.router.group_mut(filter)?;
            group.pick(|id, grant| sessions.get(id)?.shared_room(&pending.message, grant))
        });
        let Some((id, grant)) = picked else {
            self.counters.dropped_session_end += 1;
            return;
        };
        let mut pending = Pending {
            qos: grant.qos.min(pending.message.qos()),
            retain: pending.message.retain() && grant.retain_as_published,
            subscription_ids: grant.id.into_iter().collect(),
            ..pending
        };
        if pending.qos == QoS::AtMostOnce {
            pending.number = None;
        } else {
            self.record_pending(id, &mut pending);
        }
        self.offer(id, pending, super::After::Sync);
    }
}
