//! Connections that are kept and have nothing to say: what each of them costs in memory, and what
//! all of them cost in processor time.
//!
//! They ping, as real ones do, evenly over their keep-alive.

use super::LoadError;
use super::client::{Dialer, Identities, Link, TlsChoice, connect_all};
use super::measure::{Figure, Figures, Usage, float};
use super::phase::{Observer, Phase};
use super::plan::{Idle, Plan, Until, count};
use crate::wire::{PINGREQ, split};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval_at, sleep};

/// How often the watch looks.
const LOOK: Duration = Duration::from_millis(50);

/// Runs once.
pub(super) async fn run(
    plan: &Plan,
    idle: &Idle,
    observer: &Observer<'_>,
) -> Result<Figures, LoadError> {
    let Until::Elapsed(time) = plan.span.until else {
        return Err(LoadError::BadSetting {
            what: "the end",
            must: "a time".into(),
        });
    };
    let look = || plan.target.pid.map(Usage::of).transpose();
    let (dialer, mut clients) = clients(plan, idle)?;
    // The first connection brings in what is there once, whatever the number of connections.
    let others = clients.split_off(1);
    let first = connect_all(&dialer, clients, &|_| ()).await?;
    let before = look()?;
    let tell = |done| observer.tell(Phase::Connecting(count(done), count(idle.connections)));
    let others = connect_all(&dialer, others, &tell).await?;
    let more = float(count(others.len()));
    let mut rest = Rest::begin(first.into_iter().chain(others).collect(), idle);
    rest.watch(plan.span.warmup, &|done| observer.warming(done))
        .await?;
    let rested = look()?;
    rest.watch(time, &|done| observer.measuring(done)).await?;
    let after = look()?;
    rest.end().await?;
    let mut figures = Figures::default();
    figures.set(Figure::Connections, float(count(idle.connections)));
    figures.set(Figure::Seconds, time.as_secs_f64());
    if let (Some(before), Some(rested), Some(after)) = (before, rested, after) {
        figures.set(Figure::Resident, float(after.resident));
        let grown = after.resident.saturating_sub(before.resident);
        figures.set(Figure::ResidentPerConnection, float(grown) / more);
        let cpu = after.cpu.saturating_sub(rested.cpu).as_secs_f64();
        figures.set(Figure::IdleCpuMs, cpu * 1e3 / time.as_secs_f64());
    }
    Ok(figures)
}

/// Every client with its certificate; there is at least one.
fn clients(
    plan: &Plan,
    idle: &Idle,
) -> Result<(Dialer, Vec<(super::client::Identity, String)>), LoadError> {
    let target = &plan.target;
    let choice = TlsChoice {
        key_exchange: target.key_exchange,
        tickets_max: 0,
    };
    let devices = Identities::find(&target.identities)?.devices(idle.connections, choice)?;
    let dialer = Dialer::new(&target.address, target.version, idle.keep_alive)?;
    let clients = devices.iter().cycle().take(idle.connections).enumerate();
    let named = clients.map(|(number, identity)| {
        let client_id = format!("{}:i{number}", identity.id);
        (identity.clone(), client_id)
    });
    Ok((dialer, named.collect()))
}

/// Connections at rest.
#[derive(Debug)]
struct Rest {
    tasks: JoinSet<Result<(), LoadError>>,
    over: watch::Sender<bool>,
}

impl Rest {
    fn begin(links: Vec<Link>, idle: &Idle) -> Self {
        let (over, _) = watch::channel(false);
        let mut tasks = JoinSet::new();
        let every = Duration::from_secs(idle.keep_alive.into()) / 2;
        let apart = every.div_f64(float(count(links.len())));
        let mut first = Instant::now();
        for link in links {
            first += apart;
            tasks.spawn(ping(link, (first, every), over.subscribe()));
        }
        Self { tasks, over }
    }

    /// Waits, unless a connection fails.
    async fn watch(&mut self, time: Duration, tell: &dyn Fn(f64)) -> Result<(), LoadError> {
        let began = Instant::now();
        while began.elapsed() < time {
            tell(began.elapsed().as_secs_f64() / time.as_secs_f64());
            tokio::select! {
                Some(ended) = self.tasks.join_next() => ended??,
                () = sleep(LOOK.min(time)) => {}
            }
        }
        Ok(())
    }

    async fn end(mut self) -> Result<(), LoadError> {
        self.over.send_replace(true);
        while let Some(ended) = self.tasks.join_next().await {
            ended??;
        }
        Ok(())
    }
}

/// Pings until it is over.
async fn ping(
    mut link: Link,
    (first, every): (Instant, Duration),
    mut over: watch::Receiver<bool>,
) -> Result<(), LoadError> {
    let mut ticks = interval_at(first, every);
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                link.wire.out().extend(PINGREQ);
                link.wire.send().await?;
            }
            turn = link.wire.turn(|bytes, _| skip(bytes)) => turn?,
            _ = over.changed() => return link.close().await,
        }
    }
}

/// Takes whole frames, whatever they are.
fn skip(bytes: &[u8]) -> Result<usize, LoadError> {
    let mut rest = bytes;
    while let Some((_, after)) = split(rest)? {
        rest = after;
    }
    Ok(bytes.len() - rest.len())
}
