//! Which messages are on their way between shards.
//!
//! The messages a shard forwards have numbers that rise, and the others take them in that order:
//! one number says of all up to it that they were taken.

use crate::engine::effect::Forward;
use crate::engine::limits::Limits;
use crate::engine::message::Message;
use crate::engine::record::MessageNumber;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// What one shard knows of them.
#[derive(Debug, Default)]
pub(in crate::engine) struct Forwards {
    /// Ours, the oldest first, that some shard may not have taken, and their payload lengths.
    outstanding: VecDeque<(MessageNumber, usize)>,
    /// Payload bytes of these.
    bytes: usize,
    /// Up to which one each other shard has taken ours.
    taken_by: BTreeMap<u32, MessageNumber>,
    /// Up to which one we have taken those of each other shard.
    taken_from: BTreeMap<u32, MessageNumber>,
    /// Those of others that wait for room on our disk. These count as outstanding there.
    postponed: VecDeque<Forward>,
    /// Ours that the process before may not have handed over.
    repeated: Vec<(MessageNumber, Arc<Message>)>,
}

impl Forwards {
    /// What the records say of them.
    pub(in crate::engine) fn restored(
        outstanding: Vec<(MessageNumber, Arc<Message>)>,
        taken_from: BTreeMap<u32, MessageNumber>,
    ) -> Self {
        let mut forwards = Self {
            taken_from,
            ..Self::default()
        };
        for (number, message) in &outstanding {
            forwards.begin(*number, message.payload().len());
        }
        forwards.repeated = outstanding;
        forwards
    }

    /// One of ours is handed over.
    pub(in crate::engine) fn begin(&mut self, number: MessageNumber, payload_len: usize) {
        self.outstanding.push_back((number, payload_len));
        self.bytes += payload_len;
    }

    /// Whether no more may be begun before others have ended.
    pub(in crate::engine) fn is_full(&self, limits: &Limits) -> bool {
        self.outstanding.len() >= limits.forwards_len_max || self.bytes >= limits.forwards_bytes_max
    }

    /// One of `others` shards has taken ours up to this one. Up to which one all have, if that is
    /// news.
    pub(in crate::engine) fn taken_by(
        &mut self,
        (by, others): (u32, u32),
        up_to: MessageNumber,
    ) -> Option<MessageNumber> {
        let known = self.taken_by.entry(by).or_insert(up_to);
        *known = up_to.max(*known);
        if self.taken_by.len() < usize::try_from(others).unwrap_or(usize::MAX) {
            return None;
        }
        let by_all = self.taken_by.values().min().copied()?;
        let mut done = None;
        while let Some((number, len)) = self.outstanding.pop_front_if(|(it, _)| *it <= by_all) {
            self.bytes -= len;
            done = Some(number);
        }
        done
    }

    /// Whether one of another shard was not taken before. It is by this.
    pub(in crate::engine) fn take(&mut self, from: u32, number: MessageNumber) -> bool {
        let known = self.taken_from.get(&from);
        let is_new = known.is_none_or(|known| *known < number);
        if is_new {
            self.taken_from.insert(from, number);
        }
        is_new
    }

    /// One of another shard waits.
    pub(in crate::engine) fn postpone(&mut self, forward: Forward) {
        self.postponed.push_back(forward);
    }

    /// Those that wait need not wait any longer.
    pub(in crate::engine) fn take_postponed(&mut self) -> VecDeque<Forward> {
        std::mem::take(&mut self.postponed)
    }

    /// Those that are to be handed over once more.
    pub(in crate::engine) fn take_repeated(&mut self) -> Vec<(MessageNumber, Arc<Message>)> {
        std::mem::take(&mut self.repeated)
    }

    pub(in crate::engine) fn has_repeated(&self) -> bool {
        !self.repeated.is_empty()
    }

    /// What the records must say: which are outstanding, and what was taken of whom.
    #[cfg(test)]
    pub(in crate::engine) fn as_recorded(
        &self,
    ) -> (Vec<MessageNumber>, &BTreeMap<u32, MessageNumber>) {
        let numbers = self.outstanding.iter().map(|(number, _)| *number);
        (numbers.collect(), &self.taken_from)
    }
}
