//! A device against a broker that says what the test wants, octet by octet, over real TLS.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod broker;
mod connecting;
mod hostile;
mod keeping;
mod logging;
mod material;
mod older;
mod publishing;
mod receiving;
mod renewal;
mod requesting;
mod sent_away;
