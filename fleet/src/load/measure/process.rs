//! What a process has used so far, as the kernel counts it [proc(5)].
//!
//! It is read from outside, so that any broker can be measured.

use crate::load::LoadError;
use std::fs;
use std::io;
use std::time::Duration;

/// What a process has used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Processor time of all its threads, the system's on their behalf included.
    pub(crate) cpu: Duration,
    /// Memory it holds now.
    pub(crate) resident: u64,
    /// How often its threads that live now went to sleep.
    pub(crate) sleeps: u64,
}

impl Usage {
    /// Looks at a process.
    pub(crate) fn of(pid: u32) -> Result<Self, LoadError> {
        Self::read(pid).map_err(|source| LoadError::Process { pid, source })
    }

    /// Looks at ourselves.
    pub(crate) fn own() -> Result<Self, LoadError> {
        Self::of(std::process::id())
    }

    fn read(pid: u32) -> io::Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let (ticks, pages) = parse_stat(&stat).ok_or(io::ErrorKind::InvalidData)?;
        let mut sleeps = 0;
        for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
            // A thread that has ended meanwhile is not counted.
            let status = fs::read_to_string(thread?.path().join("status")).unwrap_or_default();
            sleeps += parse_sleeps(&status).unwrap_or(0);
        }
        let page = u64::try_from(rustix::param::page_size()).unwrap_or(4096);
        let cpu = Duration::from_nanos(ticks * 1_000_000_000 / ticks_per_second());
        Ok(Self {
            cpu,
            resident: pages * page,
            sleeps,
        })
    }
}

fn ticks_per_second() -> u64 {
    rustix::param::clock_ticks_per_second().max(1)
}

/// Ticks in user and system mode (fields 14 and 15) and resident pages (24). The second field may
/// hold anything, so that counting begins behind its closing parenthesis.
fn parse_stat(stat: &str) -> Option<(u64, u64)> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace();
    let user: u64 = fields.nth(11)?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    let pages = fields.nth(8)?.parse().ok()?;
    Some((user + system, pages))
}

fn parse_sleeps(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_process_does_not_shift_its_fields() {
        let stat = "7 (a b) c) S 1 7 7 0 -1 4194560 9 0 0 0 120 30 0 0 20 0 3 0 55 4096 17 \
                    18446744073709551615";
        assert_eq!(parse_stat(stat), Some((150, 17)));
        assert_eq!(parse_stat("7 (a) S 1"), None);
    }

    #[test]
    fn work_costs_processor_time_and_memory_is_held() {
        let before = Usage::own().unwrap();
        let mut rounds = 0_u64;
        while Usage::own().unwrap().cpu < before.cpu + Duration::from_millis(20) {
            rounds += std::hint::black_box(1);
        }
        assert!(rounds > 0 && Usage::own().unwrap().resident > 100_000);
    }

    #[test]
    fn a_process_that_is_not_there_is_named() {
        let error = Usage::of(u32::MAX).unwrap_err();
        assert_eq!(error.to_string(), "process 4294967295 cannot be looked at");
    }
}
