//! What a shard has for the others: handed over at once, or held until the log has what it
//! depends on.
//!
//! It is left in their mailboxes in the order in which it was decided, whichever threads take the
//! turns: so the messages of one publisher keep their order, and none is taken for a repetition.

use super::Shard;
use super::waiting::Waiting;
use crate::engine::{After, Forward, ForwardsTaken, Input};
use crate::storage::Position;
use std::collections::VecDeque;
use std::sync::Weak;

/// Another shard of the same broker.
pub(super) struct Other {
    pub(super) index: u32,
    pub(super) shard: Weak<Shard>,
}

/// What waits. Touched only by whoever has the turn.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    forwards: VecDeque<(Position, Forward)>,
    taken: VecDeque<(Position, ForwardsTaken)>,
}

impl Outgoing {
    /// Takes what a turn has brought whose records are at `position`.
    pub(super) fn add(
        &mut self,
        forwards: &mut Vec<Forward>,
        taken: &mut Vec<ForwardsTaken>,
        position: Position,
    ) {
        let forwards = forwards.drain(..).map(|forward| match forward.after {
            After::Sync => (position, forward),
            After::Nothing => (Position::default(), forward),
        });
        self.forwards.extend(forwards);
        self.taken.extend(taken.drain(..).map(|it| (position, it)));
    }

    /// Leaves with the others what they may have now, and sees to it that the rest follows.
    pub(super) fn hand_over(&mut self, waiting: &Waiting, others: &[Other]) {
        if self.is_empty() {
            return;
        }
        self.hand_over_free(waiting.durable().position(), others);
        if !self.is_empty() {
            waiting.want_turn();
            // There may have been progress before that was said.
            self.hand_over_free(waiting.durable().position(), others);
        }
    }

    fn hand_over_free(&mut self, durable: Position, others: &[Other]) {
        let forwards = take_free(&mut self.forwards, durable);
        let taken = take_free(&mut self.taken, durable);
        for other in others {
            let Some(shard) = other.shard.upgrade() else {
                continue;
            };
            let forwards = forwards.iter().cloned().map(Input::Forward);
            // It goes to the one whom it concerns.
            let taken = taken.iter().filter(|it| it.from == other.index);
            let taken = taken.copied().map(Input::ForwardsTaken);
            shard.leave_all(forwards.chain(taken).collect());
        }
    }

    fn is_empty(&self) -> bool {
        self.forwards.is_empty() && self.taken.is_empty()
    }
}

/// In their order, whatever each waits for.
fn take_free<T>(waiting: &mut VecDeque<(Position, T)>, durable: Position) -> Vec<T> {
    let mut free = Vec::new();
    while let Some((_, next)) = waiting.pop_front_if(|(position, _)| *position <= durable) {
        free.push(next);
    }
    free
}
