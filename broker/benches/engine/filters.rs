//! Routing and subscribing where many filters are held already.
//!
//! The publisher says another topic each time, so that no session remembers its way.

use crate::world::{Client, World, publish, subscribe, unsubscribe};
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use protocol::packet::{Packet, QoS};

const FEW: usize = 1_000;
const EXACT: usize = 1_000_000;
const WILDCARD: usize = 100_000;

/// Among so many sessions the filters are shared out, however many there are. By default none may
/// have more than a thousand.
const SESSIONS: usize = 1_000;

/// How many packets come in one read.
const BATCH: usize = 100;

/// What sort of filter is held.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Exact,
    Wildcard,
}

impl Kind {
    fn filter(self, number: usize) -> String {
        match self {
            Self::Exact => format!("site/area-{}/device-{number}/state", number % 100),
            Self::Wildcard if number.is_multiple_of(2) => format!("site/+/device-{number}/state"),
            Self::Wildcard => format!("site/area-{}/device-{number}/#", number % 100),
        }
    }
}

/// A world in which so many filters are held, one to a topic.
struct Full {
    world: World,
    publisher: Client,
    /// It holds none of them.
    subscriber: Client,
}

impl Full {
    fn of(kind: Kind, filters: usize) -> Self {
        let mut world = World::open();
        let publisher = world.enter();
        for session in 0..SESSIONS {
            let subscriber = world.enter();
            let numbers = (session..filters).step_by(SESSIONS);
            let held: Vec<_> = numbers.map(|number| kind.filter(number)).collect();
            world.subscribe(&subscriber, &held, QoS::AtMostOnce);
        }
        Self {
            subscriber: world.enter(),
            world,
            publisher,
        }
    }

    /// A read of messages to every `step`th of so many topics, each with one subscriber.
    fn publish(mut self, bencher: Bencher<'_, '_>, (topics, step): (usize, usize)) {
        let mut number = 0;
        let mut message = || {
            number = (number + step) % topics;
            let topic = Kind::Exact.filter(number);
            publish(&topic, &[b'x'; 30], QoS::AtMostOnce, 0)
        };
        bencher
            .counter(ItemsCount::new(BATCH))
            .with_inputs(|| (0..BATCH).map(|_| message()).collect::<Vec<_>>())
            .bench_local_values(|packets| {
                self.world.decide(self.publisher.id, packets);
                self.world.end_turn();
                assert!(!black_box(self.world.said()).is_empty());
            });
    }

    /// A client subscribes to one more, and leaves it again.
    fn subscribe(mut self, bencher: Bencher<'_, '_>, filter: &str) {
        let filters = [filter.to_owned()];
        let both = || vec![subscribe(&filters, QoS::AtMostOnce), unsubscribe(&filters)];
        bencher
            .with_inputs(both)
            .bench_local_values(|packets: Vec<Packet>| {
                self.world.decide(self.subscriber.id, packets);
                self.world.end_turn();
                black_box(self.world.said());
            });
    }
}

/// To the same ten topics of ten sessions, however many others there are.
#[divan::bench(args = [FEW, EXACT])]
fn publish_to_ten_topics_among_exact(bencher: Bencher<'_, '_>, filters: usize) {
    Full::of(Kind::Exact, filters).publish(bencher, (10, 1));
}

#[divan::bench(args = [FEW, WILDCARD])]
fn publish_to_ten_topics_among_wildcard(bencher: Bencher<'_, '_>, filters: usize) {
    Full::of(Kind::Wildcard, filters).publish(bencher, (10, 1));
}

/// To all topics there are, in no order: of many, most of what is touched is in no cache.
#[divan::bench(args = [FEW, EXACT])]
fn publish_to_all_topics_among_exact(bencher: Bencher<'_, '_>, filters: usize) {
    Full::of(Kind::Exact, filters).publish(bencher, (filters, 611_953));
}

#[divan::bench(args = [FEW, WILDCARD])]
fn publish_to_all_topics_among_wildcard(bencher: Bencher<'_, '_>, filters: usize) {
    Full::of(Kind::Wildcard, filters).publish(bencher, (filters, 61_153));
}

#[divan::bench(args = [FEW, EXACT])]
fn subscribe_and_unsubscribe_among_exact(bencher: Bencher<'_, '_>, filters: usize) {
    Full::of(Kind::Exact, filters).subscribe(bencher, "site/area-1/one/more");
}

#[divan::bench(args = [FEW, WILDCARD])]
fn subscribe_and_unsubscribe_among_wildcard(bencher: Bencher<'_, '_>, filters: usize) {
    Full::of(Kind::Wildcard, filters).subscribe(bencher, "site/area-1/one/+");
}

/// What it costs follows from the levels of the filter.
#[divan::bench(args = [4, 16, 64])]
fn subscribe_and_unsubscribe_to_levels(bencher: Bencher<'_, '_>, levels: usize) {
    let filter = "level/".repeat(levels - 1) + "+";
    Full::of(Kind::Wildcard, FEW).subscribe(bencher, &filter);
}

/// What a filter takes, with all that is kept for its session.
pub(crate) fn print_memory() {
    for (kind, filters) in [(Kind::Exact, EXACT), (Kind::Wildcard, WILDCARD)] {
        let before = resident();
        let full = Full::of(kind, filters);
        let grown = resident().saturating_sub(before);
        println!(
            "{kind:?}: {} bytes for each of {filters} filters",
            grown / filters
        );
        // Its memory must not serve for the next.
        std::mem::forget(full);
    }
}

/// Bytes of memory that this process holds [proc(5)].
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}
