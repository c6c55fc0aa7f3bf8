//! The same again and again: nothing may add up.
//!
//! A second and a third round raise the peak of memory by less than a tenth.

use crate::Cage;
use countersign_tests::prelude::*;
use countersign_tests::rounds::expect_flat_memory;
use socket2::SockRef;
use std::time::Duration;

#[test]
fn cve_2023_28366_one_qos_2_packet_id_again_and_again() {
    one_packet_id(4_000);
}

#[test]
#[ignore = "long; scripts/test --long runs it"]
fn long_cve_2023_28366_one_qos_2_packet_id_a_hundred_thousand_times() {
    one_packet_id(100_000);
}

fn one_packet_id(count: usize) {
    let cage = Cage::new();
    let stage = Stage::on(cage.world.clone());
    let mut observer = stage.client(V5, "observer");
    observer.subscribe(&stage.topic("#"), 0);
    expect_flat_memory(&cage.world, || {
        let (mut client, _) = stage.lasting(V5, "a");
        let publish = Publish::new(stage.topic("t"), "x".repeat(100)).qos(2).id(1);
        let both = [publish.bytes(V5), publish.dup().bytes(V5)]
            .concat()
            .repeat(10);
        for _ in 0..count / 20 {
            client.send(&both);
            (0..20).for_each(|_| client.expect_success(Kind::Pubrec, 1));
        }
        client.send(&request::ack(Kind::Pubrel, 1));
        client.expect_success(Kind::Pubcomp, 1);
    });
    assert_eq!(observer.drain().len(), 3, "one message a round");
    cage.open();
}

#[test]
fn cve_2023_28366_a_pubrec_that_is_never_answered() {
    let cage = Cage::new();
    let stage = Stage::on(cage.world.clone());
    let mut publisher = stage.client(V5, "pub");
    expect_flat_memory(&cage.world, || {
        let mut client = stage.client(V5, "a");
        client.subscribe(&stage.topic("t"), 2);
        for _ in 0..1000 {
            publisher.publish(&Publish::new(stage.topic("t"), "x".repeat(1000)).qos(2));
            let id = client.expect_publish().id.unwrap();
            client.send(&request::ack(Kind::Pubrec, id));
            client.expect_success(Kind::Pubrel, id);
        }
        client.vanish();
    });
    cage.open();
}

/// Each came in a read of its own; that read's buffer must not live as long as the message.
#[test]
fn small_messages_in_flight_do_not_pin_the_buffers_they_came_in() {
    let cage = Cage::new();
    let stage = Stage::on(cage.world.clone());
    let mut client = stage.client(V5, "a");
    client.subscribe(&stage.topic("t"), 1);
    let mut publisher = stage.client(V5, "pub");
    let before = cage.world.memory("VmData:");
    for _ in 0..1000 {
        publisher.publish(&Publish::new(stage.topic("t"), "x".repeat(100)).qos(1));
        client.expect_publish();
    }
    let after = cage.world.memory("VmData:");
    assert!(
        after < before + 4 * 1024,
        "1,000 messages of 100 bytes cost {} KiB",
        after - before
    );
    cage.open();
}

#[test]
fn cve_2017_7654_malformed_connects_and_wills() {
    malformed_connects(200);
}

#[test]
#[ignore = "long; scripts/test --long runs it"]
fn long_cve_2017_7654_twenty_thousand_malformed_connects_and_wills() {
    malformed_connects(20_000);
}

/// Also CVE-2021-34431 and CVE-2023-3592.
fn malformed_connects(count: usize) {
    let cage = Cage::new();
    let stage = Stage::on(cage.world.clone());
    let will = |bytes: &[u8]| {
        let will = Will::new(stage.topic("w"), "x".repeat(1000)).with_bytes(bytes);
        stage.connect(V5, "a").will(&will).bytes()
    };
    let wrong = [
        will(b"\x18\x00"),
        will(b"\x01\x02"),
        will(b"\x26\x00\x01a\x00\x01\xff"),
        will(b"\x09\x00\x01a\x09\x00\x01b"),
        stage.connect(V5, "a").flip(1).bytes(),
        stage
            .connect(V5, "a")
            .user_name("x".repeat(60_000))
            .flip(0x80)
            .bytes(),
        stage.connect(V5, "a").with_bytes(b"\x21\x00\x00").bytes(),
        stage.connect(V311, "\u{0}").bytes(),
    ];
    expect_flat_memory(&cage.world, || {
        for packet in wrong.iter().cycle().take(count) {
            let mut raw = stage.raw("a");
            raw.send(packet);
            raw.expect_refused(&[0x81, 0x82, 0x85, 0x02]);
        }
    });
    cage.open();
}

#[test]
fn cve_2016_10523_malformed_disconnects_and_resets() {
    disconnects_and_resets(200);
}

#[test]
#[ignore = "long; scripts/test --long runs it"]
fn long_cve_2016_10523_five_thousand_malformed_disconnects_and_resets() {
    disconnects_and_resets(5_000);
}

fn disconnects_and_resets(count: usize) {
    let cage = Cage::new();
    let stage = Stage::on(cage.world.clone());
    expect_flat_memory(&cage.world, || {
        for number in 0..count {
            let mut client = stage.client(V5, "a");
            if number % 2 == 0 {
                client.send(b"\xe0\x02\x00\x7f");
                client.expect_closed_with(&[0x81, 0x82]);
            } else {
                client.send(&Subscribe::new(1).filter(stage.topic("#"), 0).bytes(V5));
                reset(client);
            }
        }
    });
    cage.open();
}

/// Ends the connection with RST in place of FIN.
fn reset(client: Client) {
    let socket = client.raw.socket();
    SockRef::from(&socket)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(client);
    drop(socket);
}
