//! What MQTT demands of a server, clause by clause, in bytes over real TLS.
//!
//! A test bears the number of its clause in its name: `mqtt_3_1_2_4_…` is `[MQTT-3.1.2-4]` of
//! MQTT 5.0, `mqtt311_3_1_2_6_…` is `[MQTT-3.1.2-6]` of 3.1.1. Further clauses of 5.0 that it
//! covers stand in its comment. `docs/conformance-clauses.md` is made from these names.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
#![allow(clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![allow(
    clippy::similar_names,
    reason = "publisher and published are the standard's words"
)]

mod clauses;
mod connect;
mod errors;
mod mqtt311;
mod publish;
mod session;
mod subscribe;

use countersign_tests::prelude::*;

/// An open 5.0 connection that sends this is closed, and told one of these codes if any.
fn closes(bytes: &[u8], codes: &[u8]) {
    let mut client = Stage::new().client(V5, "a");
    client.send(bytes);
    client.expect_closed_with(codes);
}

/// A connection whose CONNECT is this is refused, with one of these codes if any.
fn refuses(bytes: &[u8], codes: &[u8]) {
    let mut raw = Stage::new().raw("a");
    raw.send(bytes);
    raw.expect_refused(codes);
}

/// Malformed packet.
const MALFORMED: u8 = 0x81;
/// Protocol error.
const PROTOCOL_ERROR: u8 = 0x82;
/// Where the standard leaves the choice, or two errors are in one packet.
const EITHER: [u8; 2] = [MALFORMED, PROTOCOL_ERROR];
