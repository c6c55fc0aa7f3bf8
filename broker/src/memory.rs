//! Memory: how much of it the process has, and what is given up when that becomes much.
//!
//! Looked at ten times a second, beside everything else: a fast publisher brings much in one. A
//! stage is left only when there is clearly room again, so that nobody is let in and turned away
//! in turns.

use crate::engine::Pressure;
use std::fs;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};

const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// Of what there is, where no maximum is set.
const SHARE_PERCENT: u64 = 90;
/// The stages, and at how many hundredths of the maximum each begins.
const STAGES: [(Pressure, u64); 3] = [
    (Pressure::NoMessages, 97),
    (Pressure::NoQos0, 92),
    (Pressure::NoConnections, 85),
];
/// So many hundredths below its beginning a stage ends.
const HYSTERESIS: u64 = 5;

/// How short of memory the process is.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    stage: AtomicU8,
    /// How often a stage has begun.
    pub(crate) raised: AtomicU64,
}

impl Memory {
    /// Whether newcomers are to be turned away.
    pub(crate) fn is_short(&self) -> bool {
        self.stage.load(Ordering::Relaxed) > 0
    }

    /// Looks again and again, and tells whom it concerns when a stage begins or ends.
    pub(crate) async fn watch(&self, max: impl Fn() -> u64, tell: impl Fn(Pressure)) {
        let all = share_of_all();
        let mut ticks = interval(LOOK_AGAIN);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut pressure = Pressure::None;
        loop {
            ticks.tick().await;
            let max = Some(max()).filter(|max| *max > 0).unwrap_or(all);
            let used = used();
            let next = judge(pressure, used, max);
            if next == pressure {
                continue;
            }
            self.stage.store(next as u8, Ordering::Relaxed);
            if next > pressure {
                self.raised.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(used, max, stage = %Words(next), "memory is short");
            } else {
                tracing::warn!(used, max, stage = %Words(next), "there is memory again");
            }
            pressure = next;
            tell(pressure);
        }
    }
}

/// The stage to be in, from the one we are in.
fn judge(now: Pressure, used: u64, max: u64) -> Pressure {
    let begins = |percent: u64| u128::from(used) * 100 >= u128::from(max) * u128::from(percent);
    let stage = STAGES.iter().find(|(stage, percent)| {
        let percent = if *stage <= now {
            percent - HYSTERESIS
        } else {
            *percent
        };
        begins(percent)
    });
    stage.map_or(Pressure::None, |(stage, _)| *stage)
}

/// The bytes of ours that are in memory; none where the system does not say.
fn used() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let resident = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok());
    let page = rustix::param::page_size() as u64;
    resident.unwrap_or(0_u64).saturating_mul(page)
}

/// What we may use of the machine's memory, or of our control group's.
fn share_of_all() -> u64 {
    let all = machine().into_iter().chain(control_groups()).min();
    all.map_or(u64::MAX, |all| all / 100 * SHARE_PERCENT)
}

fn machine() -> Option<u64> {
    let all = fs::read_to_string("/proc/meminfo").ok()?;
    let total = all
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = total.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

/// The maxima of our control group and of those around it.
fn control_groups() -> impl Iterator<Item = u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let path = groups.lines().find_map(|line| line.strip_prefix("0::/"));
    let mut path = path.map(|path| std::path::Path::new("/sys/fs/cgroup").join(path));
    std::iter::from_fn(move || {
        let this = path
            .take()
            .filter(|path| path.starts_with("/sys/fs/cgroup"))?;
        path = this.parent().map(Into::into);
        Some(this)
    })
    .filter_map(|path| fs::read_to_string(path.join("memory.max")).ok())
    .filter_map(|max| max.trim().parse().ok())
}

struct Words(Pressure);

impl std::fmt::Display for Words {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.0 {
            Pressure::None => "everything is taken",
            Pressure::NoConnections => "no new connections are let in",
            Pressure::NoQos0 => "no new connections are let in and QoS 0 is dropped",
            Pressure::NoMessages => "no new connections are let in and no message is taken",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_begins_at_its_share_and_ends_clearly_below_it() {
        let mut now = Pressure::None;
        let cases = [
            (84, Pressure::None),
            (85, Pressure::NoConnections),
            (81, Pressure::NoConnections),
            (79, Pressure::None),
            (84, Pressure::None),
            (93, Pressure::NoQos0),
            (90, Pressure::NoQos0),
            (86, Pressure::NoConnections),
            (99, Pressure::NoMessages),
            (93, Pressure::NoMessages),
            (91, Pressure::NoQos0),
            (10, Pressure::None),
        ];
        for (percent, expected) in cases {
            now = judge(now, percent * 1000, 100_000);
            assert_eq!(now, expected, "at {percent} %");
        }
    }

    #[test]
    fn the_system_says_how_much_we_have_and_may_have() {
        let used = used();
        assert!(used > 1 << 20, "{used}");
        assert!(share_of_all() > used);
        assert!(share_of_all() < u64::MAX);
    }
}
