//! The door: who may come near, what is counted there, and who is told of it.
//!
//! One for all listeners. Whoever is turned away here costs an accepted socket and a look into a
//! few tables, and nothing that grows with how many come.

use super::addresses::{Addresses, Counted, Network};
use super::known::{Known, Standing, Strangers};
use super::unfinished::{Slot, Unfinished};
use crate::audit::Audit;
use crate::config::NetLimits;
use crate::memory::Memory;
use crate::refusals::{Code, Refusals};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

/// So many refusals are remembered.
const REFUSALS_MAX: usize = 4096;

/// What all listeners share.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) counters: Counters,
    pub(crate) memory: Memory,
    pub(crate) refusals: Refusals,
    pub(crate) audit: Audit,
    connections_max: usize,
    addresses: Arc<Addresses>,
    known: Known,
    strangers: Strangers,
    unfinished: Arc<Unfinished>,
}

/// What happened at the door since the start.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(super) next_connection: AtomicU64,
    /// Connections that are open now, finished or not.
    pub(crate) open: AtomicUsize,
    /// Sockets accepted.
    pub(crate) accepted: AtomicU64,
    /// Closed at once, whyever.
    pub(crate) turned_away: AtomicU64,
    /// Of these, because their address had too many connections.
    pub(crate) turned_away_address: AtomicU64,
    /// Of these, because strangers came too fast from their address.
    pub(crate) turned_away_rate: AtomicU64,
    /// Of these, because the process was short of memory.
    pub(crate) turned_away_memory: AtomicU64,
    /// Handshakes that failed or were refused.
    pub(crate) refused: AtomicU64,
    /// Devices that sent a CONNECT.
    pub(crate) connected: AtomicU64,
    /// Connections that were to go, did not, and were reset.
    pub(crate) cut_off: AtomicU64,
}

/// Somebody who may come near.
#[derive(Debug)]
pub(super) struct Newcomer {
    pub(super) slot: Slot,
    /// Counted for as long as its connection is there.
    pub(super) counted: Counted,
}

/// Why somebody is closed at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TurnedAway {
    Memory,
    All,
    Rate,
    Address,
    Unfinished,
}

impl Door {
    pub(crate) fn new(net: &NetLimits, audit: Audit) -> Self {
        let reserved = reserve(net.waiting_max, net.known_reserve_percent);
        let at_once = net.unfinished_per_address_max;
        Self {
            counters: Counters::default(),
            memory: Memory::default(),
            refusals: Refusals::new(REFUSALS_MAX),
            audit,
            connections_max: net.connections_max,
            addresses: Addresses::new(net.connections_per_address_max),
            known: Known::default(),
            strangers: Strangers::new(net.stranger_rate_max, at_once),
            unfinished: Unfinished::new(net.waiting_max, reserved, at_once),
        }
    }

    /// Gives a newcomer a place among the unfinished.
    pub(super) fn admit(&self, address: IpAddr) -> Result<Newcomer, TurnedAway> {
        if self.memory.is_short() {
            return Err(TurnedAway::Memory);
        }
        if self.counters.open.load(Ordering::Relaxed) >= self.connections_max {
            return Err(TurnedAway::All);
        }
        let (network, now) = (Network::of(address), Instant::now());
        let standing = self.known.standing(network, now);
        if standing == Standing::Stranger && !self.strangers.may_come(network, now) {
            return Err(TurnedAway::Rate);
        }
        let counted = self.addresses.enter(network).ok_or(TurnedAway::Address)?;
        let slot = self.unfinished.admit(network, standing);
        let slot = slot.ok_or(TurnedAway::Unfinished)?;
        Ok(Newcomer { slot, counted })
    }

    /// A device has come in from this address.
    pub(super) fn know(&self, address: IpAddr) {
        self.known.note(Network::of(address), Instant::now());
    }

    /// Counts one who was turned away.
    pub(super) fn count(&self, why: TurnedAway) {
        let counters = &self.counters;
        counters.turned_away.fetch_add(1, Ordering::Relaxed);
        let counter = match why {
            TurnedAway::All | TurnedAway::Unfinished => return,
            TurnedAway::Address => &counters.turned_away_address,
            TurnedAway::Rate => &counters.turned_away_rate,
            TurnedAway::Memory => &counters.turned_away_memory,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// What of `max` no stranger takes.
pub(crate) fn reserve(max: usize, percent: u32) -> usize {
    let percent = usize::try_from(percent).unwrap_or(usize::MAX);
    max.saturating_mul(percent) / 100
}

impl TurnedAway {
    pub(super) fn code(self) -> Code {
        match self {
            Self::Memory => Code::Memory,
            Self::All | Self::Address | Self::Unfinished => Code::TooManyConnections,
            Self::Rate => Code::Rate,
        }
    }
}

impl fmt::Display for TurnedAway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory => "the broker is short of memory",
            Self::All => "too many connections",
            Self::Address => "too many connections from this address",
            Self::Unfinished => "too many unfinished connections",
            Self::Rate => "too many handshakes a second from an address that is not known",
        })
    }
}
