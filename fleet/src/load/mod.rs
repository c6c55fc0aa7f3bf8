//! A broker under load: every message is checked, and what it cost the broker is measured.
//!
//! The generator has its own raw connections and its own few lines of MQTT, so that it costs less
//! than what it measures. A load in which a message is lost, comes twice or comes late has no
//! figures, only an error.
//!
//! - [`plan`] says what a load does; [`run`] does it.
//! - [`floor`] forwards the same messages with no broker logic: what any broker pays at least.

mod client;
mod connect;
mod error;
pub mod floor;
mod idle;
mod measure;
mod phase;
pub mod plan;
mod settings;
#[cfg(test)]
mod tests;
mod traffic;

pub use crate::wire::{Malformed, PAYLOAD_MIN};
pub(crate) use client::Identities;
pub use client::KeyExchange;
pub use error::{Fault, LoadError};
pub use measure::{Figure, Figures, Report};
pub(crate) use measure::{Usage, float};
pub use phase::{Observer, Phase};

use plan::{Plan, Scenario, SystemCalls};
use tokio::runtime::Builder;

/// Runs the load and gives the medians of its runs.
///
/// # Errors
/// Whatever was refused, lost or could not be measured.
pub fn run(plan: &Plan, observer: &Observer<'_>) -> Result<Report, LoadError> {
    plan.check()?;
    raise_file_limit();
    let runtime = Builder::new_multi_thread()
        .worker_threads(plan.threads)
        .enable_all()
        .build()?;
    let mut runs = Vec::new();
    for _ in 0..plan.runs {
        runs.push(runtime.block_on(run_once(&plan.without_counting(), observer))?);
    }
    let mut median = Figures::medians(&runs);
    if plan.target.system_calls == SystemCalls::Count {
        let counted = runtime.block_on(run_once(plan, observer))?;
        if let Some(calls) = counted.value(Figure::SystemCalls) {
            median.set(Figure::SystemCalls, calls);
        }
    }
    Ok(Report {
        scenario: plan.name(),
        settings: plan.settings(),
        median,
        runs,
    })
}

async fn run_once(plan: &Plan, observer: &Observer<'_>) -> Result<Figures, LoadError> {
    match &plan.scenario {
        Scenario::Connect(handshakes) => connect::run(plan, handshakes, observer).await,
        Scenario::Idle(idle) => idle::run(plan, idle, observer).await,
        Scenario::Traffic(traffic) => traffic::run(plan, traffic, observer).await,
        Scenario::Durable(durable) => traffic::run_durable(plan, durable, observer).await,
    }
}

/// Every connection needs a file; what the system permits is asked for.
pub(crate) fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Where it is refused, the connection that finds no file says so.
    let _ = setrlimit(Resource::Nofile, limit);
}
