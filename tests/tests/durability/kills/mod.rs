//! SIGKILL at any moment: a checker talks to brokers that are killed, one after the other, over
//! the same data.
//!
//! No message that was acknowledged is lost, none of QoS 2 comes twice, and all come in their
//! order; what is retained is what was acknowledged last; subscriptions and wills are as they were
//! acknowledged.

mod checker;
mod publisher;
mod retained;
mod round;
mod subscriber;
mod switcher;
mod wills;

use checker::{Checker, End};
use countersign_tests::faulty_disk::{Fault, Point};
use countersign_tests::seeded::Seeded;

/// Another one with `COUNTERSIGN_TEST_SEED`.
fn seed() -> u64 {
    let seed = std::env::var("COUNTERSIGN_TEST_SEED").ok();
    let seed = seed.map_or(1, |seed| seed.parse().expect("a number"));
    println!("COUNTERSIGN_TEST_SEED={seed}");
    seed
}

#[test]
#[ignore = "needs the binary; scripts/test runs it"]
fn what_was_acknowledged_survives_sigkill_at_any_moment() {
    kill_at_any_moment(24);
}

#[test]
#[ignore = "long: scripts/test --long runs it"]
fn long_what_was_acknowledged_survives_500_sigkills_at_any_moment() {
    kill_at_any_moment(500);
}

#[test]
#[ignore = "needs the binary; scripts/test runs it"]
fn what_was_acknowledged_survives_the_end_at_each_point_of_a_commit() {
    kill_at_points(42);
}

#[test]
#[ignore = "long: scripts/test --long runs it"]
fn long_what_was_acknowledged_survives_500_ends_at_each_point_of_a_commit() {
    kill_at_points(500);
}

/// So many lives lie between two at whose end all has been delivered.
const UNTIL_SETTLED: u32 = 100;

fn kill_at_any_moment(kills: u32) {
    let mut checker = Checker::new(seed());
    for kill in 1..=kills {
        checker.live(End::Killed);
        settle(&mut checker, kill, kills);
    }
    println!("outcome: {}", checker.summary());
}

fn kill_at_points(kills: u32) {
    let mut checker = Checker::new(seed());
    let mut random = Seeded::new(seed());
    for (kill, point) in (1..=kills).zip(Point::DEADLY.into_iter().cycle()) {
        // The first steps are those of the start.
        let steps = *random.choose(&[10, 30, 100]);
        let step = 1 + random.below(steps) as u64;
        checker.live(End::At(Fault { point, step }));
        settle(&mut checker, kill, kills);
    }
    println!("outcome: {}", checker.summary());
    assert!(checker.faults > kills / 2, "{}", checker.summary());
}

fn settle(checker: &mut Checker, kill: u32, kills: u32) {
    if kill.is_multiple_of(UNTIL_SETTLED) || kill == kills {
        checker.settle();
    }
}
