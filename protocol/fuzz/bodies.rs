//! What must hold whatever a peer sends. The fuzz targets run these, and so do the ordinary tests.

#![allow(dead_code, reason = "each target uses one of them")]

use bytes::{Bytes, BytesMut};
use countersign_protocol::connection::{ClientConnection, ServerConnection};
use countersign_protocol::packet::{ForwardedProperties, Packet, Version};
use countersign_protocol::topic::{TopicFilter, TopicName};
use countersign_protocol::wire::{self, Direction, Frame, PACKET_SIZE_MAX};
use std::num::NonZeroU32;

const SPOKEN: [(Version, Direction); 4] = [
    (Version::V311, Direction::ToServer),
    (Version::V311, Direction::ToClient),
    (Version::V5, Direction::ToServer),
    (Version::V5, Direction::ToClient),
];

/// Whatever is read as a packet can be written, and is read again as the same; the error of what
/// is not is told with an error code.
pub(crate) fn read_packet(octets: &[u8]) {
    for (version, direction) in SPOKEN {
        let mut arrived = Bytes::copy_from_slice(octets);
        let read = Frame::first(&mut arrived, direction, PACKET_SIZE_MAX)
            .and_then(|frame| frame.map(|frame| wire::read(frame, version)).transpose());
        match read {
            Ok(Some(packet)) => check_again(&packet, version, direction),
            Ok(None) => assert_eq!(arrived, octets, "nothing is taken of what is not complete"),
            Err(error) => assert!(error.reason_code().is_error()),
        }
    }
}

fn check_again(packet: &Packet, version: Version, direction: Direction) {
    let mut out = BytesMut::new();
    wire::write(packet, version, &mut out).expect("it was not too large");
    assert_eq!(wire::encoded_len(packet, version), out.len());
    let mut arrived = out.freeze();
    let frame = Frame::first(&mut arrived, direction, PACKET_SIZE_MAX);
    let frame = frame.expect("we wrote it").expect("we wrote all of it");
    assert_eq!(wire::read(frame, version).as_ref(), Ok(packet));
    assert!(arrived.is_empty());
}

/// Two filters and a name, one a line: inclusion, overlap and matching do not contradict.
pub(crate) fn topic_filter(octets: &[u8]) {
    let text = String::from_utf8_lossy(octets);
    let mut lines = text.splitn(3, '\n');
    let mut filter = || TopicFilter::parse(lines.next()?).ok();
    let (Some(one), Some(other)) = (filter(), filter()) else {
        return;
    };
    for filter in [&one, &other] {
        assert!(filter.includes(filter) && filter.overlaps(filter));
        assert_eq!(filter.levels().count(), filter.levels_len());
        assert_eq!(TopicFilter::parse(filter.as_str()).as_ref(), Ok(filter));
    }
    assert_eq!(one.overlaps(&other), other.overlaps(&one));
    assert!(!one.includes(&other) || one.overlaps(&other));
    let Some(Ok(name)) = lines.next().map(TopicName::parse) else {
        return;
    };
    let matched = (one.matches(&name), other.matches(&name));
    assert!(matched != (true, true) || one.overlaps(&other));
    assert!(matched != (false, true) || !one.includes(&other));
}

/// A stream, in pieces as long as its first byte says, is what it is as a whole, for a server and
/// for a client.
pub(crate) fn connection(octets: &[u8]) {
    let Some((piece, stream)) = octets.split_first() else {
        return;
    };
    let pieces = || stream.chunks(usize::from(*piece).max(1));
    let size_max = NonZeroU32::MIN.saturating_add(1_000);
    let mut whole = ServerConnection::new(size_max, 3);
    let mut parts = ServerConnection::new(size_max, 3);
    assert_eq!(
        received([stream].into_iter(), |arrived| whole.receive(arrived)),
        received(pieces(), |arrived| parts.receive(arrived)),
    );
    for version in [Version::V311, Version::V5] {
        let mut whole = ClientConnection::new(version, size_max, 3);
        let mut parts = ClientConnection::new(version, size_max, 3);
        assert_eq!(
            received([stream].into_iter(), |arrived| whole.receive(arrived)),
            received(pieces(), |arrived| parts.receive(arrived)),
        );
    }
}

/// All packets up to the first error; nothing is taken of a packet that is not complete.
fn received<'a, E>(
    pieces: impl Iterator<Item = &'a [u8]>,
    mut receive: impl FnMut(&mut Bytes) -> Result<Option<Packet>, E>,
) -> (Vec<Packet>, Option<E>) {
    let mut packets = Vec::new();
    let mut arrived = Bytes::new();
    for piece in pieces {
        arrived = Bytes::from([&*arrived, piece].concat());
        loop {
            match receive(&mut arrived) {
                Ok(Some(packet)) => packets.push(packet),
                Ok(None) => break,
                Err(error) => return (packets, Some(error)),
            }
        }
    }
    (packets, None)
}

/// What is taken back from storage is what its parts say.
pub(crate) fn forwarded_properties(octets: &[u8]) {
    let Ok(properties) = ForwardedProperties::read(&Bytes::copy_from_slice(octets)) else {
        return;
    };
    assert_eq!(properties.as_bytes(), octets);
    assert_eq!(properties.len(), octets.len());
    let parts = properties.parts();
    let again = ForwardedProperties::from_parts(&parts).expect("it was not too long");
    assert_eq!(again.parts(), parts);
    assert_eq!(again.len(), properties.len());
}
