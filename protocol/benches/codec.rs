//! What a PUBLISH costs on its way through: `cargo bench -p countersign-protocol`.
//!
//! Goals: to read one of 64 bytes in 60 ns where it comes alone and in 40 ns where it comes with
//! others, to write it for one more subscriber in 15 ns.
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

/// A PUBLISH of 64 bytes, all counted, where it is one of 5.0 and of QoS 1.
fn publish(topic: &str, qos: QoS, version: Version) -> BytesMut {
    let mut out = BytesMut::new();
    let topic = TopicName::parse(topic).unwrap();
    let forwarded = ForwardedProperties::default();
    let head = PublishHead {
        qos,
        packet_id: (qos != QoS::AtMostOnce).then_some(PacketId::MIN),
        ..head(&topic, &forwarded)
    };
    head.write(version, &mut out).unwrap();
    assert!(out.len() == 64 || (version, qos) != (Version::V5, QoS::AtLeastOnce));
    out
}

/// A server whose client has said its CONNECT.
fn server(version: Version) -> ServerConnection {
    let connect = match version {
        Version::V311 => CONNECT_311,
        Version::V5 => CONNECT,
    };
    let mut server = ServerConnection::new(PACKET_SIZE_MAX, 0);
    server.receive(&mut Bytes::from_static(connect)).unwrap();
    server
}

/// All packets of a chunk, as one read brings them.
fn receive_all(server: &mut ServerConnection, chunk: BytesMut, packets: &mut Vec<Packet>) {
    let mut chunk = chunk.freeze();
    while server
        .receive_into(&mut chunk, |packet| packets.push(packet))
        .unwrap()
    {}
    black_box(packets);
}

/// Reads chunks of so many packets, the end of both included.
fn read(bencher: Bencher<'_, '_>, version: Version, (chunk, len): (&[u8], usize)) {
    let mut server = server(version);
    let mut packets = Vec::with_capacity(len);
    bencher
        .counter(ItemsCount::new(len))
        .with_inputs(|| BytesMut::from(chunk))
        .bench_local_values(|chunk| {
            receive_all(&mut server, chunk, &mut packets);
            packets.clear();
        });
}

const QOS: [QoS; 2] = [QoS::AtMostOnce, QoS::AtLeastOnce];
const VERSIONS: [Version; 2] = [Version::V311, Version::V5];

#[divan::bench(args = QOS)]
fn read_publish_alone(bencher: Bencher<'_, '_>, qos: QoS) {
    read(bencher, Version::V5, (&publish(TOPIC, qos, Version::V5), 1));
}

#[divan::bench(args = VERSIONS)]
fn read_publish_among_300(bencher: Bencher<'_, '_>, version: Version) {
    let chunk = publish(TOPIC, QoS::AtMostOnce, version).repeat(300);
    read(bencher, version, (&chunk, 300));
}

/// The reading alone: the packets live on.
#[divan::bench(args = VERSIONS)]
fn read_and_keep_publish_among_300(bencher: Bencher<'_, '_>, version: Version) {
    let chunk = publish(TOPIC, QoS::AtMostOnce, version).repeat(300);
    let mut server = server(version);
    bencher
        .counter(ItemsCount::new(300_usize))
        .with_inputs(|| (BytesMut::from(&*chunk), Vec::with_capacity(300)))
        .bench_local_values(|(chunk, mut packets)| {
            receive_all(&mut server, chunk, &mut packets);
            packets
        });
}

/// From a client that never says the same topic twice in a row.
#[divan::bench(args = [2, 4, 100])]
fn read_publish_among_300_of_topics(bencher: Bencher<'_, '_>, topics: usize) {
    let publishes = (0..300).map(|n| {
        let topic = format!("devices/dev-1234/temp/{:06}", n % topics);
        publish(&topic, QoS::AtMostOnce, Version::V5)
    });
    let chunk = publishes.collect::<Vec<_>>().concat();
    read(bencher, Version::V5, (&chunk, 300));
}

#[divan::bench]
fn read_puback_among_300(bencher: Bencher<'_, '_>) {
    read(bencher, Version::V5, (&b"\x40\x02\0\x07".repeat(300), 300));
}

#[divan::bench]
fn read_puback_alone(bencher: Bencher<'_, '_>) {
    read(bencher, Version::V5, (b"\x40\x02\0\x07", 1));
}

/// What sharing the buffer costs by itself: a frame, a name in it, and the end of both.
#[divan::bench]
fn share_64_bytes(bencher: Bencher<'_, '_>) {
    let batch = publish(TOPIC, QoS::AtLeastOnce, Version::V5).repeat(BATCH);
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

#[divan::bench(args = VERSIONS)]
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
    let send = |outbound: &mut Outbound<Bytes>| {
        let sent = outbound.send(message.clone(), QoS::AtLeastOnce);
        sent.unwrap().0
    };
    let mut ids: VecDeque<PacketId> = (0..in_flight).map(|_| send(&mut outbound)).collect();
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        for _ in 0..BATCH {
            ids.push_back(send(&mut outbound));
            let id = ids.pop_front().unwrap();
            black_box(outbound.puback(id).unwrap());
        }
    });
}
