//! A storage in use, over any number of restarts, without a thread: between any two of its steps
//! the disk may fail.

use super::history::{History, picture, said};
use crate::storage::checkpointer::{Maker, Stop, Work};
use crate::storage::desk::Desk;
use crate::storage::durable::{Found, find};
use crate::storage::log::frame::Batch;
use crate::storage::log::tests::simulated_disk::{Random, SimulatedDisk};
use crate::storage::log::{Durability, LogError, SegmentBytes, Settings};
use crate::storage::{Position, Progress, contents};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// Several frames fill a segment.
const SEGMENT_BYTES: u64 = 4096;

/// A storage and what it has been told.
pub(super) struct Life {
    pub(super) settings: Settings,
    pub(super) history: History,
    /// Up to where it has said that everything is durable, and did before the last frame.
    pub(super) reported: Reported,
    random: Random,
    /// How often each thing was done.
    pub(super) done: BTreeMap<&'static str, u32>,
    /// What must be there at the position that was last asked for.
    expected: Mutex<Option<(Position, String)>>,
}

/// Writes a batch and notes what is durable then.
type Write<'w> = &'w dyn Fn(&mut Batch, &mut Reported) -> Result<(), LogError>;

/// Up to where everything is durable, and was before the last frame.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reported {
    pub(super) last: Position,
    pub(super) before: Position,
}

impl Life {
    pub(super) fn new(seed: u64) -> Self {
        Self::with_segments(seed, SEGMENT_BYTES)
    }

    pub(super) fn with_segments(seed: u64, segment_bytes: u64) -> Self {
        let segment_bytes = SegmentBytes::of(segment_bytes);
        let settings = Settings::new(3, segment_bytes, Durability::Sync, u64::MAX);
        Self {
            settings: settings.seeded(seed * 1000),
            history: History::new(seed),
            reported: Reported::default(),
            random: Random(!seed),
            done: BTreeMap::new(),
            expected: Mutex::default(),
        }
    }

    /// Recovers, checks all that is there, and goes on up to turn `until`. An error is that of
    /// the disk, and ends it.
    pub(super) fn go_on(&mut self, disk: &SimulatedDisk, until: u64) -> Result<(), LogError> {
        let found = find(Arc::new(disk.clone()), self.settings.clone())?;
        let position = found.recovered.position();
        self.check(&found, position);
        self.reported.last = position;
        self.history.forget_behind(position);
        self.settings.seed += 1;
        let books = Arc::new(Desk::new(found.ledger));
        let mut maker = Maker {
            shelf: found.shelf,
            settings: found.settings,
            desk: Arc::clone(&books),
            recovered: position,
            tried: Position(0),
        };
        let (_log, writer) = found.recovered.by_hand(Arc::clone(&books));
        let writer = RefCell::new(writer);
        let write = |batch: &mut Batch, reported: &mut Reported| {
            writer.borrow_mut().write(batch, &mut |progress| {
                if let Progress::Durable(position) = progress {
                    reported.before = reported.last;
                    reported.last = position;
                }
            })
        };
        while self.reported.last.0 < until {
            let mut batch = Batch::new();
            for _ in 0..=self.random.below(3) {
                batch.push(&self.history.turn());
            }
            write(&mut batch, &mut self.reported)?;
            self.make_room(&books, &mut maker, &write)?;
        }
        Ok(())
    }

    fn make_room(
        &mut self,
        desk: &Desk,
        maker: &mut Maker,
        write: Write<'_>,
    ) -> Result<(), LogError> {
        while let Some(work) = desk.with(|ledger| maker.find_work(ledger)) {
            self.did(match work {
                Work::Checkpoint(_) => "checkpoint",
                Work::Carry(_) => "carry",
            });
            let oldest = || desk.with(|ledger| ledger.segments().next());
            let before = oldest();
            let (history, reported) = (&mut self.history, &mut self.reported);
            let done = maker.work(work, &mut |messages| {
                let mut batch = Batch::new();
                batch.push_carried(messages);
                history.nothing();
                write(&mut batch, reported).map_err(Stop::from)
            });
            match done {
                Ok(()) => {}
                Err(Stop::Closed) => unreachable!("nobody closes it"),
                Err(Stop::Failed(error)) => return Err(Arc::into_inner(error).unwrap()),
            }
            write(&mut Batch::new(), &mut self.reported)?;
            if oldest().map(|it| it.0) > before.map(|it| it.0) {
                self.did("let go");
            }
        }
        Ok(())
    }

    fn did(&mut self, what: &'static str) {
        *self.done.entry(what).or_default() += 1;
    }

    /// What is there is what was recorded up to some turn, no earlier than the last one that was
    /// reported.
    fn check(&self, found: &Found, position: Position) {
        let reported = self.reported.last;
        assert!(position >= reported, "{position:?} < {reported:?}");
        self.check_whole(found, position);
    }

    /// The state of this turn, which is long to make: it is kept for whoever asks next.
    fn expected(&self, position: Position) -> String {
        let mut expected = self.expected.lock().unwrap();
        match &*expected {
            Some((at, picture)) if *at == position => picture.clone(),
            _ => {
                let picture = picture(&self.history.state_at(position));
                *expected = Some((position, picture.clone()));
                picture
            }
        }
    }

    /// What is there is the state of this turn, and every message says what it said.
    pub(super) fn check_whole(&self, found: &Found, position: Position) {
        assert_eq!(
            picture(&found.state),
            self.expected(position),
            "at {position:?}"
        );
        let all = found.state.messages.from(0);
        let placed: Vec<_> = all.map(|(number, it)| (number, it.place)).collect();
        let messages = contents::messages(&found.shelf, &placed).unwrap();
        assert_eq!(messages.len(), placed.len());
        for (number, message) in messages {
            // A copy says what the message before it says.
            let (number, said) = (number.0.get(), said(&message));
            assert!(said == number || said + 1 == number, "{said} for {number}");
        }
    }
}

/// How many steps the disk takes in such a life, and what was done in it.
pub(super) fn steps(seed: u64, until: u64) -> (u64, BTreeMap<&'static str, u32>) {
    let disk = SimulatedDisk::default();
    let mut life = Life::new(seed);
    life.go_on(&disk, until).unwrap();
    (disk.steps(), life.done)
}
