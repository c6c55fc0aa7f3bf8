//! Short runs of the ready scenarios, and of brokers that break what must hold.

mod mutant;

use super::*;
use crate::scenario::ready;
use crate::verdict::{Invariant, Outcome};
use mutant::{Mutant, Wrong};
use rustls_pki_types::{ServerName, UnixTime};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

fn scenario(name: &str, seconds: u64) -> Scenario {
    let ready = ready().iter().find(|ready| ready.name == name).unwrap();
    let scenario = Scenario::parse(Path::new(name), ready.toml).unwrap();
    scenario.lasting(Duration::from_secs(seconds))
}

fn outcome(verdict: &Verdict, invariant: Invariant) -> Outcome {
    let check = |check: &&crate::verdict::Check| check.invariant == invariant;
    verdict.checks.iter().find(check).unwrap().outcome
}

async fn holds(name: &str, tried: &[Invariant]) {
    let plan = Plan {
        scenario: scenario(name, 6),
        devices: 20,
        seed: 7,
        at: At::Own,
    };
    let verdict = run(&plan, &|_| ()).await.unwrap();
    assert!(verdict.holds(), "{verdict}");
    for invariant in tried {
        let outcome = outcome(&verdict, *invariant);
        assert_eq!(outcome, Outcome::Held, "{invariant:?}: {verdict}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_good_broker_holds_in_chaos() {
    let tried = [
        Invariant::AcknowledgedArrives,
        Invariant::ExactlyOnce,
        Invariant::NoLeak,
        Invariant::RevokedIsCut,
        Invariant::StrangersStayOut,
        Invariant::SessionsAreKept,
        Invariant::RenewalWorks,
        Invariant::EveryoneIsBack,
    ];
    holds("chaos", &tried).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_comes_back_from_a_power_cut_by_the_law() {
    holds(
        "power-cut",
        &[Invariant::ReconnectLaw, Invariant::SessionsAreKept],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_links_lose_nothing() {
    holds("bad-links", &[Invariant::AcknowledgedArrives]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sleepers_miss_nothing() {
    holds(
        "sleepers",
        &[Invariant::AcknowledgedArrives, Invariant::RenewalWorks],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_follows_its_authorities_and_nobody_is_sent_away() {
    let scenario = "name = 'rotation'\nlength = '5s'\nramp = '500ms'\n\
        [[group]]\nname = 'all'\nshare = 100\nqos = 'exactly-once'\n\
        telemetry = { every = '300ms' }\ncommands = { every = '500ms' }\n\
        [[event]]\nwhat = 'ca-rotation'\nat = '1s'\nlasting = '3s'\n";
    let plan = Plan {
        scenario: Scenario::parse(Path::new("rotation"), scenario).unwrap(),
        devices: 20,
        seed: 5,
        at: At::Own,
    };
    let verdict = run(&plan, &|_| ()).await.unwrap();
    assert!(verdict.holds(), "{verdict}");
    let found = verdict.checks.iter().map(|check| check.found.as_str());
    let all = "0 were sent away, in 4 of 4 stages of a rotation";
    assert!(found.clone().any(|found| found == all), "{verdict}");
    let renewed = "0 of 20 new certificates were not let in";
    assert!(found.clone().any(|found| found == renewed), "{verdict}");
    // Each came twice: at first, and with its new certificate.
    assert_eq!(verdict.counts.connections, 40, "{verdict}");
    assert_eq!(verdict.counts.refused, 0, "{verdict}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn intruders_get_nothing() {
    holds(
        "intruders",
        &[Invariant::StrangersStayOut, Invariant::RevokedIsCut],
    )
    .await;
}

#[tokio::test]
async fn a_run_that_cannot_begin_says_why() {
    let files = tempfile::tempdir().unwrap();
    let given = |address: &str| Plan {
        scenario: scenario("chaos", 1),
        devices: 1,
        seed: 1,
        at: At::Given {
            address: address.to_owned(),
            identities: files.path().to_owned(),
        },
    };
    let error = run(&given("127.0.0.1:1"), &|_| ()).await.unwrap_err();
    assert!(error.to_string().contains("countersign up"), "{error}");
    let mut nobody = given("x");
    (nobody.devices, nobody.at) = (0, At::Own);
    let error = run(&nobody, &|_| ()).await.unwrap_err();
    assert!(matches!(error, RunError::NoDevices), "{error}");
}

/// What a broker with this wrong is found guilty of.
async fn broken(wrong: Wrong, qos: &str) -> Vec<Invariant> {
    let scenario = format!(
        "name = 'mutant'\nlength = '3s'\nramp = '300ms'\nsettle = '3s'\n\
         [[group]]\nname = 'all'\nshare = 100\nqos = '{qos}'\n\
         telemetry = {{ every = '200ms' }}\ncommands = {{ every = '500ms' }}\n\
         [[event]]\nwhat = 'revoked'\nat = '2s'\nshare = 20\n"
    );
    let plan = Plan {
        scenario: Scenario::parse(Path::new("mutant"), &scenario).unwrap(),
        devices: 5,
        seed: 3,
        at: At::Own,
    };
    let broker = TestBroker::start().await.unwrap();
    let address = broker.address();
    let name = ServerName::from(IpAddr::from(Ipv4Addr::LOCALHOST));
    let names = std::slice::from_ref(&name);
    let server = broker.ca().issue_broker(names, UnixTime::now()).unwrap();
    let world = World::own(broker).unwrap();
    let mut identities = std::collections::HashMap::new();
    identities.insert("app-1".to_owned(), world.app().await.unwrap());
    for id in world.ids(5) {
        let tls = world.device(&id).await.unwrap();
        identities.insert(id.into(), tls);
    }
    let mutant = Mutant {
        wrong,
        broker: address,
        identities,
        passed: 0.into(),
        others: std::sync::Mutex::default(),
    };
    let address = mutant.serve(&server.chain, &server.key).await;
    let verdict = run_in(&plan, (world, Target { address, name }), &|_| ()).await;
    let verdict = verdict.unwrap();
    assert!(verdict.counts.heard > 50, "{verdict}");
    let is_broken = |check: &&crate::verdict::Check| check.outcome == Outcome::Broken;
    let checks = verdict.checks.iter().filter(is_broken);
    checks.map(|check| check.invariant).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_with_nothing_wrong_is_not_found_guilty() {
    assert_eq!(broken(Wrong::Nothing, "at-least-once").await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_loses_what_it_acknowledged_is_caught() {
    let broken = broken(Wrong::LosesAcknowledged, "at-least-once").await;
    assert_eq!(broken, [Invariant::AcknowledgedArrives]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_lets_others_hear_is_caught() {
    let broken = broken(Wrong::LeaksCommands, "at-most-once").await;
    assert_eq!(broken, [Invariant::NoLeak]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_revokes_late_is_caught() {
    let late = Wrong::RevokesLate(Duration::from_millis(1500));
    assert_eq!(
        broken(late, "at-least-once").await,
        [Invariant::RevokedIsCut]
    );
}
