//! The task in which `rumqttc` runs, and the ways to it.
//!
//! A poll of its event loop is never dropped half-way, because it may lose what it was writing.
//! When the task dies, of whatever a broker sent, that is a lost connection and no more. An
//! acknowledgement is passed on only while the connection lasts that its message came with: on any
//! other it would be a breach of the protocol.

use std::collections::BTreeSet;
use std::pin::pin;
use std::time::Duration;

use rumqttc::{
    AsyncClient, ClientError, ConnAck, ConnectionError, DisconnectProperties, DisconnectReasonCode,
    EventLoop, ManualAck, MqttOptions, Outgoing, Packet, StateError, mqttbytes,
};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tracing::Instrument;

use super::gated::Farewell;
use super::overheard::Overheard;
use super::{Failure, Leave, SessionAfter, WillAfter, translate};
use crate::error::ConnectError;

/// What is read ahead of us. When it is full, the socket is not read.
const SAID_MAX: usize = 64;

/// What more a broker says of where to go is cut off.
const REFERENCE_LEN_MAX: usize = 1024;

/// The near end.
pub(super) struct Engine {
    pub(super) client: AsyncClient,
    pub(super) said: mpsc::Receiver<Said>,
    /// It has been connected, and keeps its half of the session.
    pub(super) knows_session: bool,
    /// How often it has been connected, as far as we have heard.
    pub(super) connections: u32,
    attempts: mpsc::Sender<Attempt>,
    orders: mpsc::UnboundedSender<Order>,
    task: AbortHandle,
}

/// One connection to make.
pub(super) struct Attempt {
    pub(super) clean_start: bool,
    pub(super) keep_alive: Duration,
}

/// What is done in this order, while there is a connection.
pub(super) enum Order {
    /// Acknowledge a message that came with this connection.
    Acknowledge(u32, ManualAck),
    Leave(Leave),
    /// Say goodbye, and keep the session.
    HangUp(Farewell),
}

/// What the engine says.
pub(super) enum Said {
    Up(ConnAck),
    Message(rumqttc::Publish),
    Down(ConnectError, Condition),
    Closed,
    /// A message that the session came with was answered.
    Answered(u16, Result<(), Failure>),
    /// The broker takes fewer packet ids than the session may have. The connection is not used.
    Narrow(u16),
}

/// What is known of the session before the first connection stands.
pub(super) struct Known {
    /// The highest packet id in it.
    pub(super) packet_id_max: u16,
    pub(super) is_kept: Kept,
    /// Under these its own messages are sent.
    pub(super) restored: BTreeSet<u16>,
}

/// Whether packet ids are written down from the first connection on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    InMemory,
    OnDisk,
}

impl Known {
    fn is_too_large_for(&self, connack: &ConnAck) -> bool {
        connack.session_present && receive_max(connack) < self.packet_id_max
    }

    /// From now on the session is the engine's own.
    fn came_up(&mut self, connack: &ConnAck, options: &mut MqttOptions) {
        self.packet_id_max = 0;
        if self.is_kept == Kept::InMemory {
            options.clear_session_store();
        }
        if !connack.session_present {
            self.restored.clear();
        }
    }

    /// The last word on a message that the session came with.
    fn answer(&mut self, packet: &Packet) -> Option<Said> {
        let (packet_id, result) = translate::answer(packet)?;
        let is_ours = self.restored.remove(&packet_id);
        is_ours.then_some(Said::Answered(packet_id, result))
    }
}

pub(super) fn receive_max(connack: &ConnAck) -> u16 {
    let properties = connack.properties.as_ref();
    properties.and_then(|it| it.receive_max).unwrap_or(u16::MAX)
}

/// Whether an engine can be used again.
pub(super) enum Condition {
    Sound,
    /// It would send again what it cannot send.
    Spoiled,
}

impl Engine {
    /// Starts an engine that is not connected.
    pub(super) fn start(options: MqttOptions, session: Known, overheard: Overheard) -> Self {
        let (client, event_loop) = AsyncClient::builder(options).unbounded().build();
        let (attempts, next_attempt) = mpsc::channel(1);
        let (orders, next_order) = mpsc::unbounded_channel();
        let (say, said) = mpsc::channel(SAID_MAX);
        let inside = Inside {
            event_loop,
            client: client.clone(),
            orders: next_order,
            connections: 0,
            connected: None,
            session,
            overheard,
        };
        let task = tokio::spawn(inside.run(next_attempt, say).in_current_span()).abort_handle();
        Self {
            client,
            said,
            knows_session: false,
            connections: 0,
            attempts,
            orders,
            task,
        }
    }

    // An engine that has stopped says so itself.

    pub(super) fn connect(&self, attempt: Attempt) {
        let _ = self.attempts.try_send(attempt);
    }

    pub(super) fn order(&self, order: Order) {
        let _ = self.orders.send(order);
    }
}

#[cfg(test)]
impl Engine {
    pub(super) fn kill(&self) {
        self.task.abort();
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The far end.
struct Inside {
    event_loop: EventLoop,
    client: AsyncClient,
    orders: mpsc::UnboundedReceiver<Order>,
    connections: u32,
    connected: Option<u32>,
    session: Known,
    overheard: Overheard,
}

impl Inside {
    async fn run(mut self, mut attempts: mpsc::Receiver<Attempt>, say: mpsc::Sender<Said>) {
        while let Some(attempt) = attempts.recv().await {
            self.prepare(&attempt);
            let last = self.connection(&say).await;
            self.connected = None;
            if self.session.is_kept == Kept::OnDisk && matches!(last, Said::Down(..)) {
                // All that was handed over is answered by this, so that it can be told apart from
                // what goes on with the session.
                drop(self);
                let _ = say.send(last).await;
                return;
            }
            if say.send(last).await.is_err() {
                return;
            }
        }
    }

    fn prepare(&mut self, attempt: &Attempt) {
        let options = &mut self.event_loop.options;
        options.set_clean_start(attempt.clean_start);
        // What the last broker put in its place ended with its connection.
        let keep_alive = u16::try_from(attempt.keep_alive.as_secs()).unwrap_or(u16::MAX);
        options.set_keep_alive(keep_alive);
    }

    /// One connection, to its end.
    async fn connection(&mut self, say: &mpsc::Sender<Said>) -> Said {
        loop {
            let said = match self.next_event().await {
                Some(Ok(rumqttc::Event::Incoming(Packet::ConnAck(connack)))) => {
                    if self.session.is_too_large_for(&connack) {
                        // Nothing of it has been sent yet.
                        return Said::Narrow(receive_max(&connack));
                    }
                    self.session.came_up(&connack, &mut self.event_loop.options);
                    self.connections = self.connections.wrapping_add(1);
                    self.connected = Some(self.connections);
                    Said::Up(connack)
                }
                Some(Ok(rumqttc::Event::Incoming(Packet::Publish(packet)))) => {
                    Said::Message(packet)
                }
                Some(Ok(rumqttc::Event::Outgoing(Outgoing::Disconnect))) => return Said::Closed,
                Some(Ok(rumqttc::Event::Incoming(packet))) => match self.session.answer(&packet) {
                    Some(said) => said,
                    None => continue,
                },
                Some(Ok(_)) => continue,
                Some(Err(error)) => {
                    let condition = condition(&error);
                    let error = translate::down(error).toward(|| {
                        let to = self.overheard.server_reference()?;
                        Some(translate::plain(&to, REFERENCE_LEN_MAX))
                    });
                    return Said::Down(error, condition);
                }
                None => {
                    // A broker that does not read holds us in a write, where no ping comes.
                    self.event_loop.clean();
                    return Said::Down(ConnectError::TimedOut, Condition::Sound);
                }
            };
            if say.send(said).await.is_err() {
                return Said::Closed;
            }
        }
    }

    /// Polls to the next event, and carries out orders meanwhile; `None` when nothing happens.
    async fn next_event(&mut self) -> Option<Result<rumqttc::Event, ConnectionError>> {
        let Self {
            event_loop,
            client,
            orders,
            connected,
            ..
        } = self;
        let silence_max = silence_max(&event_loop.options);
        let mut event = pin!(timeout(silence_max, event_loop.poll()));
        loop {
            tokio::select! {
                event = &mut event => return event.ok(),
                Some(order) = orders.recv() => {
                    // A failure means that the event loop is gone, and we with it.
                    let _ = carry_out(order, client, *connected);
                }
            }
        }
    }
}

pub(super) fn carry_out(
    order: Order,
    client: &AsyncClient,
    connected: Option<u32>,
) -> Result<(), ClientError> {
    match order {
        Order::Acknowledge(connection, ack) if connected == Some(connection) => {
            client.try_manual_ack(ack)
        }
        Order::Leave(leave) if connected.is_some() => disconnect(client, leave),
        Order::HangUp(farewell) if connected.is_some() => {
            farewell.say();
            Ok(())
        }
        Order::Acknowledge(..) | Order::Leave(_) | Order::HangUp(_) => Ok(()),
    }
}

fn disconnect(client: &AsyncClient, leave: Leave) -> Result<(), ClientError> {
    let reason = match leave.will {
        WillAfter::Forgotten => DisconnectReasonCode::NormalDisconnection,
        WillAfter::Published => DisconnectReasonCode::DisconnectWithWillMessage,
    };
    let properties = DisconnectProperties {
        session_expiry_interval: match leave.session {
            SessionAfter::Kept => None,
            SessionAfter::Ended => Some(0),
        },
        reason_string: None,
        user_properties: Vec::new(),
        server_reference: None,
    };
    match leave.wait {
        Some(wait) => client.try_disconnect_with_properties_timeout(reason, properties, wait),
        None => client.try_disconnect_now_with_properties(reason, properties),
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
