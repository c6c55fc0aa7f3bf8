//! A client of MQTT that keeps to the rules, as far as its connection lets it.
//!
//! It remembers what a client must, over any number of connections, and checks what it hears.

use crate::model::session::{Given, Session};
use crate::model::truth::{MessageId, Published, Step, Truth, said};
use crate::plan::EXPIRY_MAX;
use broker::engine::{ConnectionId, Time};
use certs::VerifiedDevice;
use protocol::packet::{
    Ack, Connack, Connect, Packet, PacketId, Publish, PublishProperties, QoS, Version,
};
use protocol::topic::{TopicFilter, TopicName};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub(crate) struct Client {
    pub(crate) index: usize,
    pub(crate) name: String,
    pub(crate) device: VerifiedDevice,
    pub(crate) version: Version,
    /// The connection it speaks on.
    pub(crate) connection: Option<ConnectionId>,
    /// It has a CONNACK there.
    pub(crate) is_greeted: bool,
    pub(crate) session: Session,
    /// What its last CONNECT asked for.
    asked: Asked,
    /// What it has published and not yet seen through, in its order.
    pub(crate) outgoing: Vec<Outgoing>,
    requests: BTreeMap<PacketId, Request>,
    /// The identifiers of QoS 2 messages that it has and that were not released.
    pub(crate) unreleased: BTreeMap<PacketId, Option<MessageId>>,
    /// Acknowledgements that it has yet to send, in their order.
    pub(crate) due: VecDeque<Packet>,
    /// What it says next.
    pub(crate) words: Vec<Packet>,
    /// The retained messages it was given last, by topic.
    pub(crate) retained: BTreeMap<String, MessageId>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Asked {
    clean_start: bool,
    expiry: u32,
}

#[derive(Debug)]
pub(crate) struct Outgoing {
    packet_id: PacketId,
    message: MessageId,
    publish: Publish,
    /// A PUBREC has come: PUBREL is what counts from here on.
    is_received: bool,
}

#[derive(Debug)]
enum Request {
    Subscribe(TopicFilter, Step),
    Unsubscribe(TopicFilter, Step),
}

/// When something happens, and what is known of messages then.
pub(crate) struct Moment<'t> {
    pub(crate) step: Step,
    pub(crate) now: Time,
    pub(crate) truth: &'t mut Truth,
}

impl Client {
    pub(crate) fn new(index: usize, name: String, device: VerifiedDevice) -> Self {
        Self {
            index,
            name,
            device,
            version: Version::V5,
            connection: None,
            is_greeted: false,
            session: Session::default(),
            asked: Asked::default(),
            outgoing: Vec::new(),
            requests: BTreeMap::new(),
            unreleased: BTreeMap::new(),
            due: VecDeque::new(),
            words: Vec::new(),
            retained: BTreeMap::new(),
        }
    }

    /// It sends this CONNECT on a new connection.
    pub(crate) fn knock(&mut self, connection: ConnectionId, connect: &Connect) {
        self.session.is_asked = true;
        self.connection = Some(connection);
        self.is_greeted = false;
        self.due.clear();
        self.words.clear();
        self.requests.clear();
        let expiry = connect.properties.session_expiry_interval.min(EXPIRY_MAX);
        self.asked = Asked {
            clean_start: connect.clean_start,
            expiry,
        };
        self.session.is_doomed |= connect.clean_start;
        self.widen_expiry(expiry);
    }

    /// Another expiry may be in force from here on.
    pub(crate) fn widen_expiry(&mut self, expiry: u32) {
        let (min, max) = self.session.expiry;
        self.session.expiry = (min.min(expiry), max.max(expiry));
    }

    /// Whether its last CONNECT asked for a session that begins anew.
    pub(crate) fn is_clean(&self) -> bool {
        self.asked.clean_start
    }

    /// An identifier that is free.
    pub(crate) fn free_id(&self) -> PacketId {
        let used: BTreeSet<PacketId> = self
            .outgoing
            .iter()
            .map(|it| it.packet_id)
            .chain(self.requests.keys().copied())
            .collect();
        let mut id = PacketId::MIN;
        while used.contains(&id) {
            id = id.saturating_add(1);
        }
        id
    }

    pub(crate) fn publish(&mut self, message: MessageId, payload: String, published: &Published) {
        let properties = PublishProperties {
            message_expiry_interval: published.expiry,
            ..PublishProperties::default()
        };
        let packet_id = (published.qos != QoS::AtMostOnce).then(|| self.free_id());
        let publish = Publish {
            dup: false,
            qos: published.qos,
            retain: published.retain,
            topic: TopicName::parse(&published.topic).unwrap(),
            packet_id,
            properties: properties.boxed(),
            payload: payload.into(),
        };
        if let Some(packet_id) = packet_id {
            self.outgoing.push(Outgoing {
                packet_id,
                message,
                publish: publish.clone(),
                is_received: false,
            });
        }
        self.words.push(Packet::Publish(publish));
    }

    pub(crate) fn subscribes(&mut self, id: PacketId, asked: (&TopicFilter, QoS), step: Step) {
        let (filter, qos) = asked;
        self.session.subscribe(filter, qos, step);
        let request = Request::Subscribe(filter.clone(), step);
        self.requests.insert(id, request);
    }

    pub(crate) fn unsubscribes(&mut self, id: PacketId, filter: &TopicFilter, moment: &Moment<'_>) {
        self.session.unsubscribe(filter, moment.truth);
        let request = Request::Unsubscribe(filter.clone(), moment.step);
        self.requests.insert(id, request);
    }

    /// Sends so many of the acknowledgements that are due.
    pub(crate) fn acknowledge(&mut self, count: usize) {
        let count = count.min(self.due.len());
        self.words.extend(self.due.drain(..count));
    }

    /// A packet has come on its connection. The message that it acknowledges, if it does.
    pub(crate) fn hear(&mut self, packet: Packet, moment: &mut Moment<'_>) -> Option<MessageId> {
        match packet {
            Packet::Connack(connack) if connack.reason.is_error() => {}
            Packet::Connack(connack) => self.greeted(&connack, moment),
            Packet::Publish(publish) => self.given(&publish, moment),
            Packet::Puback(ack) => return self.answered(&ack, QoS::AtLeastOnce, moment),
            Packet::Pubrec(ack) => return self.answered(&ack, QoS::ExactlyOnce, moment),
            Packet::Pubrel(ack) => {
                self.unreleased.remove(&ack.packet_id);
                let pubcomp = Packet::Pubcomp(Ack::success(ack.packet_id));
                self.due.push_back(pubcomp);
            }
            Packet::Pubcomp(ack) => self.outgoing.retain(|it| it.packet_id != ack.packet_id),
            Packet::Suback(suback) => {
                let is_granted = !suback.reasons[0].is_error();
                if let Some(Request::Subscribe(filter, begin)) =
                    self.requests.remove(&suback.packet_id)
                {
                    let answer = (is_granted, moment.step);
                    self.session.subscribed(&filter, begin, answer);
                }
            }
            Packet::Unsuback(unsuback) => {
                if let Some(Request::Unsubscribe(filter, begin)) =
                    self.requests.remove(&unsuback.packet_id)
                {
                    self.session.unsubscribed(&filter, begin, moment.step);
                }
            }
            Packet::Disconnect(_) => {}
            other => panic!("a server does not send {other:?}"),
        }
        None
    }

    fn greeted(&mut self, connack: &Connack, moment: &mut Moment<'_>) {
        self.is_greeted = true;
        let expiry = (self.asked.expiry, self.asked.expiry);
        if !connack.session_present {
            for lost in self.outgoing.drain(..) {
                let published = moment.truth.change(lost.message);
                published.over.get_or_insert(moment.step);
            }
            self.unreleased.clear();
            let left = (moment.now, self.session.left.1);
            self.session = Session::begun(moment.step, expiry, left);
            return;
        }
        self.session.established.get_or_insert(moment.step);
        self.session.is_asked = false;
        self.session.expiry = expiry;
        for again in &self.outgoing {
            self.words.push(if again.is_received {
                Packet::Pubrel(Ack::success(again.packet_id))
            } else {
                moment.truth.change(again.message).last_sent = moment.step;
                Packet::Publish(Publish {
                    dup: true,
                    ..again.publish.clone()
                })
            });
        }
    }

    fn given(&mut self, publish: &Publish, moment: &Moment<'_>) {
        let id = said(&publish.payload);
        let is_new = match (publish.qos, publish.packet_id) {
            (QoS::AtLeastOnce, Some(packet_id)) => {
                let puback = Packet::Puback(Ack::success(packet_id));
                self.due.push_back(puback);
                true
            }
            (QoS::ExactlyOnce, Some(packet_id)) => {
                let pubrec = Packet::Pubrec(Ack::success(packet_id));
                self.due.push_back(pubrec);
                let before = self.unreleased.insert(packet_id, id);
                let is_same = before.is_none_or(|before| before == id);
                assert!(is_same, "{before:?} was not released: {publish:?}");
                before.is_none()
            }
            _ => true,
        };
        let Some(id) = id else {
            return;
        };
        let published = moment.truth.of(id);
        assert_eq!(publish.topic.as_str(), published.topic, "{id:?}");
        let (len, is_flat) = (publish.payload.len(), publish.payload.ends_with(b"x"));
        assert!(is_flat || len < 12, "{id:?} has another end");
        if publish.retain {
            self.session.check_retained(&published.topic);
            self.retained.insert(published.topic.clone(), id);
        } else if is_new {
            let given = Given {
                id,
                qos: publish.qos,
                to: self.index,
                is_new,
            };
            self.session.take(given, moment.truth);
        }
    }

    /// A PUBACK or a PUBREC has come.
    fn answered(&mut self, ack: &Ack, qos: QoS, moment: &mut Moment<'_>) -> Option<MessageId> {
        let place = self
            .outgoing
            .iter()
            .position(|it| it.packet_id == ack.packet_id && it.publish.qos == qos);
        let Some(place) = place else {
            if qos == QoS::ExactlyOnce {
                let pubrel = Packet::Pubrel(Ack::success(ack.packet_id));
                self.words.push(pubrel);
            }
            return None;
        };
        let message = self.outgoing[place].message;
        let published = moment.truth.change(message);
        published.over.get_or_insert(moment.step);
        if ack.reason.is_error() {
            published.is_refused = true;
            self.outgoing.remove(place);
            return None;
        }
        if qos == QoS::ExactlyOnce {
            self.outgoing[place].is_received = true;
            let pubrel = Packet::Pubrel(Ack::success(ack.packet_id));
            self.words.push(pubrel);
        } else {
            self.outgoing.remove(place);
        }
        let is_news = published.acknowledged.is_none();
        published.acknowledged.get_or_insert(moment.step);
        is_news.then_some(message)
    }

    /// Its connection is over. It was there until `at`, as far as the broker may know.
    pub(crate) fn leave(&mut self, at: Time) {
        if self.is_greeted {
            self.session.left.0 = at;
        }
        self.connection = None;
        self.is_greeted = false;
    }
}
