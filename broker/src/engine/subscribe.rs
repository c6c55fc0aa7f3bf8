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
    pub(super) fn subscribe(&mut self, id: SessionId, subscribe: Subscribe) {
        let ids = subscribe.subscription_id;
        let reasons = subscribe
            .subscriptions
            .iter()
            .map(|it| self.subscribe_to(id, it, ids))
            .collect();
        let suback = Suback {
            packet_id: subscribe.packet_id,
            reasons,
            words: None,
        };
        let after = After::record(self.lasting(id));
        self.answer(id, Packet::Suback(Box::new(suback)), after);
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
        let Some(permit) = session
            .rights
            .permit_subscribe(&subscription.filter.detached())
        else {
            self.counters.subscriptions_denied += 1;
            return ReasonCode::NotAuthorized;
        };
        let is_new = !session.subscriptions.contains(permit.filter());
        if is_new && session.subscriptions.len() >= self.limits.subscriptions_max {
            self.counters.subscriptions_refused += 1;
            return ReasonCode::QuotaExceeded;
        }
        let grant = Grant::new(subscription, subscription_id, &permit);
        let filter = permit.filter().clone();
        session.subscriptions.set(filter.clone(), grant);
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
        match subscription.qos {
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
