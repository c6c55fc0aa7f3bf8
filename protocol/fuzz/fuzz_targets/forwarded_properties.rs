//! `cargo fuzz run forwarded_properties`: see `bodies.rs`.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../bodies.rs"]
mod bodies;

fuzz_target!(|octets: &[u8]| bodies::forwarded_properties(octets));
