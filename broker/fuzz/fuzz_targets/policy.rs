//! `cargo fuzz run policy`: see `bodies.rs`.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../bodies.rs"]
mod bodies;

fuzz_target!(|octets: &[u8]| bodies::policy(octets));
