//! Known networks: those from which a device has come in lately, and how fast strangers may come.
//!
//! Both memories are bounded. Of the known, the one that was heard from least lately goes; no
//! stranger can take its place, for only a completed handshake makes a network known.

use super::addresses::Network;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// For so long a network is known after a device has come in from it.
const KNOWN_TIME: Duration = Duration::from_hours(1);
/// A network that is known is not noted again before this.
const NOTE_AGAIN: Duration = Duration::from_mins(1);
/// So many networks are known at a time.
const KNOWN_MAX: usize = 65_536;
const SWEEP_AGAIN: Duration = Duration::from_secs(1);
/// So many strange networks are watched at a time; others come in as they like.
const WATCHED_MAX: usize = 65_536;

/// Whether a device has come in from a network lately.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reputation {
    /// One has.
    Known,
    /// None has.
    Stranger,
}

/// The networks that are known.
#[derive(Debug, Default)]
pub(crate) struct Known {
    inner: Mutex<KnownInner>,
}

#[derive(Debug, Default)]
struct KnownInner {
    next: u64,
    by_network: HashMap<Network, (Instant, u64)>,
    by_age: BTreeMap<u64, Network>,
}

/// How fast strangers come.
#[derive(Debug, Default)]
pub(crate) struct Strangers {
    watched: Mutex<Watched>,
}

/// How fast strangers may come from one network.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StrangerRate {
    /// One handshake is forgiven in this time; none are counted where there is no limit.
    interval: Option<Duration>,
    /// As much may be owed.
    credit: Duration,
}

#[derive(Debug, Default)]
struct Watched {
    /// When all handshakes of a network are forgiven.
    forgiven: HashMap<Network, Instant>,
    /// When those were looked for last that are forgiven.
    swept: Option<Instant>,
}

impl Known {
    /// A device has come in from this network.
    pub(crate) fn note(&self, network: Network, now: Instant) {
        let mut inner = self.lock();
        if let Some((at, place)) = inner.by_network.get(&network).copied() {
            if now.saturating_duration_since(at) < NOTE_AGAIN {
                return;
            }
            inner.by_age.remove(&place);
        } else if inner.by_network.len() >= KNOWN_MAX
            && let Some((_, oldest)) = inner.by_age.pop_first()
        {
            inner.by_network.remove(&oldest);
        }
        let place = inner.next;
        inner.next += 1;
        inner.by_network.insert(network, (now, place));
        inner.by_age.insert(place, network);
    }

    /// What is known of this network.
    pub(crate) fn reputation(&self, network: Network, now: Instant) -> Reputation {
        let known = self.lock().by_network.get(&network).copied();
        match known {
            Some((at, _)) if now.saturating_duration_since(at) < KNOWN_TIME => Reputation::Known,
            Some(_) | None => Reputation::Stranger,
        }
    }

    fn lock(&self) -> MutexGuard<'_, KnownInner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StrangerRate {
    /// So many handshakes a second, and `at_once` of them at once. Any number where `in_a_second`
    /// is 0.
    pub(crate) fn new(in_a_second: u32, at_once: usize) -> Self {
        let interval = Duration::from_secs(1).checked_div(in_a_second);
        let at_once = u32::try_from(at_once).unwrap_or(u32::MAX);
        Self {
            interval,
            credit: interval.unwrap_or_default().saturating_mul(at_once),
        }
    }
}

impl Strangers {
    /// Whether one more may come from this network now; then it is counted.
    pub(crate) fn may_come(&self, network: Network, rate: StrangerRate, now: Instant) -> bool {
        let Some(interval) = rate.interval else {
            return true;
        };
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        if !watched.has_room_for(network, now) {
            return true;
        }
        let all = watched.forgiven.entry(network).or_insert(now);
        let after = (*all).max(now) + interval;
        let may_come = after <= now + rate.credit;
        if may_come {
            *all = after;
        }
        may_come
    }
}

impl Watched {
    /// Whether this network is watched or can be. Where all places are taken, those that are
    /// forgiven are looked for, but not again and again for each of many.
    fn has_room_for(&mut self, network: Network, now: Instant) -> bool {
        if self.forgiven.len() < WATCHED_MAX || self.forgiven.contains_key(&network) {
            return true;
        }
        if self.swept.is_none_or(|swept| now >= swept + SWEEP_AGAIN) {
            self.swept = Some(now);
            self.forgiven.retain(|_, forgiven| *forgiven > now);
        }
        self.forgiven.len() < WATCHED_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    fn network(number: usize) -> Network {
        let [.., a, b, c] = number.to_be_bytes();
        Network::of(IpAddr::from([10, a, b, c]))
    }

    #[test]
    fn a_network_is_known_for_an_hour_after_a_device_came_in() {
        let (known, start) = (Known::default(), Instant::now());
        let reputation =
            |minutes| known.reputation(network(1), start + Duration::from_mins(minutes));
        assert_eq!(reputation(0), Reputation::Stranger);
        known.note(network(1), start);
        assert_eq!(
            (reputation(0), reputation(59)),
            (Reputation::Known, Reputation::Known)
        );
        assert_eq!(reputation(60), Reputation::Stranger);
        known.note(network(1), start + Duration::from_hours(1));
        assert_eq!(reputation(119), Reputation::Known);
        assert_eq!(known.reputation(network(2), start), Reputation::Stranger);
    }

    #[test]
    fn of_too_many_known_networks_the_one_heard_from_least_lately_goes() {
        let (known, start) = (Known::default(), Instant::now());
        for number in 0..KNOWN_MAX {
            known.note(network(number), start);
        }
        let later = start + NOTE_AGAIN;
        known.note(network(0), later);
        known.note(network(KNOWN_MAX), later);
        assert_eq!(known.reputation(network(0), later), Reputation::Known);
        assert_eq!(known.reputation(network(1), later), Reputation::Stranger);
        assert_eq!(known.lock().by_network.len(), KNOWN_MAX);
        assert_eq!(known.lock().by_age.len(), KNOWN_MAX);
    }

    #[test]
    fn strangers_come_at_their_rate_in_the_long_run() {
        let (strangers, start) = (Strangers::default(), Instant::now());
        let rate = StrangerRate::new(100, 50);
        let came = |from: Network| {
            let at = |millis: u64| start + Duration::from_millis(millis);
            let all = (0..10_000).filter(|millis| strangers.may_come(from, rate, at(*millis)));
            all.count()
        };
        let all = came(network(1));
        assert!((1_045..=1_051).contains(&all), "{all} in ten seconds");
        assert!(
            strangers.may_come(network(2), rate, start),
            "others are not concerned"
        );
        assert!((0..1000).all(|_| strangers.may_come(network(1), StrangerRate::new(0, 1), start)));
    }

    #[test]
    fn of_too_many_strangers_those_are_forgotten_that_are_forgiven() {
        let (strangers, start) = (Strangers::default(), Instant::now());
        let rate = StrangerRate::new(100, 1);
        for number in 0..WATCHED_MAX + 10 {
            assert!(strangers.may_come(network(number), rate, start));
        }
        assert_eq!(
            strangers.watched.lock().unwrap().forgiven.len(),
            WATCHED_MAX
        );
        assert!(strangers.may_come(network(WATCHED_MAX), rate, start + Duration::from_secs(1)));
        assert_eq!(strangers.watched.lock().unwrap().forgiven.len(), 1);
    }
}
