//! The checkpointer: a thread that makes it possible to let segments go.
//!
//! It reads what is complete and never looks at an engine: a checkpoint is the one before and the
//! segments behind it, folded. What keeps a segment from being let go though most of it is not
//! needed, it carries to the end of the log.

use super::contents;
use super::desk::{Closed, Desk};
use super::ledger::Ledger;
use super::log::shelf::Shelf;
use super::log::{LogError, Pen, Settings, recovery, salt};
use super::{Position, Progress, checkpoint};
use crate::engine::MessageNumber;
use std::sync::Arc;

/// So many bytes are carried in one turn, unless a single message has more.
const CARRIED_LEN_MAX: usize = 256 * 1024;
/// So many messages are looked at while the ledger is locked.
const LOOKED_MAX: usize = 64 * 1024;

pub(super) struct Checkpointer {
    pub(super) maker: Maker,
    pub(super) desk: Arc<Desk>,
    pub(super) pen: Pen,
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// A checkpoint with these segments, which go up to these turns.
    Checkpoint(Vec<(u32, Position)>),
    /// To carry away what is needed of this segment.
    Carry(u32),
}

/// Why it stops.
pub(super) enum Stop {
    /// There is nothing more to do.
    Closed,
    /// What was written is not there any more.
    Failed(Arc<LogError>),
}

impl Checkpointer {
    /// For a log that recovery found to go up to `recovered`.
    pub(super) fn new(
        (shelf, settings): (Shelf, Settings),
        desk: &Arc<Desk>,
        (pen, recovered): (&Pen, Position),
    ) -> Self {
        let maker = Maker {
            shelf,
            settings,
            desk: Arc::clone(desk),
            recovered,
            tried: Position::default(),
        };
        Self {
            maker,
            desk: Arc::clone(desk),
            pen: pen.clone(),
        }
    }

    /// Works until storage is closed or fails.
    pub(super) fn run(mut self, tell: &dyn Fn(Progress)) {
        loop {
            let maker = &self.maker;
            let work = self.desk.wait_for_work(|ledger| maker.find_work(ledger));
            let done = match work {
                Ok(work) => self.work(work),
                Err(Closed) => return,
            };
            match done {
                Ok(()) => {}
                Err(Stop::Closed) => return,
                Err(Stop::Failed(error)) => return tell(Progress::Failed(error)),
            }
        }
    }

    /// Does what there is to do.
    fn work(&mut self, work: Work) -> Result<(), Stop> {
        let (desk, pen) = (Arc::clone(&self.desk), self.pen.clone());
        let mut write = |messages: &[_]| {
            let position = pen.carry(messages).map_err(Stop::Failed)?;
            desk.wait_for(position).map_err(|Closed| Stop::Closed)
        };
        let done = self.maker.work(work, &mut write);
        self.pen.look();
        done
    }
}

/// What makes checkpoints and finds what is to be carried, by itself on no thread.
pub(super) struct Maker {
    pub(super) shelf: Shelf,
    pub(super) settings: Settings,
    pub(super) desk: Arc<Desk>,
    /// What ended up to here, recovery has taken out of the ledger.
    pub(super) recovered: Position,
    /// Up to where there was no room for a checkpoint: it is tried again with more.
    pub(super) tried: Position,
}

/// Writes messages at the end of the log, and returns once they are there.
type Write<'w> = &'w mut dyn FnMut(&[(MessageNumber, Vec<u8>)]) -> Result<(), Stop>;

impl Maker {
    /// What is to be done, if anything.
    pub(super) fn find_work(&self, ledger: &Ledger) -> Option<Work> {
        find_work(ledger, self.settings.segment_bytes.get(), self.tried)
    }

    /// Does what there is to do.
    pub(super) fn work(&mut self, work: Work, write: Write<'_>) -> Result<(), Stop> {
        match work {
            Work::Checkpoint(segments) => self.checkpoint(&segments).or_else(|error| {
                self.tried = segments.last().map_or(self.tried, |(_, end)| *end);
                match error {
                    // The checkpoint before is still there, and the log has everything.
                    LogError::Full { .. } => {
                        tracing::warn!(
                            error = &error as &dyn std::error::Error,
                            "there is no room for a checkpoint: the log grows"
                        );
                        Ok(())
                    }
                    error => Err(Stop::from(error)),
                }
            }),
            Work::Carry(segment) => self.carry(segment, write),
        }
    }

    /// Writes a checkpoint that has the one before and these segments.
    fn checkpoint(&self, segments: &[(u32, Position)]) -> Result<(), LogError> {
        let shard = self.settings.shard;
        let before = checkpoint::read(&self.shelf, shard)?;
        let settings = Settings {
            covered: before.covered,
            ..self.settings.clone()
        };
        let mut state = before.state;
        recovery::read_complete(&self.shelf, &settings, segments, &mut state)?;
        let covered = segments.last().map_or(before.covered, |(_, end)| *end);
        let salt = salt(self.settings.seed, !covered.0);
        let size = checkpoint::write(&self.shelf, (shard, salt), covered, &state)?;
        self.desk.with(|ledger| {
            ledger.covered = covered;
            ledger.checkpoint_len = size;
            let left_behind = state.left_behind.iter();
            for (_, number) in left_behind.filter(|(at, _)| *at > self.recovered) {
                ledger.take_out(*number);
            }
            ledger.sweep();
        });
        Ok(())
    }

    /// Writes again at the end of the log what is needed of a segment.
    fn carry(&self, segment: u32, write: Write<'_>) -> Result<(), Stop> {
        let mut next = Some(0);
        while let Some(from) = next {
            let (found, behind) = self
                .desk
                .with(|ledger| ledger.in_segment(segment, from, LOOKED_MAX));
            let mut turn = (Vec::new(), 0);
            for (number, place) in found {
                turn.0.push(number);
                turn.1 += place.len as usize;
                if turn.1 >= CARRIED_LEN_MAX {
                    self.carry_some(&std::mem::take(&mut turn).0, write)?;
                }
            }
            self.carry_some(&turn.0, write)?;
            next = behind;
        }
        Ok(())
    }

    /// Carries some messages, and waits until they are where they are to be.
    fn carry_some(&self, numbers: &[MessageNumber], write: Write<'_>) -> Result<(), Stop> {
        let read = |placed: &[_]| contents::bytes(&self.shelf, placed);
        let all = contents::of_needed(&self.desk, numbers, read)?;
        if all.is_empty() {
            return Ok(());
        }
        write(&all)
    }
}

/// What is to be done, if anything.
fn find_work(ledger: &Ledger, segment_bytes: u64, tried: Position) -> Option<Work> {
    let complete = || {
        let all = ledger.segments();
        all.filter_map(|(number, segment)| Some((number, segment.end?, segment)))
    };
    let uncovered: Vec<_> = complete()
        .filter(|(_, end, _)| *end > ledger.covered)
        .map(|(number, end, _)| (number, end))
        .collect();
    let enough = (segment_bytes * 2).max(ledger.checkpoint_len * 2);
    let is_due = ledger.uncovered_bytes() > enough || ledger.is_tight;
    if is_due && uncovered.last().is_some_and(|(_, end)| *end > tried) {
        return Some(Work::Checkpoint(uncovered));
    }
    let covered: Vec<_> = complete()
        .filter(|(_, end, _)| *end <= ledger.covered)
        .map(|(number, _, segment)| (number, segment))
        .collect();
    let (oldest, it) = *covered.first()?;
    let needed: u64 = covered.iter().map(|(_, segment)| segment.bytes).sum();
    let dead = covered.iter().map(|(_, it)| it.size).sum::<u64>() - needed;
    let is_mostly_dead = it.bytes < it.size / 4;
    // What is dead behind it cannot be let go as long as it is there.
    let is_in_the_way = dead >= segment_bytes * 4 && dead >= needed * 3;
    let is_tight = ledger.is_tight && dead >= segment_bytes * 2;
    let is_carried = is_mostly_dead || is_in_the_way || is_tight;
    (it.messages > 0 && is_carried).then_some(Work::Carry(oldest))
}

impl From<LogError> for Stop {
    fn from(error: LogError) -> Self {
        Self::Failed(Arc::new(error))
    }
}
