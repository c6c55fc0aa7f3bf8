//! A scenario, run: a fleet lives through it, and a verdict is passed.
//!
//! Things happen for the length of the scenario; then all come back and take what waits for them,
//! and only then is it judged.

mod change;
mod error;
#[cfg(test)]
mod tests;
mod world;

pub use error::RunError;
pub(crate) use world::{Span, World};

use crate::TestBroker;
use crate::device::{self, Fleet, Stage, Target};
use crate::load::{Usage, raise_file_limit};
use crate::scenario::{BrokerStep, Scenario, Schedule};
use crate::verdict::{Counts, Ledger, Verdict};
use change::change;
use protocol::packet::QoS;
use rustls::ClientConfig;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// A run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What is to happen.
    pub scenario: Scenario,
    /// To how many devices.
    pub devices: u32,
    /// With the same one, the same happens again.
    pub seed: u64,
    /// Where.
    pub at: At,
}

/// At which broker.
#[derive(Clone, Debug)]
pub enum At {
    /// One of our own, in this process, with an authority of its own, that keeps what it
    /// acknowledges on disk.
    Own,
    /// One that runs.
    Given {
        /// `HOST:PORT`.
        address: String,
        /// The directory of certificates, as `countersign up` makes it.
        identities: PathBuf,
    },
}

/// How far a run is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// The part of its length that is over, of 1000.
    pub per_mille: u64,
    /// Nothing more happens; all come back.
    pub is_settling: bool,
    /// What was counted so far.
    pub counts: Counts,
}

/// Whoever watches.
type Tell<'a> = &'a dyn Fn(&Progress);

/// How often progress is told, and the end looked for.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// So many commands may wait for the application.
const COMMANDS_MAX: usize = 1024;
/// How long all may take to leave.
const LEAVE_TIME_MAX: Duration = Duration::from_secs(5);

/// Runs a scenario, and judges it. What must hold is in the [`Verdict`]; it may be broken.
///
/// ```
/// use fleet::run::{At, Plan, run};
/// use fleet::scenario::{Scenario, ready};
/// use std::{path::Path, time::Duration};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let chaos = Scenario::parse(Path::new("chaos"), ready()[0].toml);
/// let chaos = chaos.map_err(|mistakes| format!("{mistakes:?}"))?;
/// let plan = Plan {
///     scenario: chaos.lasting(Duration::from_secs(2)),
///     devices: 10,
///     seed: 1,
///     at: At::Own,
/// };
/// let verdict = run(&plan, &|_| ()).await?;
/// assert!(verdict.holds(), "{verdict}");
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`RunError`] where it could not begin, or the broker did not start again.
pub async fn run(plan: &Plan, tell: &dyn Fn(&Progress)) -> Result<Verdict, RunError> {
    let world = match &plan.at {
        At::Own => {
            let broker = TestBroker::builder().durable();
            let broker = broker.settings(limits(plan.devices));
            World::own(broker.start().await?)?
        }
        At::Given { identities, .. } => {
            let devices = usize::try_from(plan.devices).unwrap_or(usize::MAX);
            World::given(identities, devices)?
        }
    };
    let target = world::target(&plan.at, &world).await?;
    run_in(plan, (world, target), tell).await
}

/// The same in a world that is there, and by another way to its broker.
async fn run_in(
    plan: &Plan,
    (world, target): (World, Target),
    tell: &dyn Fn(&Progress),
) -> Result<Verdict, RunError> {
    raise_file_limit();
    let before = resident();
    let scenario = possible(&plan.scenario, &world);
    let schedule = Schedule::new(&scenario, plan.devices, plan.seed);
    if schedule.devices.is_empty() {
        return Err(RunError::NoDevices);
    }
    let ids = world.ids(schedule.devices.len());
    let app = world.app().await?;
    let begun = Instant::now();
    let devices = identities(&world, &ids).await?;
    let identities_time = begun.elapsed();
    let groups: Vec<_> = schedule.devices.iter().map(|script| script.group).collect();
    let (stage, stages) = watch::channel(Stage::Running);
    let (switch, switched) = watch::channel(false);
    let (commands, told) = mpsc::channel(COMMANDS_MAX);
    let broker_steps = schedule.broker.clone();
    let fleet = Arc::new(Fleet {
        ledger: ledger(&scenario, &groups),
        scenario,
        ids,
        groups,
        target,
        world,
        stage: stages,
        switched,
        commands,
        run: run_id(plan.seed),
        begun: Instant::now(),
        seed: plan.seed,
    });
    let tasks = device::start(&fleet, (schedule, told), (app, devices)).await;
    let mut tasks = tasks.ok_or(RunError::NoApplication)?;
    let lived = live(&fleet, (broker_steps, &switch), (&stage, tell)).await;
    let resident = resident();
    let dropped = fleet.world.dropped().await;
    let checks = fleet.ledger.judge(&fleet.scenario.invariants);
    let elapsed = fleet.now();
    stage.send_replace(Stage::Over);
    // Whoever does not leave in time is ended.
    let _ = timeout(LEAVE_TIME_MAX, all(&mut tasks)).await;
    drop(tasks);
    if let Some(mut broker) = fleet.world.broker_alone().await {
        broker.stop().await;
    }
    lived?;
    Ok(Verdict {
        scenario: fleet.scenario.name.clone(),
        devices: plan.devices,
        seed: plan.seed,
        milliseconds: milliseconds(elapsed),
        identities_milliseconds: milliseconds(identities_time),
        counts: fleet.ledger.counts(),
        checks,
        not_done: not_done(&plan.scenario, &fleet.world),
        dropped,
        resident,
        // With a broker of our own in the process nobody knows what is whose.
        resident_each: resident
            .zip(before.filter(|_| !fleet.world.is_ours()))
            .map(|(all, before)| all.saturating_sub(before) / u64::from(plan.devices.max(1))),
    })
}

/// What a broker of our own needs beyond its defaults: all devices come from one address, and one
/// application hears them all and may be away.
fn limits(devices: u32) -> String {
    let unfinished = devices.max(512);
    let queue = devices.saturating_mul(100).max(10_000);
    format!(
        "[limits]\nunfinished_per_address_max = {unfinished}\nqueue_len_max = {queue}\n\
         queue_bytes_max = {}\n",
        u64::from(queue) * 2048,
    )
}

fn resident() -> Option<u64> {
    Usage::own().ok().map(|usage| usage.resident)
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Until nothing more happens and all is back, or the time for that is over.
async fn live(
    fleet: &Fleet,
    (steps, switched): (Vec<BrokerStep>, &watch::Sender<bool>),
    (stage, tell): (&watch::Sender<Stage>, Tell<'_>),
) -> Result<(), RunError> {
    let length = fleet.scenario.length;
    let look = |is_settling| {
        let passed = fleet.now().as_secs_f64() / length.as_secs_f64();
        let passed = Duration::try_from_secs_f64(passed).unwrap_or_default();
        tell(&Progress {
            per_mille: u64::try_from(passed.as_millis()).unwrap_or(1000).min(1000),
            is_settling,
            counts: fleet.ledger.counts(),
        });
    };
    let happen = async {
        for step in steps {
            sleep_until(fleet.begun + step.at).await;
            change(fleet, (step, switched)).await?;
        }
        sleep_until(fleet.begun + length).await;
        Ok::<_, RunError>(())
    };
    let watch = || look(false);
    tokio::select! {
        happened = happen => happened?,
        () = watch_it(&watch) => {}
    }
    stage.send_replace(Stage::Settling);
    let until = Instant::now() + fleet.scenario.settle;
    while !fleet.ledger.is_settled() && Instant::now() < until {
        look(true);
        sleep(LOOK_EVERY).await;
    }
    Ok(())
}

async fn watch_it(look: &dyn Fn()) {
    loop {
        look();
        sleep(LOOK_EVERY).await;
    }
}

/// The events that can be made to happen here.
fn possible(scenario: &Scenario, world: &World) -> Scenario {
    let mut scenario = scenario.clone();
    let is_ours = world.is_ours();
    scenario
        .events
        .retain(|event| is_ours || !event.what.needs_own_broker());
    scenario
}

fn not_done(scenario: &Scenario, world: &World) -> Vec<&'static str> {
    let events = scenario.events.iter().map(|event| event.what);
    let left = events.filter(|what| what.needs_own_broker() && !world.is_ours());
    left.map(crate::scenario::What::name).collect()
}

async fn identities(world: &World, ids: &[Box<str>]) -> Result<Vec<Arc<ClientConfig>>, RunError> {
    let mut all = Vec::with_capacity(ids.len());
    for id in ids {
        all.push(world.device(id).await?);
    }
    Ok(all)
}

fn ledger(scenario: &Scenario, groups: &[usize]) -> Ledger {
    let group = |index: &usize| scenario.groups.get(*index);
    let qos = |index| group(index).map_or(QoS::AtMostOnce, |group| group.qos);
    Ledger::new(groups.iter().map(qos))
}

/// What no other run has: messages that an earlier one left behind are not counted.
fn run_id(seed: u64) -> u32 {
    let now = rustls_pki_types::UnixTime::now().as_secs();
    let mixed = crate::scenario::Chance::of(seed ^ now, std::process::id().into()).number();
    u32::try_from(mixed >> 32).unwrap_or_default()
}

async fn all(tasks: &mut JoinSet<()>) {
    while tasks.join_next().await.is_some() {}
}
