//! Losses: what sessions would lose by a policy that is not in force.
//!
//! It is judged as a policy is that comes into force, and nothing is changed.

use crate::engine::policy::Policy;
use crate::engine::session::{Session, SessionId};
use crate::engine::{Engine, SessionKey};
use protocol::topic::TopicFilter;

/// What one session would lose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss<'a> {
    /// Whose it is.
    pub key: &'a SessionKey,
    /// Whether it would end, for its client id is not permitted.
    pub ends: bool,
    /// Whether a connection would be closed: that of a session that ends, or that of a client that
    /// would wait in vain.
    pub closes: bool,
    /// The subscriptions that are not permitted, of a session that stays.
    pub filters: Vec<&'a TopicFilter>,
}

/// Some of what sessions would lose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Losses<'a> {
    /// Of those that were asked about.
    pub losses: Vec<Loss<'a>>,
    /// Where to go on; nothing when all were asked about.
    pub next: Option<usize>,
}

/// So many places are looked at at once: all that waits for the engine waits for these.
const PLACES_LEN_MAX: usize = 256;

impl Engine {
    /// What some sessions would lose by a policy, from this place among them on.
    pub fn losses_by(&self, policy: &Policy, first: usize) -> Losses<'_> {
        let end = first.saturating_add(PLACES_LEN_MAX);
        let places = first..end.min(self.sessions.places_len());
        let sessions = places.filter_map(|place| self.sessions.get(SessionId(place)));
        Losses {
            losses: sessions.filter_map(|it| loss(it, policy)).collect(),
            next: (end < self.sessions.places_len()).then_some(end),
        }
    }
}

fn loss<'a>(session: &'a Session, policy: &Policy) -> Option<Loss<'a>> {
    let is_here = session.is_here();
    let Some(rights) = session.rights_by(policy) else {
        return Some(Loss {
            key: &session.key,
            ends: true,
            closes: is_here,
            filters: Vec::new(),
        });
    };
    let filters = session.subscriptions.iter().map(|(filter, _)| filter);
    let is_lost = |filter: &&TopicFilter| rights.keep_subscription(filter).is_none();
    let filters: Vec<_> = filters.filter(is_lost).collect();
    if filters.is_empty() {
        return None;
    }
    let all = filters.len() == session.subscriptions.len();
    Some(Loss {
        key: &session.key,
        ends: false,
        closes: is_here && all && !rights.publishes_anything(),
        filters,
    })
}

#[cfg(test)]
mod tests {
    use crate::engine::test_world::*;
    use protocol::packet::QoS;

    /// Of each session that would lose something: its client id and what becomes of it.
    fn losses(world: &World, policy: &str) -> Vec<String> {
        let policy = parse(policy);
        let (mut said, mut next) = (Vec::new(), Some(0));
        while let Some(first) = next {
            let some = world.engine.losses_by(&policy, first);
            said.extend(some.losses.iter().map(|it| {
                let filters: Vec<_> = it.filters.iter().map(|it| it.as_str()).collect();
                let id = &it.key.client_id;
                format!("{id} {} {} {}", it.ends, it.closes, filters.join(" "))
            }));
            next = some.next;
        }
        said
    }

    #[test]
    fn what_a_policy_would_cut_is_told_before_it_is_in_force() {
        let mut world = World::open();
        let subscriber = world.enter_with("dev-1", lasting);
        world.subscribe(subscriber, "#", QoS::AtLeastOnce);
        world.subscribe(subscriber, "narrow/+", QoS::AtLeastOnce);
        let reader = world.enter("dev-2");
        world.subscribe(reader, "wide", QoS::AtMostOnce);
        let strange = world.enter_with("dev-3", |connect| {
            connect.client_id = protocol::Text::parse("strange").unwrap();
        });
        world.subscribe(strange, "narrow/a", QoS::AtMostOnce);
        let gone = world.enter_with("dev-4", |connect| {
            lasting(connect);
            connect.client_id = protocol::Text::parse("away").unwrap();
        });
        world.lose(gone);
        let stricter = "[[rule]]\nsubscribe = 'narrow/#'\n\
                        [[rule]]\ndevices = 'dev-1'\npublish = 'a'\n";
        let stricter = &format!("built_in = false\n{stricter}");
        let expected = [
            "dev-1 false false #",
            "dev-2 false true wide",
            "strange true true ",
            "away true false ",
        ];
        assert_eq!(losses(&world, stricter), expected);
        assert_eq!(world.engine.subscriptions_len(), 4);
        assert_eq!(world.heard(subscriber), [""; 0]);
        world.load_policy(stricter);
        assert_eq!(world.heard(reader), ["CLOSE 87"]);
        assert_eq!(world.heard(strange), ["CLOSE 87"]);
        assert_eq!(world.heard(subscriber), [""; 0]);
        assert_eq!(losses(&world, stricter), [""; 0]);
        assert_eq!(world.engine.subscriptions_len(), 1);
    }

    #[test]
    fn many_sessions_are_asked_about_some_at_a_time() {
        let mut world = World::open();
        for number in 0..300 {
            let client = world.enter(&format!("dev-{number}"));
            world.subscribe(client, "a", QoS::AtMostOnce);
        }
        let nothing = "built_in = false\n[[rule]]\npublish = 'a'\n";
        let first = world.engine.losses_by(&parse(nothing), 0);
        assert_eq!((first.losses.len(), first.next), (256, Some(256)));
        assert_eq!(losses(&world, nothing).len(), 300);
    }
}
