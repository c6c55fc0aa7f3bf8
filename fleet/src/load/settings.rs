//! A plan in words, for the head of a report.

use super::KeyExchange;
use super::plan::{Batching, Half, Pace, Plan, Resumption, Scenario, Shape, Traffic, Until};
use protocol::packet::Version;
use std::collections::BTreeMap;

impl Plan {
    /// The name of its scenario, as on the command line.
    pub(super) fn name(&self) -> String {
        let name = match &self.scenario {
            Scenario::Connect(handshakes) => match handshakes.resumption {
                Resumption::Full => "connect",
                Resumption::Resumed => "connect --resumed",
            },
            Scenario::Idle(_) => "idle",
            Scenario::Durable(durable) => match durable.half {
                Half::Both => "durable",
                Half::Store => "durable --half store",
                Half::Drain => "durable --half drain",
            },
            Scenario::Traffic(traffic) => match (traffic.shape, traffic.pace, traffic.batching) {
                (_, Pace::PerSecond(_), _) => "rate",
                (_, Pace::Window, Batching::OneByOne) => "unbatched",
                (Shape::FanIn, ..) => "fanin",
                (Shape::FanOut, ..) => "fanout",
                (Shape::Pairs, ..) => "pair",
            },
        };
        name.to_owned()
    }

    /// Its settings, by the names of the command line.
    pub(super) fn settings(&self) -> BTreeMap<&'static str, String> {
        let mut settings = BTreeMap::from([
            ("broker", self.target.address.clone()),
            (
                "key-exchange",
                key_exchange(self.target.key_exchange).to_owned(),
            ),
            ("protocol", version(self.target.version).to_owned()),
            ("runs", self.runs.to_string()),
            ("threads", self.threads.to_string()),
        ]);
        match self.span.until {
            Until::Elapsed(time) => {
                settings.insert("seconds", time.as_secs_f64().to_string());
                settings.insert("warmup", self.span.warmup.as_secs_f64().to_string());
            }
            Until::Count(count) => {
                settings.insert("count", count.to_string());
            }
        }
        match &self.scenario {
            Scenario::Connect(handshakes) => {
                settings.insert("concurrency", handshakes.concurrency.to_string());
            }
            Scenario::Idle(idle) => {
                settings.insert("connections", idle.connections.to_string());
                settings.insert("keep-alive", idle.keep_alive.to_string());
            }
            Scenario::Traffic(traffic) => add_traffic(&mut settings, traffic),
            Scenario::Durable(durable) => settings.extend([
                ("qos", durable.qos.bits().to_string()),
                ("payload", durable.payload.to_string()),
                ("publishers", durable.publishers.to_string()),
                ("window", durable.window.to_string()),
            ]),
        }
        settings
    }
}

fn add_traffic(settings: &mut BTreeMap<&'static str, String>, traffic: &Traffic) {
    settings.insert("qos", traffic.qos.bits().to_string());
    settings.insert("payload", traffic.payload.to_string());
    if traffic.shape == Shape::Pairs {
        settings.insert("pairs", traffic.publishers.to_string());
    } else {
        settings.insert("publishers", traffic.publishers.to_string());
        settings.insert("subscribers", traffic.subscribers.to_string());
    }
    for (name, count) in [("stalled", traffic.stalled), ("retained", traffic.retained)] {
        if count > 0 {
            settings.insert(name, count.to_string());
        }
    }
    match traffic.pace {
        Pace::Window => settings.insert("window", traffic.window().to_string()),
        Pace::PerSecond(rate) => settings.insert("per-second", rate.to_string()),
    };
}

fn key_exchange(key_exchange: KeyExchange) -> &'static str {
    match key_exchange {
        KeyExchange::X25519 => "x25519",
        KeyExchange::Hybrid => "hybrid",
    }
}

fn version(version: Version) -> &'static str {
    match version {
        Version::V311 => "3.1.1",
        Version::V5 => "5",
    }
}
