//! Two connections of one session: the newcomer has it.
//!
//! There is never more than one connection of a session.

use countersign_tests::prelude::*;

const TAKEN_OVER: u8 = 0x8e;

#[test]
fn mqtt_3_1_4_3_the_older_connection_is_told_and_closed() {
    let stage = Stage::new();
    let mut old = stage.client(V5, "a");
    let mut new = stage.client(V5, "a");
    old.expect_disconnect(TAKEN_OVER);
    new.expect_alive();
}

/// [MQTT-3.1.2-5] [MQTT-4.1.0-1]
#[test]
fn mqtt_3_1_4_3_the_newcomer_resumes_the_session() {
    let stage = Stage::new();
    let (mut old, _) = stage.lasting(V5, "a");
    old.subscribe(&stage.topic("t"), 1);
    let mut publisher = stage.client(V5, "pub");
    publisher.publish(&Publish::new(stage.topic("t"), "unacknowledged").qos(1));
    let first = old.expect_message("unacknowledged");

    let (mut new, present) = stage.lasting(V5, "a");
    assert!(present);
    old.expect_disconnect(TAKEN_OVER);
    let again = new.expect_message("unacknowledged");
    assert!(again.dup);
    assert_eq!(again.id, first.id);
    publisher.publish(&Publish::new(stage.topic("t"), "next").qos(1));
    new.expect_message("next");
}

/// [MQTT-3.1.2-4]
#[test]
fn mqtt_3_1_4_3_a_clean_newcomer_finds_nothing() {
    let stage = Stage::new();
    let (mut old, _) = stage.lasting(V5, "a");
    old.subscribe(&stage.topic("t"), 1);
    let mut new = stage.client(V5, "a");
    old.expect_disconnect(TAKEN_OVER);
    stage
        .client(V5, "pub")
        .publish(&Publish::new(stage.topic("t"), "x").qos(1));
    new.expect_nothing();
}

#[test]
fn mqtt_3_1_4_3_of_ten_in_a_row_the_last_remains() {
    let stage = Stage::new();
    let mut clients: Vec<Client> = (0..10).map(|_| stage.client(V5, "a")).collect();
    let mut last = clients.pop().unwrap();
    for mut client in clients {
        client.expect_disconnect(TAKEN_OVER);
    }
    last.expect_alive();
}

#[test]
fn mqtt_3_1_4_3_another_version_takes_over_too() {
    let stage = Stage::new();
    let mut old = stage.client(V311, "a");
    let mut new = stage.client(V5, "a");
    old.raw.expect_closed();
    new.expect_alive();
    let mut newest = stage.client(V311, "a");
    new.expect_disconnect(TAKEN_OVER);
    newest.expect_alive();
}

/// Neither the delay nor the session is over, so [MQTT-3.1.3-9] holds.
#[test]
fn mqtt_3_1_3_9_a_delayed_will_is_dropped_when_the_session_goes_on() {
    let stage = Stage::new();
    let mut observer = stage.client(V5, "observer");
    observer.subscribe(&stage.topic("will"), 0);
    let will = Will::new(stage.topic("will"), "x").with(&Property::WillDelay(1));
    let connect = stage.connect(V5, "a").resume().expiry(60);
    let (mut old, _) = stage.open("a", &connect.clone().will(&will));
    let (_new, _) = stage.open("a", &connect);
    old.expect_disconnect(TAKEN_OVER);
    std::thread::sleep(std::time::Duration::from_millis(1500));
    observer.expect_nothing();
}

#[test]
fn mqtt_3_1_2_8_a_will_without_delay_is_published_at_takeover() {
    let stage = Stage::new();
    let mut observer = stage.client(V5, "observer");
    observer.subscribe(&stage.topic("will"), 0);
    let will = Will::new(stage.topic("will"), "taken over");
    let connect = stage.connect(V5, "a").resume().expiry(60);
    let (_old, _) = stage.open("a", &connect.clone().will(&will));
    let (_new, _) = stage.open("a", &connect);
    observer.expect_message("taken over");
}

#[test]
fn mqtt_3_1_2_8_a_will_is_published_when_a_clean_start_ends_its_session() {
    let stage = Stage::new();
    let mut observer = stage.client(V5, "observer");
    observer.subscribe(&stage.topic("will"), 0);
    let will = Will::new(stage.topic("will"), "ended").with(&Property::WillDelay(600));
    let connect = stage.connect(V5, "a").expiry(600);
    let (_old, _) = stage.open("a", &connect.clone().will(&will));
    let (_new, _) = stage.open("a", &connect);
    observer.expect_message("ended");
}
