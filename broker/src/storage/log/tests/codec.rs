//! Records and frames as bytes: read as they were written, to the byte as they are described.

use super::samples::{forwarded, key, number, parts, target};
use super::strategies::records;
use super::{Kept, batch, bytes_of};
use crate::engine::{Grant, Message, MessageParts, Reach, Record, SessionNumber, Target, Time};
use crate::storage::log::frame::{Frame, HEADER_LEN, Header, Link, Promise};
use crate::storage::log::record::coding::{Malformed, Reader};
use crate::storage::log::record::{self, Found, Logged, Outline};
use bytes::Bytes;
use certs::Hex;
use proptest::collection::vec;
use proptest::prelude::*;
use protocol::packet::{ForwardedProperties, PacketId, QoS, Will};
use protocol::topic::{TopicFilter, TopicName};
use std::sync::Arc;

fn read(bytes: &[u8]) -> Result<Record, Malformed> {
    let mut reader = Reader::new(bytes);
    let record = match record::read(&mut reader)? {
        Logged::Record(record) => record,
        Logged::Message {
            number,
            content,
            targets,
            reach,
        } => Record::Message {
            number,
            message: message_in(bytes, content)?,
            targets,
            reach,
        },
        Logged::Carried { .. } => panic!("it was not written"),
    };
    assert!(reader.is_empty(), "not all was read");
    Ok(record)
}

/// The message whose content stands in `bytes`. What is known of it without reading it is right.
fn message_in(bytes: &[u8], content: Found) -> Result<Arc<Message>, Malformed> {
    let begin = bytes.len() - content.from_end;
    let content_len = usize::try_from(content.outline.len).unwrap();
    let message = record::read_content(&bytes[begin..begin + content_len])?;
    let outline = Outline {
        len: content.outline.len,
        payload_len: u32::try_from(message.payload().len()).unwrap(),
        expires_at: message.expires_at(),
    };
    assert_eq!(content.outline, outline);
    Ok(message)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_record_is_read_as_it_was_written(record in records()) {
        let bytes = bytes_of(std::slice::from_ref(&record));
        let back = read(&bytes).unwrap();
        prop_assert_eq!(format!("{:?}", back), format!("{:?}", record));
        // No shorter form of it is one, and no longer one.
        for len in 0..bytes.len() {
            prop_assert!(read(&bytes[..len]).is_err());
        }
    }

    #[test]
    fn bytes_that_are_no_record_are_refused_and_stop_nothing(bytes in vec(any::<u8>(), 0..60)) {
        let mut reader = Reader::new(&bytes);
        while record::read(&mut reader).is_ok() {}
        let mut reader = Reader::new(&bytes);
        while record::read_saved(&mut reader).is_ok() {}
        let _ = record::read_content(&bytes);
    }
}

#[track_caller]
fn check(record: &Record, hex: &str) {
    let bytes = bytes_of(std::slice::from_ref(record));
    assert_eq!(Hex(&bytes).to_string(), hex.replace(' ', ""));
    assert_eq!(
        format!("{:?}", read(&bytes).unwrap()),
        format!("{record:?}")
    );
}

const SESSION: SessionNumber = SessionNumber(300);

#[test]
fn the_bytes_of_records_of_sessions_are_as_described() {
    let session = SESSION;
    let expiry = 3600;
    let created = |client_id| Record::SessionCreated {
        session,
        key: Arc::new(key("dev-1", client_id)),
        expiry,
    };
    check(&created("dev-1"), "01 ac02 901c 02 05 6465762d31");
    check(&created("c"), "01 ac02 901c 00 05 6465762d31 01 63");
    check(&Record::SessionResumed { session, expiry }, "02 ac02 901c");
    let at = Time::from_millis(1_800_000_000_000);
    let left = Record::SessionLeft {
        session,
        at,
        expiry,
    };
    check(&left, "03 ac02 80a0f1c2b134 901c");
    check(&Record::SessionEnded { session }, "04 ac02");
    let filter = TopicFilter::parse("a/#").unwrap();
    let subscribed = Record::Subscribed {
        session,
        filter: filter.clone(),
        grant: Grant {
            qos: QoS::AtLeastOnce,
            no_local: true,
            retain_as_published: false,
            withholds: true,
            id: 130_u32.try_into().ok(),
        },
    };
    check(&subscribed, "05 ac02 03 612f23 35 8201");
    check(
        &Record::Unsubscribed { session, filter },
        "06 ac02 03 612f23",
    );
    let will = Arc::new(Will {
        qos: QoS::ExactlyOnce,
        retain: true,
        topic: TopicName::parse("a/b").unwrap(),
        payload: Bytes::from_static(b"gone"),
        delay_interval: 5,
        message_expiry_interval: Some(60),
        forwarded: ForwardedProperties::default(),
    });
    check(
        &Record::WillSet { session, will },
        "07 ac02 2e 03 612f62 3c 05 04 676f6e65",
    );
    check(&Record::WillCleared { session }, "08 ac02");
}

#[test]
fn the_bytes_of_records_of_deliveries_are_as_described() {
    let session = SESSION;
    let packet_id = PacketId::new(7).unwrap();
    let message = number(5);
    check(&Record::Settled { session, message }, "0b ac02 05");
    let sent = Record::Sent {
        session,
        message,
        packet_id,
    };
    check(&sent, "0c ac02 05 07");
    let received = Record::Received {
        session,
        message,
        packet_id,
    };
    check(&received, "0d ac02 05 07");
    check(&Record::Completed { session, packet_id }, "0e ac02 07");
    check(&Record::Accepted { session, packet_id }, "0f ac02 07");
    check(&Record::Released { session, packet_id }, "10 ac02 07");
    let topic = TopicName::parse("a/b").unwrap();
    check(&Record::RetainedCleared { topic }, "12 03 612f62");
}

#[test]
fn the_bytes_of_every_message_are_as_described() {
    let plain = Message::recorded(parts("dev-1", "a/b", b"hi"));
    let to = |session| target(session, QoS::AtLeastOnce);
    let shared = Target {
        retain: true,
        subscription_ids: [1_u32, 130]
            .map(|id| id.try_into().unwrap())
            .into_iter()
            .collect(),
        share: Some(Arc::new(TopicFilter::parse("$share/g/a").unwrap())),
        ..to(2)
    };
    check(
        &Record::Message {
            number: number(9),
            message: Arc::clone(&plain),
            targets: [to(1), shared.clone()].into_iter().collect(),
            reach: Reach::Here,
        },
        "09 09  96e4ea7b 21 03 612f62 02 05 6465762d31 02 6869  02  01 01  02 1d 02 01 8201 \
         0a 2473686172652f672f61",
    );
    check(
        &Record::Message {
            number: number(9),
            message: Arc::clone(&plain),
            targets: [to(1)].into_iter().collect(),
            reach: Reach::Everywhere,
        },
        "14 09  96e4ea7b 21 03 612f62 02 05 6465762d31 02 6869  01  01 01",
    );
    check(
        &Record::Copy {
            number: number(10),
            of: number(9),
            target: to(3),
        },
        "0a 0a 09 03 01",
    );
    let full = Message::recorded(MessageParts {
        forwarded: forwarded(),
        expires_at: Some(Time::from_millis(1_800_000_000_000)),
        qos: QoS::ExactlyOnce,
        retain: true,
        ..parts("app/reader", "a/b", b"hi")
    });
    check(
        &Record::Retained { message: full },
        "11 3e 03 612f62 80a0f1c2b134 \
         2c 0101 03000a746578742f706c61696e 080007616e7377657273 09000200ff \
         2600016b000176 2600016b000177 \
         03 06 726561646572 02 6869",
    );
}

#[test]
fn the_bytes_of_a_frame_are_as_described() {
    let mut frame = crate::storage::log::frame::Batch::new();
    let session = SessionNumber(1);
    frame.push(&[
        Record::SessionEnded { session },
        Record::WillCleared { session },
    ]);
    frame.push(&[]);
    let link = Link {
        turns: 41,
        check: 0x0102_0304,
    };
    let (bytes, end) = frame
        .seal(0x1122_3344_5566_7788, link, Promise::Synced)
        .unwrap();
    let check = u32::from_le_bytes(bytes[28..32].try_into().unwrap());
    let body_crc = u32::from_le_bytes(bytes[20..24].try_into().unwrap());
    assert_eq!(body_crc, crc32c::crc32c(&bytes[32..38]));
    let keyed = [&0x1122_3344_5566_7788_u64.to_le_bytes(), &bytes[..28]].concat();
    assert_eq!(check, crc32c::crc32c(&keyed));
    assert_eq!(end, Link { turns: 43, check });
    assert_eq!(
        Hex(&bytes[..20]).to_string()
            + &Hex(&bytes[24..28]).to_string()
            + &Hex(&bytes[32..]).to_string(),
        "06000000 02000000 2900000000000000 04030201  00000000  02 0401 0801 00 0000"
            .replace(' ', "")
    );
}

#[test]
fn a_frame_gives_back_its_turns() {
    let mut batch = batch(1, 9);
    let link = Link::default();
    let (bytes, _) = batch.seal(7, link, Promise::Written).unwrap();
    let (header, body) = bytes.split_first_chunk::<HEADER_LEN>().unwrap();
    assert_eq!(Header::read(header, 8), None, "another segment's");
    let header = Header::read(header, 7).unwrap();
    assert_eq!(
        (header.link, header.promise, header.turns),
        (link, Promise::Written, 9)
    );
    let body = &body[..usize::try_from(header.body_len).unwrap()];
    let frame = Frame { header, body };
    let mut kept = Kept::default();
    kept.take(&frame, crate::storage::Position(0)).unwrap();
    assert_eq!(kept.check(1), 9);
    kept.turns.clear();
    kept.take(&frame, crate::storage::Position(4)).unwrap();
    assert_eq!(kept.check(5), 9);
}

#[test]
fn the_bytes_of_a_carried_message_are_as_described() {
    let message = Message::recorded(parts("dev-1", "a/b", b"hi"));
    let recorded = Record::Message {
        number: number(300),
        message,
        targets: [target(1, QoS::AtLeastOnce)].into_iter().collect(),
        reach: Reach::Here,
    };
    let mut bytes = Vec::new();
    let content = record::write(&recorded, &mut bytes).unwrap();
    let mut carried = Vec::new();
    let at = record::write_carried(number(300), &bytes[content.clone()], &mut carried);
    assert_eq!(carried[at], bytes[content]);
    assert_eq!(
        Hex(&carried).to_string(),
        "13 ac02  96e4ea7b 21 03 612f62 02 05 6465762d31 02 6869".replace(' ', "")
    );
    let mut reader = Reader::new(&carried);
    let Logged::Carried { content, .. } = record::read(&mut reader).unwrap() else {
        panic!("it is carried");
    };
    assert_eq!(message_in(&carried, content).unwrap().payload(), "hi");
    carried.pop();
    carried.push(b'o');
    assert!(message_in(&carried, content).is_err(), "the check is wrong");
}

#[test]
fn records_are_small() {
    let message = Message::recorded(parts(
        "device-000017",
        "devices/device-000017/up",
        &[7; 256],
    ));
    let queued = Record::Message {
        number: number(4_000_000_000),
        message,
        targets: [target(100_000, QoS::AtLeastOnce)].into_iter().collect(),
        reach: Reach::Here,
    };
    let settled = Record::Settled {
        session: SessionNumber(100_000),
        message: number(4_000_000_000),
    };
    let frame_len = |record| {
        let mut batch = crate::storage::log::frame::Batch::new();
        batch.push(&[record]);
        batch.frame_len()
    };
    // Each alone in its frame, which is the worst.
    assert!(frame_len(queued) <= 256 * 13 / 10 + 100);
    assert!(frame_len(settled) <= 48);
}
