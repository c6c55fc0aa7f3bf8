//! One turn of the engine: what a read of a device leads to.

use crate::world::{Client, World, puback, publish, written};
use bytes::BytesMut;
use countersign_broker::engine::ConnectionId;
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use protocol::packet::QoS;

/// Messages of one read; with one there is nothing to share.
const READS: [usize; 2] = [1, 100];

/// A device and who hears it.
struct Cast {
    world: World,
    device: Client,
    subscribers: Vec<ConnectionId>,
    qos: QoS,
    /// The device publishes to so many topics in turn.
    topics: usize,
}

impl Cast {
    fn new(subscribers: usize, qos: QoS, topics: usize) -> Self {
        let mut world = World::open();
        let device = world.enter();
        let subscribers = (0..subscribers).map(|_| {
            let subscriber = world.enter();
            world.subscribe(&subscriber, &["devices/+/#".to_owned()], qos);
            subscriber.id
        });
        let subscribers = subscribers.collect();
        Self {
            world,
            device,
            subscribers,
            qos,
            topics,
        }
    }

    /// What a read brings.
    fn bytes(&self, messages: usize) -> Vec<u8> {
        let message = |number: usize| {
            let topic = format!("devices/dev-1/temperature{}", number % self.topics);
            let id = u16::try_from(number + 1).unwrap();
            written(&publish(&topic, &[b'x'; 30], self.qos, id))
        };
        (0..messages).flat_map(message).collect()
    }

    /// The device is read, and every subscriber acknowledges.
    fn bench(self, bencher: Bencher<'_, '_>, messages: usize) {
        let bytes = self.bytes(messages);
        let Self {
            mut world,
            mut device,
            subscribers,
            qos,
            ..
        } = self;
        let (id, mut acknowledged) = (device.id, 0);
        bencher
            .counter(ItemsCount::new(messages * subscribers.len()))
            .with_inputs(|| device.decode(BytesMut::from(&*bytes)))
            .bench_local_values(|packets| {
                world.decide(id, packets);
                world.end_turn();
                assert!(!black_box(world.said()).is_empty());
                if qos == QoS::AtMostOnce {
                    return;
                }
                let pubacks = || {
                    (acknowledged..acknowledged + messages)
                        .map(puback)
                        .collect()
                };
                for subscriber in &subscribers {
                    world.decide(*subscriber, pubacks());
                }
                world.end_turn();
                acknowledged += messages;
            });
        world.expect_known_acknowledgements();
    }
}

#[divan::bench(args = READS)]
fn turn_of_qos_0_to_one(bencher: Bencher<'_, '_>, read: usize) {
    Cast::new(1, QoS::AtMostOnce, 1).bench(bencher, read);
}

#[divan::bench(args = READS)]
fn turn_of_qos_1_to_one(bencher: Bencher<'_, '_>, read: usize) {
    Cast::new(1, QoS::AtLeastOnce, 1).bench(bencher, read);
}

/// No message goes the way of the one before it.
#[divan::bench(args = READS)]
fn turn_of_qos_0_to_one_by_two_topics(bencher: Bencher<'_, '_>, read: usize) {
    Cast::new(1, QoS::AtMostOnce, 2).bench(bencher, read);
}

#[divan::bench(args = READS)]
fn turn_of_qos_1_to_one_by_two_topics(bencher: Bencher<'_, '_>, read: usize) {
    Cast::new(1, QoS::AtLeastOnce, 2).bench(bencher, read);
}

#[divan::bench(args = READS)]
fn turn_of_qos_0_to_100(bencher: Bencher<'_, '_>, read: usize) {
    Cast::new(100, QoS::AtMostOnce, 1).bench(bencher, read);
}

#[divan::bench(args = READS)]
fn turn_of_qos_1_to_100(bencher: Bencher<'_, '_>, read: usize) {
    Cast::new(100, QoS::AtLeastOnce, 1).bench(bencher, read);
}
