//! Scale: ten thousand who are here and a hundred thousand who are revoked.

use super::{AT_ONCE, cage, publish_list, revoke};
use countersign_tests::prelude::*;
use countersign_tests::world::World;
use std::time::{Duration, Instant};

/// So many are here.
const LIVE: usize = 10_000;
/// So many are on the list.
const REVOKED: usize = 100_000;
/// So often somebody is revoked by each way.
const ROUNDS: usize = 100;

#[test]
#[ignore = "long: scripts/test --long runs it"]
fn long_whoever_is_revoked_of_ten_thousand_is_gone_within_a_second() {
    let cage = cage();
    let world = &cage.world;
    let authority = world.authority();
    let strangers: Vec<_> = (0..REVOKED)
        .map(|number| (number as u64 + 1).to_be_bytes())
        .collect();
    publish_list(world, &authority.long_revocation_list(1, &strangers, &[]));
    world.log().expect_line(&["reloaded", "revocation"]);
    let mut live: Vec<Client> = (0..LIVE).map(|number| enter(world, number)).collect();

    let told: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let number = live.len() - 1;
            let mut gone = live.pop().unwrap();
            let begun = Instant::now();
            let receipt = revoke(world, &name(number));
            assert_eq!(receipt["sessions_closed"], 1, "{receipt}");
            gone.expect_disconnect(0x98);
            gone.raw.expect_closed();
            begun.elapsed()
        })
        .collect();
    let mut gone_by_list = Vec::new();
    let listed: Vec<Duration> = (0..ROUNDS / 10)
        .map(|round| {
            let number = live.len() - 1;
            let mut gone = live.pop().unwrap();
            gone_by_list.push(authority.device(&name(number)));
            let revoked: Vec<_> = gone_by_list.iter().map(|it| &**it).collect();
            let list = authority.long_revocation_list(round as u64 + 2, &strangers, &revoked);
            let begun = Instant::now();
            publish_list(world, &list);
            gone.expect_disconnect(0x98);
            gone.raw.expect_closed();
            begun.elapsed()
        })
        .collect();
    println!(
        "outcome: of {LIVE} here, with {REVOKED} on the list: told {ROUNDS} times, gone in {}; \
         by a new list, gone in {}",
        quantiles(&told),
        quantiles(&listed)
    );
    assert!(told.iter().max().unwrap() < &AT_ONCE);
    for client in &mut live {
        client.expect_alive();
    }
    cage.open();
}

fn name(number: usize) -> String {
    format!("live-{number}")
}

fn enter(world: &World, number: usize) -> Client {
    let id = name(number);
    let raw = Raw::connect(world.address(), &world.authority().device(&id));
    let (client, connack) = Client::open(raw, &Connect::new(V5, id));
    assert_eq!(connack.code, 0, "{connack:?}");
    client
}

fn quantiles(times: &[Duration]) -> String {
    let mut times = times.to_vec();
    times.sort();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100];
    format!("{:.1?} (median), {:.1?} (p99)", at(50), at(99))
}
