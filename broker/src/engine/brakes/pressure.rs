//! Pressure: what the engine gives up while the process is short of memory.
//!
//! In this order: new connections, which `net` no longer lets in; QoS 0, which promises nothing;
//! and at last every message that may be kept. What was taken is kept, sent and acknowledged.

use crate::engine::Engine;

/// How short of memory the process is. The greater, the shorter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pressure {
    /// There is enough.
    #[default]
    None,
    /// No new connections are let in.
    NoConnections,
    /// Nor is QoS 0 taken.
    NoQos0,
    /// Nor is anything else (0x97).
    NoMessages,
}

impl Engine {
    /// Memory has become short, or is there again.
    pub(in crate::engine) fn heed_pressure(&mut self, pressure: Pressure) {
        self.pressure = pressure;
    }

    /// Whether a QoS 0 message is dropped for want of memory, and counted so.
    #[inline]
    pub(in crate::engine) fn gives_up_qos0(&mut self) -> bool {
        self.counts_if(self.pressure >= Pressure::NoQos0)
    }

    /// Whether any other message is refused for want of memory, and counted so.
    #[inline]
    pub(in crate::engine) fn lacks_memory(&mut self) -> bool {
        self.counts_if(self.pressure == Pressure::NoMessages)
    }

    #[inline]
    fn counts_if(&mut self, is_refused: bool) -> bool {
        self.counters.publishes_refused_memory += u64::from(is_refused);
        is_refused
    }
}

#[cfg(test)]
mod tests {
    use super::Pressure;
    use crate::engine::Input;
    use crate::engine::test_world::*;
    use protocol::packet::QoS;

    #[test]
    fn under_pressure_qos_0_is_given_up_first_and_then_all_messages() {
        let mut world = World::open();
        let subscriber = world.enter("dev-1");
        world.subscribe(subscriber, "a", QoS::AtLeastOnce);
        let publisher = world.enter("dev-2");
        let cases = [
            (Pressure::NoConnections, true, "00", 0),
            (Pressure::NoQos0, false, "00", 1),
            (Pressure::NoMessages, false, "97", 3),
            (Pressure::None, true, "00", 3),
        ];
        for (place, (pressure, takes_qos0, code, refused)) in cases.into_iter().enumerate() {
            world.input(Input::Memory(pressure));
            world.send(publisher, qos0("a", "0"));
            let id = u16::try_from(place).unwrap() + 1;
            world.send(publisher, qos1("a", "1", id));
            assert_eq!(world.heard(publisher), [format!("PUBACK #{id} {code}")]);
            let heard = world.heard(subscriber).join(" ");
            assert_eq!(heard.contains("a=0"), takes_qos0, "{pressure:?}: {heard}");
            assert_eq!(heard.contains("a=1"), code == "00", "{pressure:?}: {heard}");
            assert_eq!(world.counters().publishes_refused_memory, refused);
        }
    }

    #[test]
    fn under_pressure_a_3_1_1_client_is_closed_only_for_what_it_waits_for() {
        let mut world = World::open();
        let client = world.enter_with("dev-1", v311);
        world.input(Input::Memory(Pressure::NoMessages));
        world.send(client, qos0("a", "x"));
        assert_eq!(world.heard(client), [""; 0]);
        world.send(client, qos1("a", "x", 1));
        assert_eq!(world.heard(client), ["CLOSE 97"]);
    }
}
