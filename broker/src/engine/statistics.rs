//! Statistics: what the broker says of itself under `$SYS`.
//!
//! Published while somebody subscribes to it and only then; the values are those of one shard.

use super::deadlines::Deadline;
use super::message::Message;
use super::router::Grant;
use super::session::SessionId;
use super::time::Time;
use super::{After, Engine};
use bytes::Bytes;
use protocol::topic::{TopicFilter, TopicName};
use std::sync::Arc;

/// How often they are published, in seconds.
const INTERVAL_SECONDS: u32 = 10;

/// A figure of the broker's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Statistic {
    Version,
    Uptime,
    Connected,
    Sessions,
    Received,
    Sent,
    Dropped,
    Retained,
    Subscriptions,
}

/// Who watches.
#[derive(Debug, Default)]
pub(super) struct Statistics {
    /// How many subscriptions there are below `$SYS`.
    watchers: usize,
    /// When they are published next.
    due: Option<Time>,
}

impl Statistic {
    const ALL: [Self; 9] = [
        Self::Version,
        Self::Uptime,
        Self::Connected,
        Self::Sessions,
        Self::Received,
        Self::Sent,
        Self::Dropped,
        Self::Retained,
        Self::Subscriptions,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Version => "$SYS/broker/version",
            Self::Uptime => "$SYS/broker/uptime",
            Self::Connected => "$SYS/broker/clients/connected",
            Self::Sessions => "$SYS/broker/sessions/total",
            Self::Received => "$SYS/broker/messages/received",
            Self::Sent => "$SYS/broker/messages/sent",
            Self::Dropped => "$SYS/broker/messages/dropped",
            Self::Retained => "$SYS/broker/retained/count",
            Self::Subscriptions => "$SYS/broker/subscriptions/count",
        }
    }

    /// Where it is published; only the broker may publish there.
    pub(super) fn topic(self) -> Option<TopicName> {
        TopicName::parse(self.name()).ok()
    }
}

impl Engine {
    /// Somebody has subscribed to `filter`.
    pub(super) fn watch_statistics(&mut self, filter: &TopicFilter) {
        if !is_watching(filter) {
            return;
        }
        self.statistics.watchers += 1;
        if self.statistics.watchers == 1 {
            self.deadlines
                .add(self.statistics.arm(self.now), Deadline::Statistics);
        }
    }

    /// Somebody no longer subscribes to `filter`.
    pub(super) fn unwatch_statistics(&mut self, filter: &TopicFilter) {
        if !is_watching(filter) {
            return;
        }
        self.statistics.watchers -= 1;
        if let Some(due) = self
            .statistics
            .due
            .take_if(|_| self.statistics.watchers == 0)
        {
            self.deadlines.remove(due, Deadline::Statistics);
        }
    }

    /// Tells all who watch.
    pub(super) fn publish_statistics(&mut self) {
        self.deadlines
            .add(self.statistics.arm(self.now), Deadline::Statistics);
        for statistic in Statistic::ALL {
            if let Some(message) = Message::of_broker(statistic, self.value(statistic)) {
                self.route(&Arc::new(message), After::Nothing);
            }
        }
    }

    /// Tells one who has begun to watch, as if the figures were retained.
    pub(super) fn send_statistics(&mut self, id: SessionId, filter: &TopicFilter, grant: Grant) {
        for statistic in Statistic::ALL {
            let message = Message::of_broker(statistic, self.value(statistic));
            if let Some(message) = message.filter(|message| filter.matches(message.topic())) {
                self.offer_retained(id, &Arc::new(message), grant);
            }
        }
    }

    fn value(&self, statistic: Statistic) -> Bytes {
        let number = match statistic {
            Statistic::Version => {
                return Bytes::from_static(
                    concat!("countersign ", env!("CARGO_PKG_VERSION")).as_bytes(),
                );
            }
            Statistic::Uptime => self
                .now
                .since(self.started.unwrap_or(self.now))
                .as_secs()
                .to_string(),
            Statistic::Connected => self.sessions.connected_len().to_string(),
            Statistic::Sessions => self.sessions.len().to_string(),
            Statistic::Received => self.counters.messages_received.to_string(),
            Statistic::Sent => self.counters.messages_sent.to_string(),
            Statistic::Dropped => self.counters.dropped().to_string(),
            Statistic::Retained => self.retained.len().to_string(),
            Statistic::Subscriptions => self.router.len().to_string(),
        };
        Bytes::from(number)
    }
}

impl Statistics {
    /// Sets the next time, and says it.
    fn arm(&mut self, now: Time) -> Time {
        *self.due.insert(now.after_seconds(INTERVAL_SECONDS))
    }
}

/// Whether a subscription to this is answered with figures.
pub(super) fn is_watching(filter: &TopicFilter) -> bool {
    filter.pattern().starts_with("$SYS/")
}

#[cfg(test)]
mod tests {
    use crate::engine::test_world::*;
    use protocol::packet::QoS;

    #[test]
    fn who_begins_to_watch_is_told_at_once_and_then_every_ten_seconds() {
        let mut world = World::open();
        let client = world.enter("dev-1");
        assert_eq!(world.engine.deadline(), Some(proof_end("dev-1")));
        world.subscribe(client, "$SYS/broker/#", QoS::AtLeastOnce);
        let heard = world.heard(client);
        assert_eq!(heard.len(), 9);
        assert!(
            heard[0].starts_with("PUBLISH $SYS/broker/version=countersign "),
            "{}",
            heard[0]
        );
        assert!(
            heard.iter().all(|line| line.ends_with("q0 retain")),
            "{heard:?}"
        );
        world.wait(20);
        assert_eq!(world.heard(client).len(), 18);
        world.send(client, unsubscribe(&["$SYS/broker/#"]));
        let proof = Some(proof_end("dev-1"));
        assert_eq!(world.engine.deadline(), proof, "nobody watches");
    }

    #[test]
    fn the_figures_are_what_they_are() {
        let mut world = World::open();
        let client = world.enter_with("dev-1", lasting);
        world.lose(client);
        let client = world.enter("dev-2");
        world.subscribe(client, "a", QoS::AtMostOnce);
        world.send(client, retained(qos0("a", "x")));
        world.heard(client);
        world.wait(7);
        let cases = [
            ("$SYS/broker/uptime", "7"),
            ("$SYS/broker/clients/connected", "1"),
            ("$SYS/broker/sessions/total", "2"),
            ("$SYS/broker/messages/received", "1"),
            // The delivery and the three figures before.
            ("$SYS/broker/messages/sent", "5"),
            ("$SYS/broker/messages/dropped", "0"),
            ("$SYS/broker/retained/count", "1"),
            ("$SYS/broker/subscriptions/count", "9"),
        ];
        for (topic, value) in cases {
            world.subscribe(client, topic, QoS::AtMostOnce);
            assert_eq!(
                world.heard(client),
                [format!("PUBLISH {topic}={value} q0 retain")]
            );
        }
    }

    #[test]
    fn mqtt_4_7_2_1_a_wildcard_in_front_does_not_bring_them() {
        let mut world = World::open();
        let client = world.enter("dev-1");
        world.subscribe(client, "#", QoS::AtMostOnce);
        world.subscribe(client, "+/broker/uptime", QoS::AtMostOnce);
        world.subscribe(client, "$SYS/broker/uptime", QoS::AtMostOnce);
        assert_eq!(world.heard(client).len(), 1);
        world.wait(10);
        assert_eq!(world.heard(client), ["PUBLISH $SYS/broker/uptime=10 q0"]);
    }
}
