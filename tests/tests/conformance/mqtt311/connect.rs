//! CONNECT and CONNACK of 3.1.1.
//!
//! A refusal has a return code of its table, or is silent.

use super::refuses;
use countersign_tests::prelude::*;
use std::time::{Duration, Instant};

const NOT_AUTHORIZED: u8 = 0x05;

fn connect() -> Connect {
    Connect::new(V311, "a")
}

#[test]
fn mqtt311_3_1_4_4_a_good_connect_is_acknowledged() {
    let stage = Stage::new();
    let mut raw = stage.raw("a");
    raw.send(&stage.connect(V311, "a").bytes());
    raw.expect_hex("20 02 00 00");
}

#[test]
fn mqtt311_3_1_0_2_a_second_connect_closes() {
    let stage = Stage::new();
    let (mut client, _) = stage.open("a", &stage.connect(V311, "a"));
    client.send(&stage.connect(V311, "a").bytes());
    client.raw.expect_closed();
}

#[test]
fn mqtt311_3_1_2_1_another_protocol_name_is_refused() {
    refuses(&connect().protocol("MQTQ", 4).bytes(), 0x01);
}

#[test]
fn mqtt311_3_1_2_2_an_unknown_level_is_refused() {
    for level in [0, 1, 2, 3] {
        refuses(&connect().protocol("MQTT", level).bytes(), 0x01);
    }
}

#[test]
fn mqtt311_3_1_2_3_the_reserved_connect_flag_must_be_0() {
    refuses(&connect().flip(1).bytes(), NOT_AUTHORIZED);
}

#[test]
fn mqtt311_3_1_2_9_a_will_announced_must_be_there() {
    refuses(&connect().flip(0b0000_0100).bytes(), NOT_AUTHORIZED);
}

#[test]
fn mqtt311_3_1_2_11_without_a_will_its_qos_and_retain_are_0() {
    refuses(&connect().flip(0b0000_1000).bytes(), NOT_AUTHORIZED);
    refuses(&connect().flip(0b0001_0000).bytes(), NOT_AUTHORIZED);
    refuses(&connect().flip(0b0010_0000).bytes(), NOT_AUTHORIZED);
}

#[test]
fn mqtt311_3_1_2_14_a_will_of_qos_3_is_refused() {
    refuses(
        &connect().will(&Will::new("w", "x").qos(3)).bytes(),
        NOT_AUTHORIZED,
    );
}

#[test]
fn mqtt311_3_1_2_18_a_user_name_not_announced_must_not_be_there() {
    refuses(
        &connect().user_name("u").flip(0b1000_0000).bytes(),
        NOT_AUTHORIZED,
    );
}

#[test]
fn mqtt311_3_1_2_19_a_user_name_announced_must_be_there() {
    refuses(&connect().flip(0b1000_0000).bytes(), NOT_AUTHORIZED);
}

#[test]
fn mqtt311_3_1_2_21_a_password_announced_must_be_there() {
    refuses(
        &connect().user_name("u").flip(0b0100_0000).bytes(),
        NOT_AUTHORIZED,
    );
}

#[test]
fn mqtt311_3_1_2_22_a_password_needs_a_user_name() {
    refuses(&connect().password("p").bytes(), 0x04);
}

#[test]
fn mqtt311_3_1_2_24_silence_of_one_and_a_half_intervals_closes() {
    let stage = Stage::new();
    let start = Instant::now();
    let (mut client, _) = stage.open("a", &stage.connect(V311, "a").keep_alive(1));
    client.raw.expect_closed();
    let waited = start.elapsed();
    assert!(
        waited >= Duration::from_millis(1400),
        "closed after {waited:?}"
    );
    assert!(waited < Duration::from_secs(4), "closed after {waited:?}");
}

#[test]
fn mqtt311_3_1_2_10_a_keep_alive_of_0_turns_it_off() {
    let stage = Stage::new();
    let (mut client, _) = stage.open("a", &stage.connect(V311, "a").keep_alive(0));
    client.raw.expect_silence(Duration::from_secs(2));
    client.expect_alive();
}

#[test]
fn mqtt311_3_1_3_1_all_fields_in_their_order() {
    let stage = Stage::new();
    let mut observer = stage.client(V311, "observer");
    observer.subscribe(&stage.topic("will"), 0);
    let will = Will::new(stage.topic("will"), "payload");
    let connect = stage
        .connect(V311, "a")
        .will(&will)
        .user_name("u")
        .password([0, 1]);
    stage.open("a", &connect).0.vanish();
    observer.expect_message("payload");
}

#[test]
fn mqtt311_3_1_3_4_the_client_id_must_be_utf_8() {
    refuses(&Connect::new(V311, b"\xff").bytes(), 0x02);
    refuses(&Connect::new(V311, b"a\0").bytes(), 0x02);
}

#[test]
fn mqtt311_3_1_3_5_letters_and_digits_make_a_client_id() {
    let stage = Stage::new();
    for id in ["9", "0123456789ABCDEFGHIJKLM", "abcdefghijklmnopqrstuvw"] {
        stage.open("a", &Connect::new(V311, id)).0.leave();
    }
}

#[test]
fn mqtt311_3_1_3_6_an_empty_client_id_is_replaced() {
    let stage = Stage::new();
    let clean = Connect::new(V311, "");
    let (mut one, _) = stage.open("a", &clean);
    let (mut two, _) = stage.open("a", &clean);
    one.expect_alive();
    two.expect_alive();
}

#[test]
fn mqtt311_3_1_3_8_an_empty_client_id_cannot_have_a_lasting_session() {
    let stage = Stage::new();
    let mut raw = stage.raw("a");
    raw.send(&Connect::new(V311, "").resume().bytes());
    raw.expect_hex("20 02 00 02");
    raw.expect_closed();
}

#[test]
fn mqtt311_3_1_3_9_a_client_id_not_permitted_is_refused() {
    let stage = Stage::new();
    let app = stage.world().authority().app(&stage.id("app"));
    let mut raw = Raw::connect(stage.world().address(), &app);
    raw.send(&Connect::new(V311, stage.id("other")).bytes());
    raw.expect_hex("20 02 00 02");
    raw.expect_closed();
}

#[test]
fn mqtt311_3_1_3_10_the_will_topic_must_be_utf_8() {
    refuses(
        &connect().will(&Will::new(b"\xff", "x")).bytes(),
        NOT_AUTHORIZED,
    );
}

#[test]
fn mqtt311_3_1_3_11_the_user_name_must_be_utf_8() {
    refuses(&connect().user_name(b"\xff").bytes(), 0x04);
}

#[test]
fn mqtt311_3_1_4_1_a_connect_cut_short_or_too_long_is_refused() {
    let body = connect().body();
    for len in 0..body.len() {
        refuses(&request::packet(0x10, &body[..len]), 0x01);
    }
    refuses(
        &request::packet(0x10, &[body, vec![0]].concat()),
        NOT_AUTHORIZED,
    );
}

#[test]
fn mqtt311_3_1_4_2_an_older_connection_is_closed() {
    let stage = Stage::new();
    let mut old = stage.client(V311, "a");
    let mut new = stage.client(V311, "a");
    old.raw.expect_closed();
    new.expect_alive();
}

#[test]
fn mqtt311_3_1_4_5_nothing_behind_a_refused_connect_is_processed() {
    let stage = Stage::new();
    let mut subscriber = stage.client(V311, "sub");
    subscriber.subscribe(&stage.topic("#"), 0);
    let mut raw = stage.raw("a");
    let publish = Publish::new(stage.topic("t"), "x").bytes(V311);
    raw.send(&[Connect::new(V311, "").resume().bytes(), publish].concat());
    raw.expect_refused(&[0x02]);
    subscriber.expect_nothing();
}

#[test]
fn mqtt311_3_2_0_1_the_first_packet_is_connack() {
    let stage = Stage::new();
    let mut raw = stage.raw("a");
    let subscribe = Subscribe::new(7).filter(stage.topic("t"), 1).bytes(V311);
    let connect = stage.connect(V311, "a").bytes();
    raw.send(&[connect, subscribe, request::pingreq()].concat());
    raw.expect_hex("20 02 00 00");
    let kinds = [raw.expect_packet().kind(), raw.expect_packet().kind()];
    assert!(
        kinds.contains(&Kind::Suback) && kinds.contains(&Kind::Pingresp),
        "{kinds:?}"
    );
}

#[test]
fn mqtt311_3_2_2_1_after_a_clean_session_none_is_present() {
    let stage = Stage::new();
    stage.lasting(V311, "a").0.leave();
    let (_, connack) = stage.open("a", &stage.connect(V311, "a"));
    assert!(!connack.session_present);
}

#[test]
fn mqtt311_3_2_2_2_session_present_tells_whether_there_was_one() {
    let stage = Stage::new();
    let (client, present) = stage.lasting(V311, "a");
    assert!(!present, "[MQTT-3.2.2-3]");
    client.leave();
    assert!(stage.lasting(V311, "a").1);
}

#[test]
fn mqtt311_3_12_4_1_a_ping_is_answered() {
    Stage::new().client(V311, "a").expect_alive();
}
