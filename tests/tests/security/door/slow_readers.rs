//! Subscribers that stop reading.
//!
//! What waits for one is bounded; publishers and other subscribers do not feel it.

use crate::Cage;
use countersign_tests::prelude::*;
use std::sync::Arc;
use std::time::{Duration, Instant};

const LIMITS: &str = "outbox_bytes_max = '1 MiB'\nqueue_bytes_max = '1 MiB'\n\
                      queue_len_max = 1000\nin_flight_bytes_max = '1 MiB'";

#[test]
fn a_subscriber_that_stops_reading_at_qos_0_costs_its_outbox() {
    stop_reading(0);
}

#[test]
fn a_subscriber_that_stops_reading_at_qos_1_costs_its_queue() {
    stop_reading(1);
}

#[test]
fn a_subscriber_that_stops_reading_at_qos_2_costs_its_queue() {
    stop_reading(2);
}

/// 64 MB are published; who does not read may cost a few of them.
fn stop_reading(qos: u8) {
    let cage = Cage::with_limits(LIMITS);
    let stage = Stage::on(cage.world.clone());
    let mut deaf = stage.client(V5, "deaf");
    deaf.subscribe(&stage.topic("t"), qos);
    let mut reader = stage.client(V5, "reader");
    reader.subscribe(&stage.topic("t"), qos);
    let before = cage.world.memory("VmRSS:");
    let mut publisher = stage.client(V5, "pub");
    let start = Instant::now();
    for number in 0..1000 {
        let payload = format!("{number:010}").repeat(6_400);
        publisher.publish(&Publish::new(stage.topic("t"), &payload).qos(qos));
        assert_eq!(reader.take().payload.len(), payload.len());
    }
    let took = start.elapsed();
    let grown = cage.world.memory("VmHWM:").saturating_sub(before);
    // Outbox, queue and in flight, what TLS and TCP hold, and the same for the others.
    assert!(grown < 16 * 1024, "{grown} KiB for a reader that stopped");
    assert!(took < Duration::from_mins(1), "publishing took {took:?}");
    // What it gets when it reads again is in order and whole.
    let mut last = -1;
    while let Next::Packet(frame) = deaf.raw.next(Duration::from_millis(300)) {
        let published = Published::read(&frame, V5);
        let number: i32 = published.text()[..10].parse().unwrap();
        assert!(number > last, "{number} behind {last}");
        last = number;
    }
    assert!(last >= 0, "nothing came at all");
    cage.open();
}

const SMALL: &str = "outbox_bytes_max = '256 KiB'\nqueue_bytes_max = '256 KiB'\n\
                     in_flight_bytes_max = '256 KiB'";
/// So many of these messages of 16 KiB are 256 KiB.
const ROOM: usize = 16;
const MESSAGES: usize = 500;

#[test]
fn what_one_of_a_hundred_does_not_read_at_qos_0_is_dropped_and_counted() {
    let (heard, dropped) = one_of_a_hundred_reads_nothing(0, "dropped_at_outboxes");
    assert_eq!(heard + dropped, MESSAGES);
    assert!(heard >= ROOM && dropped > 0, "it heard {heard}");
}

#[test]
fn what_one_of_a_hundred_does_not_acknowledge_at_qos_1_fills_its_window_and_its_queue() {
    let (heard, dropped) = one_of_a_hundred_reads_nothing(1, "dropped_queue_full");
    assert_eq!((heard, dropped), (ROOM, MESSAGES - 2 * ROOM));
}

/// The others have every message, in order. Yields how many the one has when it reads at last
/// and acknowledges nothing, and how many were counted as dropped.
fn one_of_a_hundred_reads_nothing(qos: u8, counter: &str) -> (usize, usize) {
    let cage = Cage::with_limits(SMALL);
    let stage = Stage::on(cage.world.clone());
    let mut all: Vec<_> = (0..100)
        .map(|number: usize| {
            let mut subscriber = stage.client(V5, &number.to_string());
            subscriber.subscribe(&stage.topic("t"), qos);
            subscriber
        })
        .collect();
    let (deaf, others) = all.split_last_mut().unwrap();
    let mut publisher = stage.client(V5, "pub");
    let before = cage.world.memory("VmRSS:");
    for number in 0..MESSAGES {
        let payload = format!("{number:08}").repeat(2048);
        publisher.publish(&Publish::new(stage.topic("t"), &payload).qos(qos));
        for other in &mut *others {
            assert_eq!(other.take().text(), payload);
        }
    }
    let grown = cage.world.memory("VmHWM:").saturating_sub(before);
    assert!(
        grown < 6 * 1024,
        "{grown} KiB for 8 MB that one did not read"
    );
    let heard = deaf.drain();
    let begins = |frame| Published::read(frame, V5).text()[..8].to_owned();
    let numbers: Vec<_> = heard.iter().map(begins).collect();
    assert!(numbers.is_sorted(), "{numbers:?}");
    let world = Arc::clone(&cage.world);
    cage.open();
    (heard.len(), world.counted(counter))
}

#[test]
fn a_member_that_never_acknowledges_keeps_no_more_than_its_share() {
    let cage = Cage::new();
    let stage = Stage::on(cage.world.clone());
    let filter = format!("$share/g/{}", stage.topic("t"));
    let mut members = ["mute", "b", "c"].map(|name| {
        let mut member = stage.client(V5, name);
        member.subscribe(&filter, 1);
        member
    });
    let mut publisher = stage.client(V5, "pub");
    for number in 0..300 {
        publisher.publish(&Publish::new(stage.topic("t"), number.to_string()).qos(1));
    }
    let [mute, others @ ..] = &mut members;
    let held = mute.drain().len();
    let heard: usize = others.iter_mut().map(|other| other.drain().len()).sum();
    assert_eq!(held + heard, 300);
    assert!(heard >= 200, "the others heard {heard} of 300");
    // Its session ends, and what it had not acknowledged goes to the others.
    let [mute, mut one, mut two] = members;
    mute.leave();
    let passed_on = one.drain().len() + two.drain().len();
    assert_eq!(passed_on, held, "of what the mute one held");
    cage.open();
}

/// It asks and never hears the answers.
#[test]
fn a_client_that_never_reads_its_answers_is_not_heard_for_ever() {
    let cage = Cage::with_limits(LIMITS);
    let stage = Stage::on(cage.world.clone());
    let mut client = stage.client(V5, "deaf");
    let many = (0..100).fold(Subscribe::new(1), |packet, number| {
        packet.filter(stage.topic(&number.to_string()), 0)
    });
    let before = cage.world.memory("VmRSS:");
    let questions = [many.bytes(V5), request::pingreq().repeat(1000)]
        .concat()
        .repeat(10);
    client
        .raw
        .socket()
        .set_write_timeout(Some(Duration::from_secs(1)))
        .unwrap();
    let mut sent = 0_usize;
    while sent < 16 << 20 && client.raw.try_send(&questions).is_ok() {
        sent += questions.len();
    }
    let grown = cage.world.memory("VmHWM:").saturating_sub(before);
    assert!(
        grown < 16 * 1024,
        "{grown} KiB after {sent} bytes of questions"
    );
    cage.open();
}

/// More was said to it at once than lets us read from it, the socket took all of that at once, and
/// what it sent meanwhile announced itself only once.
#[test]
fn a_client_that_has_taken_what_was_too_much_is_heard_again() {
    let cage = Cage::with_limits("outbox_bytes_max = '1 KiB'\nin_flight_bytes_max = '1 KiB'");
    let stage = Stage::on(cage.world.clone());
    let mut subscriber = stage.client(V5, "sub");
    subscriber.subscribe(&stage.topic("t"), 1);
    let mut publisher = stage.client(V5, "pub");
    let publish = Publish::new(stage.topic("t"), "x".repeat(8192)).qos(1);
    for _ in 0..500 {
        let id = publisher.send_publish(&publish).unwrap();
        subscriber.send(&request::pingreq());
        let mut published = None;
        let mut answered = false;
        while published.is_none() || !answered {
            let frame = subscriber.raw.expect_packet();
            match frame.kind() {
                Kind::Pingresp => answered = true,
                _ => published = Some(Published::read(&frame, V5)),
            }
        }
        let id_of = published.and_then(|published| published.id);
        subscriber.send(&request::ack(Kind::Puback, id_of.unwrap()));
        publisher.expect_success(Kind::Puback, id);
    }
    cage.open();
}
