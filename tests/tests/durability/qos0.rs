//! QoS 0 for a session that is away: dropped, or by choice stored with all else that waits.

use crate::broker::Home;
use crate::link::{Link, Present};
use countersign_tests::mqtt::Version::V5;
use countersign_tests::mqtt::connect::Connect;
use countersign_tests::mqtt::request::Publish;

#[test]
#[ignore = "needs the binary; scripts/test runs it"]
fn qos_0_survives_with_what_waits_where_that_is_chosen_and_comes_once() {
    for (limits, lives) in [
        ("", [&["q1 kept"][..], &[]]),
        ("queue_qos0 = true", [&["q0 kept", "q1 kept"], &[]]),
    ] {
        let home = Home::new("segment_bytes = '4 MiB'", limits);
        let mut broker = home.start();
        let mut was_there = Present::default();
        let mut keeper = Link::lasting(broker.address, ("keeper", V5), &mut was_there).unwrap();
        keeper.subscribe(&["f/#"], 1).unwrap();
        keeper.leave();
        let connect = Connect::new(V5, "teller");
        let (mut teller, _) = Link::open(broker.address, "teller", &connect).unwrap();
        teller
            .send(&Publish::new("f/a", "q0 kept").bytes(V5))
            .unwrap();
        // What came before it on the same connection is stored before it.
        assert_eq!(teller.publish("f/a", b"q1 kept").unwrap(), 0);
        for expected in lives {
            broker.kill();
            broker = home.start();
            let mut keeper = Link::lasting(broker.address, ("keeper", V5), &mut was_there).unwrap();
            let found = keeper.take_all(expected.len());
            let found: Vec<_> = found.iter().map(|it| it.text().to_owned()).collect();
            assert_eq!(found, expected, "{limits}");
            keeper.leave();
        }
    }
}
