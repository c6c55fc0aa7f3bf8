//! What is retained after a restart: what was acknowledged last, or what was sent behind it.

use super::publisher::{Lane, LaneKind, Publisher};
use super::round::Round;
use crate::link::{Gone, Link};
use countersign_tests::mqtt::answer::Published;
use countersign_tests::mqtt::connect::Connect;
use countersign_tests::mqtt::request::{self, Subscribe};
use countersign_tests::mqtt::{Kind, Version};
use std::collections::HashMap;

/// Reads all that is retained and compares it. Nobody must publish meanwhile.
pub(super) fn check(round: &Round, publishers: &[Publisher]) -> Result<(), Gone> {
    let retained = read(round)?;
    for lane in publishers.iter().flat_map(Publisher::lanes) {
        let found = retained.get(&lane.topic).copied();
        if lane.kind != LaneKind::Passing {
            check_lane(lane, found);
        }
    }
    Ok(())
}

fn check_lane(lane: &Lane, found: Option<u32>) {
    let mut may_be = lane.acknowledged..=lane.sent;
    let is_right = match found {
        Some(number) => may_be.contains(&number),
        // Number 0 is what was there at first.
        None if lane.kind == LaneKind::Cleared => may_be.any(|it| it.is_multiple_of(2)),
        None => lane.acknowledged == 0,
    };
    assert!(
        is_right,
        "{} has {found:?} retained; {} was acknowledged last, {} sent",
        lane.topic, lane.acknowledged, lane.sent
    );
}

/// The number that each topic has retained.
fn read(round: &Round) -> Result<HashMap<String, u32>, Gone> {
    let connect = Connect::new(Version::V5, "reader").keep_alive(1000);
    let (mut link, _) = Link::open(round.address, "reader", &connect)?;
    let subscribe = Subscribe::new(1).filter("x/+/kept", 0).filter("r/#", 0);
    link.send(&subscribe.bytes(Version::V5))?;
    // Its answer is behind all that is retained.
    let end = request::unsubscribe(Version::V5, 2, &["no/such/subscription"]);
    link.send(&end)?;
    let mut retained = HashMap::new();
    loop {
        let frame = link.hear()?;
        match frame.kind() {
            Kind::Publish => {
                let published = Published::read(&frame, Version::V5);
                let number = published.text().split(' ').next().unwrap();
                retained.insert(published.topic.clone(), number.parse().unwrap());
            }
            Kind::Unsuback => break,
            _ => {}
        }
    }
    link.leave();
    Ok(retained)
}
