//! MQTT 5.0 by `rumqttc`.
//!
//! Its event loop runs in a task of its own, because a poll that is dropped half-way may lose what
//! it was writing; a task that dies, of whatever a broker sent, is a lost connection and no more.
//! Its request channels are unbounded, and bounded from outside: by the outbox's window, the
//! receive maximum, and the number of subscriptions.

use std::io;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::{BoxFuture, FutureExt, ready};
use futures_util::stream::FuturesUnordered;
use rumqttc::{
    AckMode, AsyncClient, ClientError, ConnAck, ConnectProperties, ConnectionError,
    DisconnectProperties, DisconnectReasonCode, EventLoop, ManualAck, MqttOptions, Outgoing,
    Packet, PubAck, PubRec, PublishOptions, RetainForwardRule, StateError, SubscribeFilterInput,
    SubscribeProperties, mqttbytes,
};
use rustls::pki_types::ServerName;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::adopt::Adopted;
use super::{
    Event, Failure, Leave, Receipt, Retained, Session, SessionAfter, Subscribe, Ticket, Unsendable,
    Wire, translate,
};
use crate::client::BrokerAddress;
use crate::error::ConnectError;
use crate::identity::Identity;
use crate::message::{Publish, QoS, Will};

/// What is read ahead of us. When it is full, the socket is not read.
const SAID_MAX: usize = 64;

/// Requests that are written with one flush.
const REQUEST_BATCH_MAX: usize = 32;

/// How a device presents itself to its broker.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) broker: BrokerAddress,
    pub(crate) server_name: ServerName<'static>,
    pub(crate) identity: Identity,
    pub(crate) client_id: String,
    pub(crate) keep_alive: Duration,
    pub(crate) session_expiry: Duration,
    pub(crate) first_session: FirstSession,
    pub(crate) will: Option<Will>,
    pub(crate) connect_time_max: Duration,
    pub(crate) receive_max: u16,
    pub(crate) in_flight_max: u16,
    pub(crate) packet_len_max: u32,
}

/// What the first connection does with a session of this client id that the broker may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FirstSession {
    /// Ends it and begins another.
    New,
    /// Goes on with it.
    Resumed,
}

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
            engine: Engine::start(options(&settings, packet_id_max)),
            next_session: settings.first_session,
            limits: Limits::of(None),
            answers: FuturesUnordered::new(),
            packet_id_max,
            settings,
        }
    }

    /// Begins again with an engine that knows of no session.
    fn replace_engine(&mut self) {
        self.engine = Engine::start(options(&self.settings, self.packet_id_max));
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
        self.next_session = FirstSession::Resumed;
        self.limits = Limits::of(connack.properties.as_ref());
        Some(session)
    }

    /// Answers `ticket` as soon as `notice` does.
    fn await_answer(&mut self, answer: impl Future<Output = Event> + Send + 'static) {
        self.answers.push(answer.boxed());
    }
}

impl Wire for RumqttWire {
    fn connect(&mut self) {
        let attempt = Attempt {
            clean_start: self.next_session == FirstSession::New,
            keep_alive: self.settings.keep_alive,
        };
        // A failure means that the engine has stopped, which it says itself.
        let _ = self.engine.attempts.try_send(attempt);
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
        let _ = self.engine.client.try_manual_ack(ack);
    }

    fn close(&mut self, leave: Leave) {
        let _ = self.engine.disconnect(leave);
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

/// The task in which `rumqttc` runs, and the ways to it.
struct Engine {
    client: AsyncClient,
    attempts: mpsc::Sender<Attempt>,
    said: mpsc::Receiver<Said>,
    task: AbortHandle,
    /// It has been connected, and keeps its half of the session.
    knows_session: bool,
}

struct Attempt {
    clean_start: bool,
    keep_alive: Duration,
}

enum Said {
    Up(ConnAck),
    Message(rumqttc::Publish),
    Down(ConnectError, Condition),
    Closed,
}

/// Whether an engine can be used again.
enum Condition {
    Sound,
    /// It would send again what it cannot send.
    Spoiled,
}

impl Engine {
    fn start(options: MqttOptions) -> Self {
        let (client, event_loop) = AsyncClient::builder(options).unbounded().build();
        let (attempts, next_attempt) = mpsc::channel(1);
        let (say, said) = mpsc::channel(SAID_MAX);
        let task = tokio::spawn(run(event_loop, next_attempt, say)).abort_handle();
        Self {
            client,
            attempts,
            said,
            task,
            knows_session: false,
        }
    }

    fn disconnect(&self, leave: Leave) -> Result<(), ClientError> {
        let reason = DisconnectReasonCode::NormalDisconnection;
        let session_expiry_interval = match leave.session {
            SessionAfter::Kept => None,
            SessionAfter::Ended => Some(0),
        };
        let properties = DisconnectProperties {
            session_expiry_interval,
            reason_string: None,
            user_properties: Vec::new(),
            server_reference: None,
        };
        match leave.wait {
            Some(wait) => self
                .client
                .try_disconnect_with_properties_timeout(reason, properties, wait),
            None => self
                .client
                .try_disconnect_now_with_properties(reason, properties),
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(
    mut event_loop: EventLoop,
    mut attempts: mpsc::Receiver<Attempt>,
    say: mpsc::Sender<Said>,
) {
    while let Some(attempt) = attempts.recv().await {
        let options = &mut event_loop.options;
        options.set_clean_start(attempt.clean_start);
        // What the last broker put in its place ended with its connection.
        let keep_alive = u16::try_from(attempt.keep_alive.as_secs()).unwrap_or(u16::MAX);
        options.set_keep_alive(keep_alive);
        if attempt.clean_start {
            options.clear_session_store();
        }
        let last = connection(&mut event_loop, &say).await;
        if say.send(last).await.is_err() {
            return;
        }
    }
}

/// One connection, to its end.
async fn connection(event_loop: &mut EventLoop, say: &mpsc::Sender<Said>) -> Said {
    loop {
        let silence_max = silence_max(&event_loop.options);
        let said = match timeout(silence_max, event_loop.poll()).await {
            Ok(Ok(rumqttc::Event::Incoming(Packet::ConnAck(connack)))) => {
                // From now on the session is its own.
                event_loop.options.clear_session_store();
                Said::Up(connack)
            }
            Ok(Ok(rumqttc::Event::Incoming(Packet::Publish(publish)))) => Said::Message(publish),
            Ok(Ok(rumqttc::Event::Outgoing(Outgoing::Disconnect))) => return Said::Closed,
            Ok(Ok(_)) => continue,
            Ok(Err(error)) => {
                let condition = condition(&error);
                return Said::Down(translate::down(error), condition);
            }
            Err(_elapsed) => {
                // A broker that does not read holds us in a write, where no ping comes.
                event_loop.clean();
                return Said::Down(ConnectError::TimedOut, Condition::Sound);
            }
        };
        if say.send(said).await.is_err() {
            return Said::Closed;
        }
    }
}

/// Something happens at least this often on a connection that is alive: a ping goes out.
fn silence_max(options: &MqttOptions) -> Duration {
    options
        .connect_timeout()
        .saturating_add(options.keep_alive() * 2)
}

fn condition(error: &ConnectionError) -> Condition {
    match error {
        ConnectionError::MqttState(
            StateError::OutgoingPacketTooLarge { .. }
            | StateError::InvalidState
            | StateError::Deserialization(mqttbytes::Error::OutgoingPacketTooLarge { .. }),
        ) => Condition::Spoiled,
        _ => Condition::Sound,
    }
}

fn options(settings: &Settings, packet_id_max: u16) -> MqttOptions {
    let broker = rumqttc::Broker::tcp(settings.broker.host(), settings.broker.port());
    let mut options = MqttOptions::new(settings.client_id.clone(), broker);
    options
        .set_connect_timeout(settings.connect_time_max)
        .set_connect_properties(connect_properties(settings))
        .set_ack_mode(AckMode::Manual)
        .set_max_request_batch(REQUEST_BATCH_MAX)
        .set_outgoing_inflight_upper_limit(packet_id_max);
    if let Some(will) = &settings.will {
        options.set_last_will(translate::will(will));
    }
    Adopted::install(&mut options, packet_id_max);
    let settings = settings.clone();
    options.set_socket_connector(move |_, _| connect(settings.clone()));
    options
}

/// TLS is ours, so that its refusals come through as they are.
async fn connect(settings: Settings) -> io::Result<crate::identity::TlsStream> {
    let address = (settings.broker.host(), settings.broker.port());
    settings
        .identity
        .connect(address, settings.server_name)
        .await
}

fn connect_properties(settings: &Settings) -> ConnectProperties {
    let mut properties = ConnectProperties::new();
    properties.session_expiry_interval = Some(translate::seconds(settings.session_expiry));
    properties.receive_maximum = Some(settings.receive_max);
    properties.max_packet_size = Some(settings.packet_len_max);
    properties
}
