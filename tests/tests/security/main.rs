//! Hostile peers: what has broken brokers, done to this one.
//!
//! Whatever a test does, the process lives, nothing in it panics, and a canary on the same broker
//! is served meanwhile. Names say the CVE or what was sent. What takes long is ignored and named
//! `long_…`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
#![allow(clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![allow(
    clippy::similar_names,
    reason = "publisher and published are the standard's words"
)]

mod door;
mod identity;
mod parser;
mod trust;

use countersign_tests::canary::Canary;
use countersign_tests::world::{Settings, World};
use std::path::Path;
use std::sync::Arc;

/// A broker of one's own, with a canary on it.
struct Cage {
    world: Arc<World>,
    canary: Canary,
}

impl Cage {
    /// With the settings of the shared broker.
    fn new() -> Self {
        Self::with_limits("")
    }

    /// With these lines in `[limits]`.
    fn with_limits(limits: &str) -> Self {
        Self::with(&Settings {
            limits: limits.to_owned(),
            ..Settings::default()
        })
    }

    fn with(settings: &Settings) -> Self {
        Self::prepared(settings, |_| {})
    }

    /// The same with files that a test adds.
    fn prepared(settings: &Settings, add: impl FnOnce(&Path)) -> Self {
        let world = Arc::new(World::prepared(settings, add));
        let canary = Canary::on(&world);
        Self { world, canary }
    }

    /// The canary was served throughout, and the broker is in good health.
    fn open(self) {
        self.canary.expect_song();
        self.world.expect_health();
    }
}
