//! What may wait for a session that is away, and how long.
//!
//! Bounded by rule; what was taken is kept, the newcomer is dropped.

use crate::Cage;
use countersign_tests::prelude::*;

#[test]
fn a_sleeping_session_collects_no_more_bytes_than_its_queue_holds() {
    let cage = Cage::with_limits("queue_bytes_max = '1 MiB'");
    let stage = Stage::on(cage.world.clone());
    let (mut sleeper, _) = stage.lasting(V5, "sleeper");
    sleeper.subscribe(&stage.topic("t"), 1);
    sleeper.leave();
    let before = cage.world.memory("VmRSS:");
    let mut publisher = stage.client(V5, "pub");
    for number in 0..1000 {
        let payload = format!("{number:010}").repeat(6_400);
        publisher.publish(&Publish::new(stage.topic("t"), payload).qos(1));
    }
    let grown = cage.world.memory("VmHWM:").saturating_sub(before);
    assert!(grown < 8 * 1024, "{grown} KiB for 64 MB published");
    let (mut awake, _) = stage.lasting(V5, "sleeper");
    let came = awake.drain();
    let bytes: usize = came.iter().map(|frame| frame.body.len()).sum();
    assert!(
        (900_000..1_100_000).contains(&bytes),
        "{bytes} bytes were kept"
    );
    for (number, frame) in came.iter().enumerate() {
        let kept = Published::read(frame, V5);
        assert_eq!(
            kept.text()[..10],
            format!("{number:010}"),
            "the oldest are kept, in order"
        );
    }
    cage.open();
}

#[test]
fn a_sleeping_session_collects_no_more_messages_than_its_queue_holds() {
    let cage = Cage::with_limits("queue_len_max = 100");
    let stage = Stage::on(cage.world.clone());
    let (mut sleeper, _) = stage.lasting(V5, "sleeper");
    sleeper.subscribe(&stage.topic("t"), 1);
    sleeper.leave();
    let mut publisher = stage.client(V5, "pub");
    for number in 0..300 {
        publisher.publish(&Publish::new(stage.topic("t"), number.to_string()).qos(1));
    }
    let (mut awake, _) = stage.lasting(V5, "sleeper");
    let texts: Vec<_> = awake
        .drain()
        .iter()
        .map(|frame| Published::read(frame, V5).text().parse::<usize>().unwrap())
        .collect();
    assert_eq!(texts, (0..100).collect::<Vec<_>>());
    cage.open();
}

#[test]
fn a_session_that_wants_to_live_for_ever_is_told_how_long_it_will() {
    let cage = Cage::with_limits("session_expiry_max = '1 s'");
    let stage = Stage::on(cage.world.clone());
    for asked in [2, 600, u32::MAX] {
        let connect = stage.connect(V5, "a").resume().expiry(asked);
        let (_client, connack) = stage.open("a", &connect);
        assert!(
            connack.properties.contains(&Property::SessionExpiry(1)),
            "{connack:?}"
        );
    }
    std::thread::sleep(std::time::Duration::from_millis(2200));
    let (_, connack) = stage.open("a", &stage.connect(V5, "a").resume());
    assert!(!connack.session_present, "it lived a second");
    cage.open();
}

#[test]
fn a_will_that_wants_to_wait_for_ever_waits_as_long_as_its_session() {
    let cage = Cage::with_limits("session_expiry_max = '1 s'");
    let stage = Stage::on(cage.world.clone());
    let mut observer = stage.client(V5, "observer");
    observer.subscribe(&stage.topic("will"), 0);
    let will = Will::new(stage.topic("will"), "x").with(&Property::WillDelay(u32::MAX));
    let connect = stage.connect(V5, "a").expiry(u32::MAX).will(&will);
    stage.open("a", &connect).0.vanish();
    observer.expect_message("x");
    cage.open();
}
