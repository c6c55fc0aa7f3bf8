//! The thread that writes an outbox, and what others know of its progress.
//!
//! No sync ever runs on a thread that serves connections. What gathers while one sync runs is the
//! next batch; what nobody waits for goes along with the next batch, or is written when the device
//! has been quiet for a while.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use super::error::{OutboxError, WhenDamaged};
use super::log::{Limits, Log, Recovered};
use super::record::Record;
use super::slots::{Directory, Slots};

/// How long a device is quiet before what nobody waits for is written.
const QUIET: Duration = Duration::from_secs(1);

/// How long a packet id is waited for.
const PACKET_ID_TIME_MAX: Duration = Duration::from_millis(2);

/// More than this is not left unwritten.
const UNWRITTEN_MAX: usize = 512;

/// How soon a record must be durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Durable {
    /// With whatever is written next.
    Sometime,
    /// When the device is quiet, at the latest.
    Soon,
    /// With the packet id that the message is about to get, or a moment later: one sync is enough
    /// for both.
    WithPacketId,
    /// At once.
    Now,
    /// At once, and nothing more is sent before.
    BeforeSpeech,
}

/// Takes what is to be recorded. Bounded from outside: by the room in the outbox, and by the number
/// of messages under way.
#[derive(Clone, Debug)]
pub(crate) struct Writer {
    orders: Sender<Order>,
    progress: Arc<Mutex<Progress>>,
    failed: watch::Receiver<Option<OutboxError>>,
}

#[derive(Debug)]
enum Order {
    Append(Record, Durable, Option<Answer>),
    /// Write all, let go of the files, and say so.
    Close(oneshot::Sender<()>),
}

pub(crate) type Answer = oneshot::Sender<Result<(), OutboxError>>;

/// How many records have come, and how many of them are durable.
#[derive(Debug, Default)]
struct Progress {
    given: u64,
    durable: u64,
    /// Speech waits for as many.
    required: u64,
    speaker: Option<Waker>,
}

/// Opens an outbox on a thread of its own.
pub(crate) async fn open(
    path: PathBuf,
    limits: Limits,
    when_damaged: WhenDamaged,
) -> Result<(Writer, Recovered), OutboxError> {
    let (answer, opened) = oneshot::channel();
    let started = thread::Builder::new().name("outbox".into()).spawn({
        let path = path.clone();
        move || {
            let log = Directory::open(&path);
            let log = log.and_then(|slots| Log::open(slots, limits, when_damaged));
            match log {
                Ok((log, recovered)) => {
                    let (writer, thread) = connect(log, limits);
                    if answer.send(Ok((writer, recovered))).is_ok() {
                        thread.run();
                    }
                }
                Err(error) => drop(answer.send(Err(error))),
            }
        }
    });
    let unusable = |source: std::io::Error| OutboxError::Unusable {
        path: path.clone(),
        source: source.into(),
    };
    started.map_err(unusable)?;
    let gone = || unusable(std::io::Error::other("its thread has ended"));
    opened.await.unwrap_or_else(|_| Err(gone()))
}

pub(super) fn connect<S: Slots>(log: Log<S>, limits: Limits) -> (Writer, Thread<S>) {
    let (orders, receive_orders) = mpsc::channel();
    let (say_failed, failed) = watch::channel(None);
    let progress = Arc::new(Mutex::default());
    let thread = Thread {
        log,
        batch_len_max: limits.batch_len_max(),
        orders: receive_orders,
        waiting: VecDeque::new(),
        progress: Arc::clone(&progress),
        failed: say_failed,
    };
    let writer = Writer {
        orders,
        progress,
        failed,
    };
    (writer, thread)
}

impl Writer {
    /// Records one thing after all that came before it.
    pub(crate) fn append(&self, record: Record, durable: Durable, answer: Option<Answer>) {
        let mut progress = lock(&self.progress);
        progress.given += 1;
        if durable == Durable::BeforeSpeech {
            progress.required = progress.given;
        }
        // A thread that has ended has said why.
        let _ = self.orders.send(Order::Append(record, durable, answer));
    }

    /// Whether all is durable that has to be before anything more is sent.
    pub(crate) fn poll_may_speak(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut progress = lock(&self.progress);
        if progress.durable >= progress.required {
            return Poll::Ready(());
        }
        progress.speaker = Some(context.waker().clone());
        Poll::Pending
    }

    /// Why the outbox cannot be written; never ready as long as it can.
    pub(crate) async fn failed(&mut self) -> OutboxError {
        loop {
            if let Some(error) = self.failed.borrow_and_update().clone() {
                return error;
            }
            if self.failed.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Writes what is left, and lets go of the files.
    pub(crate) async fn close(self) {
        let (closed, wait) = oneshot::channel();
        let _ = self.orders.send(Order::Close(closed));
        let _ = wait.await;
    }
}

/// The far end.
pub(super) struct Thread<S> {
    log: Log<S>,
    batch_len_max: usize,
    orders: Receiver<Order>,
    /// Not written yet.
    waiting: VecDeque<(Record, Durable, Option<Answer>)>,
    progress: Arc<Mutex<Progress>>,
    failed: watch::Sender<Option<OutboxError>>,
}

impl<S: Slots> Thread<S> {
    /// Runs until it is told to close, or the last writer is gone.
    pub(super) fn run(mut self) {
        let closed = loop {
            match self.next() {
                Ok(Order::Append(record, durable, answer)) => {
                    self.waiting.push_back((record, durable, answer));
                    if !self.is_due() {
                        continue;
                    }
                }
                Ok(Order::Close(closed)) => break Some(closed),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break None,
            }
            if let Err(error) = self.write_all() {
                return self.fail(&error);
            }
        };
        if let Err(error) = self.write_all() {
            return self.fail(&error);
        }
        // The lock goes with the files.
        drop(self.log);
        if let Some(closed) = closed {
            let _ = closed.send(());
        }
    }

    /// What is there is taken at once, so that one sync is enough for it.
    fn next(&self) -> Result<Order, RecvTimeoutError> {
        let soonest = self.waiting.iter().map(|(_, durable, _)| *durable).max();
        match soonest {
            None | Some(Durable::Sometime) => self
                .orders
                .recv()
                .map_err(|_| RecvTimeoutError::Disconnected),
            Some(Durable::Soon) => self.orders.recv_timeout(QUIET),
            Some(Durable::WithPacketId) => self.orders.recv_timeout(PACKET_ID_TIME_MAX),
            Some(Durable::Now | Durable::BeforeSpeech) => self.orders.recv_timeout(Duration::ZERO),
        }
    }

    /// Whether what waits has to be written now: when somebody waits for it, the loop goes on
    /// taking until nothing more is there.
    fn is_due(&self) -> bool {
        self.waiting.len() >= UNWRITTEN_MAX
    }

    fn write_all(&mut self) -> Result<(), OutboxError> {
        while !self.waiting.is_empty() {
            let (mut records, mut answers) = (Vec::new(), Vec::new());
            let mut len = 0;
            while let Some((record, durable, answer)) = self.waiting.pop_front() {
                len += record.len_max();
                if len > self.batch_len_max && !records.is_empty() {
                    self.waiting.push_front((record, durable, answer));
                    break;
                }
                records.push(record);
                answers.extend(answer);
            }
            if let Err(error) = self.log.commit(&records) {
                for answer in answers {
                    let _ = answer.send(Err(error.clone()));
                }
                return Err(error);
            }
            self.tell(records.len(), answers);
        }
        Ok(())
    }

    fn tell(&self, records: usize, answers: Vec<Answer>) {
        let mut progress = lock(&self.progress);
        progress.durable = progress.durable.saturating_add(records as u64);
        if progress.durable >= progress.required
            && let Some(speaker) = progress.speaker.take()
        {
            speaker.wake();
        }
        drop(progress);
        for answer in answers {
            let _ = answer.send(Ok(()));
        }
    }

    fn fail(self, error: &OutboxError) {
        drop(self.log);
        self.failed.send_replace(Some(error.clone()));
        let waiting = self.waiting.into_iter();
        for answer in waiting.filter_map(|(_, _, answer)| answer) {
            let _ = answer.send(Err(error.clone()));
        }
        for order in self.orders {
            match order {
                Order::Append(_, _, Some(answer)) => drop(answer.send(Err(error.clone()))),
                Order::Append(_, _, None) => {}
                Order::Close(closed) => drop(closed.send(())),
            }
        }
    }
}

fn lock(progress: &Mutex<Progress>) -> MutexGuard<'_, Progress> {
    // Nothing panics while it is held.
    progress.lock().unwrap_or_else(PoisonError::into_inner)
}
