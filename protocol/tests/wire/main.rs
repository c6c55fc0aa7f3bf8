//! The codec from outside: what is written is read, what is malformed is refused, and what a
//! stranger wrote is understood in the same way.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod damage;
mod differential;
mod golden;
mod property_table;
mod publish_head;
mod reasons;
mod round_trip;
mod strategies;

use bytes::{Bytes, BytesMut};
use countersign_protocol::ProtocolError;
use countersign_protocol::packet::{Packet, Version};
use countersign_protocol::wire::{self, Direction, Frame, PACKET_SIZE_MAX};
use proptest::test_runner::{Config, RngSeed};

fn cases(cases: u32) -> Config {
    Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    }
}

/// For a comparison with somebody else, whose faults are not to fail us by chance.
fn always_the_same(cases: u32) -> Config {
    Config {
        rng_seed: RngSeed::Fixed(5),
        ..self::cases(cases)
    }
}

/// Reads the one packet that these bytes are; `None` if more would have to come.
fn read_one(
    bytes: &[u8],
    version: Version,
    direction: Direction,
) -> Result<Option<Packet>, ProtocolError> {
    let mut arrived = Bytes::copy_from_slice(bytes);
    let Some(frame) = Frame::first(&mut arrived, direction, PACKET_SIZE_MAX)? else {
        return Ok(None);
    };
    let packet = wire::read(frame, version)?;
    assert!(arrived.is_empty(), "more than one packet: {bytes:02x?}");
    Ok(Some(packet))
}

fn written(packet: &Packet, version: Version) -> Vec<u8> {
    let mut out = BytesMut::new();
    wire::write(packet, version, &mut out).unwrap();
    out.to_vec()
}
