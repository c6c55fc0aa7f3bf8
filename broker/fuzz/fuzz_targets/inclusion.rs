//! `cargo fuzz run inclusion`: see `bodies.rs`.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../bodies.rs"]
mod bodies;

fuzz_target!(|octets: &[u8]| bodies::inclusion(octets));
