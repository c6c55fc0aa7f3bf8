//! A process that runs short of memory: what it gives up, in which order, and what goes on.

use super::{tcp_from, time_to_end};
use countersign_tests::prelude::*;
use countersign_tests::raw::PATIENCE;
use countersign_tests::world::{Settings, World};
use std::sync::Arc;
use std::time::Duration;

#[test]
fn a_broker_short_of_memory_takes_nothing_new() {
    let limits = "memory_bytes_max = '256 MiB'\nqueue_bytes_max = '1 GiB'\n\
                  in_flight_bytes_max = '1 GiB'\noutbox_bytes_max = '1 GiB'";
    let world = Arc::new(World::start_with(&Settings {
        limits: limits.to_owned(),
        ..Settings::default()
    }));
    let stage = Stage::on(world.clone());
    let (mut sleeper, _) = stage.lasting(V5, "sleeper");
    sleeper.subscribe(&stage.topic("t"), 1);
    let mut publisher = stage.client(V5, "pub");
    let payload = "x".repeat(900_000);
    let mut publish = |qos| {
        publisher.send_publish(&Publish::new(stage.topic("t"), &payload).qos(qos).id(1));
        if qos == 0 {
            publisher.expect_alive();
            return 0;
        }
        publisher.expect_ack(Kind::Puback).code
    };
    // Nothing of it is read.
    let mut taken = 0;
    while publish(1) < 0x80 {
        taken += 1;
        assert!(taken < 2000, "it takes everything");
    }
    assert_eq!(publish(1), 0x97);
    world
        .log()
        .expect_line(&["memory is short", "no message is taken"]);
    let resident = world.memory("VmRSS:");
    assert!(resident < 2 * 256 * 1024, "{resident} KiB");
    publish(0);
    let waited = time_to_end(&mut tcp_from(1, world.address()), PATIENCE);
    assert!(
        waited < Duration::from_secs(1),
        "a newcomer is closed: {waited:?}"
    );
    // Who is in, is served: the first message that waits can be had and acknowledged.
    sleeper.take();
    assert!(world.counted("publishes_refused_memory") >= 3);
}
