//! How often a message makes the broker allocate, from the bytes of a read to the bytes for its
//! subscriber and its acknowledgement.
//!
//! What the messages of one read share is counted once: that is what "amortised" means. The
//! numbers are bounds that may only shrink.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
#![allow(clippy::cast_precision_loss, reason = "counts far below 2^53")]

#[allow(dead_code, reason = "the benchmarks use the rest")]
#[path = "../benches/engine/world.rs"]
mod world;

use bytes::BytesMut;
use dhat::{HeapStats, Profiler};
use protocol::packet::{Packet, QoS};
use protocol::wire::packets;
use world::{Client, World, puback, publish, written};

#[global_allocator]
static ALLOC: dhat::Alloc = dhat::Alloc;

/// Each load is counted in so many rounds, after as many in which everything finds its size.
const ROUNDS: usize = 4;
const DEVICES: usize = 5;

/// What one read of a device brings.
#[derive(Debug)]
struct Read {
    qos: QoS,
    messages: u16,
    /// The device publishes to so many topics in turn.
    topics: u16,
}

/// One test for all loads: the profiler counts what the whole process allocates.
#[test]
fn a_message_of_a_device_to_an_application_allocates_at_most() {
    let _profiler = Profiler::builder().testing().build();
    for (qos, messages, topics, most) in [
        (QoS::AtMostOnce, 300, 1, 0.05),
        (QoS::AtMostOnce, 300, 3, 0.05),
        (QoS::AtLeastOnce, 300, 1, 2.1),
        (QoS::AtLeastOnce, 300, 3, 3.1),
        // All that a read costs, for one message.
        (QoS::AtMostOnce, 1, 1, 4.0),
        (QoS::AtLeastOnce, 1, 1, 10.0),
    ] {
        let read = Read {
            qos,
            messages,
            topics,
        };
        let each = FanIn::new(qos).allocations_each(&read);
        println!("{each:.3} for each of {read:?}");
        assert!(each <= most, "{each:.3} for each of {read:?}, not {most}");
    }
}

/// Devices that publish, and an application that hears them.
struct FanIn {
    world: World,
    devices: Vec<Client>,
    application: Client,
    /// How many messages the application has acknowledged.
    acknowledged: usize,
}

impl FanIn {
    fn new(qos: QoS) -> Self {
        let mut world = World::open();
        let application = world.enter();
        world.subscribe(&application, &["devices/+/#".to_owned()], qos);
        let devices = (0..DEVICES).map(|_| world.enter()).collect();
        Self {
            world,
            devices,
            application,
            acknowledged: 0,
        }
    }

    fn allocations_each(&mut self, read: &Read) -> f64 {
        for _ in 0..ROUNDS {
            self.round(read);
        }
        let counted: u64 = (0..ROUNDS).map(|_| self.round(read)).sum();
        let messages = ROUNDS * DEVICES * usize::from(read.messages);
        counted as f64 / messages as f64
    }

    /// Every device is read once, and the application answers.
    fn round(&mut self, read: &Read) -> u64 {
        (0..DEVICES).map(|device| self.turn(device, read)).sum()
    }

    fn turn(&mut self, device: usize, read: &Read) -> u64 {
        let publishes = read.bytes(device);
        let publishing = count(|| {
            let chunk = BytesMut::from(&*publishes);
            let device = &mut self.devices[device];
            let packets = device.decode(chunk);
            self.world.decide(device.id, packets);
            self.world.end_turn();
        });
        let said = self.world.said();
        let heard = said
            .iter()
            .find(|it| it.connection == self.application.id)
            .unwrap();
        assert_eq!(packets(&heard.packets).count(), usize::from(read.messages));
        let pubacks: Vec<u8> = self.answers(read).iter().flat_map(written).collect();
        let acknowledging = count(|| {
            let chunk = BytesMut::from(&*pubacks);
            let packets = self.application.decode(chunk);
            self.world.decide(self.application.id, packets);
            self.world.end_turn();
        });
        assert!(self.world.said().is_empty());
        self.world.expect_known_acknowledgements();
        publishing + acknowledging
    }

    /// What the application says to the messages of a read.
    fn answers(&mut self, read: &Read) -> Vec<Packet> {
        if read.qos == QoS::AtMostOnce {
            return Vec::new();
        }
        let first = self.acknowledged;
        self.acknowledged += usize::from(read.messages);
        (first..self.acknowledged).map(puback).collect()
    }
}

impl Read {
    /// What comes out of TLS.
    fn bytes(&self, device: usize) -> Vec<u8> {
        let message = |number: u16| {
            let topic = format!("devices/dev-{device}/temperature{}", number % self.topics);
            written(&publish(&topic, &[b'x'; 30], self.qos, number + 1))
        };
        (0..self.messages).flat_map(message).collect()
    }
}

/// How many allocations `work` makes; a larger place for what is there already is one.
fn count(work: impl FnOnce()) -> u64 {
    let before = HeapStats::get().total_blocks;
    work();
    HeapStats::get().total_blocks - before
}
