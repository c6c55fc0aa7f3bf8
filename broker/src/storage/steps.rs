//! Steps: what the threads of a storage do, done by whoever has them, one at a time.
//!
//! Each is the code of a thread: between any two of them the process may end or the disk fail, so
//! that a simulation can say where.

use super::Progress;
use super::checkpointer::{Checkpointer, Stop};
use super::loader::{self, Job};
use super::log::frame::Batch;
use super::log::shelf::Shelf;
use super::log::{LogError, Writer};
use std::sync::Arc;
use std::sync::mpsc::Receiver;

/// The steps of one storage. They tell what they have come to as its threads would.
pub struct Steps {
    writer: Writer,
    batch: Batch,
    checkpointer: Checkpointer,
    shelf: Shelf,
    asked: Receiver<Job>,
    /// What was asked for and is not yet in the ledger.
    job: Option<Job>,
    tell: Tell,
}

type Tell = Box<dyn Fn(Progress) + Send>;

impl Steps {
    pub(super) fn new(
        mut writer: Writer,
        checkpointer: Checkpointer,
        (shelf, asked): (Shelf, Receiver<Job>),
        tell: Tell,
    ) -> Self {
        writer.judge_room(&mut |progress| tell(progress));
        Self {
            writer,
            batch: Batch::new(),
            checkpointer,
            shelf,
            asked,
            job: None,
            tell,
        }
    }

    /// Writes and syncs what has gathered. Whether there was anything.
    ///
    /// # Errors
    /// If the disk fails. It is at its end.
    pub fn write(&mut self) -> Result<bool, Arc<LogError>> {
        let tell = &self.tell;
        self.writer
            .write_now(&mut self.batch, &mut |progress| tell(progress))
    }

    /// Fetches what was asked for first, if it is written. Whether it was.
    ///
    /// # Errors
    /// If it is not there. It is at its end.
    pub fn load(&mut self) -> Result<bool, Arc<LogError>> {
        let Some((position, load)) = self.job.take().or_else(|| self.asked.try_recv().ok()) else {
            return Ok(false);
        };
        let desk = &self.checkpointer.desk;
        if desk.with(|ledger| ledger.position) < position {
            self.job = Some((position, load));
            return Ok(false);
        }
        match loader::fetch(&load, (&self.shelf, desk)) {
            Ok(loaded) => (self.tell)(loaded),
            Err(error) => return Err(self.fail(Arc::new(error))),
        }
        Ok(true)
    }

    /// Makes a checkpoint, or carries what keeps a segment, if it is time. Whether it was. What has
    /// gathered is written where something is carried.
    ///
    /// # Errors
    /// If the disk fails. It is at its end.
    pub fn make_room(&mut self) -> Result<bool, Arc<LogError>> {
        let Self {
            writer,
            batch,
            checkpointer,
            tell,
            ..
        } = self;
        let maker = &mut checkpointer.maker;
        let Some(work) = checkpointer.desk.with(|ledger| maker.find_work(ledger)) else {
            return Ok(false);
        };
        let pen = &checkpointer.pen;
        let done = maker.work(work, &mut |messages| {
            pen.carry(messages).map_err(Stop::Failed)?;
            let written = writer.write_now(batch, &mut |progress| tell(progress));
            written.map(drop).map_err(Stop::Failed)
        });
        pen.look();
        match done {
            Ok(()) => Ok(true),
            Err(Stop::Closed) => Ok(false),
            Err(Stop::Failed(error)) => Err(self.fail(error)),
        }
    }

    fn fail(&self, error: Arc<LogError>) -> Arc<LogError> {
        (self.tell)(Progress::Failed(Arc::clone(&error)));
        error
    }
}
