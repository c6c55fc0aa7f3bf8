//! Messages from publishers to subscribers: every one is counted, and every one must come.

mod bystanders;
mod cast;
mod crew;
mod durable;
mod ledger;
mod pacer;
mod publisher;
mod run;
mod subscriber;
mod window;

use super::LoadError;
use super::client::{Dialer, Identities, TlsChoice};
use super::measure::{Figure, Figures, Meter, float};
use super::phase::Observer;
use super::plan::{Plan, Traffic, Until};
use bystanders::{Bystanders, Roles};
use cast::Cast;
use crew::Crew;
pub(super) use durable::run as run_durable;

/// Nobody pings during a run, so that a run must be shorter.
const KEEP_ALIVE: u16 = 3600;

/// Runs once.
pub(super) async fn run(
    plan: &Plan,
    traffic: &Traffic,
    observer: &Observer<'_>,
) -> Result<Figures, LoadError> {
    let target = &plan.target;
    let choice = TlsChoice {
        key_exchange: target.key_exchange,
        tickets_max: 0,
    };
    let identities = Identities::find(&target.identities)?;
    let cast = Cast::of(traffic, &identities, choice)?;
    let roles = Roles::of(traffic, &identities, choice)?;
    let dialer = Dialer::new(&target.address, target.version, KEEP_ALIVE)?;
    let mut meter = Meter::new(target, &dialer.volume);
    let mut crew = Crew::connect(&dialer, cast, traffic, observer).await?;
    let bystanders = Bystanders::connect(&dialer, roles, traffic).await?;
    meter.begin(0)?;
    crew.begin(share(plan, traffic))?;
    let mut retained = bystanders.retained();
    let mut figures = match plan.span.until {
        Until::Count(_) => {
            crew.measure(true);
            crew.drain(observer).await?;
            meter.end(crew.delivered()).await?
        }
        Until::Elapsed(time) => {
            crew.watch(plan.span.warmup, &|done| observer.warming(done))
                .await?;
            crew.measure(true);
            meter.begin(crew.delivered())?;
            retained = bystanders.retained();
            crew.watch(time, &|done| observer.measuring(done)).await?;
            let figures = meter.end(crew.delivered()).await?;
            crew.measure(false);
            crew.stop();
            figures
        }
    };
    if let (Some(before), Some(after), Some(seconds)) = (
        retained,
        bystanders.retained(),
        figures.value(Figure::Seconds),
    ) {
        figures.set(Figure::RetainedPerSecond, float(after - before) / seconds);
    }
    crew.drain(observer).await?;
    figures.set(Figure::Connections, float(crew.connections()));
    figures.set_latency(&crew.end().await?);
    bystanders.end().await?;
    Ok(figures)
}

/// How many messages each publisher sends if nobody stops it.
fn share(plan: &Plan, traffic: &Traffic) -> u64 {
    match plan.span.until {
        Until::Elapsed(_) => u64::MAX,
        Until::Count(count) => share_of(count, traffic),
    }
}

/// How many of so many messages each publisher sends.
fn share_of(messages: u64, traffic: &Traffic) -> u64 {
    messages.div_ceil(super::plan::count(traffic.publishers))
}
