//! Expiry: nobody stays longer than its certificate.

use super::expect_cut;
use crate::Cage;
use countersign_tests::prelude::*;
use std::time::Duration;

#[test]
fn a_device_whose_certificate_expires_is_closed_with_a_reason() {
    let cage = Cage::new();
    for version in BOTH {
        let id = format!("short-{version:?}");
        let identity = cage
            .world
            .authority()
            .short_lived(&id, Duration::from_secs(3));
        let raw = Raw::connect(cage.world.address(), &identity);
        let (mut client, connack) = Client::open(raw, &Connect::new(version, &id));
        assert_eq!(connack.code, 0);
        client.expect_alive();
        cage.world
            .log()
            .expect_line(&["connection closed", &id, "no longer trusted: expired"]);
        expect_cut(&mut client, 0x87);
    }
    cage.open();
}

#[test]
fn a_renewed_certificate_takes_the_session_over_and_nothing_is_lost() {
    let stage = Stage::new();
    let (mut old, _) = stage.lasting(V5, "renews");
    old.subscribe(&stage.topic("t"), 1);
    let mut publisher = stage.client(V5, "publisher");
    publisher.publish(&Publish::new(stage.topic("t"), "1").qos(1));
    let renewed = stage
        .world()
        .authority()
        .short_lived(&stage.id("renews"), Duration::from_hours(1));
    let connect = stage.connect(V5, "renews").resume().expiry(600);
    let raw = Raw::connect(stage.world().address(), &renewed);
    let (mut new, connack) = Client::open(raw, &connect);
    assert!(connack.session_present);
    publisher.publish(&Publish::new(stage.topic("t"), "2").qos(1));
    new.expect_message("1");
    new.expect_message("2");
    old.expect_message("1");
    old.expect_disconnect(0x8e);
}
