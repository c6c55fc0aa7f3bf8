//! Runs: seeds one after another, and what is said of one that fails.

use crate::machine::plant::Plant;
use crate::plan::Plan;
use crate::world::World;
use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;
use std::time::{Duration, Instant};

/// So many seeds take about half a minute, with both numbers of shards.
const SEEDS: u64 = 500;
/// So many things happen in a run before it comes to its end.
const STEPS: usize = 400;
/// So much is said of what caught it.
const WHY_LEN_MAX: usize = 200;
/// Within so many seeds a planted bug is caught.
const PLANTED_SEEDS: u64 = 1_000;
/// After so many seeds that fail it is enough.
const FAILING_MAX: usize = 10;
/// So much of the story is told.
const LINES_MAX: usize = 80;

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
    let messages: u64 = [1, 3]
        .map(|shards| run_seeds((first, seeds), shards).messages)
        .into_iter()
        .sum();
    println!("outcome: {seeds} seeds at 1 and at 3 shards, {messages} messages, no fault");
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

/// What was done.
#[derive(Debug, Default)]
struct Tally {
    runs: u64,
    steps: u64,
    messages: u64,
}

/// A number from the environment.
fn number(name: &str, default: u64) -> u64 {
    let text = std::env::var(name).ok();
    text.map_or(default, |it| it.parse().expect("a number"))
}

/// Runs seeds and says how fast.
///
/// # Panics
/// If one fails: with the command that runs it, where it fails first, and what happened before.
fn run_seeds((first, seeds): (u64, u64), shards: usize) -> Tally {
    let begun = Instant::now();
    let mut tally = Tally::default();
    let steps = usize::try_from(number("STEPS", STEPS as u64)).unwrap();
    let plans = (first..first + seeds).map(|seed| Plan::new(seed, shards, steps));
    let failing = plans.filter_map(|plan| {
        let why = fails(&plan, &mut tally)?;
        Some((plan, why))
    });
    let failing: Vec<_> = failing.take(FAILING_MAX).collect();
    say(&tally, shards, begun.elapsed());
    for (plan, why) in &failing {
        println!("seed {} fails: {why}", plan.seed);
    }
    if let Some((plan, why)) = failing.first() {
        panic!("{}", report(plan, why));
    }
    tally
}

fn say(tally: &Tally, shards: usize, took: Duration) {
    let Tally {
        runs,
        steps,
        messages,
    } = *tally;
    let a_second = |count: u64| u128::from(count) * 1000 / took.as_millis().max(1);
    println!(
        "{shards} shards: {runs} seeds, {steps} steps, {messages} messages in {took:.1?}: \
         {} seeds/s, {} steps/s",
        a_second(runs),
        a_second(steps)
    );
}

/// Runs a plan. Why it fails, if it does.
fn fails(plan: &Plan, tally: &mut Tally) -> Option<String> {
    run(plan, tally, None).err()
}

fn run(plan: &Plan, tally: &mut Tally, story: Option<&mut Vec<String>>) -> Result<(), String> {
    listen();
    let mut world = World::new(plan.clone());
    world.story = story.is_some().then(Vec::new);
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| {
        for _ in 0..plan.steps {
            world.happen();
        }
        world.settle();
    }));
    tally.runs += 1;
    tally.steps += world.step;
    tally.messages += world.truth.len();
    if let Some(story) = story {
        *story = world.story.take().unwrap_or_default();
    }
    outcome.map_err(|_| LAST_WORDS.take())
}

thread_local! {
    static IS_HEARD: RefCell<bool> = const { RefCell::new(false) };
    static LAST_WORDS: RefCell<String> = const { RefCell::new(String::new()) };
}

/// What a run panics with is heard here, and not printed.
fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            LAST_WORDS.set(info.to_string());
            if !IS_HEARD.with_borrow(|it| *it) {
                before(info);
            }
        }));
    });
    IS_HEARD.set(true);
}

/// A run that fails: the shortest beginning of it that does, and its story.
fn report(plan: &Plan, why: &str) -> String {
    IS_HEARD.set(true);
    let mut shortest = (plan.clone(), why.to_owned());
    for part in 1..20 {
        let steps = plan.steps * part / 20;
        let shorter = Plan {
            steps,
            ..plan.clone()
        };
        if let Some(why) = fails(&shorter, &mut Tally::default()) {
            shortest = (shorter, why);
            break;
        }
    }
    let (plan, why) = shortest;
    let mut story = Vec::new();
    let _ = run(&plan, &mut Tally::default(), Some(&mut story));
    IS_HEARD.set(false);
    let all = std::env::var_os("STORY").is_some();
    let begin = story
        .len()
        .saturating_sub(if all { usize::MAX } else { LINES_MAX });
    format!(
        "{}\n\n{why}\n\nagain: SEED={} SHARDS={} STEPS={} cargo test -p countersign-tests \
         --test simulation one_seed -- --ignored --nocapture",
        story[begin..].join("\n"),
        plan.seed,
        plan.shards,
        plan.steps,
    )
}
