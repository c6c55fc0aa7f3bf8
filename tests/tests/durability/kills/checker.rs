//! The checker: the same publishers and subscribers through many lives of a broker.
//!
//! Whatever is said here was acknowledged to somebody; whatever is found after a restart is
//! compared with it.

use super::publisher::Publisher;
use super::retained;
use super::round::Round;
use super::subscriber::{END, Subscriber};
use super::switcher::Switcher;
use super::wills::Wills;
use crate::broker::{Broker, Home, Program};
use crate::link::{Gone, Link};
use countersign_tests::faulty_disk::Fault;
use countersign_tests::mqtt::Version::{V5, V311};
use countersign_tests::mqtt::connect::Connect;
use countersign_tests::raw::PATIENCE;
use countersign_tests::seeded::Seeded;
use std::os::unix::process::ExitStatusExt;
use std::thread;
use std::time::{Duration, Instant};

/// Queues, sessions and segments of such a size that neither is full and many segments come.
const STORAGE: &str = "segment_bytes = '1 MiB'";
const LIMITS: &str = "queue_len_max = 1000000\nqueue_bytes_max = '1 GiB'\n\
                      queue_cache_bytes_max = '64 KiB'\nsessions_per_device_max = 1000000";

pub(super) struct Checker {
    home: Home,
    publishers: Vec<Publisher>,
    subscribers: Vec<Subscriber>,
    switchers: Vec<Switcher>,
    wills: Wills,
    random: Seeded,
    rounds: u32,
    /// How often a broker was killed by us.
    kills: u32,
    /// How often one has ended where it was told.
    pub(super) faults: u32,
}

/// How a life ends.
#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    /// By SIGKILL from outside.
    Killed,
    /// At a point of a commit.
    At(Fault),
}

/// Says when a test fails where it was.
struct Whereabouts(String);

impl Drop for Whereabouts {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("it failed in {}", self.0);
        }
    }
}

impl Checker {
    pub(super) fn new(seed: u64) -> Self {
        let publisher = |name, version, qos| Publisher::new(name, (version, qos), seed);
        let subscriber = |name, how, rounds| Subscriber::new(name, how, rounds);
        let mut checker = Self {
            home: Home::new(STORAGE, LIMITS),
            publishers: vec![
                publisher("p5q1", V5, 1),
                publisher("p5q2", V5, 2),
                publisher("p311q1", V311, 1),
                publisher("p311q2", V311, 2),
            ],
            subscribers: vec![
                subscriber("online5", (V5, 2), 1),
                subscriber("online311", (V311, 2), 1),
                subscriber("sometimes5", (V5, 2), 4),
                subscriber("offline311", (V311, 2), usize::MAX),
                subscriber("offline5", (V5, 1), usize::MAX),
            ],
            switchers: vec![
                Switcher::new("switch5", V5, seed),
                Switcher::new("switch311", V311, seed),
            ],
            wills: Wills::default(),
            random: Seeded::new(seed),
            rounds: 0,
            kills: 0,
            faults: 0,
        };
        checker.begin();
        checker
    }

    /// All have their sessions before anything is published.
    fn begin(&mut self) {
        let mut broker = self.home.start();
        let round = Round::new(0, broker.address);
        for subscriber in &mut self.subscribers {
            subscriber.begin(&round).unwrap();
        }
        broker.kill();
    }

    /// One life of a broker, which ends in the middle of everything.
    pub(super) fn live(&mut self, end: End) {
        self.rounds += 1;
        let _whereabouts = Whereabouts(format!("round {}: {end:?}", self.rounds));
        let program = match end {
            End::Killed => Program::Real,
            End::At(fault) => Program::Faulty(fault),
        };
        match self.home.try_start(program) {
            Ok(mut broker) => {
                let by = self.talk(&mut broker, end);
                broker.kill();
                self.count(by);
            }
            Err(ended) if ended.status.signal() == Some(9) => self.count(By::Itself),
            Err(ended) => panic!("it does not start: {ended:#?}"),
        }
    }

    fn count(&mut self, by: By) {
        match by {
            By::Us => self.kills += 1,
            By::Itself => self.faults += 1,
        }
    }

    fn talk(&mut self, broker: &mut Broker, end: End) -> By {
        let round = Round::new(self.rounds, broker.address);
        // Where all of us were stopped for a while, the broker has closed what was unfinished.
        let check = || retained::check(&round, &self.publishers);
        let checked = check().or_else(|Gone| check());
        let random = &mut self.random;
        let (count, pause) = (1 + random.below(150), random.below(3000));
        let wills = &self.wills;
        thread::scope(|scope| {
            for publisher in &mut self.publishers {
                scope.spawn(|| publisher.run(&round));
            }
            for switcher in &mut self.switchers {
                scope.spawn(|| switcher.run(&round));
            }
            for subscriber in &mut self.subscribers {
                if random.below(subscriber.one_round_in) == 0 {
                    scope.spawn(|| subscriber.run(&round, wills));
                }
            }
            scope.spawn(|| wills.run(&round));
            match end {
                End::Killed => {
                    assert!(checked.is_ok(), "the broker is gone");
                    round.wait_for(u32::try_from(count).unwrap(), PATIENCE);
                    thread::sleep(Duration::from_micros(pause as u64));
                    broker.end();
                    By::Us
                }
                End::At(_) => wait_for_end(broker, &round),
            }
        })
    }

    /// One life in which all is delivered that is on its way.
    pub(super) fn settle(&mut self) {
        self.rounds += 1;
        let _whereabouts = Whereabouts(format!("round {}, which settles all", self.rounds));
        let mut broker = self.home.start();
        let round = Round::new(self.rounds, broker.address);
        round.wind_up();
        retained::check(&round, &self.publishers).unwrap();
        thread::scope(|scope| {
            for publisher in &mut self.publishers {
                scope.spawn(|| publisher.run(&round).unwrap());
            }
            for switcher in &mut self.switchers {
                scope.spawn(|| switcher.run(&round).unwrap());
            }
        });
        assert!(self.publishers.iter().all(Publisher::is_done));
        retained::check(&round, &self.publishers).unwrap();
        self.deliver_all(&round);
        for subscriber in &self.subscribers {
            subscriber.check_all(&self.publishers);
        }
        broker.kill();
        self.kills += 1;
    }

    /// What it has seen.
    pub(super) fn summary(&self) -> String {
        let lanes = self.publishers.iter().flat_map(Publisher::lanes);
        let messages: u32 = lanes.map(|lane| lane.acknowledged).sum();
        format!(
            "{} SIGKILLs, {} of them at a point of a commit; {messages} messages acknowledged to \
             4 publishers, for 5 subscribers: none lost, none of QoS 2 twice",
            self.kills + self.faults,
            self.faults
        )
    }

    fn deliver_all(&mut self, round: &Round) {
        let wills = &self.wills;
        let count = self.subscribers.len();
        let missing = thread::scope(|scope| {
            for subscriber in &mut self.subscribers {
                scope.spawn(|| subscriber.run(round, wills).unwrap());
            }
            wills.run(round).unwrap();
            let missing = wills.wait_for_all(count);
            // Whatever is missing, they must come to an end.
            publish_end(round).unwrap();
            missing
        });
        assert!(missing.is_empty(), "wills are lost: {missing:?}");
    }
}

/// Who has killed a broker.
#[derive(Clone, Copy)]
enum By {
    Us,
    Itself,
}

/// Waits until the broker has ended by itself, or has gone on for so long that it never will.
fn wait_for_end(broker: &mut Broker, round: &Round) -> By {
    let deadline = Instant::now() + PATIENCE;
    while broker.ended().is_none() {
        let is_over = round.wait_for(400, Duration::from_millis(1));
        if is_over || Instant::now() > deadline {
            broker.end();
            return By::Us;
        }
    }
    By::Itself
}

fn publish_end(round: &Round) -> Result<(), Gone> {
    let connect = Connect::new(V5, "end").keep_alive(1000);
    let (mut link, _) = Link::open(round.address, "end", &connect)?;
    let code = link.publish(END, round.number.to_string().as_bytes())?;
    assert!(code < 0x80);
    link.leave();
    Ok(())
}
