//! The writer: a thread that writes and syncs what has gathered, then says how far it came.
//!
//! There is no timer: what gathers while one frame is synced is the next frame. Nobody waits for
//! room to append; where too much has gathered, the log says that it is behind.

use super::appender::Appender;
use super::error::LogError;
use super::frame::Batch;
use super::segment::number_of;
use super::watermark::Watermark;
use crate::engine::{MessageNumber, Record};
use crate::storage::desk::Desk;
use crate::storage::ledger::Ledger;
use crate::storage::{Position, Progress};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

/// What those who append and the one who writes share.
pub(in crate::storage) struct Shared {
    gathering: Mutex<Gathering>,
    /// The writer waits here for something to do.
    work: Condvar,
    durable: AtomicU64,
    /// Whether as much has gathered as a frame may take.
    is_behind: AtomicBool,
    /// How long a frame may grow.
    frame_len_max: u64,
}

struct Gathering {
    batch: Batch,
    taken: u64,
    /// Whether there may be segments to be let go.
    looks: bool,
    closing: bool,
    /// Whether the writer waits.
    idle: bool,
    failure: Option<Arc<LogError>>,
}

impl Shared {
    pub(super) fn new(position: Position, frame_len_max: u64) -> Self {
        let gathering = Gathering {
            batch: Batch::new(),
            taken: position.0,
            looks: false,
            closing: false,
            idle: false,
            failure: None,
        };
        Self {
            gathering: Mutex::new(gathering),
            work: Condvar::new(),
            durable: AtomicU64::new(position.0),
            is_behind: AtomicBool::new(false),
            frame_len_max,
        }
    }

    /// Takes the records of a turn.
    pub(super) fn append(&self, records: &[Record]) -> Result<Position, Arc<LogError>> {
        self.add(|batch| batch.push(records))
    }

    /// Takes messages whose contents are to be where the log ends.
    pub(super) fn carry(
        &self,
        messages: &[(MessageNumber, Vec<u8>)],
    ) -> Result<Position, Arc<LogError>> {
        self.add(|batch| batch.push_carried(messages))
    }

    fn add(&self, push: impl FnOnce(&mut Batch)) -> Result<Position, Arc<LogError>> {
        let mut gathering = self.gathering();
        if let Some(failure) = &gathering.failure {
            return Err(Arc::clone(failure));
        }
        push(&mut gathering.batch);
        gathering.taken += 1;
        if gathering.batch.frame_len() >= self.frame_len_max {
            self.is_behind.store(true, Ordering::SeqCst);
        }
        self.wake(&gathering);
        Ok(Position(gathering.taken))
    }

    pub(super) fn is_behind(&self) -> bool {
        self.is_behind.load(Ordering::SeqCst)
    }

    /// The last turn that was taken.
    pub(super) fn taken(&self) -> Position {
        Position(self.gathering().taken)
    }

    /// There may be segments that nobody needs any more.
    pub(super) fn look(&self) {
        let mut gathering = self.gathering();
        gathering.looks = true;
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

    /// Waits for something to do and takes it. Whether nothing follows.
    fn take(&self, batch: &mut Batch) -> bool {
        let mut gathering = self.gathering();
        while gathering.is_idle() {
            gathering.idle = true;
            gathering = wait(&self.work, gathering);
            gathering.idle = false;
        }
        self.hand_over(&mut gathering, batch);
        gathering.closing
    }

    /// Takes what there is to do. Whether there is anything.
    fn take_now(&self, batch: &mut Batch) -> bool {
        let mut gathering = self.gathering();
        let any = !gathering.is_idle() && gathering.failure.is_none();
        if any {
            self.hand_over(&mut gathering, batch);
        }
        any
    }

    fn hand_over(&self, gathering: &mut Gathering, batch: &mut Batch) {
        std::mem::swap(&mut gathering.batch, batch);
        self.is_behind.store(false, Ordering::SeqCst);
        gathering.looks = false;
    }

    fn fail(&self, error: LogError) -> Arc<LogError> {
        let failure = Arc::new(error);
        let mut gathering = self.gathering();
        gathering.failure = Some(Arc::clone(&failure));
        failure
    }

    fn gathering(&self) -> MutexGuard<'_, Gathering> {
        self.gathering
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gathering {
    fn is_idle(&self) -> bool {
        self.batch.turns() == 0 && !self.looks && !self.closing
    }
}

fn wait<'g>(at: &Condvar, gathering: MutexGuard<'g, Gathering>) -> MutexGuard<'g, Gathering> {
    at.wait(gathering).unwrap_or_else(PoisonError::into_inner)
}

/// Writes until the log is closed or fails.
pub(super) fn run(mut writer: Writer, mut tell: impl FnMut(Progress)) {
    let outcome = catch_unwind(AssertUnwindSafe(|| writer.write_all(&mut tell)));
    // Whoever opens the log next must find nobody at work in it.
    let _ = writer.making.take().map(JoinHandle::join);
    let error = match outcome {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error,
        Err(_) => LogError::ThreadLost,
    };
    writer.give_up(error, &mut tell);
}

/// What writes frames and keeps the ledger, by itself on no thread.
pub(in crate::storage) struct Writer {
    shared: Arc<Shared>,
    appender: Appender,
    desk: Arc<Desk>,
    watermark: Watermark,
    /// A thread that makes a spare.
    making: Option<JoinHandle<Result<String, LogError>>>,
}

/// So many marks are entered before others may look into the ledger.
const MARKS_AT_ONCE: usize = 4096;

impl Writer {
    pub(super) fn new(
        shared: Arc<Shared>,
        appender: Appender,
        (desk, watermark): (Arc<Desk>, Watermark),
    ) -> Self {
        Self {
            shared,
            appender,
            desk,
            watermark,
            making: None,
        }
    }

    fn write_all(&mut self, tell: &mut impl FnMut(Progress)) -> Result<(), LogError> {
        let mut batch = Batch::new();
        // The process before may have ended before it let them go.
        self.let_go()?;
        self.judge_room(tell);
        loop {
            let is_last = self.shared.take(&mut batch);
            self.write(&mut batch, tell)?;
            if is_last {
                return Ok(());
            }
            self.make_spare();
        }
    }

    /// Writes what has gathered by now. Whether there was anything. After an error, which it has
    /// told, it is at its end.
    ///
    /// # Errors
    /// If the disk fails.
    pub(in crate::storage) fn write_now(
        &mut self,
        batch: &mut Batch,
        tell: &mut impl FnMut(Progress),
    ) -> Result<bool, Arc<LogError>> {
        if !self.shared.take_now(batch) {
            return Ok(false);
        }
        let written = self.write(batch, tell);
        written.map_err(|error| self.give_up(error, tell))?;
        Ok(true)
    }

    /// Nothing more can be written.
    fn give_up(&self, error: LogError, tell: &mut impl FnMut(Progress)) -> Arc<LogError> {
        let failure = self.shared.fail(error);
        self.desk.close();
        tell(Progress::Failed(Arc::clone(&failure)));
        failure
    }

    /// Writes what has gathered, says so, and lets go of what nobody needs any more.
    pub(in crate::storage) fn write(
        &mut self,
        batch: &mut Batch,
        tell: &mut impl FnMut(Progress),
    ) -> Result<(), LogError> {
        let before = self.appender.segment();
        if batch.turns() > 0 {
            self.take_spare(batch.frame_len());
            let begin = self.appender.commit(batch)?;
            let position = self.appender.position();
            self.shared.durable.store(position.0, Ordering::Release);
            tell(Progress::Durable(position));
            if self.appender.segment() != before {
                self.enter_segment();
            }
            self.enter(batch, begin)?;
            batch.clear();
            if self.watermark.is_tight() {
                // What was acknowledged may have made a segment worth to be emptied.
                self.desk.tell_of_segments();
            }
        }
        if self.let_go()? || self.appender.segment() != before {
            self.judge_room(tell);
        }
        Ok(())
    }

    /// Enters into the ledger that a segment was begun, and that the one before is complete.
    fn enter_segment(&mut self) {
        let mut last = self.appender.segments().rev();
        let (begun, ended) = (last.next(), last.next());
        self.desk.with(|ledger| {
            if let Some(ended) = ended {
                ledger.end_segment(number_of(ended.sequence), Position(ended.end));
            }
            if let Some(begun) = begun {
                ledger.begin_segment(number_of(begun.sequence), begun.size);
            }
        });
    }

    /// Enters into the ledger what the frame at `begin` has brought.
    fn enter(&mut self, batch: &Batch, begin: u64) -> Result<(), LogError> {
        let number = number_of(self.appender.segment());
        for marks in batch.marks().chunks(MARKS_AT_ONCE) {
            let entered = self.desk.with(|ledger| ledger.take((number, begin), marks));
            entered.map_err(|malformed| self.appender.senseless(begin, malformed))?;
        }
        self.desk.with(Ledger::sweep);
        self.desk.reach(self.appender.position());
        Ok(())
    }

    /// Lets go of the oldest segments, as far as nobody needs them. Whether there were any.
    fn let_go(&mut self) -> Result<bool, LogError> {
        let mut any = false;
        while let Some(oldest) = self.appender.oldest() {
            let number = number_of(oldest.sequence);
            if !self.desk.with(|ledger| ledger.is_free(number)) {
                break;
            }
            self.appender.let_go()?;
            self.desk.with(|ledger| ledger.forget_segment(number));
            any = true;
        }
        Ok(any)
    }

    /// Segments have come or gone: says so, and whether there is room.
    pub(in crate::storage) fn judge_room(&mut self, tell: &mut impl FnMut(Progress)) {
        let free = self.appender.free_bytes();
        let watermark = &mut self.watermark;
        let room = self.desk.with(|ledger| {
            let room = watermark.judge(ledger, free);
            ledger.is_tight = watermark.is_tight();
            room
        });
        self.desk.tell_of_segments();
        if let Some(room) = room {
            tell(Progress::Room(room));
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
