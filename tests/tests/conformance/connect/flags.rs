//! Connect flags: what they announce must be there, and nothing else.
//!
//! A CONNECT whose flags and payload disagree is malformed.

use crate::{EITHER, refuses};
use countersign_tests::prelude::*;

const WILL_QOS_1: u8 = 0b0000_1000;
const WILL_RETAIN: u8 = 0b0010_0000;
const WILL: u8 = 0b0000_0100;
const PASSWORD: u8 = 0b0100_0000;
const USER_NAME: u8 = 0b1000_0000;

fn connect() -> Connect {
    Connect::new(V5, "a")
}

#[test]
fn mqtt_3_1_2_9_a_will_announced_must_be_there() {
    refuses(&connect().flip(WILL).bytes(), &EITHER);
}

#[test]
fn mqtt_3_1_2_9_a_will_not_announced_must_not_be_there() {
    refuses(
        &connect().will(&Will::new("w", "x")).flip(WILL).bytes(),
        &EITHER,
    );
}

#[test]
fn mqtt_3_1_2_11_without_a_will_its_qos_is_0() {
    refuses(&connect().flip(WILL_QOS_1).bytes(), &EITHER);
    refuses(&connect().flip(WILL_QOS_1 << 1).bytes(), &EITHER);
}

#[test]
fn mqtt_3_1_2_12_a_will_of_qos_3_is_refused() {
    refuses(
        &connect().will(&Will::new("w", "x").qos(3)).bytes(),
        &EITHER,
    );
}

#[test]
fn mqtt_3_1_2_12_a_will_of_every_qos_is_accepted() {
    let stage = Stage::new();
    for qos in 0..3 {
        let will = Will::new(stage.topic("w"), "x").qos(qos);
        stage
            .open("a", &stage.connect(V5, "a").will(&will))
            .0
            .leave();
    }
}

#[test]
fn mqtt_3_1_2_13_without_a_will_its_retain_flag_is_0() {
    refuses(&connect().flip(WILL_RETAIN).bytes(), &EITHER);
}

#[test]
fn mqtt_3_1_2_16_a_user_name_not_announced_must_not_be_there() {
    refuses(&connect().user_name("u").flip(USER_NAME).bytes(), &EITHER);
}

#[test]
fn mqtt_3_1_2_17_a_user_name_announced_must_be_there() {
    refuses(&connect().flip(USER_NAME).bytes(), &EITHER);
}

#[test]
fn mqtt_3_1_2_18_a_password_not_announced_must_not_be_there() {
    refuses(
        &connect()
            .user_name("u")
            .password("p")
            .flip(PASSWORD)
            .bytes(),
        &EITHER,
    );
}

#[test]
fn mqtt_3_1_2_19_a_password_announced_must_be_there() {
    refuses(&connect().user_name("u").flip(PASSWORD).bytes(), &EITHER);
}

/// 5.0 allows what 3.1.1 did not.
#[test]
fn mqtt_3_1_2_a_password_needs_no_user_name() {
    let stage = Stage::new();
    stage.open("a", &stage.connect(V5, "a").password("p"));
}

/// The certificate has said who it is.
#[test]
fn mqtt_3_1_2_19_user_name_and_password_are_taken_and_mean_nothing() {
    let stage = Stage::new();
    stage.open(
        "a",
        &stage.connect(V5, "a").user_name("root").password([0, 0xff]),
    );
}
