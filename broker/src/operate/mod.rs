//! Operating: what an operator asks of a broker that runs, one verb a file.
//!
//! Whoever asks (the admin socket, a signal, a file that changed) is answered when it is true: a
//! revocation when it is durable and the last connection it concerns is closed.

mod admin;
mod explain;
mod foresee;
mod reload;
mod revoke;
mod sessions;
mod staleness;
mod status;
mod watch;
mod why;

pub use admin::AdminError;

pub(crate) use admin::{open_socket, serve_admin};
pub(crate) use watch::{Look, watch_files};

use crate::config::{Config, RevokedSessions, RevokedWills};
use crate::engine::policy::{Attributes, Policy};
use crate::engine::{Input, Leaves, Verdicts};
use crate::net::Door;
use crate::server::{PolicyText, Source};
use crate::shard::Shards;
use crate::trust::{Beliefs, Generation, Live};
use certs::Standing;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// So long those who were judged may take to be gone before the operator is answered without them.
const GONE_TIMEOUT: Duration = Duration::from_secs(5);

/// What is asked of a broker comes here.
pub(crate) struct Operator {
    /// The configuration file, where there is one.
    pub(crate) source: Option<Source>,
    pub(crate) shards: Arc<Shards>,
    pub(crate) door: Arc<Door>,
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) started: SystemTime,
    /// What each listener goes by.
    pub(crate) generations: Vec<Arc<Live<Generation>>>,
    /// One change at a time.
    pub(crate) state: Arc<Mutex<State>>,
}

/// What a change replaces.
pub(crate) struct State {
    pub(crate) config: Config,
    pub(crate) policy: PolicyText,
    pub(crate) policy_generation: u64,
    /// The policy in force, with what the registry says of devices.
    pub(crate) enforced: Arc<Policy>,
    pub(crate) beliefs: Beliefs,
    /// Of the verdicts that were given last.
    pub(crate) version: u64,
}

impl State {
    /// What a broker begins with.
    pub(crate) fn new(config: Config, policy: PolicyText, beliefs: Beliefs) -> Self {
        Self {
            config,
            enforced: Arc::clone(&policy.policy),
            policy,
            policy_generation: 0,
            beliefs,
            version: 0,
        }
    }
}

impl Operator {
    /// Does with the state what reads, verifies or syncs: on no thread that serves connections.
    async fn apart<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut State) -> T + Send + 'static,
    ) -> (OwnedMutexGuard<State>, T) {
        let mut state = Arc::clone(&self.state).lock_owned().await;
        let work = spawn_blocking(move || {
            let outcome = work(&mut state);
            (state, outcome)
        });
        match work.await {
            Ok(done) => done,
            Err(lost) => match lost.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime ends, and everything in it.
                Err(_) => std::future::pending().await,
            },
        }
    }

    /// Puts a policy into force, with what the registry says of devices.
    pub(crate) fn enforce(&self, state: &mut State) {
        let standing = state.beliefs.standing();
        let policy = &state.policy.policy;
        let policy = policy.with_attributes(attributes_of(&standing));
        state.enforced = Arc::new(policy);
        self.shards
            .tell_all(|| Input::Policy(Arc::clone(&state.enforced)));
    }

    /// Judges all who are here by what is believed now. How many had to go.
    pub(crate) async fn judge_all(&self, state: &mut State) -> usize {
        state.version += 1;
        let revocation = &state.config.revocation;
        let verdicts = Verdicts {
            version: state.version,
            standing: state.beliefs.standing(),
            leaves: Leaves {
                publishes_will: revocation.wills == RevokedWills::Publish,
                ends_session: revocation.sessions == RevokedSessions::End,
            },
        };
        let mut gone = 0;
        for shard in self.shards.all() {
            // A shard whose log is stuck must not keep the operator from the others.
            if let Ok(closed) = timeout(GONE_TIMEOUT, shard.judge(verdicts.clone())).await {
                gone += closed;
            } else {
                tracing::error!("a shard does not come to judge its sessions");
            }
        }
        gone
    }
}

/// What the registry says of devices.
fn attributes_of(standing: &Standing) -> Arc<Attributes> {
    let registry = standing.registry.as_deref();
    Arc::new(registry.map_or_else(Attributes::default, Attributes::from))
}
