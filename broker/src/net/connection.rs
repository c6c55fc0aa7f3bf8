//! One connection of a verified device: a task that reads, hands over, takes and writes.
//!
//! It batches: all that one read brought is one hand-over, all that was said since is one write.
//! It decides nothing: that is the engine's.

use super::brake::{Brake, Released};
use super::handshake::Stream;
use super::listening::Listening;
use super::speaking::Speaking;
use crate::engine::{Arrival, CloseReason, ConnectionId, Input};
use crate::shard::{Outbox, Shard, Told};
use bytes::BytesMut;
use certs::VerifiedDevice;
use protocol::connection::{KeepAlive, ServerConnection};
use protocol::packet::{Connack, Connect, Packet, Version};
use protocol::{ProtocolError, ReasonCode, wire};
use socket2::SockRef;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{self, Instant, Sleep};

/// How long a peer may take to hear our last word and to close its side.
const CLOSE_TIME_MAX: Duration = Duration::from_millis(900);
/// What a peer has not taken by then of what the system holds for it, it does not get.
const FORGET_AFTER: Duration = Duration::from_secs(10);
/// How long the socket of a peer that does not read may take for what it is told last.
const LAST_WORD_TIME_MAX: Duration = Duration::from_millis(600);
/// A peer that does not read may have so many PINGREQ unanswered before it is not heard: 128 KiB
/// of answers.
const PINGS_MAX: usize = 64 * 1024;

/// A connection whose CONNECT has been handed to its shard.
pub(super) struct Connection {
    stream: Stream,
    shard: Arc<Shard>,
    outbox: Arc<Outbox>,
    listening: Listening,
    speaking: Speaking,
    patience: Patience,
    brake: Brake,
    /// When it must be gone, once the engine let go of it while its socket took nothing.
    last_moment: Option<Pin<Box<Sleep>>>,
    unflushed: bool,
    /// Too much waited for the peer when it was to be heard last.
    deaf: bool,
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    /// The engine let go of it.
    #[error(transparent)]
    Closed(CloseReason),
    /// The peer closed its side without a DISCONNECT.
    #[error("the peer closed the connection")]
    EndOfStream,
    /// The network or TLS failed.
    #[error("the connection failed")]
    Failed(#[source] io::Error),
    /// The peer's first packet was none that we could take.
    #[error("the peer broke the protocol")]
    Broke(#[source] ProtocolError),
    /// Nothing came for one and a half times the keep-alive.
    #[error("nothing came within the keep-alive")]
    Silent,
    /// The shard takes no more inputs.
    #[error("the broker is failing")]
    ShardFailed,
}

/// The first packet of a device and what is needed to go on from it.
pub(super) struct Greeting {
    pub(super) connect: Box<Connect>,
    pub(super) protocol: ServerConnection,
    pub(super) buffer: BytesMut,
}

/// What became of our last word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Goodbye {
    /// The socket did not take it.
    Unsaid,
    /// The peer has yet to close its side.
    Said,
    /// It has.
    Answered,
}

/// How a socket was let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LetGo {
    InPeace,
    /// The peer had not gone.
    Reset,
}

/// Where a connection belongs and what it may use.
pub(super) struct Place {
    pub(super) peer: Option<SocketAddr>,
    pub(super) id: ConnectionId,
    pub(super) device: VerifiedDevice,
    pub(super) nonce: u64,
    pub(super) shard: Arc<Shard>,
    pub(super) outbox: Outbox,
    pub(super) listener: Option<Arc<str>>,
    /// How much its device may publish in a second, in messages and in bytes; 0 is any number.
    pub(super) rates: (u32, u64),
}

/// Reads until the CONNECT is whole.
///
/// # Errors
/// If the peer sends anything else or nothing; a client that can be told is told.
pub(super) async fn greet(
    stream: &mut Stream,
    mut protocol: ServerConnection,
) -> Result<Greeting, Ended> {
    let mut buffer = BytesMut::new();
    loop {
        let mut arrived = buffer.freeze();
        match protocol.receive(&mut arrived) {
            Ok(Some(Packet::Connect(connect))) => {
                return Ok(Greeting {
                    connect,
                    protocol,
                    buffer: BytesMut::from(&*arrived),
                });
            }
            // `receive` lets nothing but a CONNECT come first.
            Ok(Some(_)) => return Err(Ended::Broke(ProtocolError::ConnectNotFirst)),
            Ok(None) => {}
            Err(error) => {
                refuse(stream, &error).await;
                return Err(Ended::Broke(error));
            }
        }
        buffer = BytesMut::from(arrived);
        if stream.read_buf(&mut buffer).await.map_err(Ended::Failed)? == 0 {
            return Err(Ended::EndOfStream);
        }
    }
}

/// Tells a client whose CONNECT could not be read why, where its version has words for it.
async fn refuse(stream: &mut Stream, error: &ProtocolError) {
    let version = match error {
        // 3.1 and what never was a version: the answer of 3.1.1 [MQTT-3.1.2-2].
        ProtocolError::UnsupportedProtocolVersion | ProtocolError::ClientIdMissing => Version::V311,
        _ => return close(stream, &mut BytesMut::new()).await,
    };
    let mut answer = BytesMut::new();
    let connack = Packet::Connack(Box::new(Connack::refused(error.reason_code())));
    // A CONNACK without properties always fits.
    let _ = wire::write(&connack, version, &mut answer);
    close(stream, &mut answer).await;
}

/// Makes a connection of what a device has said first. In a box, and not by an `async fn`: what
/// it was to get here, many times as large, is not kept while it is served.
pub(super) fn open(stream: Stream, greeting: Greeting, place: Place) -> Box<Connection> {
    let Greeting {
        connect,
        protocol,
        buffer,
    } = greeting;
    let outbox = Arc::new(place.outbox);
    place.shard.open(place.id, Arc::clone(&outbox));
    let (brake, batch_len_max) = Brake::of(place.rates.0, place.rates.1);
    let mut connection = Box::new(Connection {
        brake,
        last_moment: None,
        speaking: Speaking::to(&connect),
        patience: Patience::new(connect.keep_alive),
        listening: Listening::new(place.id, protocol, buffer, batch_len_max),
        shard: place.shard,
        stream,
        outbox,
        unflushed: false,
        deaf: false,
    });
    let arrival = Arrival {
        peer: place.peer,
        connection: place.id,
        device: place.device,
        connect: *connect,
        listener: place.listener,
        nonce: place.nonce,
    };
    connection.listening.begin(arrival);
    connection
}

/// Serves a connection from its CONNECT to its end.
pub(super) async fn serve(mut connection: Box<Connection>) -> (Ended, LetGo) {
    let ended = connection.run().await;
    connection.shard.close(connection.listening.connection);
    let mut last = connection.speaking.take_buffer();
    let deadline = connection.last_moment.as_ref().map(|it| it.deadline());
    let deadline = deadline.unwrap_or_else(|| Instant::now() + CLOSE_TIME_MAX);
    let goodbye = close_by(deadline, &mut connection.stream, &mut last).await;
    let let_go = let_go(&connection.stream, goodbye, &ended);
    (ended, let_go)
}

impl Connection {
    async fn run(&mut self) -> Ended {
        self.listening.decode();
        let ended = poll_fn(|cx| self.poll_exchange(cx)).await;
        if matches!(ended, Ended::Silent) {
            let words = ended.to_string();
            self.speaking.finish(ReasonCode::KeepAliveTimeout, &words);
        }
        ended
    }

    /// Listens and speaks until neither can go on.
    fn poll_exchange(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        loop {
            let listened = self.poll_listen(cx);
            if let Poll::Ready(Err(ended)) = listened {
                return Poll::Ready(ended);
            }
            let spoken = self.poll_speak(cx);
            if let Poll::Ready(Err(ended)) = spoken {
                return Poll::Ready(ended);
            }
            // It was deaf until all was written: nobody wakes us for what has come meanwhile.
            let hears_again = self.deaf && !self.is_deaf() || self.brake.is_answered(&self.outbox);
            if listened.is_pending() && spoken.is_pending() && !hears_again {
                return self.poll_end(cx);
            }
        }
    }

    /// Ready when there is an end to waiting, for the client or for its socket.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        let is_blocked = self.unflushed || !self.speaking.unwritten().is_empty();
        if is_blocked && let Poll::Ready(ended) = self.poll_last_moment(cx) {
            return Poll::Ready(ended);
        }
        if self.brake.is_on() {
            return Poll::Pending;
        }
        self.patience.poll_end(cx)
    }

    /// Ready when the engine let go of us and the socket has taken no last word in good time: who
    /// does not read cannot stay for that, whatever keep-alive it has.
    fn poll_last_moment(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        let why = match &self.speaking.closed {
            Some(why) => why.clone(),
            None => ready!(self.outbox.poll_close(cx)),
        };
        let alarm = self
            .last_moment
            .get_or_insert_with(|| Box::pin(time::sleep(LAST_WORD_TIME_MAX)));
        ready!(alarm.as_mut().poll(cx));
        Poll::Ready(Ended::Closed(why))
    }

    /// One read and its hand-over.
    fn poll_listen(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Ended>> {
        if self.listening.has_inputs() {
            // What the shard says to us at once, we take at once.
            if self.outbox.look_soon() == Told::ToRest {
                self.brake.fit();
            }
            let inputs = self.listening.inputs();
            let is_judged = inputs.iter().any(|it| matches!(it, Input::Packets { .. }));
            let handed_over = ready!(self.shard.poll_hand_over(inputs, cx));
            handed_over.map_err(|_| Ended::ShardFailed)?;
            if is_judged {
                self.brake.handed_over();
            }
        }
        self.deaf = self.is_deaf();
        // After the last input the engine lets go of us.
        if self.deaf || self.listening.finished {
            return Poll::Pending;
        }
        if ready!(self.brake.poll_release(&self.outbox, cx)) == Released::Now {
            // It could say nothing.
            self.patience.heard();
        }
        if self.listening.has_more() {
            self.listening.decode();
            return Poll::Ready(Ok(()));
        }
        if ready!(self.listening.poll_read(&mut self.stream, cx)).map_err(Ended::Failed)? == 0 {
            return Poll::Ready(Err(Ended::EndOfStream));
        }
        if self.listening.decode() {
            self.patience.heard();
        }
        Poll::Ready(Ok(()))
    }

    /// Whether a peer that does not hear us is not heard, either.
    fn is_deaf(&self) -> bool {
        self.listening.pings > PINGS_MAX || self.outbox.is_crowded()
    }

    /// Writes all that was said, as far as the socket takes it. Pending when that is done.
    fn poll_speak(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Ended>> {
        loop {
            ready!(self.poll_write(cx)).map_err(Ended::Failed)?;
            if self.speaking.greeted && self.listening.pings > 0 {
                let pings = std::mem::take(&mut self.listening.pings);
                self.speaking.answer_pings(pings);
                continue;
            }
            let next = self
                .speaking
                .poll_next(&self.outbox, self.shard.durable(), cx);
            if next.is_pending() {
                break;
            }
            if let Some(keep_alive) = self.speaking.server_keep_alive.take() {
                self.patience = Patience::new(keep_alive);
            }
        }
        if self.unflushed {
            ready!(Pin::new(&mut self.stream).poll_flush(cx)).map_err(Ended::Failed)?;
            self.unflushed = false;
        }
        if self.speaking.take_drained() {
            let connection = self.listening.connection;
            self.shard.tell(Input::Drained { connection });
        }
        match self.speaking.closed.take() {
            Some(reason) => Poll::Ready(Err(Ended::Closed(reason))),
            None => Poll::Pending,
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.speaking.unwritten().is_empty() {
            let written =
                ready!(Pin::new(&mut self.stream).poll_write(cx, self.speaking.unwritten()))?;
            self.speaking.written(written);
            self.unflushed = true;
        }
        Poll::Ready(Ok(()))
    }
}

/// Writes what is left, says goodbye to TLS, sends FIN, and waits a moment for the peer's, so
/// that what it had under way does not turn our last word into a reset.
async fn close(stream: &mut Stream, last: &mut BytesMut) {
    close_by(Instant::now() + CLOSE_TIME_MAX, stream, last).await;
}

/// The same, with an end to waiting.
async fn close_by(deadline: Instant, stream: &mut Stream, last: &mut BytesMut) -> Goodbye {
    let mut said = Goodbye::Unsaid;
    let goodbye = async {
        stream.write_all_buf(last).await?;
        stream.shutdown().await?;
        said = Goodbye::Said;
        let mut ignored = [0; 512];
        while stream.read(&mut ignored).await? > 0 {}
        said = Goodbye::Answered;
        Ok::<_, io::Error>(())
    };
    // Whether the peer hears it is no longer our concern.
    let _ = time::timeout_at(deadline, goodbye).await;
    said
}

/// Lets go of the socket. Who was cut off and has not gone gets none of what waits for it in the
/// system either: it is not to read on for minutes.
fn let_go(stream: &Stream, goodbye: Goodbye, ended: &Ended) -> LetGo {
    // A socket that is gone already needs neither.
    let socket = SockRef::from(stream.get_ref().0);
    let is_reset = match goodbye {
        Goodbye::Answered => false,
        Goodbye::Said => ended.is_cut(),
        Goodbye::Unsaid => true,
    };
    if is_reset {
        let _ = socket.set_linger(Some(Duration::ZERO));
        return LetGo::Reset;
    }
    let _ = socket.set_tcp_user_timeout(Some(FORGET_AFTER));
    LetGo::InPeace
}

impl Ended {
    /// Whether we ended it, of a client that had a session and did not want to go.
    fn is_cut(&self) -> bool {
        match self {
            Self::Closed(
                CloseReason::Disconnected | CloseReason::Refused(_) | CloseReason::NoRoomForConnack,
            )
            | Self::EndOfStream
            | Self::Failed(_)
            | Self::Broke(_) => false,
            Self::Closed(_) | Self::Silent | Self::ShardFailed => true,
        }
    }
}

/// How long we wait for a silent client.
#[derive(Debug)]
struct Patience {
    keep_alive: KeepAlive,
    alarm: Option<Pin<Box<Sleep>>>,
}

impl Patience {
    fn new(keep_alive: u16) -> Self {
        Self {
            keep_alive: KeepAlive::new(keep_alive, Instant::now().into_std()),
            alarm: None,
        }
    }

    fn heard(&mut self) {
        self.keep_alive.heard(Instant::now().into_std());
    }

    /// Ready when nothing came for too long. The alarm is set anew only when it rings, not at
    /// every packet.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        let Some(deadline) = self.keep_alive.deadline() else {
            return Poll::Pending;
        };
        let deadline = Instant::from_std(deadline);
        let alarm = self
            .alarm
            .get_or_insert_with(|| Box::pin(time::sleep_until(deadline)));
        loop {
            ready!(alarm.as_mut().poll(cx));
            if Instant::now() >= deadline {
                return Poll::Ready(Ended::Silent);
            }
            alarm.as_mut().reset(deadline);
        }
    }
}
