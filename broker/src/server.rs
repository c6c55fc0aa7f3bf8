//! The server: builds everything in order, stops it in reverse.
//!
//! A plan is loaded whole or not at all, with all mistakes at once; only then is a port opened.

use crate::audit::{Audit, AuditError, Writing};
use crate::config::{Config, Listener, Log, Mistake};
use crate::engine::policy::Policy;
use crate::engine::{self, Input};
use crate::net::{Door, Front, accept};
use crate::operate::{self, AdminError, Look, Operator, serve_admin, watch_files};
use crate::refusals::Refusals;
use crate::shard::{Shards, keep_time};
use crate::storage::{DataDirectory, StorageError};
use crate::storing::{self, OpenDisk, OpenError};
use crate::trust::{Beliefs, Generation, Live, TrustError};
use certs::admin::{AdminError as Refused, Receipt, Reloaded, Revoke};
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Everything a broker needs, read and checked, before it opens a port.
#[derive(Debug)]
pub struct Plan {
    /// The file it was read from, if it was.
    source: Option<Source>,
    /// How the files looked before they were read.
    look: Look,
    config: Config,
    policy: PolicyText,
    beliefs: Beliefs,
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
    /// What it must remember of revocation cannot be read.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// It could not open its admin socket.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// It could not open its audit log.
    #[error(transparent)]
    Audit(#[from] AuditError),
}

impl Plan {
    /// What is to be logged, and how.
    pub fn log(&self) -> &Log {
        &self.config.log
    }

    /// Listens at `address` in place of the first listener's.
    #[must_use]
    pub fn listening_at(mut self, address: SocketAddr) -> Self {
        if let Some(listener) = self.config.listeners.first_mut() {
            listener.address = address;
        }
        if let Some(source) = &mut self.source {
            source.listening_at = Some(address);
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
        let mut look = Look::default();
        look.at(path);
        let source = Source {
            path: path.to_owned(),
            listening_at: None,
        };
        let plan = Self::read(source.read()?, look)?;
        Ok(Self {
            source: Some(source),
            ..plan
        })
    }

    /// Reads all files that `config` names.
    ///
    /// # Errors
    /// All mistakes, in the order of the files.
    pub fn from_config(config: Config) -> Result<Self, Vec<PlanError>> {
        Self::read(config, Look::default())
    }

    fn read(config: Config, mut look: Look) -> Result<Self, Vec<PlanError>> {
        look.at_files_of(&config);
        let mut errors = Vec::new();
        let policy = load_policy(config.policy.as_deref());
        let policy = policy.map_err(|mut found| errors.append(&mut found)).ok();
        let beliefs = Beliefs::load(&config);
        let beliefs = beliefs
            .map_err(|found| errors.extend(found.into_iter().map(PlanError::from)))
            .ok();
        match (policy, beliefs) {
            (Some(policy), Some(beliefs)) => Ok(Self {
                source: None,
                look,
                config,
                policy,
                beliefs,
                disk: storing::open_folder,
            }),
            _ => Err(errors),
        }
    }
}

/// Where a configuration comes from, when it is read and whenever it is read again.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    /// What counts in place of the first listener's address.
    pub(crate) listening_at: Option<SocketAddr>,
}

impl Source {
    /// Reads it.
    pub(crate) fn read(&self) -> Result<Config, Vec<PlanError>> {
        let text = read(&self.path).map_err(|error| vec![error])?;
        let mut config = Config::parse(&self.path, &text).map_err(plan_errors)?;
        if let (Some(address), Some(first)) = (self.listening_at, config.listeners.first_mut()) {
            first.address = address;
        }
        Ok(config)
    }
}

/// A policy and the text it was read from, which is empty for the one that is built in.
#[derive(Debug)]
pub(crate) struct PolicyText {
    pub(crate) text: String,
    pub(crate) policy: Arc<Policy>,
}

/// Reads a policy file.
pub(crate) fn load_policy(file: Option<&Path>) -> Result<PolicyText, Vec<PlanError>> {
    let Some(path) = file else {
        return Ok(PolicyText {
            text: String::new(),
            policy: Arc::new(Policy::built_in()),
        });
    };
    let text = read(path).map_err(|error| vec![error])?;
    let policy = Policy::parse(&path.display().to_string(), &text).map_err(plan_errors)?;
    let policy = Arc::new(policy);
    Ok(PolicyText { text, policy })
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
    shards: Arc<Shards>,
    door: Arc<Door>,
    auditing: Writing,
    operator: Arc<Operator>,
    /// Stops the listeners.
    stop: CancellationToken,
    listeners: JoinSet<()>,
    connections: TaskTracker,
    /// What else runs: the timers of the shards, what operators ask; ended when dropped.
    tasks: JoinSet<()>,
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
    /// Closed at once, whyever: too many connections in all or unfinished, and what follows.
    pub turned_away: u64,
    /// Of these, because their address had too many connections.
    pub turned_away_address: u64,
    /// Of these, because strangers came too fast from their address.
    pub turned_away_rate: u64,
    /// Of these, because the process was short of memory.
    pub turned_away_memory: u64,
    /// Connections that were to go, did not, and were reset.
    pub cut_off: u64,
    /// How often memory became short.
    pub memory_stages: u64,
    /// Events that have no line in the audit log, and are not yet counted there.
    pub audit_lost: u64,
    /// Peers that were not let in.
    pub refused: u64,
    /// Of these, those of which the log does not tell: it tells of so many in a second.
    pub refused_untold: u64,
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
        source,
        look,
        config,
        policy,
        mut beliefs,
        disk,
    } = plan;
    let opened = storing::open(&config, Arc::clone(&policy.policy), disk).await?;
    if let Some(data) = &config.storage.directory {
        beliefs.remember(&config, data)?;
    }
    let sockets = bind(&config.listeners).await?;
    let admin = config.admin_socket.as_deref().map(operate::open_socket);
    let admin = admin.transpose()?;
    let shards = Arc::new(opened.shards);
    let (audit, auditing) = Audit::open(&config.audit)?;
    let door = Arc::new(Door::new(&config, audit));
    let operator = Arc::new(Operator {
        source,
        shards: Arc::clone(&shards),
        door: Arc::clone(&door),
        addresses: sockets.iter().map(|(_, local)| *local).collect(),
        started: SystemTime::now(),
        generations: beliefs.generations().to_vec(),
        state: Arc::new(Mutex::new(operate::State::new(
            config.clone(),
            policy,
            beliefs,
        ))),
    });
    let mut running = Running {
        door,
        auditing,
        stop: CancellationToken::new(),
        listeners: JoinSet::new(),
        connections: TaskTracker::new(),
        tasks: JoinSet::new(),
        shards,
        operator: Arc::clone(&operator),
        _directory: opened.directory,
    };
    for shard in running.shards.all() {
        running.tasks.spawn(keep_time(Arc::clone(shard)));
        running.tasks.spawn(Arc::clone(shard).follow());
    }
    // Before anybody can come: whoever was revoked while we were away has no session to lose.
    let mut state = operator.state.lock().await;
    operator.enforce(&mut state);
    operator.judge_all(&mut state).await;
    drop(state);
    running.watch_memory();
    let doors = config.listeners.iter().zip(&operator.generations);
    for ((socket, _), (listener, generation)) in sockets.into_iter().zip(doors) {
        let name = listener.name.as_deref().map(Arc::from);
        let front = Arc::new(running.front(name, Arc::clone(generation)));
        running.listeners.spawn(accept(socket, front));
    }
    running
        .tasks
        .spawn(watch_files(Arc::clone(&operator), look));
    if let Some(socket) = admin {
        running.tasks.spawn(serve_admin(socket, operator));
    }
    Ok(running)
}

async fn bind(listeners: &[Listener]) -> Result<Vec<(TcpListener, SocketAddr)>, StartError> {
    let mut sockets = Vec::new();
    for listener in listeners {
        let address = listener.address;
        let failed = |source| StartError::Bind { address, source };
        let bound = TcpListener::bind(address).await.map_err(failed)?;
        let local = bound.local_addr().map_err(failed)?;
        sockets.push((bound, local));
    }
    Ok(sockets)
}

impl Running {
    /// Where the broker listens, in the order of the configuration.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.operator.addresses
    }

    /// What was counted so far.
    pub fn statistics(&self) -> Statistics {
        let counters = &self.door.counters;
        Statistics {
            accepted: counters.accepted.load(Ordering::Relaxed),
            turned_away: counters.turned_away.load(Ordering::Relaxed),
            turned_away_address: counters.turned_away_address.load(Ordering::Relaxed),
            turned_away_rate: counters.turned_away_rate.load(Ordering::Relaxed),
            turned_away_memory: counters.turned_away_memory.load(Ordering::Relaxed),
            cut_off: counters.cut_off.load(Ordering::Relaxed),
            memory_stages: self.door.memory.raised.load(Ordering::Relaxed),
            audit_lost: self.door.audit.lost(),
            refused: counters.refused.load(Ordering::Relaxed),
            refused_untold: counters.refused_untold.load(Ordering::Relaxed),
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

    /// Reads all files again; each part of what they make is replaced whole or stays as it was.
    /// What is wrong is in the answer and in the log.
    pub async fn reload(&self) -> Reloaded {
        self.operator.reload().await
    }

    /// Revokes a device or a certificate: durable, and cut off, when this returns.
    ///
    /// # Errors
    /// If it cannot be kept; nobody is revoked then.
    pub async fn revoke(&self, revoke: Revoke) -> Result<Receipt, Refused> {
        self.operator.revoke(revoke).await
    }

    /// Who was refused or cut off lately, and why.
    pub fn refusals(&self) -> &Refusals {
        &self.door.refusals
    }

    /// The audit log, for what else is to be in it.
    pub fn audit(&self) -> Audit {
        self.door.audit.clone()
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
        let drain_timeout = self.door.rules.get().net.drain_timeout;
        let drained = timeout(drain_timeout, self.connections.wait()).await;
        self.tasks.shutdown().await;
        // It writes to the disk.
        let _ = spawn_blocking(move || self.auditing.finish()).await;
        if drained.is_ok() {
            Stopped::Drained
        } else {
            Stopped::CutOff
        }
    }

    /// Tells the shards when memory becomes short.
    fn watch_memory(&mut self) {
        let (door, shards) = (Arc::clone(&self.door), Arc::clone(&self.shards));
        self.tasks.spawn(async move {
            let tell = |pressure| shards.tell_all(|| Input::Memory(pressure));
            let max = || door.rules.get().net.memory_bytes_max;
            door.memory.watch(max, tell).await;
        });
    }

    fn front(&self, name: Option<Arc<str>>, generation: Arc<Live<Generation>>) -> Front {
        Front {
            name,
            generation,
            shards: Arc::clone(&self.shards),
            tasks: self.connections.clone(),
            stop: self.stop.clone(),
            door: Arc::clone(&self.door),
        }
    }
}
