//! Connections made and closed: TCP, TLS with a client certificate, CONNECT, CONNACK, DISCONNECT.
//!
//! A handshake counts only if it was of the kind that is measured.

use super::LoadError;
use super::client::{Dialer, Identities, Identity, TlsChoice, connect_all};
use super::measure::{Figures, Histogram, Meter, float};
use super::phase::Observer;
use super::plan::{Farewell, Handshakes, Plan, Resumption, Until};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tokio::time::sleep;

const KEEP_ALIVE: u16 = 60;

/// Tickets that a client keeps; a broker gives two or so with every handshake.
const TICKETS_MAX: usize = 32;

/// How often the watch looks.
const LOOK: Duration = Duration::from_millis(5);

/// Runs once.
pub(super) async fn run(
    plan: &Plan,
    handshakes: &Handshakes,
    observer: &Observer<'_>,
) -> Result<Figures, LoadError> {
    let run = Arc::new(Run::new(plan, *handshakes)?);
    let identities = identities(plan, handshakes)?;
    if handshakes.resumption == Resumption::Resumed {
        run.first_handshakes(&identities).await?;
    }
    let mut meter = Meter::new(&plan.target, &run.dialer.volume);
    meter.begin(0)?;
    let mut clients = Clients::begin(&run, identities);
    if let Until::Elapsed(_) = plan.span.until {
        let began = Instant::now();
        let progress = || part(began.elapsed(), plan.span.warmup);
        clients
            .watch(&progress, &|done| observer.warming(done))
            .await?;
        meter.begin(run.made.load(Relaxed))?;
    }
    run.measuring.store(true, Relaxed);
    let began = Instant::now();
    let progress = || match plan.span.until {
        Until::Elapsed(time) => part(began.elapsed(), time),
        Until::Count(count) => float(run.made.load(Relaxed)) / float(count),
    };
    clients
        .watch(&progress, &|done| observer.measuring(done))
        .await?;
    let mut figures = meter.end(run.made.load(Relaxed)).await?;
    figures.set_latency(&clients.end().await?);
    Ok(figures)
}

/// An identity for each client; a session of TLS is that of one client, so that no two share one.
fn identities(plan: &Plan, handshakes: &Handshakes) -> Result<Vec<Identity>, LoadError> {
    let tickets_max = match handshakes.resumption {
        Resumption::Full => 0,
        Resumption::Resumed => TICKETS_MAX,
    };
    let choice = TlsChoice {
        key_exchange: plan.target.key_exchange,
        tickets_max,
    };
    let found = Identities::find(&plan.target.identities)?;
    let mut identities = Vec::new();
    while identities.len() < handshakes.concurrency {
        identities.extend(found.devices(handshakes.concurrency - identities.len(), choice)?);
    }
    Ok(identities)
}

fn part(done: Duration, of: Duration) -> f64 {
    if done >= of {
        1.0
    } else {
        done.as_secs_f64() / of.as_secs_f64()
    }
}

/// What the clients of a run share.
#[derive(Debug)]
struct Run {
    dialer: Dialer,
    handshakes: Handshakes,
    /// How many connections may still be begun.
    budget: AtomicU64,
    made: AtomicU64,
    measuring: AtomicBool,
}

impl Run {
    fn new(plan: &Plan, handshakes: Handshakes) -> Result<Self, LoadError> {
        let budget = match plan.span.until {
            Until::Elapsed(_) => u64::MAX,
            Until::Count(count) => count,
        };
        Ok(Self {
            dialer: Dialer::new(&plan.target.address, plan.target.version, KEEP_ALIVE)?,
            handshakes,
            budget: budget.into(),
            made: 0.into(),
            measuring: false.into(),
        })
    }

    /// Gives every client its first tickets: the handshake for them can only be a full one.
    async fn first_handshakes(&self, identities: &[Identity]) -> Result<(), LoadError> {
        let clients = identities.iter().zip(0_u64..);
        let clients =
            clients.map(|(identity, number)| (identity.clone(), name(identity, number, 0)));
        for link in connect_all(&self.dialer, clients.collect(), &|_| ()).await? {
            link.leave().await?;
        }
        Ok(())
    }

    /// Connects and closes as often as the budget allows.
    async fn client(
        self: Arc<Self>,
        identity: Identity,
        number: u64,
    ) -> Result<Histogram, LoadError> {
        let mut latency = Histogram::default();
        let mut turn = 1;
        while self.may_begin() {
            let began = Instant::now();
            let link = self
                .dialer
                .connect(&identity, &name(&identity, number, turn))
                .await?;
            if link.is_resumed() != (self.handshakes.resumption == Resumption::Resumed) {
                return Err(LoadError::NotResumed);
            }
            self.made.fetch_add(1, Relaxed);
            if self.measuring.load(Relaxed) {
                latency.record(u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX));
            }
            match self.handshakes.farewell {
                Farewell::Disconnect => link.close().await?,
                Farewell::Close => link.leave().await?,
            }
            turn += 1;
        }
        Ok(latency)
    }

    fn may_begin(&self) -> bool {
        let take = |budget: u64| budget.checked_sub(1);
        self.budget.fetch_update(Relaxed, Relaxed, take).is_ok()
    }
}

/// Another one for each connection, so that none takes over the session of the one before, which
/// the broker may still be closing.
fn name(identity: &Identity, number: u64, turn: u64) -> String {
    format!("{}:c{number}.{turn}", identity.id)
}

/// The clients at work.
#[derive(Debug)]
struct Clients {
    run: Arc<Run>,
    tasks: JoinSet<Result<Histogram, LoadError>>,
    latency: Histogram,
}

impl Clients {
    fn begin(run: &Arc<Run>, identities: Vec<Identity>) -> Self {
        let mut tasks = JoinSet::new();
        for (identity, number) in identities.into_iter().zip(0..) {
            tasks.spawn(Arc::clone(run).client(identity, number));
        }
        Self {
            run: Arc::clone(run),
            tasks,
            latency: Histogram::default(),
        }
    }

    /// Waits until the progress is 1, unless a client fails.
    async fn watch(
        &mut self,
        progress: &dyn Fn() -> f64,
        tell: &dyn Fn(f64),
    ) -> Result<(), LoadError> {
        loop {
            let done = progress();
            tell(done);
            if done >= 1.0 {
                return Ok(());
            }
            tokio::select! {
                Some(ended) = self.tasks.join_next() => self.latency.merge(&ended??),
                () = sleep(LOOK) => {}
            }
        }
    }

    /// Lets every client finish its turn.
    async fn end(mut self) -> Result<Histogram, LoadError> {
        self.run.budget.store(0, Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            self.latency.merge(&ended??);
        }
        Ok(self.latency)
    }
}
