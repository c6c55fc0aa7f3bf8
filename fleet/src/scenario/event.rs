//! What befalls devices, and when.

use std::time::Duration;

/// Something that befalls a share of the devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// What it is.
    pub what: What,
    /// When.
    pub when: When,
    /// How many of a hundred devices; of any share at least one.
    pub share: u32,
    /// How long it goes on, where that is a question.
    pub lasting: Duration,
}

/// When an event happens to each device that it befalls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Once, at a time drawn evenly from `at` to `at + spread`.
    At {
        /// Not before.
        at: Duration,
        /// For so long from then on.
        spread: Duration,
    },
    /// Again and again, once in this time on average.
    Every(Duration),
}

/// What may befall a device, or the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum What {
    /// The connection is gone without a word.
    Flap,
    /// The device is silent for some time, and comes back while the broker still has its old
    /// connection.
    HalfOpen,
    /// The device reads nothing for some time.
    SlowReader,
    /// The connection is cut in the middle of a PUBLISH.
    CutPublish,
    /// Somebody comes with the device's certificate of yesterday.
    Expired,
    /// Somebody comes with a certificate that is not valid yet: a clock is wrong.
    ClockSkew,
    /// The device is revoked.
    Revoked,
    /// A second machine has the device's key and certificate, and connects.
    Cloned,
    /// The device asks for the session of its neighbour.
    DuplicateClientId,
    /// The device asks for what its neighbours are told.
    Eavesdrop,
    /// The device leaves and comes back with its TLS ticket.
    TicketReuse,
    /// The device comes with a new key and certificate.
    Renew,
    /// The broker stops in good order and starts again.
    RestartBroker,
    /// The broker is gone without a word and starts again.
    KillBroker,
    /// The authorities for devices and for the broker are followed by others, stage by stage, and
    /// every device comes with a certificate of the new one before the old one is retired.
    CaRotation,
}

impl What {
    /// All, by the names they have in files.
    pub const ALL: &'static [(&'static str, Self)] = &[
        ("flap", Self::Flap),
        ("half-open", Self::HalfOpen),
        ("slow-reader", Self::SlowReader),
        ("cut-publish", Self::CutPublish),
        ("expired", Self::Expired),
        ("clock-skew", Self::ClockSkew),
        ("revoked", Self::Revoked),
        ("cloned", Self::Cloned),
        ("duplicate-client-id", Self::DuplicateClientId),
        ("eavesdrop", Self::Eavesdrop),
        ("ticket-reuse", Self::TicketReuse),
        ("renew", Self::Renew),
        ("restart-broker", Self::RestartBroker),
        ("kill-broker", Self::KillBroker),
        ("ca-rotation", Self::CaRotation),
    ];

    /// As in files.
    pub fn name(self) -> &'static str {
        let named = Self::ALL.iter().find(|(_, what)| *what == self);
        named.map_or("", |(name, _)| name)
    }

    /// Whether it is for who holds the broker and its authority in his hand.
    pub fn needs_own_broker(self) -> bool {
        match self {
            Self::Expired
            | Self::ClockSkew
            | Self::Revoked
            | Self::Renew
            | Self::RestartBroker
            | Self::KillBroker
            | Self::CaRotation => true,
            Self::Flap
            | Self::HalfOpen
            | Self::SlowReader
            | Self::CutPublish
            | Self::Cloned
            | Self::DuplicateClientId
            | Self::Eavesdrop
            | Self::TicketReuse => false,
        }
    }

    /// Whether it befalls the broker, and so all devices.
    pub fn befalls_broker(self) -> bool {
        matches!(
            self,
            Self::RestartBroker | Self::KillBroker | Self::CaRotation
        )
    }

    /// Whether it goes on for some time.
    pub(super) fn lasts(self) -> bool {
        matches!(self, Self::HalfOpen | Self::SlowReader) || self.befalls_broker()
    }
}

impl Event {
    pub(super) fn scale(&mut self, scale: &impl Fn(&mut Duration)) {
        scale(&mut self.lasting);
        match &mut self.when {
            When::At { at, spread } => {
                scale(at);
                scale(spread);
            }
            When::Every(every) => scale(every),
        }
    }
}
