//! MQTT 5.0 by `rumqttc`.
//!
//! What it needs is asked of its engine, and what comes of it is told in our words. Its request
//! channels are unbounded, and bounded from outside: by the outbox's window, the receive maximum,
//! and the number of subscriptions.

use futures_util::StreamExt;
use futures_util::future::{BoxFuture, FutureExt, ready};
use futures_util::stream::FuturesUnordered;
use rumqttc::{
    ConnAck, ManualAck, PubAck, PubRec, PublishOptions, RetainForwardRule, SubscribeFilterInput,
    SubscribeProperties,
};

use super::engine::{Attempt, Condition, Engine, Order, Said};
use super::settings::{FirstSession, Settings};
use super::{
    Event, Failure, Leave, Receipt, Retained, Session, Subscribe, Ticket, Unsendable, Wire,
    translate,
};
use crate::error::ConnectError;
use crate::message::{Publish, QoS};

/// The wire of a device in MQTT 5.0.
pub(crate) struct RumqttWire {
    settings: Settings,
    engine: Engine,
    answers: FuturesUnordered<BoxFuture<'static, Event>>,
    limits: Limits,
    next_session: FirstSession,
    packet_id_max: u16,
}

/// What the broker of this connection can bear.
#[derive(Clone, Copy, Debug)]
struct Limits {
    packet_len_max: usize,
    qos_max: QoS,
    retain: bool,
    subscription_identifiers: bool,
}

impl RumqttWire {
    /// A wire that is not connected. To be called in a runtime.
    pub(crate) fn new(settings: Settings) -> Self {
        let packet_id_max = settings.in_flight_max;
        Self {
            engine: Engine::start(settings.options(packet_id_max)),
            next_session: settings.first_session,
            limits: Limits::of(None),
            answers: FuturesUnordered::new(),
            packet_id_max,
            settings,
        }
    }

    /// Begins again with an engine that knows of no session.
    fn replace_engine(&mut self) {
        self.engine = Engine::start(self.settings.options(self.packet_id_max));
    }

    /// What the engine said, if it concerns anybody.
    fn heard(&mut self, said: Option<Said>) -> Option<Event> {
        match said {
            Some(Said::Up(connack)) => self.up(&connack).map(Event::Up),
            Some(Said::Message(packet)) => translate::incoming(packet).map(Event::Message),
            Some(Said::Closed) => Some(Event::Closed),
            Some(Said::Down(error, Condition::Sound)) => Some(Event::Down(error)),
            Some(Said::Down(error, Condition::Spoiled)) => {
                self.replace_engine();
                Some(Event::Down(error))
            }
            None => {
                self.replace_engine();
                let what = "the MQTT engine stopped on what was received".into();
                Some(Event::Down(ConnectError::Protocol { what }))
            }
        }
    }

    fn up(&mut self, connack: &ConnAck) -> Option<Session> {
        self.settings.identity.note_welcome();
        let properties = connack.properties.as_ref();
        let receive_max = properties.and_then(|p| p.receive_max).unwrap_or(u16::MAX);
        let session = match (connack.session_present, self.engine.knows_session) {
            (false, _) => Session::New,
            (true, true) => Session::Resumed,
            (true, false) => Session::Adopted,
        };
        if session == Session::Adopted && receive_max < self.packet_id_max {
            // More packet ids would be released than this broker lets us use: once more, with less.
            self.packet_id_max = receive_max;
            self.replace_engine();
            self.connect();
            return None;
        }
        self.engine.knows_session = true;
        self.engine.connections = self.engine.connections.wrapping_add(1);
        self.next_session = FirstSession::Resumed;
        self.limits = Limits::of(connack.properties.as_ref());
        Some(session)
    }

    /// Answers `ticket` as soon as `notice` does.
    fn await_answer(&mut self, answer: impl Future<Output = Event> + Send + 'static) {
        self.answers.push(answer.boxed());
    }
}

#[cfg(test)]
impl RumqttWire {
    pub(super) fn kill_engine(&self) {
        self.engine.kill();
    }
}

impl Wire for RumqttWire {
    fn connect(&mut self) {
        let clean_start = self.next_session == FirstSession::New;
        let keep_alive = self.settings.keep_alive;
        self.engine.connect(Attempt {
            clean_start,
            keep_alive,
        });
    }

    fn publish(&mut self, ticket: Ticket, publish: &Publish) -> Result<(), Unsendable> {
        let mut packet = translate::publish(publish);
        self.limits.check(&packet)?;
        let mut options = PublishOptions::new(packet.qos).retain(packet.retain);
        if let Some(properties) = packet.properties.take() {
            options = options.properties(properties);
        }
        let topic = publish.topic.as_str();
        match self
            .engine
            .client
            .try_publish_tracked(topic, packet.payload, options)
        {
            Ok(notice) => self.await_answer(async move {
                Event::Published(ticket, translate::published(notice.wait_async().await))
            }),
            Err(_stopped) => {
                self.await_answer(ready(Event::Published(ticket, Err(Failure::Forgotten))));
            }
        }
        Ok(())
    }

    fn subscribe(&mut self, ticket: Ticket, request: &Subscribe) {
        let retained = match request.retained {
            Retained::Send => RetainForwardRule::OnEverySubscribe,
            Retained::Skip => RetainForwardRule::Never,
        };
        let filter =
            SubscribeFilterInput::new(request.filter.as_str(), translate::qos(request.qos))
                .retain_forward_rule(retained);
        let id = self
            .limits
            .subscription_identifiers
            .then_some(request.identifier);
        let properties = SubscribeProperties {
            id: id.and_then(|id| usize::try_from(id).ok()),
            user_properties: Vec::new(),
        };
        let client = &self.engine.client;
        match client.try_subscribe_many_with_properties_tracked([filter], properties) {
            Ok(notice) => self.await_answer(async move {
                Event::Subscribed(ticket, translate::subscribed(notice.wait_async().await))
            }),
            Err(_stopped) => {
                self.await_answer(ready(Event::Subscribed(ticket, Err(Failure::Forgotten))));
            }
        }
    }

    fn unsubscribe(&mut self, filter: &str) {
        let _ = self.engine.client.try_unsubscribe(filter);
    }

    fn acknowledge(&mut self, receipt: Receipt) {
        let ack = match receipt.qos {
            QoS::AtMostOnce => return,
            QoS::AtLeastOnce => ManualAck::PubAck(PubAck::new(receipt.packet_id, None)),
            QoS::ExactlyOnce => ManualAck::PubRec(PubRec::new(receipt.packet_id, None)),
        };
        self.engine
            .order(Order::Acknowledge(self.engine.connections, ack));
    }

    fn close(&mut self, leave: Leave) {
        self.engine.order(Order::Leave(leave));
    }

    async fn next(&mut self) -> Event {
        loop {
            tokio::select! {
                Some(answer) = self.answers.next() => return answer,
                said = self.engine.said.recv() => {
                    if let Some(event) = self.heard(said) {
                        return event;
                    }
                }
            }
        }
    }
}

impl Limits {
    fn of(properties: Option<&rumqttc::ConnAckProperties>) -> Self {
        /// The longest packet there can be (MQTT 5.0 §2.1.4).
        const PACKET_LEN_MAX: usize = 268_435_460;
        let packet_len_max = properties.and_then(|p| p.max_packet_size);
        let qos_max = properties.and_then(|p| p.max_qos).and_then(QoS::from_level);
        Self {
            packet_len_max: packet_len_max.map_or(PACKET_LEN_MAX, |len| {
                usize::try_from(len).unwrap_or(PACKET_LEN_MAX)
            }),
            qos_max: qos_max.unwrap_or(QoS::ExactlyOnce),
            retain: properties.and_then(|p| p.retain_available) != Some(0),
            subscription_identifiers: properties.and_then(|p| p.subscription_identifiers_available)
                != Some(0),
        }
    }

    /// What the broker would close the connection over is not sent.
    fn check(&self, packet: &rumqttc::Publish) -> Result<(), Unsendable> {
        // The packet id is not counted before there is one.
        let len = packet.size() + usize::from(packet.qos != rumqttc::QoS::AtMostOnce) * 2;
        if len > self.packet_len_max {
            return Err(Unsendable::TooLarge {
                len,
                len_max: self.packet_len_max,
            });
        }
        if packet.qos > translate::qos(self.qos_max) {
            return Err(Unsendable::QosNotSupported);
        }
        if packet.retain && !self.retain {
            return Err(Unsendable::RetainNotSupported);
        }
        Ok(())
    }
}
