//! SUBSCRIBE: each filter is judged on its own [MQTT-3.8.4-5].
//!
//! Nobody subscribes without a permit, and retained messages follow the SUBACK.

use super::record::Record;
use super::router::Grant;
use super::session::SessionId;
use super::{After, Engine};
use protocol::ReasonCode;
use protocol::packet::{
    Packet, QoS, RetainHandling, Suback, Subscribe, Subscription, SubscriptionId,
};

impl Engine {
    /// A client has subscribed.
    pub(super) fn subscribe(&mut self, id: SessionId, subscribe: &Subscribe) {
        let ids = subscribe.subscription_id;
        let reasons: Vec<_> = subscribe
            .subscriptions
            .iter()
            .map(|it| self.subscribe_to(id, it, ids))
            .collect();
        let suback = Suback {
            packet_id: subscribe.packet_id,
            words: self.words(id, &reasons),
            reasons,
        };
        let after = After::record(self.lasting(id));
        self.answer(id, &Packet::Suback(Box::new(suback)), after);
        self.send_retained(id);
    }

    fn subscribe_to(
        &mut self,
        id: SessionId,
        subscription: &Subscription,
        subscription_id: Option<SubscriptionId>,
    ) -> ReasonCode {
        let Some(session) = self.sessions.get_mut(id) else {
            return ReasonCode::UnspecifiedError;
        };
        if subscription.filter.levels_len() > self.limits.topic_levels_max {
            self.counters.subscriptions_refused += 1;
            return ReasonCode::TopicFilterInvalid;
        }
        let is_new = !session.subscriptions.contains(&subscription.filter);
        if is_new && session.subscriptions.len() >= self.limits.subscriptions_max {
            self.counters.subscriptions_refused += 1;
            return ReasonCode::QuotaExceeded;
        }
        if is_new && self.lacks_room_for_subscription(id) {
            self.counters.subscriptions_refused_full += 1;
            return ReasonCode::QuotaExceeded;
        }
        let Some(session) = self.sessions.get_mut(id) else {
            return ReasonCode::UnspecifiedError;
        };
        let filter = subscription.filter.detached();
        let Some(rights) = session.rights(&self.policy) else {
            return ReasonCode::NotAuthorized;
        };
        let denial = rights.denial();
        let Some(permit) = rights.permit_subscribe(&filter, self.now) else {
            self.counters.subscriptions_denied += 1;
            return denial;
        };
        let grant = Grant::new(subscription, subscription_id, &permit);
        session.subscriptions.set(&filter, grant);
        if wants_retained(subscription, is_new) {
            session.subscriptions.begin_run(filter.clone(), grant);
        }
        self.router.subscribe(id, &permit, grant);
        if is_new {
            self.watch_statistics(&filter);
        }
        if let Some(session) = self.lasting(id) {
            self.record(Record::Subscribed {
                session,
                filter,
                grant,
            });
        }
        match grant.qos {
            QoS::AtMostOnce => ReasonCode::Success,
            QoS::AtLeastOnce => ReasonCode::GrantedQos1,
            QoS::ExactlyOnce => ReasonCode::GrantedQos2,
        }
    }
}

/// Whether retained messages follow; never to a shared subscription [MQTT 5.0 §4.8.2].
fn wants_retained(subscription: &Subscription, is_new: bool) -> bool {
    let handling = match subscription.retain_handling {
        RetainHandling::Send => true,
        RetainHandling::SendIfNew => is_new,
        RetainHandling::DoNotSend => false,
    };
    handling && subscription.filter.share_group().is_none()
}

#[cfg(test)]
mod tests {
    use crate::engine::test_world::*;
    use protocol::packet::QoS::{self, AtLeastOnce, AtMostOnce, ExactlyOnce};

    #[test]
    fn a_policy_may_conceal_why_a_filter_is_denied() {
        let mut world = World::ruled("conceal_denials = true\n[[rule]]\nsubscribe = 'a'");
        let device = world.enter("dev-1");
        world.send(device, subscribe(&[("a", AtMostOnce), ("b", AtMostOnce)]));
        assert_eq!(world.heard(device), ["SUBACK [00 80]"]);
    }

    #[test]
    fn mqtt_3_8_4_5_each_filter_is_judged_on_its_own() {
        let mut world = World::ruled("");
        let device = world.enter("dev-1");
        let deep = "devices/dev-1".to_owned() + &"/x".repeat(200);
        let filters: &[(&str, QoS)] = &[
            ("devices/dev-1/#", ExactlyOnce),
            ("devices/dev-2/#", AtMostOnce),
            ("#", AtMostOnce),
            ("broadcast/x", AtLeastOnce),
            ("$share/g/devices/+/x", AtMostOnce),
            ("$share/g/devices/dev-1/x", AtMostOnce),
            (&deep, AtMostOnce),
        ];
        world.send(device, subscribe(filters));
        assert_eq!(world.heard(device), ["SUBACK [02 87 87 01 87 00 8f]"]);
        assert_eq!(world.engine.subscriptions_len(), 3);
        assert_eq!(world.counters().subscriptions_denied, 3);
        assert_eq!(world.counters().subscriptions_refused, 1);
    }

    #[test]
    fn a_session_holds_no_more_subscriptions_than_it_may() {
        let mut world = World::limited(|limits| limits.subscriptions_max = 2);
        let device = world.enter("dev-1");
        world.send(
            device,
            subscribe(&[("a", AtMostOnce), ("b", AtMostOnce), ("c", AtMostOnce)]),
        );
        // One that is there may be changed.
        world.send(device, subscribe(&[("b", AtLeastOnce), ("d", AtMostOnce)]));
        assert_eq!(world.heard(device), ["SUBACK [00 00 97]", "SUBACK [01 97]"]);
        world.send(device, unsubscribe(&["a"]));
        world.send(device, subscribe(&[("d", AtMostOnce)]));
        assert_eq!(world.heard(device), ["UNSUBACK [00]", "SUBACK [00]"]);
    }

    #[test]
    fn mqtt_3_8_4_3_the_same_filter_again_replaces_the_subscription_and_loses_nothing() {
        let mut world = World::open();
        let publisher = world.enter("dev-1");
        let subscriber = world.enter_with("dev-2", |connect| {
            lasting(connect);
            connect.properties.receive_maximum = 1.try_into().unwrap();
        });
        world.subscribe(subscriber, "a", AtLeastOnce);
        world.send(publisher, qos1("a", "1", 1));
        world.send(publisher, qos1("a", "2", 2));
        world.subscribe(subscriber, "a", AtMostOnce);
        world.send(publisher, qos1("a", "3", 3));
        world.send(subscriber, puback(1));
        let heard = world.heard(subscriber);
        assert_eq!(
            heard,
            ["PUBLISH a=1 q1 #1", "PUBLISH a=3 q0", "PUBLISH a=2 q1 #2"]
        );
        assert_eq!(world.engine.subscriptions_len(), 1);
    }

    #[test]
    fn what_a_lasting_session_subscribes_to_is_acknowledged_once_it_is_recorded() {
        let mut world = World::open();
        let device = world.enter_with("dev-1", lasting);
        world.records();
        world.send(device, subscribe(&[("a", AtMostOnce), ("b", AtMostOnce)]));
        assert_eq!(world.heard(device), ["*SUBACK [00 00]"]);
        assert_eq!(world.record_names(), ["Subscribed", "Subscribed"]);
        world.send(device, unsubscribe(&["a", "c"]));
        assert_eq!(world.heard(device), ["*UNSUBACK [00 11]"]);
        assert_eq!(world.record_names(), ["Unsubscribed"]);
    }

    #[test]
    fn a_filter_is_kept_in_memory_of_its_own() {
        let mut world = World::open();
        let frame = bytes::Bytes::from(vec![b'x'; 4096]);
        let device = world.enter("dev-1");
        let text = protocol::Text::from_bytes(frame.slice(..8)).unwrap();
        let filter = protocol::topic::TopicFilter::from_text(text).unwrap();
        let wish = protocol::packet::Subscription {
            filter,
            ..subscription("a", AtMostOnce)
        };
        world.send(device, subscribe_to(vec![wish], None));
        assert!(frame.is_unique());
        assert_eq!(world.engine.subscriptions_len(), 1);
    }
}
