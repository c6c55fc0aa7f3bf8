//! Malformed packets and packets at the wrong time in 3.1.1.
//!
//! Each closes the connection without a word.

use super::closes;
use countersign_tests::prelude::*;

#[test]
fn mqtt311_2_2_2_2_wrong_flags_close() {
    for head in [0x41, 0x52, 0x60, 0x6f, 0x71, 0xc1, 0xe1] {
        let body: &[u8] = if head < 0x80 { &[0, 1] } else { &[] };
        closes(&request::packet(head, body));
    }
}

#[test]
fn mqtt311_3_14_1_1_disconnect_has_nothing_in_it() {
    closes(b"\xe8\x00");
    closes(b"\xe0\x01\x00");
}

#[test]
fn mqtt311_3_6_1_1_pubrel_has_the_flags_0010() {
    for flags in [0, 1, 3, 6] {
        closes(&request::packet(0x60 | flags, &[0, 1]));
    }
}

#[test]
fn mqtt311_2_2_1_reserved_packet_types_close() {
    closes(b"\x00\x00");
    closes(b"\xf0\x00");
}

#[test]
fn mqtt311_4_8_0_1_packets_of_a_server_close() {
    for wrong in [
        &b"\x20\x02\x00\x00"[..],
        b"\x90\x03\x00\x01\x00",
        b"\xb0\x02\x00\x01",
        b"\xd0\x00",
    ] {
        closes(wrong);
    }
}

#[test]
fn mqtt311_4_8_0_1_acknowledgements_have_two_bytes() {
    for head in [0x40, 0x50, 0x62, 0x70] {
        closes(&request::packet(head, &[]));
        closes(&request::packet(head, &[0]));
        closes(&request::packet(head, &[0, 0]));
        closes(&request::packet(head, &[0, 1, 0]));
    }
}

#[test]
fn mqtt311_2_2_3_a_remaining_length_of_five_bytes_closes() {
    closes(b"\x30\x80\x80\x80\x80\x01");
    closes(b"\x30\xff\xff\xff\xff\x7f");
}

#[test]
fn mqtt311_4_8_0_1_packets_cut_within_a_field_close() {
    for whole in [
        Publish::new("topic", "").qos(1).id(1).bytes(V311),
        Subscribe::new(1).filter("filter", 0).bytes(V311),
        request::unsubscribe(V311, 1, &["filter"]),
    ] {
        for len in 2..whole.len() {
            closes(&request::packet(whole[0], &whole[2..len]));
        }
    }
}

#[test]
fn mqtt311_4_8_0_2_an_error_touches_nobody_else() {
    let stage = Stage::new();
    let mut bystander = stage.client(V311, "bystander");
    bystander.subscribe(&stage.topic("t"), 1);
    closes(b"\x00\x00");
    stage
        .client(V311, "pub")
        .publish(&Publish::new(stage.topic("t"), "x").qos(1));
    bystander.take();
}

#[test]
fn mqtt311_3_14_4_2_nothing_behind_disconnect_is_processed() {
    let stage = Stage::new();
    let mut subscriber = stage.client(V311, "sub");
    subscriber.subscribe(&stage.topic("t"), 0);
    let mut client = stage.client(V311, "a");
    let publish = |payload| Publish::new(stage.topic("t"), payload).bytes(V311);
    client.send(&[publish("before"), request::disconnect(), publish("behind")].concat());
    client.raw.expect_closed();
    subscriber.expect_message("before");
    subscriber.expect_nothing();
}
