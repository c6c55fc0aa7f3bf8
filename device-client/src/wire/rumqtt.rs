//! MQTT 5.0 by `rumqttc`.
//!
//! What it needs is asked of its engine, and what comes of it is told in our words. Its request
//! channels are unbounded, and bounded from outside: by the outbox's window, the receive maximum,
//! and the number of subscriptions.

use std::collections::BTreeMap;

use futures_util::StreamExt;
use futures_util::future::{BoxFuture, FutureExt, ready};
use futures_util::stream::FuturesUnordered;
use rumqttc::{
    ConnAck, ManualAck, PubAck, PubRec, PublishOptions, RetainForwardRule, SubscribeFilterInput,
    SubscribeProperties,
};

use super::adopt::{Adopted, Others};
use super::engine::{Attempt, Condition, Engine, Kept, Known, Order, Said};
use super::ledger::Ledger;
use super::settings::{FirstSession, Settings};
use super::{
    Event, Failure, Leave, Receipt, Retained, Session, Subscribe, Ticket, Unsendable, Wire,
    translate,
};
use crate::error::ConnectError;
use crate::identity::Identity;
use crate::message::{Publish, QoS};
use crate::reconnect::Broker;

/// The wire of a device in MQTT 5.0.
pub(crate) struct RumqttWire {
    settings: Settings,
    engine: Engine,
    answers: FuturesUnordered<BoxFuture<'static, Event>>,
    /// Handed to an engine that had stopped: told once it is known that it has.
    late: Vec<Event>,
    limits: Limits,
    next_session: FirstSession,
    packet_id_max: u16,
    /// What an earlier life left, by packet id, as long as the broker may know of it.
    restored: BTreeMap<u16, Ticket>,
    origin: Origin,
}

/// Where the session of an engine comes from that has not been connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// It is not known, if there is one.
    Unknown,
    /// It was written down.
    Disk,
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
        let restored = settings
            .ledger
            .as_deref()
            .map(under_way)
            .unwrap_or_default();
        let origin = match settings.ledger {
            Some(_) => Origin::Disk,
            None => Origin::Unknown,
        };
        Self {
            engine: start(&settings, (packet_id_max, Others::Unknown), &restored),
            restored,
            origin,
            next_session: settings.first_session,
            limits: Limits::of(None),
            answers: FuturesUnordered::new(),
            late: Vec::new(),
            packet_id_max,
            settings,
        }
    }

    /// Begins again with an engine that knows of no session.
    fn replace_engine(&mut self) {
        self.forget_session();
        self.origin = Origin::Unknown;
        self.engine = start(
            &self.settings,
            (self.packet_id_max, Others::Unknown),
            &self.restored,
        );
    }

    /// An engine whose session is written down ends with its connection, and the next one goes on
    /// from what was written: in order, whatever had been sent again when the connection was lost.
    fn go_on(&mut self) {
        let Some(ledger) = self.settings.ledger.clone() else {
            return;
        };
        ledger.connection_lost();
        let knows_session = self.engine.knows_session;
        let others = if knows_session {
            Others::Free
        } else {
            Others::Unknown
        };
        self.restored = under_way(&ledger);
        self.engine = start(&self.settings, (self.packet_id_max, others), &self.restored);
        self.engine.knows_session = knows_session;
    }

    fn forget_session(&mut self) {
        self.restored.clear();
        if let Some(ledger) = &self.settings.ledger {
            ledger.session_lost();
        }
    }

    /// Connects once more with as many packet ids as the broker takes. Those of messages of an
    /// earlier life stay, if it takes them.
    fn narrow(&mut self, receive_max: u16) {
        self.packet_id_max = receive_max;
        if self.restored.keys().any(|id| *id > receive_max) {
            self.replace_engine();
        } else {
            self.engine = start(
                &self.settings,
                (receive_max, Others::Unknown),
                &self.restored,
            );
        }
        self.connect_where_chosen();
    }

    /// Connects to the broker that is chosen.
    pub(crate) fn connect_where_chosen(&mut self) {
        let clean_start = self.next_session == FirstSession::New;
        let keep_alive = self.settings.keep_alive;
        self.engine.connect(Attempt {
            clean_start,
            keep_alive,
        });
    }

    /// What the engine said, if it concerns anybody.
    fn heard(&mut self, said: Option<Said>) -> Option<Event> {
        match said {
            Some(Said::Up(connack)) => Some(Event::Up(self.up(&connack))),
            Some(Said::Answered(packet_id, result)) => {
                let ticket = self.restored.remove(&packet_id)?;
                Some(Event::Published(ticket, result))
            }
            Some(Said::Narrow(receive_max)) => {
                self.narrow(receive_max);
                None
            }
            Some(Said::Message(packet)) => translate::incoming(packet).map(Event::Message),
            Some(Said::Closed) => Some(Event::Closed),
            Some(Said::Down(error, Condition::Sound)) => {
                self.go_on();
                Some(Event::Down(error))
            }
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

    fn up(&mut self, connack: &ConnAck) -> Session {
        self.settings.identity.identity().note_welcome();
        let session = match (connack.session_present, self.engine.knows_session) {
            (false, _) => Session::New,
            (true, true) => Session::Resumed,
            (true, false) if self.origin == Origin::Disk => Session::Restored,
            (true, false) => Session::Adopted,
        };
        if session == Session::New {
            self.forget_session();
        }
        self.engine.knows_session = true;
        self.engine.connections = self.engine.connections.wrapping_add(1);
        self.next_session = FirstSession::Resumed;
        self.limits = Limits::of(connack.properties.as_ref());
        session
    }

    /// Whether this is forgotten by one engine only, and the next one sends it again.
    fn goes_on(&self, answer: &Event) -> bool {
        let Event::Published(ticket, Err(Failure::Forgotten | Failure::MaybeSent)) = answer else {
            return false;
        };
        let ledger = self.settings.ledger.as_ref();
        ledger.is_some_and(|ledger| ledger.is_under_way(*ticket))
    }

    /// Answers `ticket` as soon as `notice` does.
    fn await_answer(&mut self, answer: impl Future<Output = Event> + Send + 'static) {
        self.answers.push(answer.boxed());
    }
}

fn under_way(ledger: &Ledger) -> BTreeMap<u16, Ticket> {
    let under_way = ledger.under_way().into_iter();
    under_way.map(|it| (it.packet_id, it.ticket)).collect()
}

fn start(
    settings: &Settings,
    (packet_id_max, others): (u16, Others),
    restored: &BTreeMap<u16, Ticket>,
) -> Engine {
    let adopted = Adopted::new(packet_id_max, others, settings.ledger.clone());
    let session = Known {
        packet_id_max,
        is_kept: match settings.ledger {
            Some(_) => Kept::OnDisk,
            None => Kept::InMemory,
        },
        restored: restored.keys().copied().collect(),
    };
    let options = settings.options(packet_id_max, adopted);
    Engine::start(options, session, settings.overheard.clone())
}

#[cfg(test)]
impl RumqttWire {
    pub(super) fn kill_engine(&self) {
        self.engine.kill();
    }
}

impl Wire for RumqttWire {
    fn connect(&mut self, broker: &Broker) {
        self.settings.whereto.choose(broker);
        self.connect_where_chosen();
    }

    fn publish(&mut self, ticket: Ticket, publish: &Publish) -> Result<(), Unsendable> {
        let mut packet = translate::publish(publish);
        self.limits.check(&packet)?;
        let mut options = PublishOptions::new(packet.qos).retain(packet.retain);
        if let Some(properties) = packet.properties.take() {
            options = options.properties(properties);
        }
        if let Some(ledger) = &self.settings.ledger {
            ledger.handed_over(ticket, publish);
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
            Err(_stopped) => self
                .late
                .push(Event::Published(ticket, Err(Failure::Forgotten))),
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
            Err(_stopped) => self
                .late
                .push(Event::Subscribed(ticket, Err(Failure::Forgotten))),
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

    fn renew(&mut self, identity: Identity) {
        self.settings.identity.replace(identity);
    }

    fn hang_up(&mut self) {
        let farewell = self.settings.farewell.clone();
        self.engine.order(Order::HangUp(farewell));
    }

    fn close(&mut self, leave: Leave) {
        self.engine.order(Order::Leave(leave));
    }

    async fn next(&mut self) -> Event {
        loop {
            tokio::select! {
                // What was answered before a connection was lost is heard before that.
                biased;
                Some(answer) = self.answers.next() => {
                    if !self.goes_on(&answer) {
                        return answer;
                    }
                }
                said = self.engine.said.recv() => {
                    for event in self.late.drain(..) {
                        self.answers.push(ready(event).boxed());
                    }
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
