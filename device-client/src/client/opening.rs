//! How a device begins with what an earlier run of it has left behind.
//!
//! What was under way goes on under its packet ids, if the broker still has the session; all else
//! is sent in the order in which it was accepted.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::time::Instant;
use tracing::info;

use super::driver::Done;
use crate::outbox::disk::{self, Accepted, Kept, Limits, OutboxError, Stage, WhenDamaged, Writer};
use crate::outbox::{Outbox, Room, WhenFull, clock};
use crate::wire::{Ledger, Restored};

/// A smaller outbox takes as much on disk.
pub(super) const OUTBOX_BYTES_MIN: u32 = 64 * 1024;

/// Offsets in a file of it, with all that goes beside the messages, fit into 31 bits.
pub(super) const OUTBOX_BYTES_MAX: u32 = 512 * 1024 * 1024;

/// What was chosen for the outbox.
#[derive(Clone, Debug)]
pub(super) struct OutboxSettings {
    pub(super) directory: Option<PathBuf>,
    pub(super) len_max: usize,
    pub(super) bytes_max: u32,
    pub(super) when_full: WhenFull,
    pub(super) when_damaged: WhenDamaged,
}

impl Default for OutboxSettings {
    fn default() -> Self {
        Self {
            directory: None,
            len_max: 1024,
            bytes_max: 4 * 1024 * 1024,
            when_full: WhenFull::Wait,
            when_damaged: WhenDamaged::Stop,
        }
    }
}

/// An outbox that can be used.
pub(super) struct Opened {
    pub(super) outbox: Outbox<Done>,
    pub(super) room: Arc<Room>,
    pub(super) disk: Option<Writer>,
    pub(super) ledger: Option<Arc<Ledger>>,
}

impl OutboxSettings {
    pub(super) async fn open(self, in_flight_max: u16) -> Result<Opened, OutboxError> {
        let mut room = Room::new(self.len_max, self.bytes_max, self.when_full);
        let outbox = Outbox::new(in_flight_max);
        let Some(directory) = self.directory else {
            return Ok(Opened {
                outbox,
                room: room.into(),
                disk: None,
                ledger: None,
            });
        };
        let limits = Limits {
            bytes_max: self.bytes_max,
        };
        let batch_len_max = u32::try_from(limits.batch_len_max()).unwrap_or(u32::MAX);
        room.len_max = room.len_max.min(batch_len_max);
        let (writer, (kept, last_id)) = disk::open(directory, limits, self.when_damaged).await?;
        if !kept.is_empty() {
            info!(
                messages = kept.len(),
                "an earlier run left messages to send"
            );
        }
        let mut opened = Opened {
            outbox,
            room: room.into(),
            disk: Some(writer.clone()),
            ledger: None,
        };
        opened.outbox.begin_after(last_id);
        let restored = kept
            .into_iter()
            .filter_map(|kept| opened.restore(kept, in_flight_max));
        let restored = restored.collect();
        opened.ledger = Some(Arc::new(Ledger::new(writer, restored)));
        Ok(opened)
    }
}

impl Opened {
    /// Takes in one message of an earlier run; yields it again if it was under way.
    fn restore(&mut self, kept: Kept, in_flight_max: u16) -> Option<Restored> {
        let Accepted { id, at, publish } = kept.accepted;
        let len = u32::try_from(Accepted::len_on_disk(&publish)).unwrap_or(u32::MAX);
        let done = Done {
            answer: None,
            _place: self.room.try_take(len),
        };
        let left = publish.properties.expiry;
        let left = left.map(|expiry| clock::left(expiry, at, clock::wall_now()));
        let expires = left.and_then(|left| Instant::now().checked_add(left));
        let (packet_id, is_received) = match kept.stage {
            Stage::Waiting => (None, false),
            Stage::Sent(packet_id) => (Some(packet_id), false),
            Stage::Received(packet_id) => (Some(packet_id), true),
        };
        self.outbox.restore(id, (publish.clone(), expires), done);
        // More than we send at once may have been under way before that was changed.
        let packet_id = packet_id.filter(|packet_id| *packet_id <= in_flight_max)?;
        Some(Restored {
            ticket: self.outbox.is_under_way(id)?,
            packet_id,
            is_received,
            publish,
        })
    }
}
