//! Runs: seeds one after another, and what is said of one that fails.

use super::STEPS;
use super::plan::Plan;
use super::world::World;
use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;
use std::time::{Duration, Instant};

/// After so many seeds that fail it is enough.
const FAILING_MAX: usize = 10;
/// So much of the story is told.
const LINES_MAX: usize = 80;

/// What was done.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) runs: u64,
    pub(crate) steps: u64,
    pub(crate) messages: u64,
}

/// A number from the environment.
pub(crate) fn number(name: &str, default: u64) -> u64 {
    let text = std::env::var(name).ok();
    text.map_or(default, |it| it.parse().expect("a number"))
}

/// Runs seeds and says how fast.
///
/// # Panics
/// If one fails: with the command that runs it, where it fails first, and what happened before.
pub(crate) fn run_seeds((first, seeds): (u64, u64), shards: usize) {
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
pub(crate) fn fails(plan: &Plan, tally: &mut Tally) -> Option<String> {
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
