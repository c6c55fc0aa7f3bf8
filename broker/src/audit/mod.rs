//! The audit log: who came, who was refused, who was cut off, and what was changed, line by line.
//!
//! Each line is chained to the one before it, so that none can be changed, left out or moved
//! unseen. Nobody waits for it: what does not fit its queue is counted, and the count is a line.

mod chain;
mod event;
mod verify;
mod writer;

pub use event::{Changed, Event};
pub use verify::{Broken, Ending, Verified, VerifyError, verify};
pub use writer::AuditError;

use crate::config;
use crate::shard::wall_time;
use event::{Entry, Noted, OfLog};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use writer::Writer;

/// So many lines wait for the disk; one more is lost, and counted.
const QUEUE_LEN_MAX: usize = 8192;
/// So long events gather before they are written together: to wake for each takes more time than to
/// write it.
const GATHERING: Duration = Duration::from_millis(10);
/// So many refusals of peers that showed no certificate are written in a second; a flood of them
/// is one line with their number.
const NAMELESS_IN_A_SECOND_MAX: u64 = 20;

/// Where events go. Cheap to clone; where no file is set, nowhere.
#[derive(Clone, Debug, Default)]
pub struct Audit(Option<Arc<Desk>>);

#[derive(Debug)]
struct Desk {
    queue: SyncSender<Message>,
    lost: Arc<AtomicU64>,
    /// The second of the last nameless refusal, and how many there were in it.
    nameless: Mutex<(u64, u64)>,
    suppressed: Arc<AtomicU64>,
}

/// The thread that writes.
#[derive(Debug)]
pub(crate) struct Writing(Option<(SyncSender<Message>, JoinHandle<()>)>);

/// What it is told.
#[derive(Debug)]
enum Message {
    Noted(Noted),
    /// What comes behind this is lost.
    End,
}

impl Audit {
    /// Opens the file, where one is set, and goes on with its chain.
    ///
    /// # Errors
    /// If it cannot be written, or is not whole.
    pub(crate) fn open(settings: &config::Audit) -> Result<(Self, Writing), AuditError> {
        let Some(path) = &settings.file else {
            return Ok((Self(None), Writing(None)));
        };
        let writer = Writer::open(path, settings)?;
        let (queue, noted) = sync_channel(QUEUE_LEN_MAX);
        let (lost, suppressed) = (Arc::default(), Arc::default());
        let counts = Counts {
            lost: Arc::clone(&lost),
            suppressed: Arc::clone(&suppressed),
        };
        let thread = std::thread::Builder::new().name("audit".to_owned());
        let failed = |source| AuditError::new(path, source);
        let thread = thread.spawn(move || write_all(writer, &noted, &counts));
        let writing = Writing(Some((queue.clone(), thread.map_err(failed)?)));
        let desk = Desk {
            queue,
            lost,
            nameless: Mutex::default(),
            suppressed,
        };
        Ok((Self(Some(Arc::new(desk))), writing))
    }

    /// Notes an event, if there is a file.
    pub fn note(&self, event: impl FnOnce() -> Event) {
        let Some(desk) = &self.0 else {
            return;
        };
        let at_ms = wall_time().millis();
        let event = event();
        if event.is_nameless() && desk.has_many_nameless(at_ms / 1000) {
            desk.suppressed.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let noted = Message::Noted(Noted { at_ms, event });
        match desk.queue.try_send(noted) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                desk.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// How many events were lost because the disk was too slow or failed, since the last line that
    /// says so.
    pub fn lost(&self) -> u64 {
        let desk = self.0.as_ref();
        desk.map_or(0, |desk| desk.lost.load(Ordering::Relaxed))
    }
}

impl Desk {
    fn has_many_nameless(&self, second: u64) -> bool {
        let mut seen = self.nameless.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, count) = &mut *seen;
        if *last != second {
            (*last, *count) = (second, 0);
        }
        *count += 1;
        *count > NAMELESS_IN_A_SECOND_MAX
    }
}

struct Counts {
    lost: Arc<AtomicU64>,
    suppressed: Arc<AtomicU64>,
}

impl Counts {
    /// Entries for what was counted and not written.
    fn take(&self) -> impl Iterator<Item = Entry> {
        let lost = self.lost.swap(0, Ordering::Relaxed);
        let suppressed = self.suppressed.swap(0, Ordering::Relaxed);
        let lost = (lost > 0).then_some(OfLog::Lost { count: lost });
        let more = (suppressed > 0).then_some(OfLog::MoreRefused { count: suppressed });
        more.into_iter().chain(lost).map(Entry::OfLog)
    }
}

/// Writes until it is told to end, or nobody can note anything any more.
fn write_all(mut writer: Writer, noted: &Receiver<Message>, counts: &Counts) {
    while let Ok(Message::Noted(first)) = noted.recv() {
        std::thread::sleep(GATHERING);
        match write_waiting(&mut writer, first, noted, counts) {
            Ok(Going::On) => {}
            Ok(Going::Ends) => break,
            Err(error) => {
                // It is told, and the next event is tried again.
                tracing::error!(%error, "the audit log cannot be written");
                counts.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
    let at_ms = wall_time().millis();
    let last: std::io::Result<()> = counts
        .take()
        .chain([Entry::OfLog(OfLog::Ended {})])
        .try_for_each(|entry| writer.write(at_ms, &entry));
    if let Err(error) = last.and_then(|()| writer.sync()) {
        tracing::error!(%error, "the audit log cannot be ended");
    }
}

/// Writes what waits, then hands it to the system.
fn write_waiting(
    writer: &mut Writer,
    first: Noted,
    noted: &Receiver<Message>,
    counts: &Counts,
) -> std::io::Result<Going> {
    let mut next = Some(first);
    while let Some(Noted { at_ms, event }) = next {
        for entry in counts.take() {
            writer.write(at_ms, &entry)?;
        }
        writer.write(at_ms, &Entry::Event(event))?;
        next = match noted.try_recv() {
            Ok(Message::Noted(noted)) => Some(noted),
            Ok(Message::End) => return Ok(Going::Ends),
            Err(_) => None,
        };
    }
    writer.flush()?;
    Ok(Going::On)
}

/// Whether there may be more to write.
enum Going {
    On,
    Ends,
}

impl Writing {
    /// Waits until all that was noted is written.
    pub(crate) fn finish(&mut self) {
        if let Some((queue, thread)) = self.0.take() {
            // A thread that panicked has said so.
            let _ = queue.send(Message::End);
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests;
