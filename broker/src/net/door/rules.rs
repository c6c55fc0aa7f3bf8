//! The rules of the door: the limits that connections keep, replaced only together.
//!
//! Whoever has come goes on by those that were in force then.

use super::known::StrangerRate;
use super::unfinished::Places;
use crate::config::{Config, NetLimits};
use crate::engine::Limits;
use crate::net::handshake::Stages;
use tokio::sync::Semaphore;

/// So many strangers come from one address at once before their rate counts. Once a device of a
/// fleet behind it is in, it is known, and the others come as fast as they like.
const STRANGERS_AT_ONCE_MAX: usize = 100;

/// The limits that connections keep.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) net: NetLimits,
    /// Of these, what a connection must know by itself.
    pub(crate) engine: Limits,
    pub(in crate::net) stages: Stages,
}

impl Rules {
    /// As a configuration says.
    pub(crate) fn new(config: &Config) -> Self {
        let net = &config.net;
        let reserved = reserve(net.handshaking_max, net.known_reserve_percent);
        Self {
            stages: Stages {
                hello_timeout: net.hello_timeout,
                handshake_timeout: net.handshake_timeout,
                handshaking: Semaphore::new(net.handshaking_max - reserved),
                reserved: Semaphore::new(reserved),
            },
            net: net.clone(),
            engine: config.limits.clone(),
        }
    }

    /// Whether it is what a configuration says.
    pub(crate) fn are_those_of(&self, config: &Config) -> bool {
        self.net == config.net && self.engine == config.limits
    }

    /// How many may be unfinished.
    pub(in crate::net) fn places(&self) -> Places {
        let net = &self.net;
        let reserved = reserve(net.waiting_max, net.known_reserve_percent);
        Places {
            waiting: net.waiting_max,
            strangers: net.waiting_max - reserved,
            per_address: net.unfinished_per_address_max,
        }
    }

    /// How fast strangers may come.
    pub(in crate::net) fn stranger_rate(&self) -> StrangerRate {
        let net = &self.net;
        let at_once = net.unfinished_per_address_max.min(STRANGERS_AT_ONCE_MAX);
        StrangerRate::new(net.stranger_rate_max, at_once)
    }
}

/// What of `max` no stranger takes.
fn reserve(max: usize, percent: u32) -> usize {
    let percent = usize::try_from(percent).unwrap_or(usize::MAX);
    max.saturating_mul(percent.min(100)) / 100
}
