//! `cargo fuzz run revocation_lists`: see `bodies.rs`.
//!
//! Nobody's signature is guessed, so this reaches what is read before one is verified.

#![no_main]

use countersign_certs as certs;
use libfuzzer_sys::fuzz_target;

#[path = "../bodies.rs"]
mod bodies;

fuzz_target!(|octets: &[u8]| bodies::revocation_lists(octets, &[]));
