//! The door: connections are let in, shake hands, and are served; each in a task of its own.
//!
//! The accept loop waits for no peer: whoever is too many is closed, whoever is too slow is closed
//! by its own deadline.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::Shared;
use super::addresses::Entered;
use super::http::Peer;
use super::limits::Counted;

/// No head of a request is longer.
const HEAD_LEN_MAX: usize = 16 * 1024;

/// When the system has no descriptor left, the loop looks again after this long.
const OUT_OF_DESCRIPTORS: Duration = Duration::from_millis(100);

/// How long connections may finish what they do when the server stops.
const STOP_TIME_MAX: Duration = Duration::from_secs(5);

/// Serves until `stop` changes, and then lets connections finish.
pub(super) async fn serve(
    listener: TcpListener,
    (shared, router): (Arc<Shared>, Router),
    mut stop: watch::Receiver<()>,
) {
    let mut tasks = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.changed() => break,
        };
        // Those that have ended are forgotten.
        while tasks.try_join_next().is_some() {}
        let Ok((socket, peer)) = accepted else {
            sleep(OUT_OF_DESCRIPTORS).await;
            continue;
        };
        match shared.addresses.enter(peer.ip(), Instant::now()) {
            Ok(entered) => {
                shared.counters.count(Counted::Connections);
                let connection = Connection {
                    shared: Arc::clone(&shared),
                    router: router.clone(),
                    entered,
                    stop: stop.clone(),
                };
                tasks.spawn(connection.run(socket));
            }
            Err(limit) => shared.counters.count(limit),
        }
    }
    drop(listener);
    let finish = async { while tasks.join_next().await.is_some() {} };
    // Whoever is not done by then is dropped with the set.
    let _ = timeout(STOP_TIME_MAX, finish).await;
}

struct Connection {
    shared: Arc<Shared>,
    router: Router,
    entered: Entered,
    stop: watch::Receiver<()>,
}

impl Connection {
    async fn run(self, socket: TcpStream) {
        let Some(stream) = self.handshake(socket).await else {
            return;
        };
        let shared = Arc::clone(&self.shared);
        let served = timeout(shared.limits.connection_time_max, self.requests(stream));
        if served.await.is_err() {
            shared.counters.count(Counted::ConnectionLate);
        }
    }

    async fn handshake(&self, socket: TcpStream) -> Option<TlsStream<TcpStream>> {
        // An answer is one write; nothing is gained by waiting for more.
        let _ = socket.set_nodelay(true);
        let acceptor = TlsAcceptor::from(self.shared.tls.config());
        let limit = self.shared.limits.handshake_time_max;
        match timeout(limit, acceptor.accept(socket)).await {
            Ok(Ok(stream)) => Some(stream),
            Ok(Err(error)) => {
                self.shared.counters.count(Counted::HandshakeFailed);
                tracing::info!(address = %self.entered.address(), %error, "handshake failed");
                None
            }
            Err(_) => {
                self.shared.counters.count(Counted::HandshakeLate);
                None
            }
        }
    }

    async fn requests(self, stream: TlsStream<TcpStream>) {
        let chain = stream.get_ref().1.peer_certificates();
        let leaf = chain.and_then(|chain| chain.first());
        let peer = Peer {
            leaf: leaf.map(|leaf| leaf.clone().into_owned()),
            entered: Arc::new(self.entered),
        };
        let limit = self.shared.limits.request_time_max;
        let service = with_peer(TowerToHyperService::new(self.router), peer);
        let serving = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limit)
            .max_buf_size(HEAD_LEN_MAX)
            .serve_connection(TokioIo::new(stream), service);
        let mut serving = pin!(serving);
        let mut stop = self.stop;
        // What goes wrong now is between the peer and its network.
        tokio::select! {
            _ = serving.as_mut() => return,
            _ = stop.changed() => serving.as_mut().graceful_shutdown(),
        }
        let _ = serving.await;
    }
}

/// Tells each request who is at the other end.
fn with_peer(
    router: TowerToHyperService<Router>,
    peer: Peer,
) -> impl Service<
    hyper::Request<Incoming>,
    Response = Response<Body>,
    Error = Infallible,
    Future: Future<Output = Result<Response<Body>, Infallible>> + Send,
> {
    service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(peer.clone());
        router.call(request)
    })
}
