//! The writer: a thread that writes and syncs what has gathered, then says how far it came.
//!
//! There is no timer: what gathers while one frame is synced is the next frame. What gathers has
//! a maximum, and there whoever appends waits for the disk.

use super::appender::Appender;
use super::error::LogError;
use super::frame::Batch;
use crate::engine::Record;
use crate::storage::Position;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

/// How a log gets on.
#[derive(Clone, Debug)]
pub enum Progress {
    /// Everything up to here is durable.
    Durable(Position),
    /// Nothing more will be.
    Failed(Arc<LogError>),
}

/// What those who append and the one who writes share.
pub(super) struct Shared {
    gathering: Mutex<Gathering>,
    /// The writer waits here for something to do.
    work: Condvar,
    /// Those who append wait here for room.
    room: Condvar,
    durable: AtomicU64,
    /// How long a frame may grow.
    frame_len_max: u64,
}

struct Gathering {
    batch: Batch,
    taken: u64,
    /// Up to where nothing is needed, if that is news.
    trim: Option<Position>,
    closing: bool,
    /// Whether the writer waits, and whether anybody waits for room.
    idle: bool,
    crowded: bool,
    failure: Option<Arc<LogError>>,
}

impl Shared {
    pub(super) fn new(position: Position, frame_len_max: u64) -> Self {
        let gathering = Gathering {
            batch: Batch::new(),
            taken: position.0,
            trim: None,
            closing: false,
            idle: false,
            crowded: false,
            failure: None,
        };
        Self {
            gathering: Mutex::new(gathering),
            work: Condvar::new(),
            room: Condvar::new(),
            durable: AtomicU64::new(position.0),
            frame_len_max,
        }
    }

    /// Takes the records of a turn, and waits for the disk where too much has gathered.
    pub(super) fn append(&self, records: &[Record]) -> Result<Position, Arc<LogError>> {
        let mut gathering = self.gathering();
        while gathering.is_full(self.frame_len_max) && gathering.failure.is_none() {
            gathering.crowded = true;
            gathering = wait(&self.room, gathering);
        }
        if let Some(failure) = &gathering.failure {
            return Err(Arc::clone(failure));
        }
        gathering.batch.push(records);
        gathering.taken += 1;
        self.wake(&gathering);
        Ok(Position(gathering.taken))
    }

    pub(super) fn trim(&self, position: Position) {
        let mut gathering = self.gathering();
        gathering.trim = gathering.trim.max(Some(position));
        self.wake(&gathering);
    }

    pub(super) fn close(&self) {
        let mut gathering = self.gathering();
        gathering.closing = true;
        self.wake(&gathering);
    }

    pub(super) fn durable(&self) -> Position {
        Position(self.durable.load(Ordering::Acquire))
    }

    fn wake(&self, gathering: &Gathering) {
        if gathering.idle {
            self.work.notify_one();
        }
    }

    /// Waits for something to do and takes it. What was asked for is done before the end.
    fn take(&self, batch: &mut Batch) -> Work {
        let mut gathering = self.gathering();
        while gathering.is_idle() {
            gathering.idle = true;
            gathering = wait(&self.work, gathering);
            gathering.idle = false;
        }
        std::mem::swap(&mut gathering.batch, batch);
        if std::mem::take(&mut gathering.crowded) {
            self.room.notify_all();
        }
        Work {
            trim: gathering.trim.take(),
            is_last: gathering.closing,
        }
    }

    fn fail(&self, error: LogError) -> Arc<LogError> {
        let failure = Arc::new(error);
        let mut gathering = self.gathering();
        gathering.failure = Some(Arc::clone(&failure));
        self.room.notify_all();
        failure
    }

    fn gathering(&self) -> MutexGuard<'_, Gathering> {
        self.gathering
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gathering {
    fn is_full(&self, len_max: u64) -> bool {
        self.batch.frame_len() >= len_max
    }

    fn is_idle(&self) -> bool {
        self.batch.turns() == 0 && self.trim.is_none() && !self.closing
    }
}

fn wait<'g>(at: &Condvar, gathering: MutexGuard<'g, Gathering>) -> MutexGuard<'g, Gathering> {
    at.wait(gathering).unwrap_or_else(PoisonError::into_inner)
}

/// What the writer is to do beside its batch.
struct Work {
    trim: Option<Position>,
    is_last: bool,
}

/// Writes until the log is closed or fails.
pub(super) fn run(shared: &Shared, appender: Appender, mut tell: impl FnMut(Progress)) {
    let mut writer = Writer {
        shared,
        appender,
        making: None,
    };
    let outcome = catch_unwind(AssertUnwindSafe(|| writer.write_all(&mut tell)));
    // Whoever opens the log next must find nobody at work in it.
    let _ = writer.making.take().map(JoinHandle::join);
    let error = match outcome {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error,
        Err(_) => LogError::WriterLost,
    };
    tell(Progress::Failed(shared.fail(error)));
}

struct Writer<'s> {
    shared: &'s Shared,
    appender: Appender,
    /// A thread that makes a spare.
    making: Option<JoinHandle<Result<String, LogError>>>,
}

impl Writer<'_> {
    fn write_all(&mut self, tell: &mut impl FnMut(Progress)) -> Result<(), LogError> {
        let mut batch = Batch::new();
        loop {
            let work = self.shared.take(&mut batch);
            if batch.turns() > 0 {
                self.take_spare(batch.frame_len());
                let position = self.appender.commit(&mut batch)?;
                self.shared.durable.store(position.0, Ordering::Release);
                tell(Progress::Durable(position));
                batch.clear();
            }
            if let Some(position) = work.trim {
                self.appender.trim(position)?;
            }
            if work.is_last {
                return Ok(());
            }
            self.make_spare();
        }
    }

    /// Begins to make a spare where there is none.
    fn make_spare(&mut self) {
        if self.making.is_some() {
            return;
        }
        if let Some(order) = self.appender.spares.wanted() {
            let thread = thread::Builder::new().name("log-spare".to_owned());
            // Without a thread it is made when it is needed.
            self.making = thread.spawn(|| order.make()).ok();
        }
    }

    /// Takes the spare that was made, and waits for it if it is needed now.
    fn take_spare(&mut self, frame_len: u64) {
        let is_due = !self.appender.has_room(frame_len);
        let Some(making) = self.making.take_if(|it| is_due || it.is_finished()) else {
            return;
        };
        match making.join() {
            Ok(Ok(name)) => self.appender.spares.add(name),
            // It is tried once more when it is needed, and then the error is final.
            Ok(Err(error)) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the next segment of the log could not be made"
            ),
            Err(_) => tracing::warn!("the thread that makes the next segment panicked"),
        }
    }
}
