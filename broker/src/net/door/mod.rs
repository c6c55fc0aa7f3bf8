//! The door: who may come near, what is counted there, and who is told of it.
//!
//! One for all listeners. Whoever is turned away here costs an accepted socket and a look into a
//! few tables, and nothing that grows with how many come.

mod addresses;
mod known;
mod lines;
mod rules;
mod turns;
mod unfinished;

pub(super) use known::Reputation;
pub(super) use rules::Rules;
pub(super) use unfinished::Slot;

use crate::audit::Audit;
use crate::config::Config;
use crate::memory::Memory;
use crate::refusals::{Code, Refusals};
use crate::trust::Live;
use addresses::{Addresses, Counted, Network};
use known::{Known, Strangers};
use lines::Lines;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;
use turns::Turns;
use unfinished::Unfinished;

/// So many refusals are remembered.
const REFUSALS_MAX: usize = 4096;

/// What all listeners share.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) counters: Counters,
    pub(crate) memory: Memory,
    pub(crate) refusals: Refusals,
    pub(crate) audit: Audit,
    /// What it goes by.
    pub(crate) rules: Arc<Live<Rules>>,
    addresses: Arc<Addresses>,
    known: Known,
    strangers: Strangers,
    unfinished: Arc<Unfinished>,
    pub(super) lines: Lines,
    /// Those of strangers.
    pub(super) turns: Arc<Turns>,
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
    /// Of these, those of which the log does not tell.
    pub(crate) refused_untold: AtomicU64,
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
    pub(crate) fn new(config: &Config, audit: Audit) -> Self {
        Self {
            counters: Counters::default(),
            memory: Memory::default(),
            refusals: Refusals::new(REFUSALS_MAX),
            audit,
            rules: Live::new(Rules::new(config)),
            addresses: Arc::default(),
            known: Known::default(),
            strangers: Strangers::default(),
            unfinished: Arc::default(),
            lines: Lines::default(),
            turns: Arc::default(),
        }
    }

    /// Goes by what a configuration says from here on.
    pub(crate) fn go_by(&self, config: &Config) {
        if !self.rules.get().are_those_of(config) {
            self.rules.set(Arc::new(Rules::new(config)));
        }
    }

    /// Gives a newcomer a place among the unfinished.
    pub(super) fn admit(&self, address: IpAddr, rules: &Rules) -> Result<Newcomer, TurnedAway> {
        if self.memory.is_short() {
            return Err(TurnedAway::Memory);
        }
        if self.counters.open.load(Ordering::Relaxed) >= rules.net.connections_max {
            return Err(TurnedAway::All);
        }
        let (network, now) = (Network::of(address), Instant::now());
        let reputation = self.known.reputation(network, now);
        let rate = rules.stranger_rate();
        if reputation == Reputation::Stranger && !self.strangers.may_come(network, rate, now) {
            return Err(TurnedAway::Rate);
        }
        let per_address_max = rules.net.connections_per_address_max;
        let counted = self.addresses.enter(network, per_address_max);
        let counted = counted.ok_or(TurnedAway::Address)?;
        let slot = self.unfinished.admit((network, reputation), rules.places());
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
