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
        session.forget_rights();
        if session.rights(&self.policy).is_none() {
            return self.forbid_session(id);
        }
        session.queue.judge_anew();
        let filters: Vec<TopicFilter> = session
            .subscriptions
            .iter()
            .map(|(filter, _)| filter.clone())
            .collect();
        for filter in filters {
            self.judge_subscription(id, &filter);
        }
        let session = self.sessions.get_mut(id);
        if let Some(away) = session.filter(|session| session.connected().is_none()) {
            away.forget_rights();
        }
    }

    /// Ends a session whose client id is no longer one the device may use. Nothing of it stays:
    /// its will is not published.
    pub(super) fn forbid_session(&mut self, id: SessionId) {
        self.discard_will(id);
        self.close(id, CloseReason::PolicyChanged);
        self.end_session(id);
    }

    fn judge_subscription(&mut self, id: SessionId, filter: &TopicFilter) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        let rights = session.rights(&self.policy);
        let Some(permit) = rights.and_then(|rights| rights.keep_subscription(filter)) else {
            self.counters.subscriptions_revoked += 1;
            self.remove_subscription(id, filter);
            return;
        };
        if let Some(grant) = session.subscriptions.judge(&permit) {
            self.router.subscribe(id, &permit, grant);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::ConnectionId;
    use crate::engine::test_world::*;
    use protocol::packet::QoS;

    /// As open, but everybody subscribes below `narrow` only.
    fn narrow() -> String {
        OPEN.replace(
            r##"subscribe = ["#", "$SYS/#"]"##,
            r#"subscribe = ["narrow/#"]"#,
        )
    }

    /// Everybody subscribes to everything, but for what is below `secret`.
    fn without_secrets() -> String {
        OPEN.to_owned() + r#"deny_subscribe = ["secret/#"]"#
    }

    /// A lasting subscriber to everything and a publisher.
    fn pair() -> (World, ConnectionId, ConnectionId) {
        let mut world = World::limited(|limits| limits.in_flight_len_max = 1.try_into().unwrap());
        let subscriber = world.enter_with("dev-1", lasting);
        world.subscribe(subscriber, "#", QoS::AtLeastOnce);
        world.subscribe(subscriber, "narrow/+", QoS::AtLeastOnce);
        let publisher = world.enter("dev-2");
        (world, subscriber, publisher)
    }

    #[test]
    fn a_live_subscription_no_longer_permitted_is_removed_and_the_others_stay() {
        let (mut world, subscriber, publisher) = pair();
        world.records();
        world.load_policy(&narrow());
        world.send(publisher, qos0("wide", "x"));
        world.send(publisher, qos0("narrow/a", "x"));
        assert_eq!(world.heard(subscriber), ["PUBLISH narrow/a=x q0"]);
        assert_eq!(world.counters().subscriptions_revoked, 1);
        assert_eq!(world.record_names(), ["Unsubscribed"]);
    }

    #[test]
    fn what_waits_and_what_is_in_flight_is_judged_again() {
        let (mut world, subscriber, publisher) = pair();
        for (id, topic) in [(1, "wide"), (2, "wide"), (3, "narrow/a"), (4, "wide")] {
            world.send(publisher, qos1(topic, "x", id));
        }
        world.heard(subscriber);
        world.load_policy(&narrow());
        world.send(publisher, qos1("narrow/b", "x", 5));
        world.lose(subscriber);
        let subscriber = world.enter_with("dev-1", lasting);
        assert_eq!(world.heard(subscriber), ["PUBLISH narrow/a=x q1 #2"]);
        world.send(subscriber, puback(2));
        assert_eq!(world.heard(subscriber), ["PUBLISH narrow/b=x q1 #3"]);
        assert_eq!(world.counters().dropped_withheld, 3);
    }

    #[test]
    fn a_subscription_of_somebody_away_is_removed_too() {
        let (mut world, subscriber, publisher) = pair();
        world.lose(subscriber);
        world.load_policy(&narrow());
        world.send(publisher, qos1("wide", "x", 1));
        world.load_policy(OPEN);
        let subscriber = world.enter_with("dev-1", lasting);
        assert_eq!(world.heard(subscriber), [""; 0]);
        assert_eq!(world.engine.subscriptions_len(), 1);
    }

    #[test]
    fn a_new_deny_withholds_from_a_subscription_that_stays() {
        let (mut world, subscriber, publisher) = pair();
        world.load_policy(&without_secrets());
        world.send(publisher, qos0("secret/a", "x"));
        world.send(publisher, qos0("open", "x"));
        assert_eq!(world.heard(subscriber), ["PUBLISH open=x q0"]);
        world.load_policy(OPEN);
        world.send(publisher, qos0("secret/a", "x"));
        assert_eq!(world.heard(subscriber), ["PUBLISH secret/a=x q0"]);
    }

    #[test]
    fn publishing_is_judged_by_the_policy_in_force() {
        let (mut world, _, publisher) = pair();
        world.load_policy(&OPEN.replace(r##"publish = ["#"]"##, r#"publish = ["a"]"#));
        world.send(publisher, qos1("b", "x", 1));
        assert_eq!(world.heard(publisher), ["PUBACK #1 87"]);
    }

    #[test]
    fn a_client_id_no_longer_permitted_ends_its_session() {
        let mut world = World::open();
        let strange = world.enter_with("dev-1", |connect| {
            lasting(connect);
            connect.client_id = protocol::Text::parse("strange").unwrap();
            connect.will = Some(will("a"));
        });
        let usual = world.enter_with("dev-1", lasting);
        world.subscribe(usual, "a", QoS::AtMostOnce);
        world.records();
        world.load_policy(&OPEN.replace("client_ids = \"*\"", ""));
        assert_eq!(world.heard(strange), ["CLOSE 87"]);
        assert_eq!(world.heard(usual), [""; 0]);
        assert_eq!(world.engine.sessions_len(), 1);
        assert_eq!(
            world.record_names(),
            ["WillCleared", "SessionLeft", "SessionEnded"]
        );
    }
}
