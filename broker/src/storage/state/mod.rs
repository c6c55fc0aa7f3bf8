//! State: what records add up to.
//!
//! The fold is pure and total: the same records in the same order give the same state, or are
//! refused because they refer to what no record has made. Message contents stay in the log; of
//! them it knows the places.

mod restore;
mod session;

pub(super) use restore::restore;
pub(super) use session::{Kept, Owed};

use super::Position;
use super::by_number::ByNumber;
use super::ledger::{Ledger, Place};
use super::log::Malformed;
use super::log::record::{Logged, Outline, Saved};
use super::log::recovery::{Read, Replay};
use crate::engine::{Message, MessageNumber, Reach, Record, SessionKey, SessionNumber, Target};
use protocol::topic::TopicName;
use smallvec::SmallVec;
use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroU64;
use std::sync::Arc;

/// All that a shard has, every connection lost.
#[derive(Debug)]
pub(super) struct State {
    pub(super) sessions: BTreeMap<SessionNumber, Kept>,
    pub(super) messages: ByNumber<Waiting>,
    pub(super) retained: BTreeMap<TopicName, Arc<Message>>,
    /// Messages that not all other shards have taken, by number.
    pub(super) forwards: VecDeque<MessageNumber>,
    /// Up to which message those of each other shard were taken.
    pub(super) forwards_taken: BTreeMap<u32, MessageNumber>,
    /// Higher than all before.
    pub(super) next_session: u64,
    pub(super) next_message: NonZeroU64,
    /// Messages that nobody needs any more: gone at the end of the frame, for until the end of a
    /// turn others may get their content.
    unneeded: Vec<MessageNumber>,
    /// What sessions owed when they ended, each message as often as it was owed.
    pub(super) left_behind: Vec<(Position, MessageNumber)>,
}

/// A message that sessions are to get.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    pub(super) place: Place,
    pub(super) outline: Outline,
    pub(super) receivers: u32,
}

impl Default for State {
    fn default() -> Self {
        Self {
            sessions: BTreeMap::new(),
            messages: ByNumber::default(),
            retained: BTreeMap::new(),
            forwards: VecDeque::new(),
            forwards_taken: BTreeMap::new(),
            next_session: 1,
            next_message: NonZeroU64::MIN,
            unneeded: Vec::new(),
            left_behind: Vec::new(),
        }
    }
}

impl Replay for State {
    fn frame(&mut self, read: &Read<'_>) -> Result<(), Malformed> {
        read.records(|position, logged| match logged {
            Logged::Record(record) => self.apply(position, record),
            Logged::Message {
                number,
                content,
                targets,
                reach,
            } if !targets.is_empty() || reach == Reach::Everywhere => {
                let place = read.place(&content)?;
                self.message(number, (place, content.outline), targets)?;
                match reach {
                    Reach::Here => Ok(()),
                    Reach::Everywhere => self.forward(number),
                }
            }
            // Nobody is to get it.
            Logged::Message { .. } => Ok(()),
            Logged::Carried { number, content } => {
                let place = read.place(&content)?;
                // Where the last receiver has it by now, nobody needs it here either.
                if let Some(waiting) = self.messages.get_mut(number) {
                    waiting.place = place;
                }
                Ok(())
            }
        })?;
        self.sweep();
        Ok(())
    }
}

impl State {
    /// Applies what a checkpoint says.
    pub(super) fn take_saved(&mut self, saved: Saved) -> Result<(), Malformed> {
        match saved {
            Saved::Record(record) => self.apply(Position::default(), record),
            Saved::Placed {
                number,
                place,
                outline,
            } => self.message(number, (place, outline), SmallVec::new()),
            Saved::Owed {
                number,
                target,
                sent,
            } => {
                let waiting = self.messages.get_mut(number).ok_or(NO_MESSAGE)?;
                waiting.receivers += 1;
                self.of(target.session)?.owe(number, target, sent)
            }
            Saved::AwaitsPubcomp { session, packet_id } => {
                self.of(session)?.await_pubcomp(packet_id)
            }
            Saved::LastSent { session, packet_id } => {
                self.of(session)?.last_sent = Some(packet_id);
                Ok(())
            }
            Saved::Forwarded { number } => self.forward(number),
            Saved::Next { session, message } => {
                self.next_session = self.next_session.max(session);
                self.next_message = self.next_message.max(message);
                Ok(())
            }
            Saved::End { .. } => Ok(()),
        }
    }

    /// The ledger of what is needed.
    pub(super) fn ledger(&self) -> Result<Ledger, Malformed> {
        let mut ledger = Ledger::default();
        for (number, waiting) in self.messages.from(0) {
            ledger.add(number, waiting.place, waiting.receivers)?;
        }
        ledger.forwards.clone_from(&self.forwards);
        Ok(ledger)
    }

    fn apply(&mut self, position: Position, record: Record) -> Result<(), Malformed> {
        match record {
            Record::SessionCreated {
                session,
                key,
                expiry,
            } => self.create(session, key, expiry),
            Record::SessionResumed { session, expiry } => {
                self.of(session)?.resume(expiry);
                Ok(())
            }
            Record::SessionLeft {
                session,
                at,
                expiry,
            } => {
                self.of(session)?.leave(at, expiry);
                Ok(())
            }
            Record::SessionEnded { session } => self.end(position, session),
            Record::Subscribed {
                session,
                filter,
                grant,
            } => {
                self.of(session)?.subscriptions.insert(filter, grant);
                Ok(())
            }
            Record::Unsubscribed { session, filter } => {
                let removed = self.of(session)?.subscriptions.remove(&filter);
                removed.map(drop).ok_or(Malformed("a subscription is none"))
            }
            Record::WillSet { session, will } => {
                self.of(session)?.will = Some(will);
                Ok(())
            }
            Record::WillCleared { session } => {
                let will = self.of(session)?.will.take();
                will.map(drop).ok_or(Malformed("there was no will"))
            }
            Record::Retained { message } => {
                self.retained.insert(message.topic().clone(), message);
                Ok(())
            }
            Record::RetainedCleared { topic } => {
                let removed = self.retained.remove(&topic);
                removed.map(drop).ok_or(Malformed("nothing was retained"))
            }
            Record::ForwardsTaken { from, up_to } => {
                let known = self.forwards_taken.insert(from, up_to);
                let is_new = known.is_none_or(|known| known < up_to);
                is_new.then_some(()).ok_or(Malformed("it was taken before"))
            }
            Record::ForwardsDone { up_to } => {
                while let Some(number) = self.forwards.pop_front_if(|it| *it <= up_to) {
                    self.let_go(number)?;
                }
                Ok(())
            }
            delivery => self.deliver(delivery),
        }
    }

    /// What sessions and their clients owe each other.
    fn deliver(&mut self, record: Record) -> Result<(), Malformed> {
        match record {
            Record::Copy { number, of, target } => {
                let original = *self.messages.get(of).ok_or(NO_MESSAGE)?;
                let content = (original.place, original.outline);
                self.message(number, content, [target].into_iter().collect())
            }
            Record::Settled { session, message } => {
                self.of(session)?.settle(message)?;
                self.let_go(message)
            }
            Record::Sent {
                session,
                message,
                packet_id,
            } => self.of(session)?.sent(message, packet_id),
            Record::Received {
                session,
                message,
                packet_id,
            } => {
                let kept = self.of(session)?;
                kept.settle(message)?;
                kept.await_pubcomp(packet_id)?;
                self.let_go(message)
            }
            Record::Completed { session, packet_id } => self.of(session)?.complete(packet_id),
            Record::Accepted { session, packet_id } => self.of(session)?.accept(packet_id),
            Record::Released { session, packet_id } => self.of(session)?.release(packet_id),
            _ => Err(Malformed("a record is in the wrong place")),
        }
    }

    fn create(
        &mut self,
        session: SessionNumber,
        key: Arc<SessionKey>,
        expiry: u32,
    ) -> Result<(), Malformed> {
        self.next_session = self.next_session.max(session.0.saturating_add(1));
        match self.sessions.insert(session, Kept::new(key, expiry)) {
            None => Ok(()),
            Some(_) => Err(Malformed("a session is there twice")),
        }
    }

    fn end(&mut self, position: Position, session: SessionNumber) -> Result<(), Malformed> {
        let kept = self.sessions.remove(&session).ok_or(NO_SESSION)?;
        for owed in kept.pending {
            self.left_behind.push((position, owed.number));
            self.let_go(owed.number)?;
        }
        Ok(())
    }

    fn message(
        &mut self,
        number: MessageNumber,
        (place, outline): (Place, Outline),
        targets: SmallVec<[Target; 1]>,
    ) -> Result<(), Malformed> {
        let waiting = Waiting {
            place,
            outline,
            receivers: u32::try_from(targets.len()).unwrap_or(u32::MAX),
        };
        self.messages.push(number, waiting)?;
        self.next_message = self.next_message.max(number.0.saturating_add(1));
        for target in targets {
            self.of(target.session)?.owe(number, target, None)?;
        }
        Ok(())
    }

    /// The other shards are to get a message.
    fn forward(&mut self, number: MessageNumber) -> Result<(), Malformed> {
        self.messages.get_mut(number).ok_or(NO_MESSAGE)?.receivers += 1;
        self.forwards.push_back(number);
        Ok(())
    }

    /// One session needs a message no more, or all other shards.
    fn let_go(&mut self, message: MessageNumber) -> Result<(), Malformed> {
        let waiting = self.messages.get_mut(message).ok_or(NO_MESSAGE)?;
        waiting.receivers = waiting.receivers.checked_sub(1).ok_or(NO_MESSAGE)?;
        if waiting.receivers == 0 {
            self.unneeded.push(message);
        }
        Ok(())
    }

    fn sweep(&mut self) {
        for number in self.unneeded.drain(..) {
            self.messages.remove(number);
        }
    }

    fn of(&mut self, session: SessionNumber) -> Result<&mut Kept, Malformed> {
        self.sessions.get_mut(&session).ok_or(NO_SESSION)
    }
}

const NO_SESSION: Malformed = Malformed("it is about a session that is not there");
const NO_MESSAGE: Malformed = Malformed("it is about a message that is not there");
