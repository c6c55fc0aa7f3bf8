//! MQTT 3.1.1, clause by clause. What differs from 5.0, and what must not.
//!
//! 3.1.1 has no word for an error: the connection is closed and nothing is acknowledged.

mod connect;
mod errors;
mod publish;
mod session;
mod subscribe;

use countersign_tests::prelude::*;

/// An open 3.1.1 connection that sends this is closed without a word.
fn closes(bytes: &[u8]) {
    let mut client = Stage::new().client(V311, "a");
    client.send(bytes);
    client.raw.expect_closed();
}

/// A connection whose CONNECT is this is refused, with this code or without a word.
fn refuses(bytes: &[u8], code: u8) {
    let mut raw = Stage::new().raw("a");
    raw.send(bytes);
    raw.expect_refused(&[code]);
}
