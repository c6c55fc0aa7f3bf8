//! `cargo fuzz run admin_lines`: see `bodies.rs`.

#![no_main]

use countersign_certs as certs;
use libfuzzer_sys::fuzz_target;

#[path = "../bodies.rs"]
mod bodies;

fuzz_target!(|octets: &[u8]| bodies::admin_lines(octets));
