//! Who has subscribed to what, looked at once by each publisher.

use super::outbox::Outbox;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// All subscriptions.
#[derive(Debug, Default)]
pub(super) struct Routes {
    /// Changes with every subscription, so that publishers know when to look again.
    generation: AtomicU64,
    subscriptions: RwLock<Subscriptions>,
    retained: RwLock<BTreeMap<Box<[u8]>, Bytes>>,
}

/// Filters and who gets what they match.
type Subscriptions = Vec<(Box<[u8]>, Arc<Outbox>)>;

/// The subscribers of one publisher, as they were at one generation.
#[derive(Debug, Default)]
pub(super) struct Route {
    generation: Option<u64>,
    topic: Box<[u8]>,
    pub(super) outboxes: Vec<Arc<Outbox>>,
}

impl Routes {
    /// Adds a subscription, and sends what is retained for it [MQTT-3.8.4-4].
    pub(super) fn subscribe(&self, filter: &[u8], outbox: &Arc<Outbox>) {
        self.change(|subscriptions| {
            let is_same =
                |(known, one): &(Box<[u8]>, _)| **known == *filter && Arc::ptr_eq(one, outbox);
            subscriptions.retain(|subscription| !is_same(subscription));
            subscriptions.push((filter.into(), Arc::clone(outbox)));
        });
        let retained = self.retained.read().unwrap_or_else(PoisonError::into_inner);
        for (_, frame) in retained.iter().filter(|(topic, _)| matches(filter, topic)) {
            outbox.push(frame.clone());
        }
    }

    /// Keeps a whole PUBLISH for those who subscribe later.
    pub(super) fn retain(&self, topic: &[u8], frame: &[u8]) {
        let mut retained = self
            .retained
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        retained.insert(topic.into(), Bytes::copy_from_slice(frame));
    }

    /// Forgets a subscriber.
    pub(super) fn leave(&self, outbox: &Arc<Outbox>) {
        self.change(|subscriptions| subscriptions.retain(|(_, one)| !Arc::ptr_eq(one, outbox)));
    }

    /// Brings a route up to date; `topic` counts the first time only.
    pub(super) fn refresh(&self, route: &mut Route, topic: &[u8]) {
        let generation = self.generation.load(Ordering::Acquire);
        if route.generation == Some(generation) {
            return;
        }
        if route.generation.is_none() {
            route.topic = topic.into();
        }
        let subscriptions = self
            .subscriptions
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let matching = subscriptions
            .iter()
            .filter(|(filter, _)| matches(filter, &route.topic));
        route.outboxes = matching.map(|(_, outbox)| Arc::clone(outbox)).collect();
        route.generation = Some(generation);
    }

    fn change(&self, change: impl FnOnce(&mut Subscriptions)) {
        let mut subscriptions = self
            .subscriptions
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        change(&mut subscriptions);
        self.generation.fetch_add(1, Ordering::Release);
    }
}

/// The filters of a load are `devices/+/#`, all below a topic, or a topic itself.
fn matches(filter: &[u8], topic: &[u8]) -> bool {
    let filter = match filter {
        b"devices/+/#" => b"devices/#",
        filter => filter,
    };
    let above = filter.strip_suffix(b"#");
    filter == topic || above.is_some_and(|above| topic.starts_with(above))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_follows_those_who_come_and_go() {
        let (routes, mut route) = (Routes::default(), Route::default());
        let (all, one) = (Arc::new(Outbox::default()), Arc::new(Outbox::default()));
        routes.refresh(&mut route, b"devices/a/bench/1");
        assert_eq!(route.outboxes.len(), 0);
        routes.subscribe(b"devices/+/#", &all);
        routes.subscribe(b"devices/a/bench/1", &one);
        routes.subscribe(b"devices/a/bench/2", &one);
        routes.refresh(&mut route, b"not looked at");
        assert_eq!(route.outboxes.len(), 2);
        // Again, and it is still one.
        routes.subscribe(b"devices/a/bench/1", &one);
        routes.refresh(&mut route, b"not looked at");
        assert_eq!(route.outboxes.len(), 2);
        routes.leave(&one);
        routes.refresh(&mut route, b"");
        assert!(route.outboxes.len() == 1 && Arc::ptr_eq(&route.outboxes[0], &all));
    }

    #[test]
    fn what_is_retained_comes_with_every_subscription() {
        let (routes, outbox) = (Routes::default(), Arc::new(Outbox::default()));
        routes.retain(b"a/1", b"old");
        routes.retain(b"a/1", b"one");
        routes.retain(b"a/2", b"two");
        routes.retain(b"b", b"other");
        let mut out = Vec::new();
        for _ in 0..2 {
            routes.subscribe(b"a/#", &outbox);
            outbox.take(&mut out).unwrap();
        }
        assert_eq!(out, b"onetwoonetwo");
    }
}
