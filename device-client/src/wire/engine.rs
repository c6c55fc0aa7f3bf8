//! The task in which a library runs, and the ways to it.
//!
//! A poll of its event loop is never dropped half-way, because it may lose what it was writing.
//! When the task dies, of whatever a broker sent, that is a lost connection and no more. An
//! acknowledgement is passed on only while the connection lasts that its message came with: on any
//! other it would be a breach of the protocol.

use std::collections::BTreeSet;
use std::pin::pin;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tracing::Instrument;

use super::adopt::Adopted;
use super::gated::Farewell;
use super::library::{Asker, Condition, Heard, Library, Lost, Welcome, plain};
use super::overheard::Overheard;
use super::settings::Settings;
use super::{Failure, Incoming, Leave, Receipt};
use crate::error::ConnectError;

/// What is read ahead of us. When it is full, the socket is not read.
const SAID_MAX: usize = 64;

/// What more a broker says of where to go is cut off.
const REFERENCE_LEN_MAX: usize = 1024;

/// The near end.
pub(super) struct Engine<L: Library> {
    pub(super) library: L::Asker,
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
pub(crate) struct Attempt {
    pub(super) clean_start: bool,
    pub(super) keep_alive: Duration,
}

impl Attempt {
    pub(super) fn keep_alive_seconds(&self) -> u16 {
        u16::try_from(self.keep_alive.as_secs()).unwrap_or(u16::MAX)
    }
}

/// What is done in this order, while there is a connection.
pub(super) enum Order {
    /// Acknowledge a message that came with this connection.
    Acknowledge(u32, Receipt),
    Leave(Leave),
    /// Say goodbye, and keep the session.
    HangUp(Farewell),
}

/// What the engine says.
pub(super) enum Said {
    Up(Welcome),
    /// In a box: a channel keeps room for many of its items, and nearly always in vain.
    Message(Box<Incoming>),
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
    fn is_too_large_for(&self, welcome: &Welcome) -> bool {
        welcome.session_present && welcome.receive_max < self.packet_id_max
    }

    /// From now on the session is the library's own.
    fn came_up(&mut self, welcome: &Welcome, library: &mut impl Library) {
        self.packet_id_max = 0;
        if self.is_kept == Kept::InMemory {
            library.own_session();
        }
        if !welcome.session_present {
            self.restored.clear();
        }
    }
}

impl<L: Library> Engine<L> {
    /// Starts an engine that is not connected.
    pub(super) fn start(settings: &Settings, adopted: Adopted, session: Known) -> Self {
        let (asker, library) = L::start(settings, adopted.packet_id_max, adopted);
        let (attempts, next_attempt) = mpsc::channel(1);
        let (orders, next_order) = mpsc::unbounded_channel();
        let (say, said) = mpsc::channel(SAID_MAX);
        let inside = Inside {
            library,
            asker: asker.clone(),
            orders: next_order,
            connections: 0,
            connected: None,
            session,
            overheard: settings.overheard.clone(),
        };
        let task = tokio::spawn(inside.run(next_attempt, say).in_current_span()).abort_handle();
        Self {
            library: asker,
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
impl<L: Library> Engine<L> {
    pub(super) fn kill(&self) {
        self.task.abort();
    }
}

impl<L: Library> Drop for Engine<L> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The far end.
struct Inside<L: Library> {
    library: L,
    asker: L::Asker,
    orders: mpsc::UnboundedReceiver<Order>,
    connections: u32,
    connected: Option<u32>,
    session: Known,
    overheard: Overheard,
}

impl<L: Library> Inside<L> {
    async fn run(mut self, mut attempts: mpsc::Receiver<Attempt>, say: mpsc::Sender<Said>) {
        while let Some(attempt) = attempts.recv().await {
            self.library.prepare(&attempt);
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

    /// One connection, to its end.
    async fn connection(&mut self, say: &mpsc::Sender<Said>) -> Said {
        loop {
            let said = match self.next().await {
                Some(Ok(Heard::Welcome(welcome))) => {
                    if self.session.is_too_large_for(&welcome) {
                        // Nothing of it has been sent yet.
                        return Said::Narrow(welcome.receive_max);
                    }
                    self.session.came_up(&welcome, &mut self.library);
                    self.connections = self.connections.wrapping_add(1);
                    self.connected = Some(self.connections);
                    Said::Up(welcome)
                }
                Some(Ok(Heard::Message(incoming))) => Said::Message(incoming),
                Some(Ok(Heard::Left)) => return Said::Closed,
                Some(Ok(Heard::Answer(packet_id, result))) => {
                    if !self.session.restored.remove(&packet_id) {
                        continue;
                    }
                    Said::Answered(packet_id, result)
                }
                Some(Ok(Heard::Nothing)) => continue,
                Some(Err(Lost { error, condition })) => {
                    let error = error.toward(|| {
                        let to = self.overheard.server_reference()?;
                        Some(plain(&to, REFERENCE_LEN_MAX))
                    });
                    return Said::Down(error, condition);
                }
                None => {
                    // A broker that does not read holds us in a write, where no ping comes.
                    self.library.clean();
                    return Said::Down(ConnectError::TimedOut, Condition::Sound);
                }
            };
            if say.send(said).await.is_err() {
                return Said::Closed;
            }
        }
    }

    /// Polls to what is heard next, and carries out orders meanwhile; `None` when nothing happens.
    async fn next(&mut self) -> Option<Result<Heard, Lost>> {
        let Self {
            library,
            asker,
            orders,
            connected,
            ..
        } = self;
        let silence_max = library.silence_max();
        let mut heard = pin!(timeout(silence_max, library.poll()));
        loop {
            tokio::select! {
                heard = &mut heard => return heard.ok(),
                Some(order) = orders.recv() => carry_out(order, asker, *connected),
            }
        }
    }
}

pub(super) fn carry_out(order: Order, library: &impl Asker, connected: Option<u32>) {
    match order {
        Order::Acknowledge(connection, receipt) if connected == Some(connection) => {
            library.acknowledge(receipt);
        }
        Order::Leave(leave) if connected.is_some() => library.leave(leave),
        Order::HangUp(farewell) if connected.is_some() => farewell.say(),
        Order::Acknowledge(..) | Order::Leave(_) | Order::HangUp(_) => {}
    }
}
