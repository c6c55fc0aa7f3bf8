//! What the tests stand on: a test authority, a broker of one's own, and MQTT written by hand.
//!
//! Nothing here uses `protocol`, so that broker and tests share no mistake in the codec.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::missing_errors_doc,
    reason = "tests"
)]

pub mod authority;
pub mod canary;
pub mod clauses;
pub mod client;
pub mod faulty_disk;
pub mod identity;
pub mod log;
pub mod mqtt;
pub mod raw;
pub mod rounds;
pub mod seeded;
pub mod stage;
pub mod world;

/// What nearly every test uses.
pub mod prelude {
    pub use crate::client::Client;
    pub use crate::mqtt::answer::{Ack, Connack, Disconnected, Published, Suback};
    pub use crate::mqtt::connect::{Connect, Will};
    pub use crate::mqtt::request::{self, Publish, Subscribe};
    pub use crate::mqtt::{BOTH, Frame, Kind, Property, Version, Version::V5, Version::V311};
    pub use crate::raw::{Next, Raw};
    pub use crate::stage::Stage;
}
