//! The host: one process of the broker, its shards and their storage, all driven by hand.
//!
//! The engine, the shards that hold back what is not yet durable, and the storage are the real
//! ones. What their threads and tasks would do are steps here.

use crate::machine::disk::SimulatedDisk;
use crate::machine::identity::{Rules, policy};
use crate::machine::plant::{Forger, Liar};
use crate::machine::witness::{Seen, Witness, picture};
use crate::plan::Plan;
use broker::engine::{Engine, Input, Restored, ShardPlace, Time};
use broker::shard::{Shard, Shards, Waiting};
use broker::storage::log::{LogError, SegmentBytes, Settings};
use broker::storage::{Durable, Opened, Progress, Steps};
use countersign_tests::seeded::Seeded;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};

/// The time that everybody agrees on.
#[derive(Clone)]
pub(crate) struct Clock(Arc<AtomicU64>);

/// A process of the broker.
pub(crate) struct Host {
    pub(crate) shards: Shards,
    pub(crate) stores: Vec<Store>,
    followers: Vec<Pin<Box<dyn Future<Output = ()>>>>,
}

/// The storage of one shard.
pub(crate) struct Store {
    pub(crate) steps: Steps,
    pub(crate) seen: Arc<Mutex<Seen>>,
}

/// What a host is started with.
pub(crate) struct Start<'w> {
    pub(crate) plan: &'w Plan,
    pub(crate) disks: &'w [SimulatedDisk],
    pub(crate) clock: &'w Clock,
    pub(crate) rules: Rules,
    pub(crate) syncs: &'w Arc<AtomicU64>,
    pub(crate) disk_bytes_max: u64,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self(Arc::new(AtomicU64::new(1_800_000_000_000)))
    }

    pub(crate) fn now(&self) -> Time {
        Time::from_millis(self.0.load(Ordering::Relaxed))
    }

    pub(crate) fn advance(&self, millis: u64) {
        self.0.fetch_add(millis, Ordering::Relaxed);
    }
}

impl Host {
    /// A process goes on with what the disks have.
    pub(crate) fn start(start: &Start<'_>, random: &mut Seeded) -> Result<Self, LogError> {
        let places = 0..start.disks.len();
        let opened: Result<Vec<_>, _> = places
            .map(|place| start.open(place, random.number()))
            .collect();
        let (mut restored, opened): (Vec<_>, Vec<_>) = opened?.into_iter().unzip();
        Restored::begin_together(&mut restored);
        let mut shards = Vec::new();
        let mut stores = Vec::new();
        for (place, (restored, opened)) in restored.into_iter().zip(opened).enumerate() {
            let (shard, store) = start.shard(place, restored, opened);
            shards.push(shard);
            stores.push(store);
        }
        let first = shards.remove(0);
        let shards = Shards::new(first, shards);
        let followers = shards
            .all()
            .map(|shard| Box::pin(Arc::clone(shard).follow()) as _)
            .collect();
        let mut host = Self {
            shards,
            stores,
            followers,
        };
        host.tick();
        Ok(host)
    }

    /// Goes on wherever a log was waited for.
    pub(crate) fn follow(&mut self) {
        let mut cx = Context::from_waker(Waker::noop());
        for follower in &mut self.followers {
            let followed = follower.as_mut().poll(&mut cx);
            assert!(followed.is_pending(), "nobody follows the log any more");
        }
    }

    /// What is due by now happens.
    pub(crate) fn tick(&mut self) {
        for shard in self.shards.all() {
            shard.tell(Input::Tick);
        }
    }

    /// Whether a shard has failed.
    pub(crate) fn is_failed(&self) -> bool {
        self.shards.all().any(|it| it.failure().borrow().is_some())
    }

    /// The shard of a place.
    pub(crate) fn place_of(&self, shard: &Arc<Shard>) -> usize {
        let mut all = self.shards.all();
        all.position(|it| Arc::ptr_eq(it, shard)).unwrap()
    }
}

impl Start<'_> {
    fn settings(&self, place: usize, seed: u64) -> Settings {
        let place = u32::try_from(place).unwrap();
        let segment_bytes = SegmentBytes::of(self.plan.segment_bytes);
        let durability = self.plan.durability;
        Settings::new(place, segment_bytes, durability, self.disk_bytes_max).seeded(seed)
    }

    fn open(&self, place: usize, salt: u64) -> Result<(Restored, Opened), LogError> {
        let disk = Liar {
            disk: self.disks[place].clone(),
            plant: self.plan.plant,
            syncs: Arc::clone(self.syncs),
        };
        disk.trim();
        let settings = self.settings(place, salt);
        let (mut restored, opened) = Durable::open(Arc::new(disk), settings)?;
        if let Some(plant) = self.plan.plant {
            plant.spoil_restored(&mut restored);
        }
        Ok((restored, opened))
    }

    fn shard(&self, place: usize, restored: Restored, opened: Opened) -> (Shard, Store) {
        let seen = Arc::new(Mutex::new(Seen::of(&restored, self.plan.is_witnessed)));
        let waiting = Arc::new(Waiting::default());
        let (storage, steps) = in_steps(opened, &seen, &waiting);
        let witness = Witness {
            storage,
            seen: Arc::clone(&seen),
            plant: self.plan.plant,
            forger: Forger::default(),
        };
        let engine = self.engine(place, restored);
        let clock = self.clock.clone();
        let shard = Shard::new(engine, Box::new(witness), waiting).timed_by(move || clock.now());
        (shard, Store { steps, seen })
    }

    fn engine(&self, place: usize, restored: Restored) -> Engine {
        let place = ShardPlace {
            index: u32::try_from(place).unwrap(),
            count: u32::try_from(self.disks.len()).unwrap(),
        };
        let limits = self.plan.limits.clone();
        let engine = Engine::new(limits, policy(self.rules), place, self.plan.seed);
        engine.restored(restored).expect("the records fit together")
    }

    /// One bit of a disk is the other way round: it is refused, or is the torn tail, or is nothing
    /// that matters.
    pub(crate) fn check_flipped(&self, place: usize, random: &mut Seeded) {
        let Some(flipped) = self.disks[place].flipped(random) else {
            return;
        };
        let (seed, settings) = (random.number(), |seed| self.settings(place, seed));
        let Ok((restored, opened)) = Durable::open(Arc::new(flipped), settings(seed)) else {
            return;
        };
        if opened.torn.is_some() {
            return;
        }
        let copy = self.disks[place].copy();
        let Ok((expected, _)) = Durable::open(Arc::new(copy), settings(seed)) else {
            panic!("a flipped bit mended the log");
        };
        assert_eq!(picture(&restored), picture(&expected), "a flipped bit");
    }
}

fn in_steps(opened: Opened, seen: &Arc<Mutex<Seen>>, waiting: &Arc<Waiting>) -> (Durable, Steps) {
    let (seen, waiting) = (Arc::clone(seen), Arc::clone(waiting));
    opened.in_steps(move |progress| {
        if let Progress::Durable(position) = progress {
            seen.lock().unwrap().durable = position;
        }
        waiting.hear(progress);
    })
}
