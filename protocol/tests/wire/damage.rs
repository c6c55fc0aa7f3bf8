//! Packets cut, bent and mixed: each is refused, awaited, or means something that can be said
//! again, and nothing panics.

use crate::strategies::{Sent, any_packet};
use crate::{cases, read_one, written};
use bytes::Bytes;
use countersign_protocol::packet::Version;
use countersign_protocol::wire::{Direction, Frame, PACKET_SIZE_MAX};
use proptest::prelude::*;
use proptest::sample::Index;

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn every_packet_is_awaited_until_its_last_byte(sent in any_packet()) {
        let bytes = written(&sent.packet, sent.version);
        let whole = Bytes::from(bytes);
        for len in 0..=whole.len() {
            let mut arrived = whole.slice(..len);
            let frame = Frame::first(&mut arrived, sent.direction, PACKET_SIZE_MAX).unwrap();
            let expected = (len == whole.len()).then_some(len);
            prop_assert_eq!(frame.map(|frame| frame.packet_len()), expected);
            prop_assert_eq!(arrived.len(), len, "nothing is taken");
        }
    }

    #[test]
    fn a_packet_that_ends_early_reads_as_nothing_else_than_it_says(sent in any_packet()) {
        let body = body(&written(&sent.packet, sent.version));
        let first = written(&sent.packet, sent.version)[0];
        // All of a short body, both ends of a long one.
        for cut in (0..body.len()).filter(|cut| *cut < 200 || body.len() - cut < 50) {
            check(&framed(first, &body[..cut]), &sent);
        }
    }
}

proptest! {
    #![proptest_config(cases(2_000))]

    #[test]
    fn no_mutation_of_a_packet_is_read_as_what_cannot_be_written(
        sent in any_packet(),
        mutations in prop::collection::vec(any_mutation(), 1..4),
        keeps_length in any::<bool>(),
    ) {
        let whole = written(&sent.packet, sent.version);
        let mut body = body(&whole);
        for mutation in &mutations {
            mutation.apply(&mut body);
        }
        if keeps_length {
            check(&framed(whole[0], &body), &sent);
        } else {
            let mut bytes = whole;
            for mutation in &mutations {
                mutation.apply(&mut bytes);
            }
            check(&bytes, &sent);
        }
    }

    #[test]
    fn no_bytes_at_all_are_read_as_what_cannot_be_written(
        bytes in prop::collection::vec(any::<u8>(), 0..64),
        sent in any_packet(),
    ) {
        check(&bytes, &sent);
        check(&framed(bytes.first().copied().unwrap_or_default(), &bytes), &sent);
    }
}

/// Whatever is read can be written, and is then read as the same.
fn check(bytes: &[u8], like: &Sent) {
    for version in [Version::V311, Version::V5] {
        for direction in [Direction::ToServer, Direction::ToClient] {
            let mut arrived = Bytes::copy_from_slice(bytes);
            let frame = Frame::first(&mut arrived, direction, PACKET_SIZE_MAX);
            let Ok(Some(packet_len)) = frame.map(|frame| frame.map(|it| it.packet_len())) else {
                continue;
            };
            let Ok(Some(packet)) = read_one(&bytes[..packet_len], version, direction) else {
                continue;
            };
            let again = written(&packet, version);
            let reread = read_one(&again, version, direction);
            assert_eq!(reread, Ok(Some(packet)), "{bytes:02x?}, made of {like:?}");
        }
    }
}

/// What one goes wrong with on the way.
#[derive(Clone, Debug)]
pub(crate) enum Mutation {
    Set(Index, u8),
    Flip(Index, u8),
    Insert(Index, u8),
    Remove(Index),
    Repeat(Index, Index),
}

pub(crate) fn any_mutation() -> impl Strategy<Value = Mutation> {
    let telling = prop::sample::select(vec![0, 1, 2, 0x23, 0x26, 0x7F, 0x80, 0xC0, 0xED, 0xFF]);
    let byte = prop_oneof![telling, any::<u8>()];
    prop_oneof![
        (any::<Index>(), byte.clone()).prop_map(|(at, byte)| Mutation::Set(at, byte)),
        (any::<Index>(), 0..8_u8).prop_map(|(at, bit)| Mutation::Flip(at, bit)),
        (any::<Index>(), byte).prop_map(|(at, byte)| Mutation::Insert(at, byte)),
        any::<Index>().prop_map(Mutation::Remove),
        (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Mutation::Repeat(from, to)),
    ]
}

impl Mutation {
    pub(crate) fn apply(&self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        // Most of what can go wrong is near the beginning.
        let len = bytes.len().min(100);
        match self {
            Self::Set(at, byte) => bytes[at.index(len)] = *byte,
            Self::Flip(at, bit) => bytes[at.index(len)] ^= 1 << bit,
            Self::Insert(at, byte) => bytes.insert(at.index(len), *byte),
            Self::Remove(at) => {
                bytes.remove(at.index(len));
            }
            Self::Repeat(from, to) => {
                let (from, to) = (from.index(len), to.index(len));
                let part = bytes[from.min(to)..from.max(to)].to_vec();
                bytes.splice(from..from, part);
            }
        }
    }
}

/// The body of a packet in its shortest form.
pub(crate) fn body(packet: &[u8]) -> Vec<u8> {
    let length_bytes = packet[1..]
        .iter()
        .take_while(|byte| **byte & 0x80 != 0)
        .count()
        + 1;
    packet[1 + length_bytes..].to_vec()
}

/// A packet with this first byte and body.
pub(crate) fn framed(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    let mut left = body.len();
    while left > 0x7F {
        packet.push(u8::try_from(left & 0x7F).unwrap() | 0x80);
        left >>= 7;
    }
    packet.push(u8::try_from(left).unwrap());
    packet.extend_from_slice(body);
    packet
}
