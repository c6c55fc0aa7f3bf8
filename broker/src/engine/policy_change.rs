//! A new policy: every session is judged again, whether its client is there or not.
//!
//! From here on nothing is routed by a permit of the old one. What waits is judged when its turn
//! comes.

use super::Engine;
use super::close_reason::CloseReason;
use super::policy::Policy;
use super::session::SessionId;
use protocol::topic::TopicFilter;
use std::sync::Arc;

impl Engine {
    /// Puts a policy into force.
    pub(super) fn change_policy(&mut self, policy: Arc<Policy>) {
        self.policy = policy;
        let ids: Vec<SessionId> = self.sessions.iter().map(|(id, _)| id).collect();
        for id in ids {
            self.judge_session(id);
        }
    }

    fn judge_session(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        let key = &session.key;
        let Ok(rights) = self.policy.rights(&key.subject, &key.client_id) else {
            return self.forbid_session(id);
        };
        session.rights = rights;
        session.queue.judge_anew();
        let filters: Vec<TopicFilter> = session
            .subscriptions
            .iter()
            .map(|(filter, _)| filter.clone())
            .collect();
        for filter in filters {
            self.judge_subscription(id, &filter);
        }
    }

    /// Ends a session whose client id is no longer one the device may use. Nothing of it stays:
    /// its will is not published.
    fn forbid_session(&mut self, id: SessionId) {
        self.discard_will(id);
        self.close(id, CloseReason::PolicyChanged);
        self.end_session(id);
    }

    fn judge_subscription(&mut self, id: SessionId, filter: &TopicFilter) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        let Some(permit) = session.rights.permit_subscribe(filter) else {
            self.counters.subscriptions_revoked += 1;
            self.remove_subscription(id, filter);
            return;
        };
        if let Some(grant) = session.subscriptions.judge(&permit) {
            self.router.subscribe(id, &permit, grant);
        }
    }
}
