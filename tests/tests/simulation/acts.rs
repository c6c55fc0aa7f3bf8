//! Acts: what a client does, chosen by chance, as a client may do it.

use crate::model::client::Moment;
use crate::model::truth::{Published, WILL, payload};
use crate::plan::OUTGOING_MAX;
use crate::world::World;
use protocol::ReasonCode;
use protocol::Text;
use protocol::packet::{
    Connect, ConnectProperties, Disconnect, ForwardedProperties, Packet, QoS, RetainHandling,
    Subscribe, Subscription, Unsubscribe, Version, Will,
};
use protocol::topic::{TopicFilter, TopicName};

const TOPICS: [&str; 8] = ["t/0", "t/1", "t/0", "t/1", "t/2", "secret/0", "r/0", "r/1"];
pub(crate) const FILTERS: [&str; 9] = [
    "t/0", "t/1", "t/+", "t/#", "#", "secret/#", "r/#", "r/0", "w/+",
];
const QOS: [QoS; 5] = [
    QoS::AtMostOnce,
    QoS::AtLeastOnce,
    QoS::AtLeastOnce,
    QoS::ExactlyOnce,
    QoS::ExactlyOnce,
];

impl World {
    /// A client does something.
    pub(crate) fn act(&mut self) {
        let index = self.random.below(self.clients.len());
        let client = &self.clients[index];
        if client.connection.is_none() {
            let connect = self.think_of_connect(index);
            return self.connect(index, &connect);
        }
        if !client.is_greeted {
            if self.random.below(20) == 0 {
                self.cut(index);
            }
            return;
        }
        match self.random.below(100) {
            0..55 => self.publish(index),
            55..68 => self.subscribe(index),
            68..70 => self.unsubscribe(index),
            70..92 => {
                let count = *self.random.choose(&[1, 2, 100]);
                self.clients[index].acknowledge(count);
            }
            92..94 => self.disconnect(index),
            94..97 => self.cut(index),
            97 => {
                // The one before is not over for the server.
                self.cut(index);
                let connect = self.think_of_connect(index);
                self.connect(index, &connect);
            }
            _ => {}
        }
        self.send_words(index);
    }

    fn cut(&mut self, index: usize) {
        let arriving = *self.random.choose(&[0, 20, usize::MAX]);
        self.tell(|| format!("dev-{index} is cut off"));
        self.leave(index, arriving);
    }

    fn think_of_connect(&mut self, index: usize) -> Connect {
        let random = &mut self.random;
        let client = &self.clients[index];
        let version = *random.choose(&[Version::V5, Version::V5, Version::V311]);
        let clean_start = client.session.must_begin_anew(self.clock.now()) || random.below(16) == 0;
        let expiry = *random.choose(&[0, 20, 3600, u32::MAX, u32::MAX, u32::MAX]);
        let expiry = match version {
            Version::V5 => expiry,
            Version::V311 if clean_start => 0,
            Version::V311 => u32::MAX,
        };
        let receive_maximum = *random.choose(&[1, 2, 65_535]);
        let receive_maximum = match version {
            Version::V5 => receive_maximum,
            Version::V311 => 65_535,
        };
        Connect {
            version,
            clean_start,
            keep_alive: 0,
            client_id: Text::parse(&client.name).unwrap(),
            will: self.think_of_will(index, version),
            username: None,
            password: None,
            properties: ConnectProperties {
                session_expiry_interval: expiry,
                receive_maximum: receive_maximum.try_into().unwrap(),
                topic_alias_maximum: match version {
                    Version::V5 => 2,
                    Version::V311 => 0,
                },
                ..ConnectProperties::default()
            },
        }
    }

    fn think_of_will(&mut self, index: usize, version: Version) -> Option<Will> {
        if self.random.below(4) > 0 {
            return None;
        }
        let qos = *self.random.choose(&QOS);
        let delay = *self.random.choose(&[0, 5, 500]);
        let published = self.thought(index, WILL, qos);
        let id = self.truth.add(published);
        Some(Will {
            qos,
            retain: false,
            topic: TopicName::parse(WILL).unwrap(),
            payload: payload(id, 3).into(),
            delay_interval: if version == Version::V5 { delay } else { 0 },
            message_expiry_interval: None,
            forwarded: ForwardedProperties::default(),
        })
    }

    fn thought(&self, publisher: usize, topic: &str, qos: QoS) -> Published {
        Published {
            publisher,
            topic: topic.to_owned(),
            qos,
            retain: topic.starts_with("r/"),
            is_empty: false,
            expiry: None,
            first_sent: self.step,
            last_sent: self.step,
            over: None,
            acknowledged: None,
            is_refused: false,
            given: None,
        }
    }

    fn publish(&mut self, index: usize) {
        let client = &self.clients[index];
        let qos = *self.random.choose(&QOS);
        if qos != QoS::AtMostOnce && client.outgoing.len() >= OUTGOING_MAX {
            return;
        }
        let topic = *self.random.choose(&TOPICS);
        let expiry = *self.random.choose(&[None, None, None, Some(3), Some(600)]);
        let is_v5 = client.version == Version::V5;
        let retain = topic.starts_with("r/");
        let published = Published {
            expiry: expiry.filter(|_| is_v5 && !retain),
            is_empty: retain && self.random.below(5) == 0,
            ..self.thought(index, topic, qos)
        };
        let id = self.truth.add(published.clone());
        let filling = *self.random.choose(&[1, 10, 100, 700]);
        let payload = if published.is_empty {
            String::new()
        } else {
            payload(id, filling)
        };
        self.clients[index].publish(id, payload, &published);
        self.tell(|| format!("dev-{index} publishes {id:?}"));
    }

    fn subscribe(&mut self, index: usize) {
        let filter = *self.random.choose(&FILTERS);
        let qos = *self.random.choose(&QOS);
        self.subscribe_to(index, filter, qos);
    }

    pub(crate) fn subscribe_to(&mut self, index: usize, filter: &str, qos: QoS) {
        let filter = TopicFilter::parse(filter).unwrap();
        let step = self.step;
        let client = &mut self.clients[index];
        let packet_id = client.free_id();
        client.subscribes(packet_id, (&filter, qos), step);
        let subscription = Subscription {
            filter,
            qos,
            no_local: false,
            retain_as_published: false,
            retain_handling: RetainHandling::Send,
        };
        client.words.push(Packet::Subscribe(Box::new(Subscribe {
            packet_id,
            subscriptions: vec![subscription],
            subscription_id: None,
            user_properties: Vec::new(),
        })));
    }

    fn unsubscribe(&mut self, index: usize) {
        let filter = *self.random.choose(&FILTERS);
        let filter = TopicFilter::parse(filter).unwrap();
        let moment = Moment {
            step: self.step,
            now: self.clock.now(),
            truth: &mut self.truth,
        };
        let client = &mut self.clients[index];
        let packet_id = client.free_id();
        client.unsubscribes(packet_id, &filter, &moment);
        client.words.push(Packet::Unsubscribe(Box::new(Unsubscribe {
            packet_id,
            filters: vec![filter],
            user_properties: Vec::new(),
        })));
    }

    /// A client says goodbye, and perhaps that its session ends earlier or later.
    fn disconnect(&mut self, index: usize) {
        let wish = *self.random.choose(&[None, None, Some(0), Some(30)]);
        let client = &mut self.clients[index];
        let wish = wish.filter(|_| client.version == Version::V5 && client.session.expiry.0 > 0);
        if let Some(expiry) = wish {
            client.widen_expiry(expiry);
        }
        let mut disconnect = Disconnect::new(ReasonCode::Success);
        disconnect.session_expiry_interval = wish;
        client.words.push(Packet::Disconnect(Box::new(disconnect)));
        self.send_words(index);
        self.leave(index, usize::MAX);
    }
}
