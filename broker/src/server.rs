//! The server: builds everything in order, stops it in reverse.
//!
//! A plan is loaded whole or not at all, with all mistakes at once; only then is a port opened.

use crate::config::{Config, KeyExchange, Listener, Log, Mistake, TlsVersion};
use crate::engine::policy::Policy;
use crate::engine::{self, Input};
use crate::net::{Counters, Front, Stages, Unfinished, accept};
use crate::shard::{Shards, keep_time};
use crate::storage::{DataDirectory, StorageError};
use crate::storing::{self, OpenDisk, OpenError};
use crate::trust::{Anchors, Generation, TlsSettings, TrustError};
use rustls::SupportedProtocolVersion;
use rustls::crypto::SupportedKxGroup;
use rustls::crypto::aws_lc_rs::kx_group;
use rustls::version::{TLS12, TLS13};
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Everything a broker needs, read and checked, before it opens a port.
#[derive(Debug)]
pub struct Plan {
    config: Config,
    policy: Arc<Policy>,
    listeners: Vec<(Listener, Generation)>,
    disk: OpenDisk,
}

/// Something the operator can put right before the broker starts.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// A file could not be read.
    #[error("{}: cannot be read", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Something in the configuration or the policy is not as it must be.
    #[error(transparent)]
    Mistake(#[from] Mistake),
    /// A certificate or key is not as it must be.
    #[error(transparent)]
    Trust(#[from] TrustError),
}

/// The broker could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It could not open its port.
    #[error("{address}: cannot listen there")]
    Bind {
        /// Where it was to listen.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// It could not open its data directory.
    #[error(transparent)]
    Storage(#[from] OpenError),
}

impl Plan {
    /// What is to be logged, and how.
    pub fn log(&self) -> &Log {
        &self.config.log
    }

    /// Listens at `address` in place of the first listener's.
    #[must_use]
    pub fn listening_at(mut self, address: SocketAddr) -> Self {
        if let Some((listener, _)) = self.listeners.first_mut() {
            listener.address = address;
        }
        self
    }

    /// Keeps the files of each shard where `disk` says, in place of the folder it is given.
    #[must_use]
    pub fn on_disk(self, disk: OpenDisk) -> Self {
        Self { disk, ..self }
    }

    /// Reads the configuration at `path` and all files that it names.
    ///
    /// # Errors
    /// All mistakes, in the order of the files.
    pub fn load(path: &Path) -> Result<Self, Vec<PlanError>> {
        let text = read(path).map_err(|error| vec![error])?;
        let config = Config::parse(path, &text).map_err(plan_errors)?;
        Self::from_config(config)
    }

    /// Reads all files that `config` names.
    ///
    /// # Errors
    /// All mistakes, in the order of the files.
    pub fn from_config(config: Config) -> Result<Self, Vec<PlanError>> {
        let mut errors = Vec::new();
        let policy = load_policy(config.policy.as_deref());
        let policy = policy.map_err(|mut found| errors.append(&mut found)).ok();
        let mut listeners = Vec::new();
        for listener in &config.listeners {
            match load_generation(listener, &config) {
                Ok(generation) => listeners.push((listener.clone(), generation)),
                Err(found) => errors.extend(found.into_iter().map(PlanError::from)),
            }
        }
        match policy {
            Some(policy) if errors.is_empty() => Ok(Self {
                config,
                policy: Arc::new(policy),
                listeners,
                disk: storing::open_folder,
            }),
            _ => Err(errors),
        }
    }
}

fn load_policy(file: Option<&Path>) -> Result<Policy, Vec<PlanError>> {
    let Some(path) = file else {
        return Ok(Policy::built_in());
    };
    let text = read(path).map_err(|error| vec![error])?;
    Policy::parse(&path.display().to_string(), &text).map_err(plan_errors)
}

fn load_generation(listener: &Listener, config: &Config) -> Result<Generation, Vec<TrustError>> {
    let anchors = Anchors::load(&config.anchors)?;
    let key_exchange: Vec<_> = listener.key_exchange.iter().copied().map(group).collect();
    let settings = TlsSettings {
        certificate: &listener.certificate,
        key: &listener.key,
        versions: &versions(listener.tls_min),
        key_exchange: &key_exchange,
    };
    Generation::load(&settings, anchors).map_err(|error| vec![error])
}

fn versions(oldest: TlsVersion) -> Vec<&'static SupportedProtocolVersion> {
    match oldest {
        TlsVersion::Tls12 => vec![&TLS13, &TLS12],
        TlsVersion::Tls13 => vec![&TLS13],
    }
}

fn group(key_exchange: KeyExchange) -> &'static dyn SupportedKxGroup {
    match key_exchange {
        KeyExchange::X25519MlKem768 => kx_group::X25519MLKEM768,
        KeyExchange::X25519 => kx_group::X25519,
        KeyExchange::Secp256r1 => kx_group::SECP256R1,
        KeyExchange::Secp384r1 => kx_group::SECP384R1,
    }
}

fn read(path: &Path) -> Result<String, PlanError> {
    let unreadable = |source| PlanError::Unreadable {
        path: path.to_owned(),
        source,
    };
    fs::read_to_string(path).map_err(unreadable)
}

fn plan_errors(mistakes: Vec<Mistake>) -> Vec<PlanError> {
    mistakes.into_iter().map(PlanError::from).collect()
}

/// A broker that serves.
pub struct Running {
    addresses: Vec<SocketAddr>,
    shards: Arc<Shards>,
    counters: Arc<Counters>,
    /// Stops the listeners.
    stop: CancellationToken,
    listeners: JoinSet<()>,
    connections: TaskTracker,
    /// The timers of the shards; ended when dropped.
    timers: JoinSet<()>,
    drain_timeout: std::time::Duration,
    /// Ours until the shards are gone.
    _directory: Option<DataDirectory>,
}

/// How a broker stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// Every connection was told and has gone.
    Drained,
    /// Some had not gone within the limit and were cut off.
    CutOff,
}

/// What the broker has counted since it started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Sockets accepted.
    pub accepted: u64,
    /// Closed at once: too many connections in all, or unfinished ones from one address.
    pub turned_away: u64,
    /// Peers that were not let in.
    pub refused: u64,
    /// Devices that came in and sent a CONNECT.
    pub connected: u64,
    /// Connections that are open now, finished or not.
    pub connections: usize,
    /// QoS 0 messages for which a slow reader's outbox had no room.
    pub dropped_at_outboxes: u64,
    /// What the engine of each shard has counted.
    pub engines: Vec<engine::Counters>,
}

/// Starts a broker: shards first, then the listeners.
///
/// # Errors
/// If its data directory or a port cannot be opened; nothing is left running then.
pub async fn start(plan: Plan) -> Result<Running, StartError> {
    let Plan {
        config,
        policy,
        listeners,
        disk,
    } = plan;
    let opened = storing::open(&config, policy, disk).await?;
    let sockets = bind(listeners).await?;
    let mut running = Running {
        addresses: sockets.iter().map(|(_, local, _)| *local).collect(),
        counters: Arc::new(Counters::default()),
        stop: CancellationToken::new(),
        listeners: JoinSet::new(),
        connections: TaskTracker::new(),
        timers: JoinSet::new(),
        drain_timeout: config.net.drain_timeout,
        shards: Arc::new(opened.shards),
        _directory: opened.directory,
    };
    for shard in running.shards.all() {
        running.timers.spawn(keep_time(Arc::clone(shard)));
        running.timers.spawn(Arc::clone(shard).follow());
    }
    for (socket, _, generation) in sockets {
        let front = Arc::new(running.front(&config, generation));
        running.listeners.spawn(accept(socket, front));
    }
    Ok(running)
}

async fn bind(
    listeners: Vec<(Listener, Generation)>,
) -> Result<Vec<(TcpListener, SocketAddr, Generation)>, StartError> {
    let mut sockets = Vec::new();
    for (listener, generation) in listeners {
        let address = listener.address;
        let failed = |source| StartError::Bind { address, source };
        let bound = TcpListener::bind(address).await.map_err(failed)?;
        let local = bound.local_addr().map_err(failed)?;
        sockets.push((bound, local, generation));
    }
    Ok(sockets)
}

impl Running {
    /// Where the broker listens, in the order of the configuration.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// What was counted so far.
    pub fn statistics(&self) -> Statistics {
        let counters = &self.counters;
        Statistics {
            accepted: counters.accepted.load(Ordering::Relaxed),
            turned_away: counters.turned_away.load(Ordering::Relaxed),
            refused: counters.refused.load(Ordering::Relaxed),
            connected: counters.connected.load(Ordering::Relaxed),
            connections: counters.open.load(Ordering::Relaxed),
            dropped_at_outboxes: self
                .shards
                .all()
                .map(|shard| shard.dropped_at_outboxes())
                .sum(),
            engines: self.shards.all().map(|shard| shard.counters()).collect(),
        }
    }

    /// Resolves when the broker cannot go on: its storage failed.
    pub async fn failure(&self) -> Arc<StorageError> {
        self.shards.failure().await
    }

    /// Stops: no new connections, every client told (0x8B), and an end to waiting for them.
    pub async fn stop(mut self) -> Stopped {
        self.stop.cancel();
        while self.listeners.join_next().await.is_some() {}
        self.shards.tell_all(|| Input::Shutdown);
        self.connections.close();
        let drained = timeout(self.drain_timeout, self.connections.wait()).await;
        self.timers.shutdown().await;
        if drained.is_ok() {
            Stopped::Drained
        } else {
            Stopped::CutOff
        }
    }

    fn front(&self, config: &Config, generation: Generation) -> Front {
        let net = &config.net;
        Front {
            generation,
            stages: Stages {
                hello_timeout: net.hello_timeout,
                handshake_timeout: net.handshake_timeout,
                handshaking: Semaphore::new(net.handshaking_max),
            },
            unfinished: Unfinished::new(net.waiting_max, net.unfinished_per_address_max),
            limits: config.limits.clone(),
            net: net.clone(),
            shards: Arc::clone(&self.shards),
            tasks: self.connections.clone(),
            stop: self.stop.clone(),
            counters: Arc::clone(&self.counters),
        }
    }
}
