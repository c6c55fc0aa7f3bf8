//! Enrolment over the network: a device asks for its certificate itself (EST, RFC 7030).
//!
//! Everything that waits is bounded, and nobody is answered before the registry is on disk.

mod addresses;
mod desk;
mod door;
mod gate;
mod http;
mod limits;
mod pkcs7;
#[cfg(test)]
mod tests;
mod tls;
pub(crate) mod token;
mod writer;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustls_pki_types::{ServerName, UnixTime};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::interval;

use self::addresses::Addresses;
use self::desk::Desk;
use self::gate::Gate;
use self::limits::Counters;
pub use self::limits::Limits;
use self::tls::Tls;
pub use self::token::TokenText;
use self::writer::{Notes, Work, Writer};
use crate::authority::Passphrase;
use crate::commands::server_names;
use crate::error::CommandError;

/// How often the server looks whether its own certificate is near its end, and says what it has
/// counted.
const LOOK_EVERY: Duration = Duration::from_mins(10);

/// What to serve.
#[derive(Clone, Debug)]
pub struct ServeRequest<'a> {
    /// The directory of the authority.
    pub dir: &'a Path,
    /// What opens the keys of the authorities, when they are encrypted.
    pub passphrase: Option<&'a Passphrase>,
    /// Where to listen; port 0 takes any that is free.
    pub listen: SocketAddr,
    /// Names of the server besides those of this machine.
    pub server_names: &'a [ServerName<'static>],
    /// Who is issued a first certificate.
    pub approval: Approval,
    /// How long a certificate is valid from now on at most; without it, as long as the profile of
    /// devices says.
    pub lifetime: Option<Duration>,
    /// How long a certificate may have expired that is to be renewed.
    pub renew_expired: Duration,
    /// What the server bears.
    pub limits: Limits,
}

/// Who is issued a first certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Approval {
    /// Whoever has a token.
    AutoWithToken,
    /// Whoever has a token, and whoever else a person has approved.
    Manual,
}

/// A server that serves.
#[derive(Debug)]
pub struct EnrolmentServer {
    address: SocketAddr,
    counters: Arc<Counters>,
    stop: watch::Sender<()>,
    door: JoinHandle<()>,
    look: JoinHandle<()>,
    writer: thread::JoinHandle<()>,
    /// Resolves when the writer has ended.
    ended: oneshot::Receiver<()>,
}

/// What every request goes by.
struct Shared {
    limits: Limits,
    counters: Arc<Counters>,
    addresses: Arc<Addresses>,
    approval: Approval,
    gate: Arc<Gate>,
    tls: Arc<Tls>,
    work: mpsc::Sender<Work>,
}

/// Serves enrolment from the directory of an authority.
///
/// # Errors
/// [`CommandError`], before anything is served.
pub async fn ca_serve(
    request: ServeRequest<'_>,
    now: UnixTime,
) -> Result<EnrolmentServer, CommandError> {
    let failed = |source| CommandError::Listen {
        address: request.listen,
        source,
    };
    let listener = TcpListener::bind(request.listen).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    // Nobody is served yet, so nobody waits for the disk.
    let (shared, writer) = prepare(&request, address, now)?;
    let counters = Arc::clone(&shared.counters);
    let (alive, ended) = oneshot::channel();
    let writer = writer.start(alive)?;
    let (stop, stopped) = watch::channel(());
    let look = tokio::spawn(look(shared.work.downgrade(), Arc::clone(&counters)));
    let router = http::router(Arc::clone(&shared));
    let door = tokio::spawn(door::serve(listener, (shared, router), stopped));
    Ok(EnrolmentServer {
        address,
        counters,
        stop,
        door,
        look,
        writer,
        ended,
    })
}

fn prepare(
    request: &ServeRequest<'_>,
    address: SocketAddr,
    now: UnixTime,
) -> Result<(Arc<Shared>, Writer), CommandError> {
    let mut desk = Desk::open(request.dir, request.passphrase, now)?;
    desk.lifetime_max = request.lifetime;
    let mut names = server_names(request.server_names);
    let own = ServerName::from(address.ip());
    if !address.ip().is_unspecified() && !names.contains(&own) {
        names.push(own);
    }
    let identity = desk.certify_server(&names, now)?;
    let certificate = identity.certificate.clone();
    let gate = Arc::new(desk.gate(request.renew_expired)?);
    let tls = Arc::new(Tls::new(Arc::clone(&gate), identity)?);
    let counters = Arc::<Counters>::default();
    let (sender, work) = mpsc::channel(request.limits.waiting_max);
    let shared = Shared {
        counters: Arc::clone(&counters),
        addresses: Arc::new(Addresses::new(&request.limits)),
        approval: request.approval,
        gate: Arc::clone(&gate),
        tls: Arc::clone(&tls),
        work: sender,
        limits: request.limits.clone(),
    };
    let writer = Writer {
        desk,
        gate,
        work,
        tls,
        counters,
        names,
        certificate,
        notes: Notes::new(request.limits.notes_of_hour, Instant::now()),
    };
    Ok((Arc::new(shared), writer))
}

/// From time to time, says what was counted and has the server's certificate looked at.
async fn look(work: mpsc::WeakSender<Work>, counters: Arc<Counters>) {
    let mut interval = interval(LOOK_EVERY);
    let mut said = counters.to_string();
    loop {
        interval.tick().await;
        let counted = counters.to_string();
        if counted != said {
            tracing::info!("counted: {counted}");
            said = counted;
        }
        let Some(work) = work.upgrade() else { return };
        // Where too much waits, the next time will do.
        let _ = work.try_send(Work::Look);
    }
}

impl EnrolmentServer {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Resolves when the server cannot go on, because the authority cannot.
    pub async fn failure(&mut self) {
        // Nothing is ever sent: it is dropped. What was the matter stands in the log.
        let _ = (&mut self.ended).await;
    }

    /// Stops: nobody new comes in, and whoever is there is answered.
    pub async fn stop(self) {
        drop(self.stop);
        let _ = self.door.await;
        self.look.abort();
        let _ = self.look.await;
        // It ends with the last of those who bring it work.
        let joined = tokio::task::spawn_blocking(move || self.writer.join());
        let _ = joined.await;
        tracing::info!("stopped; counted: {}", self.counters);
    }
}
