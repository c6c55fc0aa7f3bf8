//! Wills: of clients that are gone, whose broker is gone, and of those that came back in time.
//!
//! A will that was acknowledged with its CONNECT comes once, however often the broker is killed
//! meanwhile, and never if its client was there again before its delay had passed.

use super::round::Round;
use crate::link::{Gone, Link};
use countersign_tests::mqtt::answer::Published;
use countersign_tests::mqtt::connect::{Connect, Will};
use countersign_tests::mqtt::{Property, Version};
use countersign_tests::raw::PATIENCE;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::{Duration, Instant};

#[derive(Default)]
pub(super) struct Wills {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// Those that must come.
    due: BTreeSet<String>,
    /// Those that must not come any more.
    cancelled: BTreeSet<String>,
    /// Who has seen which one.
    seen: BTreeMap<String, BTreeSet<String>>,
}

impl Wills {
    /// Leaves a will in one of the ways there are; the last of them waits for the broker's end.
    pub(super) fn run(&self, round: &Round) -> Result<(), Gone> {
        let number = round.number;
        match number % 4 {
            0 => self.stay(round, &Willed::new(Version::V5, number, 0)),
            1 => self.stay(round, &Willed::new(Version::V311, number, 0)),
            2 => self.vanish(round, &Willed::new(Version::V5, number, 1)),
            _ => self.come_back(round, &Willed::new(Version::V5, number, 600)),
        }
    }

    /// It is connected when the broker is killed.
    fn stay(&self, round: &Round, willed: &Willed) -> Result<(), Gone> {
        let mut link = willed.open(round)?;
        self.known.lock().unwrap().due.insert(willed.name.clone());
        while !round.is_winding_up() {
            link.hear_within(Duration::from_millis(50))?;
        }
        // Without a word, as when its network fails.
        link.raw.close();
        Ok(())
    }

    /// It is gone, and its will waits when the broker is killed.
    fn vanish(&self, round: &Round, willed: &Willed) -> Result<(), Gone> {
        let link = willed.open(round)?;
        self.known.lock().unwrap().due.insert(willed.name.clone());
        link.raw.close();
        Ok(())
    }

    /// It was gone and is there again, and has no will any more.
    fn come_back(&self, round: &Round, willed: &Willed) -> Result<(), Gone> {
        willed.open(round)?.raw.close();
        let again = willed.connect().resume();
        let (link, connack) = Link::open(round.address, "willing", &again)?;
        assert!(connack.session_present, "{} is lost", willed.name);
        let mut known = self.known.lock().unwrap();
        known.cancelled.insert(willed.name.clone());
        link.leave();
        Ok(())
    }

    /// A subscriber has got one.
    pub(super) fn take(&self, subscriber: &str, published: &Published) {
        let name = published.text().to_owned();
        let mut known = self.known.lock().unwrap();
        assert!(!known.cancelled.contains(&name), "{name} was cancelled");
        let seen = known.seen.entry(name.clone()).or_default();
        let is_new = seen.insert(subscriber.to_owned());
        let is_once = is_new || published.qos < 2;
        assert!(is_once, "{subscriber}: {name} came twice");
    }

    /// Waits until so many subscribers have seen each that must come. Yields those that did not.
    pub(super) fn wait_for_all(&self, subscribers: usize) -> Vec<String> {
        let deadline = Instant::now() + 2 * PATIENCE;
        loop {
            let missing = self.known.lock().unwrap().missing(subscribers);
            if missing.is_empty() || Instant::now() > deadline {
                return missing;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Known {
    fn missing(&self, subscribers: usize) -> Vec<String> {
        let seen = |name: &String| self.seen.get(name).map_or(0, BTreeSet::len);
        let due = self.due.iter();
        let missing = due.filter(|name| seen(name) < subscribers);
        missing.cloned().collect()
    }
}

/// A client with a will.
struct Willed {
    /// Its client id, and what its will says.
    name: String,
    version: Version,
    delay: u32,
}

impl Willed {
    fn new(version: Version, number: u32, delay: u32) -> Self {
        Self {
            name: format!("will-{number}"),
            version,
            delay,
        }
    }

    fn connect(&self) -> Connect {
        let connect = Connect::new(self.version, &self.name).expiry(100_000);
        connect.keep_alive(1000)
    }

    fn open(&self, round: &Round) -> Result<Link, Gone> {
        let mut will = Will::new(format!("w/{}", self.name), &self.name).qos(2);
        if self.delay > 0 {
            will = will.with(&Property::WillDelay(self.delay));
        }
        let connect = self.connect().resume().will(&will);
        Link::open(round.address, "willing", &connect).map(|(link, _)| link)
    }
}
