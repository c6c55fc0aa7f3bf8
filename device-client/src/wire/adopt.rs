//! Taking over a session that the broker kept from an earlier life of this device.
//!
//! What an outbox on disk has kept of it goes on under its packet ids. All else is gone, and a
//! broker may hold packet ids of messages that were under way at quality of service 2. A new
//! message under such an id would be taken for a duplicate and swallowed, so each other id we may
//! use is released first: the broker completes what it has, and answers 0x92 where it has nothing,
//! which is no error during recovery (MQTT 5.0 §3.7.2.1).

use std::sync::Arc;

use super::ledger::{Ledger, Restored};
use crate::message::Publish;

/// A session, as a library is to go on with it.
#[derive(Debug)]
pub(crate) struct Adopted {
    /// The highest packet id that messages may get.
    pub(super) packet_id_max: u16,
    others: Others,
    /// Where packet ids are written down, if anywhere.
    ledger: Option<Arc<Ledger>>,
    /// What goes on.
    under_way: Vec<Restored>,
}

/// What is known of the packet ids under which nothing of ours is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Others {
    /// An earlier life may have used them.
    Unknown,
    /// The broker has nothing under them.
    Free,
}

/// What is sent first when a session is gone on with.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sent<'a> {
    Release(u16),
    Publish(u16, &'a Publish),
}

/// What a library has under way.
#[derive(Clone, Copy, Debug)]
pub(super) enum Seen<'a> {
    Release(u16),
    Publish {
        packet_id: u16,
        duplicate: bool,
        topic: &'a [u8],
        payload: &'a [u8],
    },
}

impl Adopted {
    pub(super) fn new(packet_id_max: u16, others: Others, ledger: Option<Arc<Ledger>>) -> Self {
        let under_way = ledger.iter().flat_map(|ledger| ledger.under_way());
        Self {
            packet_id_max,
            others,
            under_way: under_way.collect(),
            ledger,
        }
    }

    /// In this order.
    pub(super) fn to_send(&self) -> impl Iterator<Item = Sent<'_>> {
        let is_ours = |id: &u16| self.under_way.iter().any(|ours| ours.packet_id == *id);
        let others = match self.others {
            Others::Unknown => self.packet_id_max,
            Others::Free => 0,
        };
        let others = (1..=others).filter(move |id| !is_ours(id));
        let ours = self.under_way.iter().map(|ours| {
            if ours.is_received {
                Sent::Release(ours.packet_id)
            } else {
                Sent::Publish(ours.packet_id, &ours.publish)
            }
        });
        others.map(Sent::Release).chain(ours)
    }

    /// The packet ids before the first message that goes on, and of the last.
    ///
    /// Should this session be resumed once more, it is sent again in the order of its packet ids
    /// from the first on; so those that follow must follow the last [MQTT-4.6.0-1].
    pub(super) fn between(&self) -> (u16, u16) {
        let first = self.under_way.first().map_or(1, |first| first.packet_id);
        let last = self.under_way.last().map_or(0, |last| last.packet_id);
        (first - 1, last % self.packet_id_max)
    }

    /// Of messages of the broker whose release is awaited.
    pub(super) fn incoming(&self) -> Vec<u16> {
        let ledger = self.ledger.as_ref();
        ledger.map(|ledger| ledger.incoming()).unwrap_or_default()
    }

    /// The session as it is before anything more is sent.
    pub(super) fn saw<'a>(
        &self,
        incoming: impl Iterator<Item = u16>,
        under_way: impl Iterator<Item = Seen<'a>>,
    ) {
        if let Some(ledger) = &self.ledger {
            ledger.saw(incoming, under_way);
        }
    }
}
