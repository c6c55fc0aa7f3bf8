//! A canary: somebody well-behaved on the same broker, who notices when it suffers.
//!
//! A publisher and a subscriber exchange messages for as long as it lives; no message may be lost
//! and none may take long, whatever a test does to the broker meanwhile.

use crate::client::Client;
use crate::mqtt::request::Publish;
use crate::mqtt::{Kind, Version};
use crate::stage::Stage;
use crate::world::World;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What may pass between publishing and being acknowledged, on two busy cores: less than any
/// deadline a stuck broker would wait for.
const LATENCY_MAX: Duration = Duration::from_secs(4);
const PAUSE: Duration = Duration::from_millis(20);

/// A pair that exchanges messages on a thread of its own.
pub struct Canary {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Vec<Duration>>>,
}

impl Canary {
    /// Begins; from here on the broker must serve.
    pub fn on(world: &Arc<World>) -> Self {
        let stage = Stage::on(world.clone());
        let mut listener = stage.client(Version::V5, "listener");
        let topic = stage.topic("song");
        listener.subscribe(&topic, 1);
        let singer = stage.client(Version::V5, "singer");
        let stop = Arc::new(AtomicBool::new(false));
        let seen = stop.clone();
        let sing = move || sing((listener, singer), &topic, &seen);
        Self {
            stop,
            thread: Some(std::thread::spawn(sing)),
        }
    }

    /// Ends, and says how long the slowest message took.
    pub fn expect_song(mut self) -> Duration {
        self.stop.store(true, Ordering::Relaxed);
        let latencies = self
            .thread
            .take()
            .unwrap()
            .join()
            .expect("the canary lives");
        let slowest = latencies.iter().max().copied().expect("a message");
        assert!(
            slowest < LATENCY_MAX,
            "a message of the canary took {slowest:?}"
        );
        slowest
    }
}

impl Drop for Canary {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn sing(
    (mut listener, mut singer): (Client, Client),
    topic: &str,
    stop: &AtomicBool,
) -> Vec<Duration> {
    let mut latencies = Vec::new();
    while latencies.is_empty() || !stop.load(Ordering::Relaxed) {
        let note = latencies.len().to_string();
        let start = Instant::now();
        let id = singer.send_publish(&Publish::new(topic, &note).qos(1));
        assert_eq!(listener.take().text(), note);
        singer.expect_success(Kind::Puback, id.unwrap());
        latencies.push(start.elapsed());
        std::thread::sleep(PAUSE);
    }
    latencies
}
