//! The power fails at every step of the log, a sync fails, a process is killed: what was reported
//! durable is there, in order and without a hole.

use super::simulated_disk::{Fault, Random, SimulatedDisk};
use super::{batch, recover, settings};
use crate::storage::Position;
use crate::storage::log::appender::Appender;
use crate::storage::log::shelf::Shelf;
use crate::storage::log::{Durability, LogError, Settings};
use std::sync::Arc;

/// Several frames fill a segment, and some do not fit into one.
const SEGMENT_BYTES: u64 = 4096;
const TURNS: u64 = 50;
const SEEDS: std::ops::RangeInclusive<u64> = 1..=6;

/// A log in use, over any number of restarts.
struct Life {
    settings: Settings,
    /// Up to where the log has said that everything is durable.
    reported: u64,
    random: Random,
}

impl Life {
    fn new(seed: u64, durability: Durability) -> Self {
        let settings = Settings {
            durability,
            seed,
            ..settings(SEGMENT_BYTES)
        };
        Self {
            settings,
            reported: 0,
            random: Random(seed),
        }
    }

    /// Recovers, checks what is there, and appends up to turn `until`. An error is that of the
    /// disk, and ends it.
    fn go_on(&mut self, disk: &SimulatedDisk, until: u64) -> Result<(), LogError> {
        let (kept, found) = recover(disk, &self.settings)?;
        let last = kept.check(self.settings.covered.0 + 1);
        if self.settings.durability == Durability::Sync {
            assert!(last >= self.reported, "{last} < {}", self.reported);
        }
        self.reported = last;
        let files = Shelf::new(Arc::new(disk.clone()));
        let mut appender = Appender::new(files, self.settings.clone(), found)?;
        assert_eq!(appender.position(), Position(last));
        while self.reported < until {
            self.work(&mut appender)?;
        }
        Ok(())
    }

    fn work(&mut self, appender: &mut Appender) -> Result<(), LogError> {
        let len = self.random.below(3) as u64 + 1;
        appender.commit(&mut batch(self.reported + 1, len))?;
        self.reported = appender.position().0;
        if self.random.below(4) == 0
            && let Some(order) = appender.spares.wanted()
        {
            let name = order.make()?;
            appender.spares.add(name);
        }
        // A checkpoint is taken of what is on the disk.
        if self.settings.durability == Durability::Sync && self.random.below(12) == 0 {
            let covered = self.reported.saturating_sub(self.random.below(6) as u64);
            self.settings.covered = self.settings.covered.max(Position(covered));
            while appender
                .oldest()
                .is_some_and(|it| it.end <= self.settings.covered.0)
            {
                appender.let_go()?;
            }
        }
        Ok(())
    }
}

/// How many steps a life of this seed has.
fn steps(seed: u64, durability: Durability) -> u64 {
    let disk = SimulatedDisk::default();
    Life::new(seed, durability).go_on(&disk, TURNS).unwrap();
    disk.steps()
}

fn is_of_disk(error: &LogError) -> bool {
    matches!(error, LogError::Disk { .. })
}

/// Breaks at every step of a life, lets `restart` say what the disk is like after it, breaks once
/// more somewhere, and goes on to the end.
fn break_everywhere(fault: Fault, restart: impl Fn(&SimulatedDisk, u64) -> SimulatedDisk) {
    for seed in SEEDS {
        for step in 1..=steps(seed, Durability::Sync) {
            let disk = SimulatedDisk::default();
            let mut life = Life::new(seed, Durability::Sync);
            disk.break_at(step, fault);
            let broken = life.go_on(&disk, TURNS);
            assert!(broken.is_ok() || is_of_disk(&broken.unwrap_err()));
            let disk = restart(&disk, step);
            life.settings.seed += 1000;
            disk.break_at(life.random.below(30) as u64 + 1, fault);
            let broken = life.go_on(&disk, TURNS);
            let broken = broken.err().filter(|error| !is_of_disk(error));
            assert!(broken.is_none(), "seed {seed}, step {step}: {broken:?}");
            let disk = restart(&disk, !step);
            disk.mend();
            let outcome = life.go_on(&disk, TURNS + 10);
            assert!(outcome.is_ok(), "seed {seed}, step {step}: {outcome:?}");
        }
    }
}

#[test]
fn a_power_cut_at_any_step_loses_nothing_that_was_durable() {
    break_everywhere(Fault::PowerCut, SimulatedDisk::after_power_cut);
}

#[test]
fn a_sync_that_fails_and_a_power_cut_later_lose_nothing_that_was_durable() {
    break_everywhere(Fault::SyncFails, |disk, seed| {
        // A new process on the same machine: it reads what the disk does not have.
        let process = disk.clone();
        if seed % 2 == 0 {
            return process;
        }
        process.after_power_cut(seed)
    });
}

#[test]
fn what_a_killed_process_wrote_and_did_not_sync_is_durable_before_anybody_relies_on_it() {
    for seed in SEEDS {
        for step in 1..=steps(seed, Durability::Sync) {
            let disk = SimulatedDisk::default();
            let mut life = Life::new(seed, Durability::Sync);
            disk.break_at(step, Fault::SyncFails);
            let _ = life.go_on(&disk, TURNS);
            // The next one finds a frame in the cache, and the power fails once it has begun.
            let found = life.reported;
            let (kept, _) = recover(&disk, &life.settings).unwrap();
            life.reported = kept.check(life.settings.covered.0 + 1);
            assert!(life.reported >= found);
            let disk = disk.after_power_cut(step);
            let outcome = life.go_on(&disk, TURNS);
            assert!(outcome.is_ok(), "seed {seed}, step {step}: {outcome:?}");
        }
    }
}

#[test]
fn without_syncs_a_power_cut_costs_a_tail_and_never_the_middle() {
    let (mut lost, mut torn) = (0, 0);
    for seed in SEEDS {
        for step in 1..=steps(seed, Durability::Os) {
            let disk = SimulatedDisk::default();
            let mut life = Life::new(seed, Durability::Os);
            disk.break_at(step, Fault::PowerCut);
            let _ = life.go_on(&disk, TURNS);
            let disk = disk.after_power_cut(step);
            let (kept, found) = recover(&disk, &life.settings).unwrap();
            lost += u32::from(kept.check(1) < life.reported);
            torn += u32::from(found.torn.is_some());
            let outcome = life.go_on(&disk, TURNS);
            assert!(outcome.is_ok(), "seed {seed}, step {step}: {outcome:?}");
        }
    }
    assert!(lost > 0 && torn > 0, "no cut cost anything");
}

#[test]
fn a_killed_process_loses_nothing_that_it_wrote() {
    for durability in [Durability::Sync, Durability::Os] {
        for step in 1..=steps(1, durability) {
            let disk = SimulatedDisk::default();
            let mut life = Life::new(1, durability);
            disk.break_at(step, Fault::PowerCut);
            let _ = life.go_on(&disk, TURNS);
            // The power was the process's: the cache has everything.
            let (kept, _) = recover(&disk.copy(), &life.settings).unwrap();
            let first = life.settings.covered.0 + 1;
            assert!(kept.check(first) >= life.reported, "step {step}");
        }
    }
}
