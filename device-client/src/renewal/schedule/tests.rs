//! Renewals over simulated days, and what the clocks may do to them.

use super::*;
use crate::chance::tests::Seeded;

const PACE: Pace = Pace {
    latest: 667,
    jitter: 100,
};

const MINUTE: Duration = Duration::from_mins(1);

/// In 2033.
const BEGIN: Duration = Duration::from_secs(2_000_000_000);

fn term(begin: Duration, lifetime: Duration) -> Term {
    Term {
        not_before: begin,
        not_after: begin + lifetime,
    }
}

/// Both clocks, of which one may jump.
#[derive(Clone, Copy)]
struct Clocks(Now);

impl Clocks {
    fn new() -> Self {
        Self(Now {
            wall: BEGIN,
            steady: Instant::now(),
        })
    }

    fn pass(&mut self, time: Duration) {
        self.0.wall += time;
        self.0.steady += time;
    }
}

/// How long until there is something to do.
fn wait_whole(schedule: &Schedule, clocks: &mut Clocks) -> Duration {
    let begin = clocks.0.steady;
    loop {
        let wait = schedule.wait(clocks.0);
        if wait.is_zero() {
            return clocks.0.steady - begin;
        }
        assert!(wait <= LOOK_AFTER);
        clocks.pass(wait);
    }
}

#[test]
fn a_certificate_is_due_by_two_thirds_of_its_lifetime_and_up_to_a_tenth_of_it_before() {
    let hour = Duration::from_hours(1);
    for (chance, minutes) in [(0, 40.02), (u32::MAX / 2, 37.02), (u32::MAX, 34.02)] {
        let mut clocks = Clocks::new();
        let schedule = Schedule::new(PACE, term(BEGIN, hour), clocks.0, chance);
        assert_eq!(
            schedule.next(clocks.0),
            BEGIN + wait_whole(&schedule, &mut clocks)
        );
        let after = clocks.0.wall.abs_diff(BEGIN).as_secs_f64() / 60.0;
        assert!((after - minutes).abs() < 0.01, "{after}, not {minutes}");
    }
}

#[test]
fn a_certificate_that_begins_in_the_past_is_not_renewed_at_once() {
    let mut clocks = Clocks::new();
    let mut schedule = Schedule::new(PACE, term(BEGIN, MINUTE), clocks.0, 0);
    let backdated = Term {
        not_before: BEGIN.saturating_sub(Duration::from_hours(24)),
        not_after: BEGIN + 10 * MINUTE,
    };
    schedule.renewed(backdated, clocks.0, 0);
    let waited = wait_whole(&schedule, &mut clocks);
    assert!(waited > 6 * MINUTE, "{waited:?}");
}

#[test]
fn waits_double_up_to_the_cap_and_shrink_as_the_end_comes_near() {
    let mut clocks = Clocks::new();
    let lifetime = Duration::from_hours(24);
    let mut schedule = Schedule::new(PACE, term(BEGIN, lifetime), clocks.0, 0);
    wait_whole(&schedule, &mut clocks);
    let (mut waits, mut attempts_last_hour) = (Vec::new(), 0);
    while clocks.0.wall < BEGIN + lifetime {
        schedule.failed(clocks.0, Setback::Passing, u32::MAX);
        waits.push(wait_whole(&schedule, &mut clocks).as_secs());
        let is_last_hour = clocks.0.wall + Duration::from_hours(1) > BEGIN + lifetime;
        attempts_last_hour += u32::from(is_last_hour);
    }
    assert_eq!(waits[..6], [30, 60, 120, 240, 480, 960]);
    let left = lifetime.as_secs() / 3;
    assert!(waits.iter().all(|wait| *wait <= left / 10), "{waits:?}");
    assert!(
        (20..80).contains(&attempts_last_hour),
        "{attempts_last_hour}"
    );
    // Expired: it goes on, and not in a hurry.
    for _ in 0..100 {
        schedule.failed(clocks.0, Setback::Passing, u32::MAX);
        assert_eq!(wait_whole(&schedule, &mut clocks), Duration::from_hours(1));
    }
}

#[test]
fn one_who_is_refused_does_not_storm() {
    let mut chance = Seeded(1);
    for lifetime in [
        10 * MINUTE,
        Duration::from_hours(24),
        Duration::from_hours(24 * 365),
    ] {
        let mut clocks = Clocks::new();
        let mut schedule = Schedule::new(PACE, term(BEGIN, lifetime), clocks.0, 0);
        wait_whole(&schedule, &mut clocks);
        for _ in 0..100 {
            schedule.failed(clocks.0, Setback::Refused, chance.draw());
            let wait = wait_whole(&schedule, &mut clocks);
            let cap = (lifetime / 24).min(Duration::from_hours(1));
            assert!((cap / 2..=cap).contains(&wait), "{wait:?} of {cap:?}");
        }
    }
}

#[test]
fn we_come_again_when_we_are_told_and_not_too_late() {
    let hour = Duration::from_hours(1);
    for (told, least, most) in [
        (Duration::ZERO, 18.0, 20.0),
        (2 * MINUTE, 120.0, 132.0),
        // Half of the third that is left.
        (24 * hour, 599.0, 661.0),
    ] {
        for chance in [0, u32::MAX] {
            let mut clocks = Clocks::new();
            let mut schedule = Schedule::new(PACE, term(BEGIN, hour), clocks.0, 0);
            wait_whole(&schedule, &mut clocks);
            schedule.failed(clocks.0, Setback::ComeAgain(told), chance);
            let wait = wait_whole(&schedule, &mut clocks).as_secs_f64();
            assert!((least..=most).contains(&wait), "{told:?}: {wait}");
        }
    }
}

#[test]
fn a_clock_that_is_set_back_delays_a_renewal_by_nothing() {
    let mut clocks = Clocks::new();
    let hour = Duration::from_hours(1);
    let schedule = Schedule::new(PACE, term(BEGIN, hour), clocks.0, 0);
    clocks.pass(10 * MINUTE);
    clocks.0.wall -= Duration::from_hours(24 * 365);
    let waited = wait_whole(&schedule, &mut clocks);
    assert!(
        waited.abs_diff(30 * MINUTE) < Duration::from_secs(2),
        "{waited:?}"
    );
    // Nor does it lengthen a wait that has begun.
    let mut schedule = schedule;
    schedule.failed(clocks.0, Setback::Passing, u32::MAX);
    clocks.0.wall -= Duration::from_hours(24 * 365);
    assert!(schedule.wait(clocks.0) < MINUTE);
}

#[test]
fn a_clock_that_is_set_forward_is_noticed_within_a_minute_and_forgiven() {
    let mut clocks = Clocks::new();
    let day = Duration::from_hours(24);
    let mut schedule = Schedule::new(PACE, term(BEGIN, day), clocks.0, 0);
    clocks.pass(schedule.wait(clocks.0));
    clocks.0.wall += 365 * day;
    assert_eq!(schedule.wait(clocks.0), Duration::ZERO);
    schedule.failed(clocks.0, Setback::Passing, u32::MAX);
    assert!(!schedule.wait(clocks.0).is_zero());
    clocks.0.wall -= 365 * day;
    let waited = wait_whole(&schedule, &mut clocks);
    assert!(waited > 15 * day / 24, "{waited:?}");
}

/// One device and its enrolment server, as chance has them.
struct Run {
    chance: Seeded,
    clocks: Clocks,
    term: Term,
    schedule: Schedule,
    /// When the server is away.
    outages: Vec<(Duration, Duration)>,
    tally: Tally,
}

/// What a run came to.
#[derive(Debug, Default)]
struct Tally {
    renewals: u32,
    attempts: u32,
    gaps: u32,
    excused: u32,
}

const LIFETIME: Duration = Duration::from_mins(10);

impl Run {
    fn new(seed: u64, end: Duration) -> Self {
        let (mut chance, clocks) = (Seeded(seed), Clocks::new());
        let term = term(BEGIN, LIFETIME);
        Self {
            outages: outages(&mut chance, end),
            schedule: Schedule::new(PACE, term, clocks.0, chance.draw()),
            tally: Tally::default(),
            chance,
            clocks,
            term,
        }
    }

    /// Waits until the next attempt, and makes it.
    fn attempt(&mut self) {
        wait_whole(&self.schedule, &mut self.clocks);
        self.tally.attempts += 1;
        let time = drawn(Duration::from_secs(2), self.chance.draw());
        self.clocks.pass(time);
        match self.setback() {
            Some(setback) => {
                let chance = self.chance.draw();
                self.schedule.failed(self.clocks.0, setback, chance);
            }
            None => self.renew(),
        }
    }

    fn setback(&mut self) -> Option<Setback> {
        let now = self.clocks.0.wall;
        if self
            .outages
            .iter()
            .any(|(from, to)| (*from..*to).contains(&now))
        {
            return Some(Setback::Passing);
        }
        let is_late = now + LIFETIME / 6 > self.term.not_after;
        // One attempt in four fails though the server is there, as long as there is time.
        match self.chance.draw() % 16 {
            _ if is_late => None,
            0 => Some(Setback::Refused),
            1 => Some(Setback::ComeAgain(drawn(MINUTE, self.chance.draw()))),
            2 | 3 => Some(Setback::Passing),
            _ => None,
        }
    }

    fn renew(&mut self) {
        let (now, end) = (self.clocks.0.wall, self.term.not_after);
        // Away for the last third of the lifetime, but for the wait that had begun.
        let third = LIFETIME / 3;
        let overlap = |(from, to): &(Duration, Duration)| {
            (*to)
                .min(end)
                .saturating_sub((*from).max(end.saturating_sub(third)))
        };
        let away: Duration = self.outages.iter().map(overlap).sum();
        if now > end && away > third * 7 / 10 {
            self.tally.excused += 1;
        } else if now > end {
            self.tally.gaps += 1;
        }
        self.tally.renewals += 1;
        self.term = term(now, LIFETIME);
        self.schedule
            .renewed(self.term, self.clocks.0, self.chance.draw());
    }
}

/// When a server is away: seldom, and now and then for long.
fn outages(chance: &mut Seeded, end: Duration) -> Vec<(Duration, Duration)> {
    let (mut at, mut outages) = (BEGIN, Vec::new());
    while at < end {
        at += drawn(LIFETIME * 10, chance.draw());
        let is_long = chance.draw().is_multiple_of(4);
        let longest = if is_long { LIFETIME } else { LIFETIME / 4 };
        let length = drawn(longest, chance.draw());
        outages.push((at, at + length));
        at += length;
    }
    outages
}

#[test]
fn over_thirty_days_there_is_always_a_certificate_unless_the_server_was_away_for_long() {
    let (mut gaps, mut excused, mut renewals) = (0, 0, 0);
    for seed in 1..=10 {
        let end = BEGIN + Duration::from_hours(24 * 30);
        let mut run = Run::new(seed, end);
        while run.clocks.0.wall < end {
            run.attempt();
        }
        let tally = run.tally;
        println!("seed {seed}: {tally:?}");
        assert!(
            tally.attempts < tally.renewals * 6,
            "seed {seed}: {tally:?}"
        );
        gaps += tally.gaps;
        excused += tally.excused;
        renewals += tally.renewals;
    }
    assert_eq!(gaps, 0);
    assert!(excused > 0, "no outage was long enough to matter");
    assert!(renewals > 10 * 30 * 24 * 5, "{renewals}");
}
