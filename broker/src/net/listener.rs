//! The listener: accepts, and waits for nobody.
//!
//! Every accepted socket goes to a task of its own at once; what a peer may cost before it has
//! shown who it is, is bounded by its slot among the unfinished.

use super::connection::{self, Connection, Place};
use super::door::{Door, Newcomer, Reputation, Rules, Slot};
use super::handshake::shake_hands;
use super::report::Guest;
use crate::engine::{ConnectionId, Limits};
use crate::shard::Outbox;
use crate::shard::Shards;
use crate::trust::{Generation, Live, draw_nonce};
use certs::VerifiedDevice;
use protocol::Text;
use protocol::connection::ServerConnection;
use socket2::{SockRef, TcpKeepalive};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long to pause when the system has no socket for us.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// So many are accepted before others have their turn: in a flood, those who are in already would
/// wait for all who come.
const IN_A_ROW_MAX: usize = 2;

/// What all connections of one listener share.
pub(crate) struct Front {
    /// What it is called, if anything.
    pub(crate) name: Option<Arc<str>>,
    pub(crate) generation: Arc<Live<Generation>>,
    pub(crate) door: Arc<Door>,
    pub(crate) shards: Arc<Shards>,
    pub(crate) tasks: TaskTracker,
    /// Nobody who is not in yet is let in any more.
    pub(crate) stop: CancellationToken,
}

/// Accepts connections until it is told to stop.
pub(crate) async fn accept(socket: TcpListener, front: Arc<Front>) {
    for number in 1_usize.. {
        if number.is_multiple_of(IN_A_ROW_MAX) {
            yield_now().await;
        }
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
    let counters = &front.door.counters;
    counters.accepted.fetch_add(1, Ordering::Relaxed);
    let rules = front.door.rules.get();
    let Newcomer { slot, counted } = match front.door.admit(peer.ip(), &rules) {
        Ok(newcomer) => newcomer,
        Err(why) => return front.door.note_turned_away(peer, why),
    };
    counters.open.fetch_add(1, Ordering::Relaxed);
    let reputation = slot.reputation;
    let front = Arc::clone(front);
    let tasks = front.tasks.clone();
    tasks.spawn(async move {
        // In a box, which goes when it is done: a handshake takes more memory than what follows.
        let attended = Box::pin(attend((&front, rules), stream, (peer, slot)));
        let opened = match reputation {
            Reputation::Stranger => Arc::clone(&front.door.turns).share(attended).await,
            Reputation::Known => attended.await,
        };
        if let Some((connection, guest)) = opened {
            let (ended, let_go) = connection::serve(connection).await;
            front.door.note_let_go(let_go);
            front.door.note_end(&guest, &ended);
        }
        drop(counted);
        front.door.counters.open.fetch_sub(1, Ordering::Relaxed);
    });
}

/// Brings a newcomer to its CONNECT, if it gets so far.
async fn attend(
    (front, rules): (&Front, Arc<Rules>),
    stream: TcpStream,
    (peer, mut slot): (SocketAddr, Slot),
) -> Option<(Box<Connection>, Box<Guest>)> {
    // A socket that is gone already will tell so when it is read.
    let _ = stream.set_nodelay(true);
    let generation = front.generation.get();
    let admitted = tokio::select! {
        admitted = shake_hands(stream, &mut slot, (&rules.stages, &generation)) => admitted,
        () = front.stop.cancelled() => return None,
    };
    let (mut stream, device) = match admitted {
        Ok(admitted) => admitted,
        Err(refused) => {
            front.door.note_refusal(peer, &refused);
            return None;
        }
    };
    front.door.know(peer.ip());
    keep_alive(stream.get_ref().0, rules.net.tcp_keep_alive);
    let (limits, connect_timeout) = (&rules.engine, rules.net.connect_timeout);
    let protocol = ServerConnection::new(limits.packet_size_max, limits.topic_alias_max);
    let greeting = timeout(connect_timeout, connection::greet(&mut stream, protocol)).await;
    drop(slot);
    let mut guest = Box::new(Guest {
        peer,
        device: device.clone(),
        client_id: Text::default(),
    });
    match greeting {
        Ok(Ok(greeting)) => {
            guest.client_id = greeting.connect.client_id.detached();
            front.door.note_connected(&guest);
            let connection =
                connection::open(stream, greeting, front.place(device, (peer, limits)));
            return Some((connection, guest));
        }
        Ok(Err(ended)) => front.door.note_end(&guest, &ended),
        Err(_) => front.door.note_no_connect(&guest, connect_timeout),
    }
    None
}

impl Front {
    fn place(&self, device: VerifiedDevice, (peer, limits): (SocketAddr, &Limits)) -> Place {
        let id = self
            .door
            .counters
            .next_connection
            .fetch_add(1, Ordering::Relaxed);
        Place {
            peer: Some(peer),
            id: ConnectionId(id),
            nonce: draw_nonce(),
            listener: self.name.clone(),
            shard: Arc::clone(self.shards.of(device.subject())),
            device,
            rates: (limits.publish_rate_max, limits.publish_bytes_rate_max),
            outbox: Outbox::new(limits.outbox_bytes_max, limits.in_flight_bytes_max),
        }
    }
}

/// A peer that is gone for good is found in the end, whatever keep-alive it asked MQTT for. Who is
/// not in yet has less time anyway.
fn keep_alive(stream: &TcpStream, after: Duration) {
    let keep_alive = TcpKeepalive::new()
        .with_time(after)
        .with_interval(after / 4);
    // As above.
    let _ = SockRef::from(stream).set_tcp_keepalive(&keep_alive);
}
