//! The broker in a simulation: engine, shards and storage are the real ones, everything around
//! them follows from a seed.
//!
//! `SEED=… SHARDS=… cargo test -p countersign-tests --test simulation one_seed -- --ignored` runs a
//! seed that failed and tells its story.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod acts;
mod client;
mod disk;
mod host;
mod identity;
mod link;
mod plan;
mod plant;
mod runs;
mod session;
mod settle;
mod steps;
mod truth;
mod witness;
mod world;

use plan::Plan;
use plant::Plant;
use runs::{Tally, fails, number, run_seeds};

/// So many seeds take about half a minute, with both numbers of shards.
const SEEDS: u64 = 400;
/// So many things happen in a run before it comes to its end.
const STEPS: usize = 400;
/// So much is said of what caught it.
const WHY_LEN_MAX: usize = 200;
/// Within so many seeds a planted bug is caught.
const PLANTED_SEEDS: u64 = 1_000;

#[test]
fn whatever_happens_nothing_acknowledged_is_lost() {
    for shards in [1, 3] {
        run_seeds((1, SEEDS), shards);
    }
}

#[test]
#[ignore = "long: scripts/test --long runs it"]
fn long_whatever_happens_nothing_acknowledged_is_lost() {
    let (first, seeds) = (number("SEED", 1_000_000), number("SEEDS", 20_000));
    for shards in [1, 3] {
        run_seeds((first, seeds), shards);
    }
}

#[test]
#[ignore = "one seed: SEED and SHARDS say which"]
fn one_seed() {
    let shards = usize::try_from(number("SHARDS", 1)).unwrap();
    run_seeds((number("SEED", 1), 1), shards);
}

#[test]
fn each_planted_bug_is_caught() {
    for (plant, is_witnessed) in all_plants() {
        let caught = (1..=PLANTED_SEEDS).find_map(|seed| {
            let plan = Plan::new(seed, 1, STEPS).with(plant, is_witnessed);
            Some((seed, fails(&plan, &mut Tally::default())?))
        });
        let Some((seed, why)) = caught else {
            panic!("{plant:?} is not caught, witnessed: {is_witnessed}");
        };
        let why: String = why.chars().take(WHY_LEN_MAX).collect();
        println!("{plant:?}, witnessed: {is_witnessed}, is caught at seed {seed}: {why}");
    }
}

/// Each must be caught by what comes of it alone, too.
fn all_plants() -> impl Iterator<Item = (Plant, bool)> {
    let each = Plant::ALL.into_iter();
    each.flat_map(|plant| [(plant, true), (plant, false)])
}
