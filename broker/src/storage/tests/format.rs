//! The bytes of headers and checkpoints, as they are described.

use crate::engine::{Message, MessageParts, Record, SessionNumber, Target};
use crate::storage::Position;
use crate::storage::checkpoint;
use crate::storage::ledger::Place;
use crate::storage::log::frame::Link;
use crate::storage::log::record::{Outline, Saved};
use crate::storage::log::sector;
use crate::storage::log::segment::Header;
use crate::storage::log::shelf::Shelf;
use crate::storage::log::tests::samples::{key, number, parts, target};
use crate::storage::log::tests::simulated_disk::SimulatedDisk;
use crate::storage::state::State;
use certs::Hex;
use protocol::packet::{PacketId, QoS};
use protocol::topic::TopicFilter;
use std::sync::Arc;

#[track_caller]
fn check(bytes: &[u8], hex: &str) {
    assert_eq!(Hex(bytes).to_string(), hex.replace([' ', '\n'], ""));
}

#[test]
fn the_bytes_of_the_header_of_a_segment_are_as_described() {
    let header = Header {
        shard: 3,
        sequence: 7,
        link: Link {
            turns: 41,
            check: 0x0102_0304,
        },
        salt: 0x1122_3344_5566_7788,
        size: 64 << 20,
    };
    let bytes = sector::seal(&header);
    check(
        &bytes[..52],
        "435349474e4c4f47 01000000 03000000 0700000000000000 2900000000000000 \
         8877665544332211 0000000400000000 04030201",
    );
    check(
        &bytes[52..56],
        &Hex(&crc32c::crc32c(&bytes[..52]).to_le_bytes()).to_string(),
    );
    assert!(bytes.len() == 512 && bytes[56..].iter().all(|byte| *byte == 0));
}

/// A state with something of everything.
fn state() -> State {
    let mut state = State::default();
    let session = SessionNumber(300);
    let packet_id = |id| PacketId::new(id).unwrap();
    let outline = Outline {
        len: 278,
        payload_len: 256,
        expires_at: Some(crate::engine::Time::from_millis(1_800_000_000_000)),
    };
    let place = Place {
        segment: 2,
        offset: 1000,
        len: outline.len,
    };
    let shared = Target {
        share: Some(Arc::new(TopicFilter::parse("$share/g/a").unwrap())),
        ..target(300, QoS::ExactlyOnce)
    };
    let retained = MessageParts {
        retain: true,
        ..parts("dev-1", "a/b", b"hi")
    };
    for saved in [
        Saved::Placed {
            number: number(9),
            place,
            outline,
        },
        Saved::Forwarded { number: number(9) },
        Saved::Record(Record::ForwardsTaken {
            from: 2,
            up_to: number(8),
        }),
        Saved::Record(Record::SessionCreated {
            session,
            key: Arc::new(key("dev-1", "dev-1")),
            expiry: 3600,
        }),
        Saved::Record(Record::Accepted {
            session,
            packet_id: packet_id(5),
        }),
        Saved::AwaitsPubcomp {
            session,
            packet_id: packet_id(6),
        },
        Saved::LastSent {
            session,
            packet_id: packet_id(8),
        },
        Saved::Owed {
            number: number(9),
            target: shared,
            sent: Some(packet_id(7)),
        },
        Saved::Record(Record::Retained {
            message: Message::recorded(retained),
        }),
    ] {
        state.take_saved(saved).unwrap();
    }
    state
}

#[test]
fn the_bytes_of_a_checkpoint_are_as_described_and_read_again() {
    let disk = SimulatedDisk::default();
    let shelf = Shelf::new(Arc::new(disk.clone()));
    let state = state();
    let salt = 0x1122_3344_5566_7788;
    let size = checkpoint::write(&shelf, (3, salt), Position(41), &state).unwrap();
    assert_eq!(disk.file_names(), ["checkpoint"]);
    let bytes = disk.tamper("checkpoint", |bytes| bytes.clone());
    assert_eq!(bytes.len() as u64, size);
    check(
        &bytes[..48],
        &format!(
            "435349474e434b50 01000000 03000000 2900000000000000 8877665544332211 {} \
             0100000000000000",
            Hex(&size.to_le_bytes())
        ),
    );
    check(
        &bytes[48..52],
        &Hex(&crc32c::crc32c(&bytes[..48]).to_le_bytes()).to_string(),
    );
    assert!(bytes[52..512].iter().all(|byte| *byte == 0));
    let body_len = u32::from_le_bytes(bytes[512..516].try_into().unwrap());
    let body = &bytes[544..544 + usize::try_from(body_len).unwrap()];
    check(
        body,
        "23 ad02 0a \
         20 09 02 e807 9602 8002 01 80a0f1c2b134 \
         25 09 \
         15 02 08 \
         01 ac02 901c 02 05 6465762d31 \
         0f ac02 05 \
         22 ac02 06 \
         26 ac02 08 \
         21 09 07 ac02 12 0a 2473686172652f672f61 \
         11 25 03 612f62 02 05 6465762d31 02 6869 \
         24 0a",
    );
    let read = checkpoint::read(&shelf, 3).unwrap();
    assert_eq!((read.covered, read.size), (Position(41), size));
    assert_eq!(
        super::history::picture(&read.state),
        super::history::picture(&state)
    );
}
