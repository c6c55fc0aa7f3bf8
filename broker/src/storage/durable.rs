//! Durable: the storage of one shard on a disk.
//!
//! Recovery folds the checkpoint and the log behind it; from then on the log is written by one
//! thread, contents are fetched by another, and a third one makes checkpoints.

use super::checkpoint;
use super::checkpointer::Checkpointer;
use super::desk::Desk;
use super::ledger::Ledger;
use super::loader::{self, Job};
use super::log::segment::{name_of, number_of};
use super::log::shelf::Shelf;
use super::log::{Disk, Log, LogError, Recovered, Settings, Torn};
use super::state::{State, restore};
use super::steps::Steps;
use super::{Position, Progress, Storage, StorageError, contents};
use crate::engine::{Load, Record, Restored};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};

/// The storage of a shard. Dropped, it writes what has gathered.
pub struct Durable {
    log: Log,
    desk: Arc<Desk>,
    /// None once nothing more is loaded.
    jobs: Option<Sender<Job>>,
    threads: Vec<JoinHandle<()>>,
}

/// Storage that was read and is not yet written.
pub struct Opened {
    /// The tail of the log that had to be cut.
    pub torn: Option<Torn>,
    recovered: Recovered,
    ledger: Ledger,
    shelf: Shelf,
    settings: Settings,
}

impl Durable {
    /// Reads what is there: what an engine begins with, and what goes on to be written.
    ///
    /// # Errors
    /// If the disk fails, has no room for the first segment, or holds what is damaged.
    pub fn open(disk: Arc<dyn Disk>, settings: Settings) -> Result<(Restored, Opened), LogError> {
        let found = find(disk, settings)?;
        let Found {
            state,
            ledger,
            mut recovered,
            shelf,
            settings,
        } = found;
        let restored = restore(state, &|placed| contents::messages(&shelf, placed))?;
        let opened = Opened {
            torn: recovered.torn.take(),
            recovered,
            ledger,
            shelf,
            settings,
        };
        Ok((restored, opened))
    }
}

/// All that is on a disk.
pub(super) struct Found {
    pub(super) state: State,
    pub(super) ledger: Ledger,
    pub(super) recovered: Recovered,
    pub(super) shelf: Shelf,
    pub(super) settings: Settings,
}

/// Reads the checkpoint and the log behind it.
///
/// # Errors
/// If the disk fails, has no room for the first segment, or holds what is damaged.
pub(super) fn find(disk: Arc<dyn Disk>, mut settings: Settings) -> Result<Found, LogError> {
    let shelf = Shelf::new(Arc::clone(&disk));
    let checkpoint = checkpoint::read(&shelf, settings.shard)?;
    settings.covered = checkpoint.covered;
    let mut state = checkpoint.state;
    let recovered = Log::recover(disk, settings.clone(), &mut state)?;
    state.left_behind.clear();
    let ledger = state.ledger();
    let ledger = ledger.map_err(|malformed| recovered.senseless(malformed))?;
    let mut ledger = enter_segments(ledger, &recovered, &shelf)?;
    ledger.covered = checkpoint.covered;
    ledger.checkpoint_len = checkpoint.size;
    Ok(Found {
        state,
        ledger,
        recovered,
        shelf,
        settings,
    })
}

/// Enters the segments that there are. Each that is needed must be among them.
fn enter_segments(
    mut ledger: Ledger,
    recovered: &Recovered,
    shelf: &Shelf,
) -> Result<Ledger, LogError> {
    let there: Vec<_> = recovered.segments().collect();
    let is_there = |number: u32| there.iter().any(|it| it.sequence == u64::from(number));
    if let Some((missing, _)) = ledger.segments().find(|(number, _)| !is_there(*number)) {
        let path = shelf.path(&name_of(missing.into()));
        return Err(LogError::Needed { path });
    }
    for (place, segment) in there.iter().enumerate() {
        let number = number_of(segment.sequence);
        ledger.begin_segment(number, segment.size);
        if place + 1 < there.len() {
            ledger.end_segment(number, Position(segment.end));
        }
    }
    ledger.position = recovered.position();
    Ok(ledger)
}

impl Opened {
    /// Lets it be written. `tell` is called by its threads.
    ///
    /// # Errors
    /// If there are no threads to be had.
    pub fn start(self, tell: impl Fn(Progress) + Send + Sync + 'static) -> io::Result<Durable> {
        let tell = Arc::new(tell);
        let desk = Arc::new(Desk::new(self.ledger));
        let position = self.recovered.position();
        let log = {
            let tell = Arc::clone(&tell);
            self.recovered
                .start(Arc::clone(&desk), move |it| tell(it))?
        };
        let files = (self.shelf.clone(), self.settings);
        let checkpointer = Checkpointer::new(files, &desk, (log.pen(), position));
        let (mut durable, asked) = Durable::new(log, Arc::clone(&desk));
        let files = self.shelf;
        durable.spawn("log-loader", &tell, move |tell| {
            loader::run(&asked, (&files, &desk), tell);
        })?;
        durable.spawn("checkpoint", &tell, move |tell| checkpointer.run(tell))?;
        Ok(durable)
    }
}

impl Opened {
    /// Lets it be written without threads: what they would do is done by [`Steps`]. It calls `tell`
    /// as they would.
    pub fn in_steps(self, tell: impl Fn(Progress) + Send + 'static) -> (Durable, Steps) {
        let desk = Arc::new(Desk::new(self.ledger));
        let position = self.recovered.position();
        let (log, writer) = self.recovered.by_hand(Arc::clone(&desk));
        let files = (self.shelf.clone(), self.settings);
        let checkpointer = Checkpointer::new(files, &desk, (log.pen(), position));
        let (durable, asked) = Durable::new(log, desk);
        let steps = Steps::new(writer, checkpointer, (self.shelf, asked), Box::new(tell));
        (durable, steps)
    }
}

impl Durable {
    fn new(log: Log, desk: Arc<Desk>) -> (Self, Receiver<Job>) {
        let (jobs, asked) = mpsc::channel();
        let durable = Self {
            log,
            desk,
            jobs: Some(jobs),
            threads: Vec::new(),
        };
        (durable, asked)
    }

    /// Starts a thread without which storage is none.
    fn spawn<T: Fn(Progress) + Send + Sync + 'static>(
        &mut self,
        name: &str,
        tell: &Arc<T>,
        run: impl FnOnce(&dyn Fn(Progress)) + Send + 'static,
    ) -> io::Result<()> {
        let tell = Arc::clone(tell);
        let thread = thread::Builder::new().name(name.to_owned());
        self.threads.push(thread.spawn(move || {
            if catch_unwind(AssertUnwindSafe(|| run(&*tell))).is_err() {
                tell(Progress::Failed(Arc::new(LogError::ThreadLost)));
            }
        })?);
        Ok(())
    }
}

impl Storage for Durable {
    fn append(&mut self, records: &mut Vec<Record>) -> Result<Position, StorageError> {
        let position = self.log.pen().append(records)?;
        records.clear();
        Ok(position)
    }

    fn durable(&self) -> Position {
        self.log.pen().durable()
    }

    fn is_behind(&self) -> bool {
        self.log.pen().is_behind()
    }

    fn load(&mut self, loads: &mut Vec<Load>) {
        let position = self.log.pen().taken();
        for load in loads.drain(..) {
            if let Some(jobs) = &self.jobs {
                // The loader is gone only where storage has failed, and has said so.
                let _ = jobs.send((position, load));
            }
        }
    }
}

impl Drop for Durable {
    fn drop(&mut self) {
        self.jobs = None;
        self.desk.close();
        for thread in self.threads.drain(..) {
            // If it panicked, it has said so.
            let _ = thread.join();
        }
    }
}
