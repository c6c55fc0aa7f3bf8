//! Other people's clients against the real binary: what a newcomer does, done by a test.
//!
//! Each test starts `countersign up` in a directory of its own and on a port of its own.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod binary;
mod enrolment;
mod fleet;
mod killed;
mod mosquitto;
mod openssl;
mod pages;
mod paho;
mod pkcs11;
mod post_quantum;
mod story;
mod up;
