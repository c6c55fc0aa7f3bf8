//! UNSUBSCRIBE: no more of some filters [MQTT 5.0 §3.10].
//!
//! What was sent is still delivered to its end; what waits of a shared subscription goes to
//! another member.

use super::record::Record;
use super::session::SessionId;
use super::{After, Engine};
use protocol::ReasonCode;
use protocol::packet::{Packet, Unsuback, Unsubscribe};
use protocol::topic::TopicFilter;

impl Engine {
    /// A client has unsubscribed.
    pub(super) fn unsubscribe(&mut self, id: SessionId, unsubscribe: Unsubscribe) {
        let mut reasons = Vec::with_capacity(unsubscribe.filters.len());
        for filter in &unsubscribe.filters {
            let existed = self.remove_subscription(id, filter);
            let reason = if existed {
                ReasonCode::Success
            } else {
                ReasonCode::NoSubscriptionExisted
            };
            reasons.push(reason);
        }
        let unsuback = Unsuback {
            packet_id: unsubscribe.packet_id,
            reasons,
            words: None,
        };
        let after = After::record(self.lasting(id));
        self.answer(id, Packet::Unsuback(Box::new(unsuback)), after);
    }

    /// Removes a subscription of a session. Whether there was one.
    pub(super) fn remove_subscription(&mut self, id: SessionId, filter: &TopicFilter) -> bool {
        let Some(session) = self.sessions.get_mut(id) else {
            return false;
        };
        if !session.subscriptions.remove(filter) {
            return false;
        }
        self.router.unsubscribe(id, filter);
        self.unwatch_statistics(filter);
        if let Some(session) = self.lasting(id) {
            let filter = filter.detached();
            self.record(Record::Unsubscribed { session, filter });
        }
        if filter.share_group().is_some() {
            self.leave_group(id, filter);
        }
        true
    }

    /// Gives what waits in a session and came by a shared filter to the other members.
    fn leave_group(&mut self, id: SessionId, filter: &TopicFilter) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        for pending in session.queue.take_shared(filter) {
            self.settle(id, pending.number);
            self.hand_on(pending);
        }
    }
}
