//! What runs of a broker, on threads of its own, and ends together.

use super::WorldError;
use super::log::Log;
use broker::server::Statistics;
use broker::{Plan, Running};
use certs::admin::{Outcome, Receipt, Reloaded, Revoke};
use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::{self, Runtime};
use tokio::task::spawn_blocking;

/// So long its threads may take to end.
const END_WITHIN: Duration = Duration::from_secs(5);

pub(super) struct Process {
    broker: Arc<Running>,
    address: SocketAddr,
    threads: Threads,
}

/// Ended when dropped, wherever that is.
struct Threads(Option<Runtime>);

impl Process {
    /// Starts a broker from the files in `dir`, at `address` if one is given.
    pub(super) async fn start(
        dir: &Path,
        address: Option<SocketAddr>,
        log: &Log,
    ) -> Result<Self, WorldError> {
        let plan = Plan::load(&dir.join("broker.toml"));
        let plan = plan.map_err(|errors| WorldError::settings(&errors))?;
        let plan = match address {
            Some(address) => plan.listening_at(address),
            None => plan,
        };
        let threads = Threads::start(log)?;
        let broker = threads.run(broker::start(plan)).await?.map_err(Box::new)?;
        let address = broker.addresses().first().copied();
        Ok(Self {
            address: address.ok_or(WorldError::Stopped)?,
            broker: Arc::new(broker),
            threads,
        })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn statistics(&self) -> Statistics {
        self.broker.statistics()
    }

    pub(super) async fn revoke(&self, revoke: Revoke) -> Result<Receipt, WorldError> {
        let broker = Arc::clone(&self.broker);
        let revoked = self.threads.run(async move { broker.revoke(revoke).await });
        revoked.await?.map_err(WorldError::Revoke)
    }

    /// Reads all files again, every one of which must be good.
    pub(super) async fn reload(&self) -> Result<Reloaded, WorldError> {
        let broker = Arc::clone(&self.broker);
        let reloaded = self.threads.run(async move { broker.reload().await });
        let reloaded = reloaded.await?;
        let kept = |part: &&certs::admin::ReloadedPart| part.outcome == Outcome::Kept;
        match reloaded.parts.iter().find(kept) {
            Some(part) => Err(WorldError::Settings(part.problems.join("; "))),
            None => Ok(reloaded),
        }
    }

    /// Tells every client, and waits until all have gone.
    pub(super) async fn stop(self) {
        if let Some(broker) = Arc::into_inner(self.broker) {
            // If it panicked, it has stopped as well.
            let _ = self.threads.run(broker.stop()).await;
        }
        self.threads.end().await;
    }

    /// Tells nobody.
    pub(super) async fn kill(self) {
        drop(self.broker);
        self.threads.end().await;
    }
}

impl Threads {
    fn start(log: &Log) -> Result<Self, WorldError> {
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("test-broker")
            .on_thread_start(log.follow_thread())
            .enable_all()
            .build()?;
        Ok(Self(Some(runtime)))
    }

    /// Does this on them, and waits.
    async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, WorldError> {
        let runtime = self.0.as_ref().ok_or(WorldError::Stopped)?;
        runtime.spawn(work).await.map_err(|_| WorldError::Stopped)
    }

    /// Waits until they have ended: port and files are free then.
    async fn end(mut self) {
        if let Some(runtime) = self.0.take() {
            // A runtime may not be ended where it would block another.
            let _ = spawn_blocking(move || runtime.shutdown_timeout(END_WITHIN)).await;
        }
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Process").field(&self.address).finish()
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
