//! Rates: how much one device may publish in a second, on all its connections together.
//!
//! Who publishes more is heard later: after each batch its connection is told how long to rest.
//! Only a device that goes on all the same, on one connection beside the other, is closed (0x96).
//! Debts outlive connections: to come back does not pay them.

use crate::engine::close_reason::CloseReason;
use crate::engine::session::{Session, SessionId};
use crate::engine::time::Time;
use crate::engine::{Engine, Limits};
use ahash::RandomState;
use certs::Subject;
use protocol::packet::{Packet, Version};
use std::collections::HashMap;
use std::time::Duration;

/// As much may be published at once as in this time.
const CREDIT: Duration = Duration::from_secs(1);
/// Who owes more than this publishes too fast to be slowed down.
const DEBT_MAX: Duration = Duration::from_secs(10);
/// Of more devices than this that owe something, newcomers are not slowed down.
const DEVICES_MAX: usize = 1_000_000;

/// What the devices owe.
#[derive(Debug)]
pub(in crate::engine) struct Rates {
    /// Whether there was a limit at any time: from then on connections wait to be told how long to
    /// rest, and are told so where there is none any more.
    are_kept: bool,
    messages_per_second: u64,
    bytes_per_second: u64,
    owed: HashMap<Subject, Owed, RandomState>,
    /// When there are as many, those are looked for that owe nothing.
    sweep_len: usize,
}

/// When all is paid, in nanoseconds of the engine's time.
#[derive(Clone, Copy, Debug, Default)]
struct Owed {
    messages: u64,
    bytes: u64,
}

/// What a batch costs.
#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    messages: u64,
    bytes: u64,
}

#[derive(Debug, PartialEq, Eq)]
enum Judged {
    /// It may go on after this.
    Rest(Duration),
    TooFast,
}

impl Rates {
    pub(in crate::engine) fn new(limits: &Limits, hasher: RandomState) -> Self {
        let mut rates = Self {
            are_kept: false,
            messages_per_second: 0,
            bytes_per_second: 0,
            owed: HashMap::with_hasher(hasher),
            sweep_len: 1024,
        };
        rates.change(limits);
        rates
    }

    /// Goes by these limits from here on.
    pub(in crate::engine) fn change(&mut self, limits: &Limits) {
        self.messages_per_second = u64::from(limits.publish_rate_max);
        self.bytes_per_second = limits.publish_bytes_rate_max;
        self.are_kept |= self.messages_per_second > 0 || self.bytes_per_second > 0;
    }

    fn judge(&mut self, device: &Subject, now: Time, cost: Cost) -> Judged {
        let now = now.millis().saturating_mul(1_000_000);
        self.sweep(now);
        let Some(owed) = self.owed.get_mut(device) else {
            if self.owed.len() >= DEVICES_MAX {
                return Judged::Rest(Duration::ZERO);
            }
            let paid = Owed {
                messages: now,
                bytes: now,
            };
            self.owed.insert(device.clone(), paid);
            return self.judge_known(device, now, cost);
        };
        let debt = Duration::from_nanos(owed.until().saturating_sub(now));
        if debt > CREDIT + DEBT_MAX {
            return Judged::TooFast;
        }
        self.judge_known(device, now, cost)
    }

    fn judge_known(&mut self, device: &Subject, now: u64, cost: Cost) -> Judged {
        let (messages, bytes) = (self.messages_per_second, self.bytes_per_second);
        let Some(owed) = self.owed.get_mut(device) else {
            return Judged::Rest(Duration::ZERO);
        };
        owed.messages = owed.messages.max(now) + time_for(cost.messages, messages);
        owed.bytes = owed.bytes.max(now) + time_for(cost.bytes, bytes);
        let debt = Duration::from_nanos(owed.until() - now);
        Judged::Rest(debt.saturating_sub(CREDIT))
    }

    /// Forgets who owes nothing, each time there are twice as many as were left the last time.
    fn sweep(&mut self, now: u64) {
        if self.owed.len() >= self.sweep_len {
            self.owed.retain(|_, owed| owed.until() > now);
            self.sweep_len = (2 * self.owed.len()).max(1024);
        }
    }
}

impl Owed {
    fn until(self) -> u64 {
        self.messages.max(self.bytes)
    }
}

/// How many nanoseconds so much takes; none where there is no limit.
fn time_for(count: u64, per_second: u64) -> u64 {
    let nanos = u128::from(count) * 1_000_000_000;
    let time = nanos.checked_div(u128::from(per_second));
    time.unwrap_or_default().try_into().unwrap_or(u64::MAX / 4)
}

impl Cost {
    fn of(packets: &[Packet]) -> Self {
        let mut cost = Self::default();
        for packet in packets {
            if let Packet::Publish(publish) = packet {
                cost.messages += 1;
                cost.bytes += (publish.topic.as_str().len() + publish.payload.len()) as u64;
            }
        }
        cost
    }
}

impl Engine {
    /// Whether what a client has sent may be looked at. Its connection hears how long to rest.
    pub(in crate::engine) fn keeps_rates(&mut self, id: SessionId, packets: &[Packet]) -> bool {
        if !self.rates.are_kept {
            return true;
        }
        let Some(session) = self.sessions.get_mut(id) else {
            return false;
        };
        let key = session.key.clone();
        match self.rates.judge(&key.subject, self.now, Cost::of(packets)) {
            Judged::Rest(rest) => {
                self.counters.publishes_slowed += u64::from(!rest.is_zero());
                if let Some(connected) = session.connected_mut() {
                    self.effects.rest(connected, rest);
                }
                true
            }
            Judged::TooFast => {
                self.counters.closed_too_fast += 1;
                let connected = self.sessions.get(id).and_then(Session::connected);
                if connected.is_some_and(|connected| connected.version == Version::V311) {
                    self.pauses.note(&key.subject, self.now);
                }
                self.close(id, CloseReason::TooFast);
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::test_world::*;
    use crate::engine::{ConnectionId, Input};
    use protocol::Text;

    fn rates(messages: u32, bytes: u64) -> Rates {
        let limits = Limits {
            publish_rate_max: messages,
            publish_bytes_rate_max: bytes,
            ..Limits::default()
        };
        Rates::new(&limits, RandomState::with_seeds(1, 2, 3, 4))
    }

    /// How many messages a device brings in ten seconds that does what it is told.
    fn brought(rates: &mut Rates, batch: Cost) -> u64 {
        let device = subject("dev-1");
        let (mut millis, mut brought) = (0, 0);
        while millis < 10_000 {
            let judged = rates.judge(&device, Time::from_millis(millis), batch);
            let Judged::Rest(rest) = judged else {
                panic!("closed after {brought}");
            };
            brought += batch.messages;
            millis += u64::try_from(rest.as_millis()).unwrap() + 1;
        }
        brought
    }

    #[test]
    fn who_does_what_it_is_told_publishes_at_its_rate_and_is_never_closed() {
        let batch = |messages, bytes| Cost { messages, bytes };
        for (size, expected) in [(1, 1090..=1101), (50, 1090..=1150), (100, 1090..=1200)] {
            let count = brought(&mut rates(100, 0), batch(size, 0));
            assert!(expected.contains(&count), "{count} in batches of {size}");
        }
        // A message may be longer than what is free at once.
        let count = brought(&mut rates(0, 1000), batch(1, 5000));
        assert!((2..=3).contains(&count), "{count}");
        let both = brought(&mut rates(100, 1000), batch(1, 100));
        assert!(
            (105..=112).contains(&both),
            "the stricter one decides: {both}"
        );
    }

    #[test]
    fn who_owes_nothing_is_forgotten() {
        let mut rates = rates(10, 0);
        for number in 0..5000 {
            let now = Time::from_millis(number * 1000);
            let cost = Cost {
                messages: 1,
                bytes: 1,
            };
            rates.judge(&subject(&format!("dev-{number}")), now, cost);
        }
        assert!(rates.owed.len() <= 1024, "{}", rates.owed.len());
    }

    fn batch(world: &mut World, connection: ConnectionId, count: usize) {
        let packets = vec![qos0("a", "x"); count];
        world.input(Input::Packets {
            connection,
            packets,
        });
    }

    #[test]
    fn a_device_that_floods_on_several_connections_is_closed_in_the_end() {
        let mut world = World::limited(|limits| limits.publish_rate_max = 10);
        let mut connections: Vec<_> = (0..14)
            .map(|number| {
                let client_id = Text::parse(&format!("dev-1/{number}")).unwrap();
                world.enter_with("dev-1", |connect| connect.client_id = client_id)
            })
            .collect();
        let last = connections.split_off(12);
        for connection in &connections {
            batch(&mut world, *connection, 10);
            assert_eq!(world.heard(*connection), [""; 0]);
        }
        assert_eq!(world.counters().publishes_slowed, 11);
        assert_eq!(world.counters().messages_received, 120);
        batch(&mut world, last[0], 1);
        assert_eq!(world.heard(last[0]), ["CLOSE 96"]);
        assert_eq!(world.counters().closed_too_fast, 1);
        assert_eq!(
            world.counters().messages_received,
            120,
            "it is not looked at"
        );
        // Time pays; others were never concerned.
        let other = world.enter("dev-2");
        batch(&mut world, other, 10);
        world.wait(12);
        batch(&mut world, last[1], 10);
        assert_eq!(world.heard(last[1]), [""; 0]);
        assert_eq!(world.counters().closed_too_fast, 1);
    }

    #[test]
    fn another_rate_holds_for_those_who_are_here() {
        let mut world = World::open();
        let client = world.enter("dev-1");
        let mut slowed = |rate| {
            let limits = Limits {
                publish_rate_max: rate,
                ..Limits::default()
            };
            world.input(Input::Limits(Box::new(limits)));
            world.wait(60);
            batch(&mut world, client, 20);
            world.counters().publishes_slowed
        };
        assert_eq!([0, 10, 100, 10, 0].map(&mut slowed), [0, 1, 1, 2, 2]);
    }

    #[test]
    fn where_there_is_no_rate_any_more_connections_are_told_so() {
        let mut rates = rates(1, 0);
        rates.change(&Limits::default());
        let cost = Cost {
            messages: 1_000,
            bytes: 1_000,
        };
        let judged = rates.judge(&subject("dev-1"), Time::from_millis(1), cost);
        assert!(rates.are_kept && judged == Judged::Rest(Duration::ZERO));
    }

    #[test]
    fn to_come_back_pays_nothing_and_3_1_1_is_to_stay_away() {
        let mut world = World::limited(|limits| limits.publish_rate_max = 1);
        let client = world.enter_with("dev-1", v311);
        batch(&mut world, client, 100);
        for _ in 0..3 {
            let client = world.enter_with("dev-1", v311);
            batch(&mut world, client, 1);
        }
        let refused = world.knock("dev-1", v311);
        assert_eq!(world.heard(refused), ["CONNACK 88", "refused"]);
    }
}
