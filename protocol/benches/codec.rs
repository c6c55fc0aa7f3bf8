//! What a PUBLISH costs on its way through: `cargo bench -p countersign-protocol`.
//!
//! Goals: to read one of 64 bytes in 60 ns, to write it for one more subscriber in 15 ns.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "benchmarks")]

use bytes::{Bytes, BytesMut};
use countersign_protocol::connection::ServerConnection;
use countersign_protocol::delivery::Outbound;
use countersign_protocol::packet::{
    Ack, Alias, ForwardedProperties, Packet, PacketId, PublishHead, QoS, Version,
};
use countersign_protocol::topic::{TopicFilter, TopicName};
use countersign_protocol::wire::{self, PACKET_SIZE_MAX};
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use std::collections::VecDeque;
use std::num::NonZeroU16;

const CONNECT: &[u8] = b"\x10\x0E\0\x04MQTT\x05\x02\0\x3C\0\0\x01c";
const CONNECT_311: &[u8] = b"\x10\x0D\0\x04MQTT\x04\x02\0\x3C\0\x01c";
const TOPIC: &str = "devices/dev-1234/temperature";

/// How many packets come with one read.
const BATCH: usize = 64;

fn main() {
    divan::main();
}

fn head<'a>(topic: &'a TopicName, forwarded: &'a ForwardedProperties) -> PublishHead<'a> {
    PublishHead {
        dup: false,
        qos: QoS::AtLeastOnce,
        retain: false,
        packet_id: PacketId::new(7),
        topic,
        alias: Alias::None,
        message_expiry_interval: None,
        subscription_ids: &[],
        forwarded,
        payload: b"01234567890123456789012345678",
    }
}

/// A PUBLISH of 64 bytes, all counted.
fn publish(version: Version) -> BytesMut {
    let mut out = BytesMut::new();
    let topic = TopicName::parse(TOPIC).unwrap();
    let forwarded = ForwardedProperties::default();
    head(&topic, &forwarded).write(version, &mut out).unwrap();
    assert!(out.len() == 64 || version == Version::V311);
    out
}

#[divan::bench(args = [Version::V311, Version::V5])]
fn read_publish_of_64_bytes(bencher: Bencher<'_, '_>, version: Version) {
    let connect = match version {
        Version::V311 => CONNECT_311,
        Version::V5 => CONNECT,
    };
    let mut server = ServerConnection::new(PACKET_SIZE_MAX, 0);
    server.receive(&mut BytesMut::from(connect)).unwrap();
    let batch = publish(version).repeat(BATCH);
    bencher
        .counter(ItemsCount::new(BATCH))
        .with_inputs(|| BytesMut::from(&*batch))
        .bench_local_refs(|buffer| {
            while let Some(packet) = server.receive(buffer).unwrap() {
                black_box(&packet);
            }
        });
}

/// What sharing the buffer costs by itself: a frame, a name in it, and the end of both.
#[divan::bench]
fn share_64_bytes(bencher: Bencher<'_, '_>) {
    let batch = publish(Version::V5).repeat(BATCH);
    bencher
        .counter(ItemsCount::new(BATCH))
        .with_inputs(|| BytesMut::from(&*batch))
        .bench_local_refs(|buffer| {
            while !buffer.is_empty() {
                let frame = buffer.split_to(64).freeze();
                let name = frame.slice(4..32);
                black_box((frame, name));
            }
        });
}

#[divan::bench]
fn read_puback(bencher: Bencher<'_, '_>) {
    let mut server = ServerConnection::new(PACKET_SIZE_MAX, 0);
    server.receive(&mut BytesMut::from(CONNECT)).unwrap();
    let batch = b"\x40\x02\0\x07".repeat(BATCH);
    bencher
        .counter(ItemsCount::new(BATCH))
        .with_inputs(|| BytesMut::from(&*batch))
        .bench_local_refs(|buffer| {
            while let Some(packet) = server.receive(buffer).unwrap() {
                black_box(&packet);
            }
        });
}

#[divan::bench(args = [Version::V311, Version::V5])]
fn write_publish_for_one_more_subscriber(bencher: Bencher<'_, '_>, version: Version) {
    let topic = TopicName::parse(TOPIC).unwrap();
    let forwarded = ForwardedProperties::default();
    let mut out = BytesMut::with_capacity(64 * BATCH);
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        out.clear();
        for _ in 0..BATCH {
            black_box(head(&topic, &forwarded))
                .write(version, &mut out)
                .unwrap();
        }
        black_box(out.len())
    });
}

#[divan::bench]
fn write_puback(bencher: Bencher<'_, '_>) {
    let packet = Packet::Puback(Ack::success(PacketId::MIN));
    let mut out = BytesMut::with_capacity(4 * BATCH);
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        out.clear();
        for _ in 0..BATCH {
            wire::write(black_box(&packet), Version::V5, &mut out).unwrap();
        }
        black_box(out.len())
    });
}

const FILTERS: [&str; 3] = [
    "devices/dev-1234/temperature",
    "devices/+/temperature",
    "devices/dev-1234/#",
];

#[divan::bench(args = FILTERS)]
fn match_filter(bencher: Bencher<'_, '_>, filter: &str) {
    let filter = TopicFilter::parse(filter).unwrap();
    let name = TopicName::parse(TOPIC).unwrap();
    bencher.bench_local(|| black_box(&filter).matches(black_box(&name)));
}

/// A message sent and acknowledged, with others in flight.
#[divan::bench(args = [1, 20, 1_000])]
fn deliver_at_qos_1(bencher: Bencher<'_, '_>, in_flight: usize) {
    let mut outbound: Outbound<Bytes> = Outbound::new();
    outbound.open(NonZeroU16::MAX);
    let message = Bytes::from_static(b"message");
    let send =
        |outbound: &mut Outbound<Bytes>| outbound.send(message.clone(), QoS::AtLeastOnce).unwrap();
    let mut ids: VecDeque<PacketId> = (0..in_flight).map(|_| send(&mut outbound)).collect();
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        for _ in 0..BATCH {
            ids.push_back(send(&mut outbound));
            let id = ids.pop_front().unwrap();
            black_box(outbound.puback(id).unwrap());
        }
    });
}
