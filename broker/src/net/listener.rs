//! The listener: accepts, and waits for nobody.
//!
//! Every accepted socket goes to a task of its own at once; what a peer may cost before it has
//! shown who it is, is bounded by its slot among the unfinished.

use super::connection::{self, Connection, Ended, Place};
use super::handshake::{Stages, Why, shake_hands};
use super::unfinished::{Slot, Unfinished};
use crate::config::NetLimits;
use crate::engine::{CloseReason, ConnectionId, Limits};
use crate::shard::Outbox;
use crate::shard::Shards;
use crate::trust::{Generation, Live, draw_nonce};
use certs::{Certificate, VerifiedDevice};
use protocol::connection::ServerConnection;
use socket2::{SockRef, TcpKeepalive};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::field::display;

/// How long to pause when the system has no socket for us.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What all connections of one listener share.
pub(crate) struct Front {
    /// What it is called, if anything.
    pub(crate) name: Option<Arc<str>>,
    pub(crate) generation: Arc<Live<Generation>>,
    pub(crate) stages: Stages,
    pub(crate) unfinished: Arc<Unfinished>,
    pub(crate) limits: Limits,
    pub(crate) net: NetLimits,
    pub(crate) shards: Arc<Shards>,
    pub(crate) tasks: TaskTracker,
    /// Nobody who is not in yet is let in any more.
    pub(crate) stop: CancellationToken,
    pub(crate) counters: Arc<Counters>,
}

/// What happened at the door since the start.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    next_connection: AtomicU64,
    /// Connections that are open now, finished or not.
    pub(crate) open: AtomicUsize,
    /// Sockets accepted.
    pub(crate) accepted: AtomicU64,
    /// Closed at once: too many connections in all, or unfinished ones from one address.
    pub(crate) turned_away: AtomicU64,
    /// Handshakes that failed or were refused.
    pub(crate) refused: AtomicU64,
    /// Devices that sent a CONNECT.
    pub(crate) connected: AtomicU64,
}

/// Accepts connections until it is told to stop.
pub(crate) async fn accept(socket: TcpListener, front: Arc<Front>) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = front.stop.cancelled() => return,
            accepted = socket.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => welcome(&front, stream, peer),
            // Out of descriptors, or the peer has gone again: neither ends the listener.
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Gives a newcomer a slot and a task, or closes it.
fn welcome(front: &Arc<Front>, stream: TcpStream, peer: SocketAddr) {
    let counters = &front.counters;
    counters.accepted.fetch_add(1, Ordering::Relaxed);
    let open = counters.open.load(Ordering::Relaxed);
    let slot = if open < front.net.connections_max {
        front.unfinished.admit(peer.ip())
    } else {
        None
    };
    let Some(slot) = slot else {
        counters.turned_away.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(%peer, open, "turned away: too many connections");
        return;
    };
    counters.open.fetch_add(1, Ordering::Relaxed);
    let front = Arc::clone(front);
    let tasks = front.tasks.clone();
    tasks.spawn(async move {
        // In a box, which goes when it is done: a handshake takes more memory than what follows.
        let opened = Box::pin(attend(&front, stream, (peer, slot))).await;
        if let Some((connection, device)) = opened {
            let ended = connection::serve(connection).await;
            note_end(peer, &device, &ended);
        }
        front.counters.open.fetch_sub(1, Ordering::Relaxed);
    });
}

/// Brings a newcomer to its CONNECT, if it gets so far.
async fn attend(
    front: &Front,
    stream: TcpStream,
    (peer, mut slot): (SocketAddr, Slot),
) -> Option<(Box<Connection>, certs::Subject)> {
    tune(&stream, front.net.tcp_keep_alive);
    let generation = front.generation.get();
    let admitted = tokio::select! {
        admitted = shake_hands(stream, &mut slot, (&front.stages, &generation)) => admitted,
        () = front.stop.cancelled() => return None,
    };
    let (mut stream, device) = match admitted {
        Ok(admitted) => admitted,
        Err(refused) => {
            front.note_refusal(peer, &refused.why, refused.certificate.as_deref());
            return None;
        }
    };
    let protocol =
        ServerConnection::new(front.limits.packet_size_max, front.limits.topic_alias_max);
    let greeting = timeout(
        front.net.connect_timeout,
        connection::greet(&mut stream, protocol),
    )
    .await;
    drop(slot);
    let subject = device.subject().clone();
    match greeting {
        Ok(Ok(greeting)) => {
            front.counters.connected.fetch_add(1, Ordering::Relaxed);
            let connection = connection::open(stream, greeting, front.place(device));
            return Some((connection, subject));
        }
        Ok(Err(ended)) => note_end(peer, &subject, &ended),
        Err(_) => {
            let limit = front.net.connect_timeout;
            let reason = format_args!("no CONNECT within {limit:?}");
            tracing::warn!(%peer, device = %subject, %reason, "connection closed");
        }
    }
    None
}

impl Front {
    fn place(&self, device: VerifiedDevice) -> Place {
        let id = self
            .counters
            .next_connection
            .fetch_add(1, Ordering::Relaxed);
        Place {
            id: ConnectionId(id),
            nonce: draw_nonce(),
            listener: self.name.clone(),
            shard: Arc::clone(self.shards.of(device.subject())),
            device,
            outbox: Outbox::new(
                self.limits.outbox_bytes_max,
                self.limits.in_flight_bytes_max,
            ),
        }
    }

    fn note_refusal(&self, peer: SocketAddr, why: &Why, certificate: Option<&Certificate>) {
        self.counters.refused.fetch_add(1, Ordering::Relaxed);
        let subject = certificate.map(|certificate| display(&*certificate.subject));
        let sha256 = certificate.map(|certificate| display(Hex(&certificate.sha256)));
        tracing::warn!(%peer, subject, sha256, reason = %why, "refused");
    }
}

fn note_end(peer: SocketAddr, device: &certs::Subject, ended: &Ended) {
    let cause = std::error::Error::source(ended).map(display);
    match ended {
        Ended::Closed(CloseReason::Disconnected | CloseReason::Shutdown) => {
            tracing::debug!(%peer, %device, reason = %ended, "connection closed");
        }
        Ended::Closed(CloseReason::TakenOver) => {
            tracing::info!(%peer, %device, reason = %ended, "connection closed");
        }
        Ended::Closed(CloseReason::Refused(_)) => {
            tracing::warn!(%peer, %device, reason = %ended, "refused");
        }
        Ended::Closed(
            CloseReason::PublishDenied(_)
            | CloseReason::PublishRefused { .. }
            | CloseReason::Broke(_)
            | CloseReason::NoRoomForConnack
            | CloseReason::Distrusted(_)
            | CloseReason::PolicyChanged,
        )
        | Ended::Broke(_)
        | Ended::ShardFailed => {
            tracing::warn!(%peer, %device, cause, reason = %ended, "connection closed");
        }
        Ended::EndOfStream | Ended::Failed(_) | Ended::Silent => {
            tracing::info!(%peer, %device, cause, reason = %ended, "connection lost");
        }
    }
}

/// Small packets leave at once, and a peer that is gone for good is found in the end, whatever
/// keep-alive it asked MQTT for.
fn tune(stream: &TcpStream, keep_alive: Duration) {
    let keep_alive = TcpKeepalive::new()
        .with_time(keep_alive)
        .with_interval(keep_alive / 4);
    // A socket that is gone already will tell so when it is read.
    let _ = stream.set_nodelay(true);
    let _ = SockRef::from(stream).set_tcp_keepalive(&keep_alive);
}

struct Hex<'a>(&'a [u8]);

impl std::fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}
