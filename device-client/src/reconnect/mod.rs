//! When to connect again: full jitter with a cap, and when to give up.
//!
//! Time and chance are arguments. A connection counts as a success only when it lasted longer than
//! we might have waited for it: a broker that accepts us and drops us at once is not called upon
//! without pause, and one at the end of a bad line is not given up for long.

mod brokers;

use std::time::{Duration, Instant};

use crate::chance::drawn;
use brokers::Followed;

pub use brokers::ServerReferences;
pub(crate) use brokers::{Broker, Brokers, Referral, Term};

/// No cap is above this: a wait without end is a device that is lost.
const WAIT_MAX: Duration = Duration::from_hours(24);

/// How long to wait between attempts to connect: before attempt `n` a time drawn evenly from zero
/// to `min(cap, base × 2ⁿ)`.
///
/// The whole range is drawn from ("full jitter"), so that the devices of a broker that restarts do
/// not come back together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The longest wait before the first attempt to reconnect.
    pub base: Duration,
    /// The longest wait before any attempt.
    pub cap: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            base: Duration::from_millis(500),
            cap: Duration::from_mins(1),
        }
    }
}

impl Backoff {
    /// The longest wait after so many attempts.
    pub(crate) fn ceiling(&self, attempt: u32) -> Duration {
        let ceiling = self.base.saturating_mul(1 << attempt.min(31));
        ceiling.min(self.cap).min(WAIT_MAX)
    }
}

/// What to do about refusals that waiting will not mend: a revoked certificate, a forbidden client
/// id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenRefused {
    /// Stop and report the refusal.
    #[default]
    Stop,
    /// Go on trying at the pace of the backoff: somebody may mend it on the other side.
    KeepTrying,
}

/// Decides after each lost connection and each failed attempt.
///
/// Where there are several brokers, the next one's turn comes when an attempt has failed, or a
/// connection did not last; waits grow with each round through all of them. One that a broker names
/// is asked after a wait as any other, so that those it sends away do not come together.
#[derive(Debug)]
pub(crate) struct Reconnect {
    brokers: Brokers,
    backoff: Backoff,
    when_refused: WhenRefused,
    stage: Stage,
    attempt: u32,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    /// Not connected yet; until then it is worth trying.
    First { until: Option<Instant> },
    /// Connected since then.
    Connected { since: Instant },
    /// Was connected before.
    Lost,
}

/// Whether waiting can mend what went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hope<'a> {
    /// It may be over soon.
    Passing,
    /// Somebody must change something.
    Lasting,
    /// Not here: another broker is to be asked, if there is one; perhaps this one.
    Elsewhere(Option<Referral<'a>>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Connect again after this time.
    Retry { after: Duration },
    /// Report the error and stop.
    Stop,
}

impl Reconnect {
    /// The first connection must stand before `until`; without one it is awaited for ever.
    pub(crate) fn new(
        brokers: Brokers,
        (backoff, when_refused): (Backoff, WhenRefused),
        until: Option<Instant>,
    ) -> Self {
        Self {
            brokers,
            backoff,
            when_refused,
            stage: Stage::First { until },
            attempt: 0,
        }
    }

    /// Where the next attempt goes to.
    pub(crate) fn broker(&self) -> Option<&Broker> {
        self.brokers.next()
    }

    pub(crate) fn connected(&mut self, now: Instant) {
        self.stage = Stage::Connected { since: now };
    }

    /// The connection was lost, or an attempt failed. `chance` is drawn evenly from all numbers.
    pub(crate) fn lost(&mut self, now: Instant, hope: Hope<'_>, chance: u32) -> Verdict {
        let has_lasted = self.note_loss(now);
        let is_over = match hope {
            Hope::Passing => false,
            Hope::Lasting => true,
            Hope::Elsewhere(None) => self.brokers.is_alone(),
            Hope::Elsewhere(Some(referral)) => {
                let is_alone = self.brokers.is_alone();
                match self.brokers.refer(referral) {
                    Followed::To => return self.again(now, chance),
                    Followed::Nobody => is_alone,
                    Followed::TooOften => false,
                }
            }
        };
        if is_over && self.when_refused == WhenRefused::Stop {
            return Verdict::Stop;
        }
        if !has_lasted || matches!(hope, Hope::Elsewhere(_)) {
            self.brokers.pass_on();
        }
        self.again(now, chance)
    }

    /// How many attempts have failed since a connection lasted.
    pub(crate) fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Whether there was a connection, and it lasted.
    fn note_loss(&mut self, now: Instant) -> bool {
        let Stage::Connected { since } = self.stage else {
            return false;
        };
        self.stage = Stage::Lost;
        let has_lasted = now.duration_since(since) > self.ceiling();
        if has_lasted {
            self.attempt = 0;
            self.brokers.served();
        }
        has_lasted
    }

    fn again(&mut self, now: Instant, chance: u32) -> Verdict {
        let after = drawn(self.ceiling(), chance);
        self.attempt = self.attempt.saturating_add(1);
        match self.stage {
            Stage::First { until: Some(until) } if now + after >= until => Verdict::Stop,
            Stage::First { .. } | Stage::Connected { .. } | Stage::Lost => Verdict::Retry { after },
        }
    }

    fn ceiling(&self) -> Duration {
        self.backoff.ceiling(self.attempt / self.brokers.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff {
        base: Duration::from_millis(500),
        cap: Duration::from_secs(8),
    };

    fn after(verdict: Verdict) -> Duration {
        match verdict {
            Verdict::Retry { after } => after,
            Verdict::Stop => panic!("stopped"),
        }
    }

    fn brokers(hosts: &[&str]) -> Brokers {
        let mut brokers = Brokers::new(hosts[0].parse().unwrap()).unwrap();
        for host in &hosts[1..] {
            brokers.add(host.parse().unwrap()).unwrap();
        }
        brokers
    }

    fn at(reconnect: &Reconnect) -> &str {
        reconnect.broker().unwrap().address.host()
    }

    fn among(hosts: &[&str]) -> Reconnect {
        Reconnect::new(brokers(hosts), (BACKOFF, WhenRefused::Stop), None)
    }

    fn patient() -> Reconnect {
        among(&["a"])
    }

    #[test]
    fn waits_double_up_to_the_cap() {
        let (mut reconnect, now) = (patient(), Instant::now());
        let waits = [500, 1000, 2000, 4000, 8000, 8000, 8000];
        for expected in waits {
            let wait = after(reconnect.lost(now, Hope::Passing, u32::MAX));
            assert_eq!(wait, Duration::from_millis(expected));
        }
    }

    #[test]
    fn the_whole_range_down_to_zero_is_drawn_from() {
        let (mut reconnect, now) = (patient(), Instant::now());
        assert_eq!(after(reconnect.lost(now, Hope::Passing, 0)), Duration::ZERO);
        let half = after(reconnect.lost(now, Hope::Passing, u32::MAX / 2));
        assert!(
            half.abs_diff(Duration::from_millis(500)) < Duration::from_millis(1),
            "{half:?}"
        );
    }

    #[test]
    fn attempts_without_number_still_wait_for_the_cap() {
        let (mut reconnect, now) = (patient(), Instant::now());
        for _ in 0..1000 {
            reconnect.lost(now, Hope::Passing, u32::MAX);
        }
        assert_eq!(
            after(reconnect.lost(now, Hope::Passing, u32::MAX)),
            BACKOFF.cap
        );
    }

    #[test]
    fn only_a_connection_that_lasts_starts_the_count_anew() {
        for (lasted, expected) in [(2, 2000), (3, 500)] {
            let (mut reconnect, now) = (patient(), Instant::now());
            reconnect.lost(now, Hope::Passing, 0);
            reconnect.lost(now, Hope::Passing, 0);
            reconnect.connected(now);
            let now = now + Duration::from_secs(lasted);
            let wait = after(reconnect.lost(now, Hope::Passing, u32::MAX));
            assert_eq!(wait, Duration::from_millis(expected), "lasted {lasted} s");
        }
    }

    #[test]
    fn a_lasting_refusal_stops_at_first_and_later() {
        let (mut reconnect, now) = (patient(), Instant::now());
        assert_eq!(reconnect.lost(now, Hope::Lasting, 0), Verdict::Stop);
        reconnect.connected(now);
        assert_eq!(reconnect.lost(now, Hope::Lasting, 0), Verdict::Stop);
    }

    #[test]
    fn one_who_keeps_trying_is_not_stopped_by_a_refusal() {
        let mut reconnect =
            Reconnect::new(brokers(&["a"]), (BACKOFF, WhenRefused::KeepTrying), None);
        let verdict = reconnect.lost(Instant::now(), Hope::Lasting, u32::MAX);
        assert_eq!(after(verdict), Duration::from_millis(500));
    }

    #[test]
    fn the_first_connection_is_given_up_when_its_time_is_over_and_later_ones_are_not() {
        let now = Instant::now();
        let until = now + Duration::from_secs(1);
        let mut reconnect =
            Reconnect::new(brokers(&["a"]), (BACKOFF, WhenRefused::Stop), Some(until));
        assert_eq!(
            after(reconnect.lost(now, Hope::Passing, u32::MAX)),
            BACKOFF.base
        );
        assert_eq!(reconnect.lost(now, Hope::Passing, u32::MAX), Verdict::Stop);

        let mut reconnect =
            Reconnect::new(brokers(&["a"]), (BACKOFF, WhenRefused::Stop), Some(until));
        reconnect.connected(now);
        let later = until + Duration::from_mins(1);
        assert_eq!(
            after(reconnect.lost(later, Hope::Passing, u32::MAX)),
            BACKOFF.base
        );
    }

    #[test]
    fn one_broker_after_the_other_is_tried_and_the_one_that_serves_is_stayed_with() {
        let (mut reconnect, now) = (among(&["a", "b", "c"]), Instant::now());
        let mut waits = Vec::new();
        for expected in ["a", "b", "c", "a", "b"] {
            assert_eq!(at(&reconnect), expected);
            waits.push(after(reconnect.lost(now, Hope::Passing, u32::MAX)).as_millis());
        }
        assert_eq!(waits, [500, 500, 500, 1000, 1000]);
        reconnect.connected(now);
        let later = now + Duration::from_mins(1);
        assert_eq!(
            after(reconnect.lost(later, Hope::Passing, 0)),
            Duration::ZERO
        );
        assert_eq!(at(&reconnect), "c", "it served for a minute");
    }

    #[test]
    fn a_broker_that_sends_us_away_is_left_for_another_if_there_is_one() {
        let now = Instant::now();
        let elsewhere = Hope::Elsewhere(None);
        assert_eq!(patient().lost(now, elsewhere, 0), Verdict::Stop);
        let mut reconnect = among(&["a", "b"]);
        reconnect.connected(now);
        let later = now + Duration::from_mins(1);
        after(reconnect.lost(later, elsewhere, 0));
        assert_eq!(at(&reconnect), "b");
    }

    fn sent_to(to: &str) -> Hope<'_> {
        let term = Term::ForNow;
        Hope::Elsewhere(Some(Referral { to, term }))
    }

    #[test]
    fn the_broker_that_is_named_is_asked_after_a_wait_and_stayed_with() {
        let (mut reconnect, now) = (among(&["a", "b", "c"]), Instant::now());
        let wait = after(reconnect.lost(now, sent_to("c"), u32::MAX));
        assert_eq!((wait, at(&reconnect)), (BACKOFF.base, "c"));
        reconnect.connected(now);
        let later = now + Duration::from_mins(1);
        after(reconnect.lost(later, Hope::Passing, 0));
        assert_eq!(at(&reconnect), "c");
    }

    #[test]
    fn a_reference_to_nobody_we_may_ask_is_as_none() {
        let now = Instant::now();
        let verdict = patient().lost(now, sent_to("x"), 0);
        assert_eq!(verdict, Verdict::Stop);
        let mut reconnect = among(&["a", "b"]);
        after(reconnect.lost(now, sent_to("x"), 0));
        assert_eq!(at(&reconnect), "b");
    }

    #[test]
    fn brokers_that_send_us_around_are_asked_at_the_pace_of_the_backoff_and_not_given_up() {
        let (mut reconnect, now) = (among(&["a", "b"]), Instant::now());
        let mut waits = Vec::new();
        for _ in 0..20 {
            let to = if at(&reconnect) == "a" { "b" } else { "a" };
            waits.push(after(reconnect.lost(now, sent_to(to), u32::MAX)).as_millis());
        }
        assert_eq!(waits[..8], [500, 500, 1000, 1000, 2000, 2000, 4000, 4000]);
        assert_eq!(waits[8..], [8000; 12]);
    }

    /// When each of 2,000 devices is back, counted from the start of a broker that was away for
    /// this long. Chance is drawn anew for each attempt.
    fn herd(away: Duration) -> Vec<Duration> {
        let begin = Instant::now();
        let mut chance = 1_u64;
        let mut draw = || {
            chance = chance
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            u32::try_from(chance >> 32).unwrap()
        };
        let mut back: Vec<_> = (0..2000)
            .map(|_| {
                let mut reconnect = Reconnect::new(
                    brokers(&["a"]),
                    (Backoff::default(), WhenRefused::Stop),
                    None,
                );
                let since = begin.checked_sub(Duration::from_hours(1)).unwrap();
                reconnect.connected(since);
                let mut now = begin;
                while now < begin + away {
                    now += after(reconnect.lost(now, Hope::Passing, draw()));
                }
                now - (begin + away)
            })
            .collect();
        back.sort();
        back
    }

    /// With attempts every U(0, cap), a broker that comes back after long finds those who wait
    /// anywhere in their wait: within `x` come 2x/cap − x²/cap² of them, and all within the cap.
    #[test]
    fn two_thousand_devices_come_back_to_a_broker_by_the_law_of_the_backoff() {
        let cap = Backoff::default().cap.as_secs_f64();
        let back = herd(Duration::from_mins(30));
        for x in [1.0, 5.0, 15.0, 30.0, 45.0, 60.0] {
            let came = back.iter().filter(|at| at.as_secs_f64() <= x).count();
            let share = f64::from(u32::try_from(came).unwrap()) / 2000.0;
            let law = (2.0 * x - x * x / cap) / cap;
            assert!(
                (share - law).abs() < 0.03,
                "within {x} s: {share:.3}, not {law:.3}"
            );
        }
    }

    #[test]
    fn no_second_after_a_restart_sees_more_than_its_share_of_two_thousand() {
        // A wait is at most as long as the broker was away, or the cap: the density of the law is
        // highest at once, at twice the mean.
        for (away, per_second_max) in [(5, 1000), (30, 200), (120, 100), (1800, 100)] {
            let back = herd(Duration::from_secs(away));
            let mut seconds = std::collections::BTreeMap::new();
            for at in &back {
                *seconds.entry(at.as_secs()).or_insert(0) += 1;
            }
            let most = *seconds.values().max().unwrap();
            println!("away for {away} s: at most {most} of 2,000 in one second");
            assert!(
                most <= per_second_max,
                "away for {away} s: {most} in one second"
            );
            assert!(back[1999] <= Backoff::default().cap, "{:?}", back[1999]);
        }
    }
}
