//! A new policy: every session is judged again, whether its client is there or not.
//!
//! It is in force at once: nothing is routed, delivered or published by a permit of the old one.
//! What is left of that, subscriptions and sessions no longer permitted, is cleared a few sessions
//! a turn, and of a session at the latest when its client is heard.

use crate::engine::Engine;
use crate::engine::close_reason::CloseReason;
use crate::engine::policy::Policy;
use crate::engine::session::SessionId;
use protocol::topic::TopicFilter;
use std::ops::Range;
use std::sync::Arc;

/// Tells policies apart, in the order in which they came into force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::engine) struct PolicyVersion(u64);

/// Which sessions the policy in force has yet to judge.
#[derive(Debug, Default)]
pub(in crate::engine) struct Rejudging {
    version: PolicyVersion,
    /// The places where they are.
    left: Range<usize>,
}

/// How many sessions and subscriptions are judged in a turn; one session may exceed it.
const JUDGED_LEN_MAX: usize = 256;
/// How many places are looked at in a turn.
const PLACES_LEN_MAX: usize = 4096;

impl Rejudging {
    #[inline]
    pub(in crate::engine) fn version(&self) -> PolicyVersion {
        self.version
    }

    #[inline]
    pub(in crate::engine) fn is_under_way(&self) -> bool {
        !self.left.is_empty()
    }
}

impl Engine {
    /// Puts a policy into force.
    pub(in crate::engine) fn change_policy(&mut self, policy: Arc<Policy>) {
        self.policy = policy;
        self.rejudging.version.0 += 1;
        self.rejudging.left = 0..self.sessions.places_len();
    }

    /// Judges some of the sessions that are left.
    pub(in crate::engine) fn rejudge_some(&mut self) {
        let mut judged = 0;
        for _ in 0..PLACES_LEN_MAX {
            if judged >= JUDGED_LEN_MAX {
                return;
            }
            let Some(place) = self.rejudging.left.next() else {
                return;
            };
            judged += self.catch_up(SessionId(place));
        }
    }

    /// Judges a session, unless the policy in force has. How much there was to judge.
    #[inline]
    pub(in crate::engine) fn catch_up(&mut self, id: SessionId) -> usize {
        let version = self.rejudging.version;
        match self.sessions.get(id) {
            Some(session) if !session.is_judged(version) => self.judge_session(id),
            Some(_) | None => 0,
        }
    }

    fn judge_session(&mut self, id: SessionId) -> usize {
        let version = self.rejudging.version;
        let Some(session) = self.sessions.get_mut(id) else {
            return 0;
        };
        session.note_judged(version);
        session.forget_rights();
        if session.rights(&self.policy).is_none() {
            self.forbid_session(id);
            return 1;
        }
        session.queue.judge_anew();
        let filters: Vec<TopicFilter> = session
            .subscriptions
            .iter()
            .map(|(filter, _)| filter.clone())
            .collect();
        for filter in &filters {
            self.judge_subscription(id, filter);
        }
        if self.has_nothing_left(id, filters.len()) {
            self.close(id, CloseReason::PolicyChanged);
        }
        let session = self.sessions.get_mut(id);
        if let Some(away) = session.filter(|session| session.connected().is_none()) {
            away.forget_rights();
        }
        1 + filters.len()
    }

    /// Whether the client of a session that had subscriptions has none now, and nothing that it
    /// could publish: it is told, for it would wait in vain.
    fn has_nothing_left(&self, id: SessionId, subscriptions_len: usize) -> bool {
        let session = self.sessions.get(id);
        let here = session.filter(|session| session.is_here());
        subscriptions_len > 0
            && here.is_some_and(|session| {
                let rights = session.rights(&self.policy);
                session.subscriptions.len() == 0
                    && rights.is_none_or(|rights| !rights.publishes_anything())
            })
    }

    /// Ends a session whose client id is no longer one the device may use. Nothing of it stays:
    /// its will is not published.
    pub(in crate::engine) fn forbid_session(&mut self, id: SessionId) {
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

    const SESSIONS_LEN: u64 = 10_000;

    /// So many clients of one device, each with two subscriptions, and a publisher.
    fn crowd() -> (World, Vec<ConnectionId>, ConnectionId) {
        let mut world = World::limited(|limits| {
            limits.sessions_per_device_max = 20_000;
            limits.connections_per_device_max = 20_000;
        });
        let mut enter = |number| {
            let clients = world.enter_with("dev-1", |connect| {
                connect.client_id = protocol::Text::parse(&format!("c-{number}")).unwrap();
            });
            let filters = [("wide", QoS::AtMostOnce), ("narrow/a", QoS::AtMostOnce)];
            world.send(clients, subscribe(&filters));
            world.heard(clients);
            clients
        };
        let clients = (0..SESSIONS_LEN).map(&mut enter).collect();
        let publisher = world.enter("dev-2");
        (world, clients, publisher)
    }

    /// How many clients have heard anything.
    fn heard_len(world: &mut World) -> usize {
        let heard = world.take_heard();
        heard.values().filter(|heard| !heard.is_empty()).count()
    }

    #[test]
    fn ten_thousand_sessions_are_judged_a_few_a_turn_and_hear_nothing_meanwhile() {
        let (mut world, clients, publisher) = crowd();
        let last = *clients.last().unwrap();
        // Twice, so that permit and receivers are known to it.
        for _ in 0..2 {
            world.send(last, qos0("own", "x"));
            world.send(publisher, qos0("wide", "before"));
        }
        assert_eq!(heard_len(&mut world), clients.len());

        world.load_policy(
            &narrow().replace(r##"publish = ["#"]"##, r#"publish = ["wide", "narrow/a"]"#),
        );
        let first_turn = world.counters().subscriptions_revoked;
        assert!((1..=256).contains(&first_turn), "{first_turn}");
        world.send(publisher, qos0("wide", "after"));
        assert_eq!(heard_len(&mut world), 0);
        world.send(last, qos1("own", "x", 1));
        assert_eq!(world.heard(last), ["PUBACK #1 87"]);
        world.send(publisher, qos0("narrow/a", "x"));
        assert_eq!(heard_len(&mut world), clients.len());

        let mut revoked = world.counters().subscriptions_revoked;
        while world.engine.deadline() == Some(crate::engine::Time::default()) {
            world.input(crate::engine::Input::Tick);
            let now = world.counters().subscriptions_revoked;
            assert!(now - revoked <= 256, "{} in a turn", now - revoked);
            revoked = now;
        }
        assert_eq!(revoked, SESSIONS_LEN);
        assert_eq!(world.engine.subscriptions_len(), clients.len());
    }

    #[test]
    fn who_has_nothing_left_is_told_and_nobody_else() {
        let mut world = World::open();
        let [reader, idle] = ["dev-1", "dev-2"].map(|device| world.enter(device));
        let writer = world.enter("app/a");
        for client in [reader, writer] {
            world.subscribe(client, "a", QoS::AtMostOnce);
        }
        world.load_policy(
            "built_in = false\n[[rule]]\nclient_ids = '*'\nsubscribe = 'b'\n\
             [[rule]]\napps = 'a'\npublish = 'c'\n",
        );
        assert_eq!(world.heard(reader), ["CLOSE 87"]);
        assert_eq!(world.heard(idle), [""; 0]);
        assert_eq!(world.heard(writer), [""; 0]);
        assert_eq!(world.engine.subscriptions_len(), 0);
    }

    /// Everybody publishes; `a` is read between eight and nine, in the hour the world begins in.
    const BY_THE_HOUR: &str = "[[rule]]\npublish = '#'\n[[rule]]\nsubscribe = 'a'\n\
        when = '08:00-09:00'\n";

    #[test]
    fn a_subscription_gets_nothing_outside_its_hours_and_stays() {
        let mut world = World::ruled(BY_THE_HOUR);
        let [subscriber, publisher] = ["dev-1", "dev-2"].map(|device| world.enter(device));
        world.subscribe(subscriber, "a", QoS::AtMostOnce);
        world.send(publisher, qos0("a", "1"));
        world.wait(3600);
        world.send(publisher, qos0("a", "2"));
        world.load_policy(&(BY_THE_HOUR.to_owned() + "# Again.\n"));
        world.send(publisher, qos0("a", "3"));
        world.send(publisher, subscribe(&[("a", QoS::AtMostOnce)]));
        assert_eq!(world.heard(publisher), ["SUBACK [87]"]);
        world.wait(23 * 3600);
        world.send(publisher, qos0("a", "4"));
        assert_eq!(
            world.heard(subscriber),
            ["PUBLISH a=1 q0", "PUBLISH a=4 q0"]
        );
    }

    #[test]
    fn what_came_within_the_hours_is_not_delivered_outside_them() {
        let mut world = World::ruled(BY_THE_HOUR);
        let for_a_day = |connect: &mut protocol::packet::Connect| {
            lasting(connect);
            connect.properties.session_expiry_interval = 86_400;
        };
        let subscriber = world.enter_with("dev-1", for_a_day);
        world.subscribe(subscriber, "a", QoS::AtLeastOnce);
        let publisher = world.enter("dev-2");
        world.lose(subscriber);
        world.wait(3599);
        world.send(publisher, qos1("a", "x", 1));
        world.wait(1);
        let subscriber = world.enter_with("dev-1", for_a_day);
        assert_eq!(world.heard(subscriber), [""; 0]);
        assert_eq!(world.counters().dropped_withheld, 1);
    }

    /// `a` is for whom the common name of the certificate says so.
    fn by_name(name: &str) -> String {
        format!(
            "[[group]]\nname = 'g'\ncn = '{name}'\n[[rule]]\ngroups = 'g'\nsubscribe = 'a'\n\
             [[rule]]\ngroups = 'apps'\npublish = 'a'\n"
        )
    }

    #[test]
    fn what_depends_on_the_certificate_waits_until_that_is_seen_again() {
        for (name, heard) in [("dev-1", &["PUBLISH a=x q1 #1"][..]), ("dev-2", &[])] {
            let mut world = World::ruled(&by_name("dev-1"));
            let subscriber = world.enter_with("dev-1", lasting);
            world.subscribe(subscriber, "a", QoS::AtLeastOnce);
            world.die(&by_name(name));
            world.wait(1);
            let publisher = world.enter("app/a");
            world.send(publisher, qos1("a", "x", 1));
            let subscriber = world.enter_with("dev-1", lasting);
            assert_eq!(world.heard(subscriber), heard, "{name}");
            assert_eq!(world.engine.subscriptions_len(), heard.len());
        }
    }

    #[test]
    fn retained_messages_that_are_on_their_way_are_judged_too() {
        let (mut world, subscriber, publisher) = pair();
        world.send(publisher, retained(qos0("secret/a", "x")));
        world.send(publisher, retained(qos0("open", "x")));
        world.heard(subscriber);
        world.load_policy(&without_secrets());
        world.send(subscriber, subscribe(&[("#", QoS::AtMostOnce)]));
        let heard = world.heard(subscriber);
        assert!(
            heard.contains(&"PUBLISH open=x q0 retain".to_owned()),
            "{heard:?}"
        );
        assert!(!heard.iter().any(|it| it.contains("secret")), "{heard:?}");
    }
}
