//! What was acknowledged survives: real broker processes, killed and damaged, and what is there
//! when they start again.
//!
//! A checker notes what it was told and compares it with what it finds. What takes long is ignored
//! and named `long_…`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
#![allow(clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![allow(
    clippy::similar_names,
    reason = "publisher and published are the standard's words"
)]

mod broker;
mod damage;
mod full;
mod kills;
mod link;
mod qos0;
mod tmpfs;
