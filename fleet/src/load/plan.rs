//! What a load does: against whom, who takes part, how long.
//!
//! Every number has a range, and one outside it is said before anything is connected.

use super::LoadError;
use super::client::KeyExchange;
use crate::wire::PAYLOAD_MIN;
use protocol::packet::{QoS, Version};
use std::path::PathBuf;
use std::time::Duration;

/// One load, to be run a number of times.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Against whom.
    pub target: Target,
    /// What is done.
    pub scenario: Scenario,
    /// How long each run is watched.
    pub span: Span,
    /// How many runs there are; figures are their medians.
    pub runs: usize,
    /// Threads of the generator.
    pub threads: usize,
}

/// The broker, and how it is spoken to.
#[derive(Clone, Debug)]
pub struct Target {
    /// `HOST:PORT`; the certificate of the broker must name the host.
    pub address: String,
    /// The directory with `devices/` and `apps/app-1`.
    pub identities: PathBuf,
    /// The process of the broker, if its costs are to be measured.
    pub pid: Option<u32>,
    /// What is spoken.
    pub version: Version,
    /// What is offered in TLS.
    pub key_exchange: KeyExchange,
    /// Whether the system calls of the broker are counted, in one more run: counting slows it.
    pub system_calls: SystemCalls,
}

/// Whether system calls are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SystemCalls {
    /// In a run of its own, with `perf stat`.
    Count,
    /// Not at all.
    Ignore,
}

/// How long a run is watched.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// What passes before the watch begins.
    pub warmup: Duration,
    /// What ends it.
    pub until: Until,
}

/// What ends a span.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    /// The time is over.
    Elapsed(Duration),
    /// This many messages were published, or connections made. There is no warm-up then: every
    /// one of them counts.
    Count(u64),
}

/// What a load does.
#[derive(Clone, Copy, Debug)]
pub enum Scenario {
    /// Connections are made and closed.
    Connect(Handshakes),
    /// Connections are kept, and say no more than PINGREQ.
    Idle(Idle),
    /// Messages are published and received.
    Traffic(Traffic),
    /// Messages are kept for a client that is away, and then handed over.
    Durable(Durable),
}

/// Connections that are made and closed.
#[derive(Clone, Copy, Debug)]
pub struct Handshakes {
    /// Whether TLS begins anew or goes on.
    pub resumption: Resumption,
    /// How many are under way at once.
    pub concurrency: usize,
    /// How a connection ends.
    pub farewell: Farewell,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Farewell {
    /// With DISCONNECT, as MQTT has it.
    Disconnect,
    /// Without a word of MQTT.
    Close,
}

/// Whether TLS begins anew or goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resumption {
    /// Every handshake verifies the certificate.
    Full,
    /// Every handshake after the first of a client uses a ticket.
    Resumed,
}

/// Connections that are kept.
#[derive(Clone, Copy, Debug)]
pub struct Idle {
    /// How many.
    pub connections: usize,
    /// Seconds of keep-alive; each connection says PINGREQ twice in it.
    pub keep_alive: u16,
}

/// Messages for a session whose client is away. How many is the count of the span.
#[derive(Clone, Copy, Debug)]
pub struct Durable {
    /// How hard each message is tried, in both directions; above 0.
    pub qos: QoS,
    /// Bytes of a payload.
    pub payload: usize,
    /// How many publish.
    pub publishers: usize,
    /// Messages of one publisher that are not acknowledged at once.
    pub window: u64,
    /// What is done.
    pub half: Half,
}

/// Which half of a durable load is done, so that something can happen between the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    /// Both, one after the other.
    Both,
    /// Messages are published for a session that is left behind.
    Store,
    /// The session of an earlier store with the same settings is taken up.
    Drain,
}

/// Messages on their way.
#[derive(Clone, Copy, Debug)]
pub struct Traffic {
    /// Who hears whom.
    pub shape: Shape,
    /// How hard each message is tried, in both directions.
    pub qos: QoS,
    /// Bytes of a payload.
    pub payload: usize,
    /// How many publish.
    pub publishers: usize,
    /// How many subscribe.
    pub subscribers: usize,
    /// Messages of one publisher that are on their way at once; chosen where there is none.
    pub window: Option<u64>,
    /// What decides when a message is published.
    pub pace: Pace,
    /// How messages lie in TLS records.
    pub batching: Batching,
    /// How many more subscribe to what an application publishes, and then never read again.
    pub stalled: usize,
    /// How many retained messages there are, for which one more client asks again and again.
    pub retained: usize,
}

/// Who hears whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Devices publish, and every subscriber is an application that hears all of them.
    FanIn,
    /// Applications publish, and every device hears all of them.
    FanOut,
    /// Each publisher has a subscriber of its own: the same device on another connection.
    Pairs,
}

/// What decides when a message is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// As soon as the window has room.
    Window,
    /// So many a second in all, evenly, whether or not the broker keeps up.
    PerSecond(u32),
}

/// How messages lie in TLS records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Batching {
    /// What may be sent together is.
    Together,
    /// Each is written on its own, as devices do that have one thing to say.
    OneByOne,
}

/// At QoS 0, messages on their way at once over all publishers and subscribers.
const ON_THE_WAY_MAX: u64 = 20_000;

/// The same in bytes of payload, for a slow reader's queue in the broker must hold them.
const ON_THE_WAY_BYTES_MAX: u64 = 2 * 1024 * 1024;

/// At QoS 1 and 2, messages of one publisher on their way at once: what mosquitto and its clients
/// have in flight by default.
const IN_FLIGHT: u64 = 20;

/// The same where each message is written on its own: more would be read together again.
const IN_FLIGHT_ONE_BY_ONE: u64 = 2;

/// The same over all publishers of one subscriber: the queue of a session must hold them.
const IN_FLIGHT_ALL: u64 = 5_000;

impl Traffic {
    /// Messages of one publisher on their way at once.
    pub fn window(&self) -> u64 {
        self.window.unwrap_or_else(|| {
            let publishers = match self.shape {
                Shape::Pairs => 1,
                Shape::FanIn | Shape::FanOut => count(self.publishers),
            };
            let bytes = ON_THE_WAY_BYTES_MAX / count(self.payload.max(1));
            let window = match self.qos {
                QoS::AtMostOnce => ON_THE_WAY_MAX.min(bytes) / self.copies_on_the_way(),
                QoS::AtLeastOnce | QoS::ExactlyOnce => match self.batching {
                    Batching::Together => IN_FLIGHT,
                    Batching::OneByOne => IN_FLIGHT_ONE_BY_ONE,
                }
                .min(IN_FLIGHT_ALL / publishers)
                .min(bytes / publishers),
            };
            window.max(1)
        })
    }

    /// How many times a window is there in all.
    fn copies_on_the_way(&self) -> u64 {
        let all = match self.shape {
            Shape::Pairs => self.publishers,
            Shape::FanIn | Shape::FanOut => self.publishers * self.subscribers,
        };
        count(all).max(1)
    }

    /// How many subscribers get each message.
    pub(super) fn receivers(&self) -> u32 {
        match self.shape {
            Shape::Pairs => 1,
            Shape::FanIn | Shape::FanOut => u32::try_from(self.subscribers).unwrap_or(u32::MAX),
        }
    }
}

impl Plan {
    /// The same, without system calls being counted.
    pub(super) fn without_counting(&self) -> Self {
        let target = Target {
            system_calls: SystemCalls::Ignore,
            ..self.target.clone()
        };
        Self {
            target,
            ..self.clone()
        }
    }

    /// Refuses what cannot be done.
    pub(super) fn check(&self) -> Result<(), LoadError> {
        within("runs", self.runs, 1, 1000)?;
        within("threads", self.threads, 1, 1024)?;
        match &self.scenario {
            Scenario::Connect(connect) => within("concurrency", connect.concurrency, 1, 10_000),
            Scenario::Idle(idle) => within("connections", idle.connections, 1, 1_000_000),
            Scenario::Durable(durable) => {
                within("qos", durable.qos.bits().into(), 1, 2)?;
                within("payload", durable.payload, PAYLOAD_MIN, 1024 * 1024)?;
                within("publishers", durable.publishers, 1, 100_000)?;
                within(
                    "window",
                    usize::try_from(durable.window).unwrap_or(0),
                    1,
                    60_000,
                )
            }
            Scenario::Traffic(traffic) => {
                within("payload", traffic.payload, PAYLOAD_MIN, 1024 * 1024)?;
                within("publishers", traffic.publishers, 1, 100_000)?;
                within("subscribers", traffic.subscribers, 1, 100_000)?;
                within("stalled", traffic.stalled, 0, 10_000)?;
                within("retained", traffic.retained, 0, 1_000_000)?;
                let rate = traffic.pace != Pace::PerSecond(0);
                within("rate", usize::from(rate), 1, 1)?;
                match traffic.window {
                    Some(0) => within("window", 0, 1, 60_000),
                    _ => Ok(()),
                }
            }
        }
    }
}

fn within(what: &'static str, value: usize, min: usize, max: usize) -> Result<(), LoadError> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    Err(LoadError::BadSetting {
        what,
        must: format!("{min} to {max}"),
    })
}

/// A count as the counters hold it.
pub(super) fn count(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traffic(shape: Shape, qos: QoS, payload: usize, publishers: usize) -> Traffic {
        Traffic {
            shape,
            qos,
            payload,
            publishers,
            subscribers: if shape == Shape::FanOut { 1000 } else { 1 },
            window: None,
            pace: Pace::Window,
            batching: Batching::Together,
            stalled: 0,
            retained: 0,
        }
    }

    #[test]
    fn what_is_on_its_way_stays_within_what_a_broker_must_hold() {
        for (shape, qos, payload, publishers, window) in [
            (Shape::FanIn, QoS::AtMostOnce, 64, 50, 400),
            (Shape::FanIn, QoS::AtMostOnce, 1024, 50, 40),
            (Shape::FanIn, QoS::AtLeastOnce, 64, 50, 20),
            (Shape::FanIn, QoS::AtLeastOnce, 4096, 50, 10),
            (Shape::FanIn, QoS::AtLeastOnce, 64, 1000, 5),
            (Shape::FanOut, QoS::AtMostOnce, 64, 1, 20),
            (Shape::FanOut, QoS::AtLeastOnce, 64, 1, 20),
            (Shape::Pairs, QoS::AtLeastOnce, 256, 200, 20),
            (Shape::Pairs, QoS::AtMostOnce, 256, 200, 40),
            (Shape::FanIn, QoS::AtLeastOnce, 1024 * 1024, 50, 1),
        ] {
            let chosen = traffic(shape, qos, payload, publishers).window();
            assert_eq!(chosen, window, "{shape:?} {qos:?} {payload} {publishers}");
        }
    }
}
