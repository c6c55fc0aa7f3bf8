//! The device library as a process of its own, against brokers that are killed.
//!
//! A device says what it has accepted; what arrives is counted by another one, whose session waits
//! at the broker.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
#![allow(clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod authority;
mod blocking;
mod est;
mod examples;
mod kills;
mod memory;
mod older;
mod relay;
mod renewals;
mod telemetry;
