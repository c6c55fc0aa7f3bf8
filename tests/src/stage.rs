//! A stage: topics, devices and client ids that no other test uses.
//!
//! Tests share a broker and run side by side; what they touch begins with their stage's name.

use crate::client::Client;
use crate::mqtt::Version;
use crate::mqtt::answer::Connack;
use crate::mqtt::connect::Connect;
use crate::raw::Raw;
use crate::world::World;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// A corner of a broker for one test.
pub struct Stage {
    world: Arc<World>,
    name: String,
}

impl Stage {
    /// On the broker that all tests share.
    pub fn new() -> Self {
        Self::on(World::shared())
    }

    /// On this broker.
    pub fn on(world: Arc<World>) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "s{}x{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        Self { world, name }
    }

    /// The broker.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// A topic of this stage.
    pub fn topic(&self, below: &str) -> String {
        format!("{}/{below}", self.name)
    }

    /// A client id of this stage, which is also a device id.
    pub fn id(&self, name: &str) -> String {
        format!("{}{name}", self.name)
    }

    /// A TLS connection of the device of this name.
    pub fn raw(&self, name: &str) -> Raw {
        let identity = self.world.authority().device(&self.id(name));
        Raw::connect(self.world.address(), &identity)
    }

    /// A client with a new session that ends with its connection.
    pub fn client(&self, version: Version, name: &str) -> Client {
        self.open(name, &self.connect(version, name)).0
    }

    /// A client with a session that outlives its connection, resumed or new.
    pub fn lasting(&self, version: Version, name: &str) -> (Client, bool) {
        let connect = self.connect(version, name).resume().expiry(600);
        let (client, connack) = self.open(name, &connect);
        (client, connack.session_present)
    }

    /// The CONNECT of the device of this name.
    pub fn connect(&self, version: Version, name: &str) -> Connect {
        Connect::new(version, self.id(name))
    }

    /// Sends this CONNECT as the device of this name; it must be accepted.
    pub fn open(&self, name: &str, connect: &Connect) -> (Client, Connack) {
        let (client, connack) = self.ask(name, connect);
        assert_eq!(connack.code, 0, "{connack:?}");
        (client, connack)
    }

    /// Sends this CONNECT as the device of this name.
    pub fn ask(&self, name: &str, connect: &Connect) -> (Client, Connack) {
        Client::open(self.raw(name), connect)
    }
}

impl Default for Stage {
    fn default() -> Self {
        Self::new()
    }
}
