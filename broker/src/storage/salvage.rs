//! Salvage: what is whole in a damaged data directory, as a new one.
//!
//! The checkpoint and the log behind it are read up to the damage, which is a state that once
//! was; of its messages those are taken whose content is whole. What is left out is said.

use super::desk::Desk;
use super::directory::{self, DataDirectory};
use super::log::recovery::read_what_is_whole;
use super::log::shelf::Shelf;
use super::log::{Durability, Folder, Log, LogError, ReadOnly, SegmentBytes, Settings};
use super::offline::OfflineError;
use super::state::{Kept, Owed, State};
use super::{Position, checkpoint, contents};
use crate::engine::{
    Message, MessageNumber, MessageParts, Reach, Record, SessionNumber, SubscriptionIds, Target,
};
use bytes::Bytes;
use protocol::packet::{ForwardedProperties, PacketId, QoS};
use protocol::topic::TopicName;
use smallvec::{SmallVec, smallvec};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// What was saved of one shard, and what was not.
#[derive(Debug)]
pub struct Salvaged {
    /// The sessions that are in the copy.
    pub sessions: usize,
    /// The messages that wait in it.
    pub messages: usize,
    /// The retained messages in it.
    pub retained: usize,
    /// Messages that were known and whose content is not whole.
    pub messages_lost: usize,
    /// Where reading ended; none if all was whole.
    pub damage: Option<LogError>,
}

/// Copies what is whole in the data directory at `path` into a new one at `out`.
///
/// # Errors
/// If one cannot be read at all, or the other not be written.
pub fn salvage(path: &Path, out: &Path, seed: u64) -> Result<Vec<Salvaged>, OfflineError> {
    let shards = directory::shards_of(path)?;
    if out.exists() {
        let source = std::io::ErrorKind::AlreadyExists.into();
        let path = out.to_owned();
        return Err(OfflineError::Copy { path, source });
    }
    let directory = DataDirectory::take(out, shards)?;
    let each = (0..shards).map(|index| {
        let from = directory::shard_path(path, index);
        let from = Shelf::new(Arc::new(ReadOnly::new(from)));
        let to = directory.shard(index);
        let disk = Folder::open(to.clone());
        let disk = disk.map_err(|source| OfflineError::Copy { path: to, source })?;
        let settings = Settings::new(index, SegmentBytes::default(), Durability::Sync, u64::MAX);
        Ok(shard(
            &from,
            disk,
            settings.seeded(seed ^ u64::from(index)),
        )?)
    });
    each.collect()
}

fn shard(from: &Shelf, to: Folder, settings: Settings) -> Result<Salvaged, LogError> {
    let (state, damage) = whole_state(from, &settings);
    let (messages, known) = whole_messages(from, &state)?;
    let salvaged = Salvaged {
        sessions: state.sessions.len(),
        messages: messages.len(),
        retained: state.retained.len(),
        messages_lost: known - messages.len(),
        damage,
    };
    let log = Log::recover(Arc::new(to), settings, &mut State::default())?;
    let log = log.start(Arc::<Desk>::default(), |_| {});
    let log = log.map_err(|_| LogError::ThreadLost)?;
    let mut copy = Copy {
        log: &log,
        next_message: state.next_message.get(),
    };
    copy.state(&state, &messages)
        .map_err(|error| Arc::into_inner(error).unwrap_or(LogError::ThreadLost))?;
    let last = log.pen().taken();
    let pen = log.pen().clone();
    drop(log);
    if pen.durable() < last {
        return Err(LogError::ThreadLost);
    }
    Ok(salvaged)
}

/// The state up to the damage, and what that is.
fn whole_state(from: &Shelf, settings: &Settings) -> (State, Option<LogError>) {
    let (mut state, covered, mut damage) = match checkpoint::read(from, settings.shard) {
        Ok(checkpoint) => (checkpoint.state, checkpoint.covered, None),
        Err(error) => (State::default(), Position(0), Some(error)),
    };
    let settings = Settings {
        covered,
        ..settings.clone()
    };
    if let Err(error) = read_what_is_whole(from, &settings, &mut state) {
        damage.get_or_insert(error);
    }
    (state, damage)
}

type Messages = BTreeMap<MessageNumber, Arc<Message>>;

/// The messages whose content is whole, and how many are known.
fn whole_messages(from: &Shelf, state: &State) -> Result<(Messages, usize), LogError> {
    let mut messages = Messages::new();
    for (number, waiting) in state.messages.from(0) {
        match contents::messages(from, &[(number, waiting.place)]) {
            Ok(read) => messages.extend(read),
            Err(LogError::Damaged { .. } | LogError::Disk { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok((messages, state.messages.len()))
}

/// Writes a state as records.
struct Copy<'l> {
    log: &'l Log,
    next_message: u64,
}

impl Copy<'_> {
    fn state(&mut self, state: &State, messages: &Messages) -> Result<(), Arc<LogError>> {
        let mut targets = BTreeMap::<MessageNumber, SmallVec<[Target; 1]>>::new();
        for (number, kept) in &state.sessions {
            self.turn(&session(*number, kept))?;
            for owed in &kept.pending {
                targets
                    .entry(owed.number)
                    .or_default()
                    .push(owed.target(*number));
            }
        }
        for (from, up_to) in &state.forwards_taken {
            let (from, up_to) = (*from, *up_to);
            self.turn(&[Record::ForwardsTaken { from, up_to }])?;
        }
        for (number, message) in messages {
            let is_forwarded = state.forwards.binary_search(number).is_ok();
            self.turn(&[Record::Message {
                number: *number,
                message: Arc::clone(message),
                targets: targets.remove(number).unwrap_or_default(),
                reach: if is_forwarded {
                    Reach::Everywhere
                } else {
                    Reach::Here
                },
            }])?;
        }
        for (session, kept) in &state.sessions {
            let sent = kept
                .pending
                .iter()
                .filter(|it| messages.contains_key(&it.number));
            let sent = sent.filter_map(|owed| sent_record(*session, owed));
            self.turn(&sent.collect::<Vec<_>>())?;
            for packet_id in &kept.received {
                let (session, packet_id) = (*session, *packet_id);
                // It needs no more than PUBREL, whatever it was.
                let records = self.sent(session, packet_id, |message| Record::Received {
                    session,
                    message,
                    packet_id,
                });
                self.turn(&records)?;
            }
            if let Some(packet_id) = kept.last_sent {
                let session = *session;
                let settled = |message| Record::Settled { session, message };
                let records = self.sent(session, packet_id, settled);
                self.turn(&records)?;
            }
        }
        for message in state.retained.values() {
            let message = Arc::clone(message);
            self.turn(&[Record::Retained { message }])?;
        }
        Ok(())
    }

    fn turn(&self, records: &[Record]) -> Result<(), Arc<LogError>> {
        self.log.pen().append(records).map(drop)
    }

    /// That something was sent under an identifier, and how that has ended.
    fn sent(
        &mut self,
        session: SessionNumber,
        packet_id: PacketId,
        end: impl Fn(MessageNumber) -> Record,
    ) -> Vec<Record> {
        let (Some(number), Ok(topic)) = (
            std::num::NonZeroU64::new(self.next_message),
            TopicName::parse("salvaged"),
        ) else {
            return Vec::new();
        };
        self.next_message += 1;
        let message = MessageNumber(number);
        let nothing = MessageParts {
            topic,
            payload: Bytes::new(),
            forwarded: ForwardedProperties::default(),
            publisher: None,
            expires_at: None,
            qos: QoS::ExactlyOnce,
            retain: false,
        };
        let target = Target {
            session,
            qos: QoS::ExactlyOnce,
            retain: false,
            subscription_ids: SubscriptionIds::new(),
            share: None,
        };
        vec![
            Record::Message {
                number: message,
                message: Message::recorded(nothing),
                targets: smallvec![target],
                reach: Reach::Here,
            },
            Record::Sent {
                session,
                message,
                packet_id,
            },
            end(message),
        ]
    }
}

/// A session without its messages.
fn session(session: SessionNumber, kept: &Kept) -> Vec<Record> {
    let mut records = Vec::new();
    kept.records(session, &mut |record| records.push(record));
    records
}

fn sent_record(session: SessionNumber, owed: &Owed) -> Option<Record> {
    Some(Record::Sent {
        session,
        message: owed.number,
        packet_id: owed.sent?,
    })
}
