//! One connection of the floor: a batch is read, answered and passed on as a batch.

use super::answer::{Asked, answer};
use super::outbox::Outbox;
use super::routes::{Route, Routes};
use crate::wire::{Duplex, Malformed, split};
use bytes::Bytes;
use protocol::packet::Version;
use std::io;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// With more than this still to write, what waits in the outbox stays there.
const WRITING_MAX: usize = 256 * 1024;

/// A connection that has shown its certificate.
#[derive(Debug)]
pub(super) struct Connection {
    wire: Duplex<TlsStream<TcpStream>>,
    peer: Peer,
}

/// What is known of who is at the other end.
#[derive(Debug)]
struct Peer {
    version: Version,
    routes: Arc<Routes>,
    route: Route,
    outbox: Arc<Outbox>,
}

/// Why a connection ends; nobody asks.
#[derive(Debug)]
struct Ended;

impl From<io::Error> for Ended {
    fn from(_: io::Error) -> Self {
        Self
    }
}

impl From<Malformed> for Ended {
    fn from(_: Malformed) -> Self {
        Self
    }
}

impl Connection {
    pub(super) fn new(stream: TlsStream<TcpStream>, routes: Arc<Routes>) -> Self {
        let (route, outbox) = (Route::default(), Arc::default());
        let peer = Peer {
            version: Version::V5,
            routes,
            route,
            outbox,
        };
        Self {
            wire: Duplex::new(stream),
            peer,
        }
    }

    /// Serves until either side ends it.
    pub(super) async fn serve(mut self) {
        while self.turn().await.is_ok() {}
        self.peer.routes.leave(&self.peer.outbox);
    }

    async fn turn(&mut self) -> Result<(), Ended> {
        let outbox = Arc::clone(&self.peer.outbox);
        let may_take = self.wire.out().len() < WRITING_MAX;
        tokio::select! {
            turn = self.wire.turn(|bytes, out| self.peer.take(bytes, out)) => turn,
            () = outbox.filled(), if may_take => {
                outbox.take(self.wire.out()).map_err(|_| Ended)?;
                Ok(self.wire.send().await?)
            }
        }
    }
}

impl Peer {
    /// Answers every frame, and passes each run of messages on in one chunk.
    fn take(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<usize, Ended> {
        let mut rest = bytes;
        // Where the messages begin that were not passed on yet.
        let mut run = None;
        while let Some((frame, after)) = split(rest)? {
            let at = bytes.len() - rest.len();
            match answer(&frame, &mut self.version, out)? {
                Asked::PassOn(topic) => {
                    if frame.is_retained() {
                        let len = rest.len() - after.len();
                        self.routes
                            .retain(topic, rest.get(..len).unwrap_or_default());
                    }
                    if run.is_none() {
                        self.routes.refresh(&mut self.route, topic);
                        run = Some(at);
                    }
                }
                Asked::Nothing => self.pass_on(run.take().and_then(|run| bytes.get(run..at))),
                Asked::Subscribe(filter) => self.routes.subscribe(filter, &self.outbox),
                Asked::Close => return Err(Ended),
            }
            rest = after;
        }
        let taken = bytes.len() - rest.len();
        self.pass_on(run.and_then(|run| bytes.get(run..taken)));
        Ok(taken)
    }

    fn pass_on(&self, run: Option<&[u8]>) {
        let Some(chunk) = run.map(Bytes::copy_from_slice) else {
            return;
        };
        for outbox in &self.route.outboxes {
            outbox.push(chunk.clone());
        }
    }
}
