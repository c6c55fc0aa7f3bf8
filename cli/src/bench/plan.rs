//! From arguments to a plan.

use super::{
    CommonArgs, ConnectArgs, DurableArgs, DurableHalf, Exchange, FaninArgs, FanoutArgs, IdleArgs,
    MessageArgs, PairArgs, Protocol, RateArgs,
};
use fleet::load::KeyExchange;
use fleet::load::plan::{
    Batching, Durable, Farewell, Half, Handshakes, Idle, Pace, Plan, Resumption, Scenario, Shape,
    Span, SystemCalls, Target, Traffic, Until,
};
use protocol::packet::{QoS, Version};

impl CommonArgs {
    fn plan(&self, scenario: Scenario) -> Plan {
        let until = match self.count {
            Some(count) => Until::Count(count),
            None => Until::Elapsed(self.seconds.0),
        };
        Plan {
            target: self.target(),
            scenario,
            span: Span {
                warmup: self.warmup.0,
                until,
            },
            runs: self.runs,
            threads: self.threads,
        }
    }

    fn target(&self) -> Target {
        Target {
            address: self.broker.clone(),
            identities: self.identities.clone(),
            pid: self.pid,
            version: match self.protocol {
                Protocol::V311 => Version::V311,
                Protocol::V5 => Version::V5,
            },
            key_exchange: match self.key_exchange {
                Exchange::X25519 => KeyExchange::X25519,
                Exchange::Hybrid => KeyExchange::Hybrid,
            },
            system_calls: if self.system_calls {
                SystemCalls::Count
            } else {
                SystemCalls::Ignore
            },
        }
    }
}

impl MessageArgs {
    fn traffic(&self, shape: Shape, publishers: usize, subscribers: usize) -> Traffic {
        Traffic {
            shape,
            qos: QoS::from_bits(self.qos).unwrap_or_default(),
            payload: self.payload,
            publishers,
            subscribers,
            window: self.window,
            pace: Pace::Window,
            batching: Batching::Together,
            stalled: 0,
            retained: 0,
        }
    }
}

impl ConnectArgs {
    pub(super) fn plan(&self) -> Plan {
        let resumption = if self.resumed {
            Resumption::Resumed
        } else {
            Resumption::Full
        };
        let handshakes = Handshakes {
            resumption,
            concurrency: self.concurrency,
            farewell: if self.without_disconnect {
                Farewell::Close
            } else {
                Farewell::Disconnect
            },
        };
        self.common.plan(Scenario::Connect(handshakes))
    }
}

impl IdleArgs {
    pub(super) fn plan(&self) -> Plan {
        let idle = Idle {
            connections: self.connections,
            keep_alive: self.keep_alive,
        };
        self.common.plan(Scenario::Idle(idle))
    }
}

impl FaninArgs {
    pub(super) fn plan(&self) -> Plan {
        self.common.plan(Scenario::Traffic(self.traffic()))
    }

    pub(super) fn unbatched_plan(&self) -> Plan {
        let traffic = Traffic {
            batching: Batching::OneByOne,
            ..self.traffic()
        };
        self.common.plan(Scenario::Traffic(traffic))
    }

    fn traffic(&self) -> Traffic {
        self.messages
            .traffic(Shape::FanIn, self.publishers, self.subscribers)
    }
}

/// How many messages a durable load has where nothing is said.
const DURABLE_COUNT: u64 = 100_000;

impl DurableArgs {
    pub(super) fn plan(&self) -> Plan {
        let durable = Durable {
            qos: QoS::from_bits(self.qos).unwrap_or_default(),
            payload: self.payload,
            publishers: self.publishers,
            window: self.window,
            half: match self.half {
                None => Half::Both,
                Some(DurableHalf::Store) => Half::Store,
                Some(DurableHalf::Drain) => Half::Drain,
            },
        };
        let mut plan = self.common.plan(Scenario::Durable(durable));
        plan.span.until = Until::Count(self.common.count.unwrap_or(DURABLE_COUNT));
        plan
    }
}

impl RateArgs {
    pub(super) fn plan(&self) -> Plan {
        let pace = Pace::PerSecond(self.per_second);
        self.fanin.common.plan(Scenario::Traffic(Traffic {
            pace,
            retained: self.retained,
            ..self.fanin.traffic()
        }))
    }
}

impl FanoutArgs {
    pub(super) fn plan(&self) -> Plan {
        let traffic = Traffic {
            stalled: self.stalled,
            ..self
                .messages
                .traffic(Shape::FanOut, self.publishers, self.subscribers)
        };
        self.common.plan(Scenario::Traffic(traffic))
    }
}

impl PairArgs {
    pub(super) fn plan(&self) -> Plan {
        self.common.plan(Scenario::Traffic(self.messages.traffic(
            Shape::Pairs,
            self.pairs,
            self.pairs,
        )))
    }
}
