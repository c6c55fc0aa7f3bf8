//! The power fails at every step, those of checkpoints and of what is carried included: what was
//! reported durable is there, and adds up to the same.

use super::life::{Life, steps};
use crate::storage::log::LogError;
use crate::storage::log::tests::simulated_disk::{Fault, SimulatedDisk};
use std::collections::BTreeSet;
use std::ops::RangeInclusive;

const TURNS: u64 = 110;

/// Breaks at every step of a life, restarts, breaks somewhere again, and goes on to the end.
fn break_everywhere(
    seeds: RangeInclusive<u64>,
    fault: Fault,
    restart: impl Fn(&SimulatedDisk, u64) -> SimulatedDisk,
) {
    let mut all_done = BTreeSet::new();
    for seed in seeds {
        let (steps, done) = steps(seed, TURNS);
        all_done.extend(done.into_keys());
        for step in 1..=steps {
            let disk = SimulatedDisk::default();
            let mut life = Life::new(seed);
            disk.break_at(step, fault);
            go_on_broken(&mut life, &disk);
            let disk = restart(&disk, step);
            disk.break_at(step * 7 % 60 + 1, fault);
            go_on_broken(&mut life, &disk);
            let disk = restart(&disk, !step);
            disk.mend();
            let until = life.reported.last.0 + 12;
            let outcome = life.go_on(&disk, until);
            assert!(outcome.is_ok(), "seed {seed}, step {step}: {outcome:?}");
        }
    }
    let expected = ["carry", "checkpoint", "let go"].into();
    assert_eq!(all_done, expected, "not all was done");
}

fn go_on_broken(life: &mut Life, disk: &SimulatedDisk) {
    if let Err(error) = life.go_on(disk, TURNS) {
        assert!(matches!(error, LogError::Disk { .. }), "{error:?}");
    }
}

#[test]
fn a_power_cut_at_any_step_of_a_checkpoint_or_of_what_is_carried_loses_nothing() {
    break_everywhere(1..=1, Fault::PowerCut, SimulatedDisk::after_power_cut);
}

#[test]
fn a_killed_process_finds_what_it_had() {
    break_everywhere(2..=2, Fault::PowerCut, |disk, _| disk.copy());
}

#[test]
#[ignore = "long: scripts/test --long runs it"]
fn long_power_cuts_and_failed_syncs_at_any_step_of_many_lives_lose_nothing() {
    break_everywhere(3..=20, Fault::PowerCut, SimulatedDisk::after_power_cut);
    break_everywhere(21..=40, Fault::SyncFails, |disk, seed| {
        // A new process on the same machine, or the same after a loss of power.
        if seed % 2 == 0 {
            disk.clone()
        } else {
            disk.after_power_cut(seed)
        }
    });
}
