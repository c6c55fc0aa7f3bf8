//! The server at its limits, while the authority is busy, and how fast it is.

use std::time::Duration;

use rustls_pki_types::UnixTime;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::super::limits::{Counted, Limits};
use super::peer::{ENROL, HEALTH, PATIENCE, World, ask, connect, csr, ended, head, status, until};
use crate::audit_show;
use crate::authority::Hierarchy;

#[tokio::test(flavor = "multi_thread")]
async fn a_body_too_long_is_refused_and_counted() {
    let world = World::new(0, Limits::default()).await;
    let (head, body) = (world.enrolling("dev-1"), vec![b'A'; 16 * 1024 + 1]);
    let answer = world.ask(&head, &body).await;
    assert_eq!(status(&answer), 413, "{answer}");
    assert_eq!(world.counted(Counted::BodyTooLong), 1);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_asks_too_fast_is_slowed_down() {
    let limits = Limits {
        rate_of_address: 1,
        ..Limits::default()
    };
    let world = World::new(0, limits).await;
    let mut told = Vec::new();
    for _ in 0..12 {
        let Ok(stream) = connect(world.dir(), world.server.address(), None).await else {
            told.push(0);
            continue;
        };
        told.push(status(&ask(stream, &head(HEALTH, &[]), b"").await));
    }
    assert!(
        told.starts_with(&[200; 4]) && told.ends_with(&[0]),
        "{told:?}"
    );
    assert!(world.counted(Counted::OverRate) >= 5, "{told:?}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_one_connection_have_the_rate_of_their_address() {
    let limits = Limits {
        rate_of_address: 1,
        ..Limits::default()
    };
    let world = World::new(0, limits).await;
    let stream = world.connect().await;
    let one = format!("{}\r\n", head(HEALTH, &[]));
    let answers = ask(stream, &(one.repeat(19) + &head(HEALTH, &[])), b"").await;
    let count = |words: &str| answers.matches(words).count();
    let (good, slow) = (count("HTTP/1.1 200"), count("HTTP/1.1 429"));
    assert!(good >= 9 && slow >= 5 && good + slow == 20, "{answers}");
    assert_eq!(count("retry-after: "), slow);
    let counted = world.counted(Counted::OverRate);
    assert_eq!(usize::try_from(counted), Ok(slow));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_does_not_last_for_ever_and_the_audit_chain_does_not_grow_for_ever() {
    let limits = Limits {
        connection_time_max: Duration::from_millis(500),
        notes_of_hour: 1,
        ..Limits::default()
    };
    let world = World::new(0, limits).await;
    let noted = || audit_show(world.dir(), usize::MAX).unwrap().len();
    let before = noted();
    ended(world.connect().await).await;
    until(|| world.counted(Counted::ConnectionLate) == 1).await;
    for _ in 0..3 {
        assert_eq!(status(&world.ask(&head(ENROL, &[]), b"x").await), 401);
    }
    until(|| world.counted(Counted::NotNoted) == 2).await;
    assert_eq!(noted(), before + 1);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_peer_is_closed_and_delays_nobody() {
    let limits = Limits {
        connections_of_address_max: 3,
        handshake_time_max: Duration::from_millis(300),
        request_time_max: Duration::from_millis(300),
        ..Limits::default()
    };
    let world = World::new(0, limits).await;
    let address = world.server.address();
    let silent = TcpStream::connect(address).await.unwrap();
    let (mute, stream) = (world.connect().await, world.connect().await);
    // There are three of this address.
    assert!(ended(TcpStream::connect(address).await.unwrap()).await);
    assert_eq!(status(&ask(stream, &head(HEALTH, &[]), b"").await), 200);
    // The one never shakes hands, the other never asks.
    assert!(ended(silent).await && ended(mute).await);
    until(|| world.counted(Counted::HandshakeLate) == 1).await;
    assert_eq!(world.counted(Counted::OverConnectionsOfAddress), 1);
    world.stop().await;
}

/// Another command works on the directory for longer than anybody waits.
#[tokio::test(flavor = "multi_thread")]
async fn while_the_authority_is_busy_few_wait_and_all_get_their_certificate_in_the_end() {
    let limits = Limits {
        waiting_max: 2,
        request_time_max: Duration::from_millis(500),
        ..Limits::default()
    };
    let world = World::new(0, limits).await;
    let devices: Vec<_> = (0..8)
        .map(|n| {
            let id = format!("dev-{n}");
            (world.enrolling(&id), csr(&id))
        })
        .collect();
    let busy = Hierarchy::open(world.dir()).unwrap();
    let mut asking = Vec::new();
    for (head, csr) in devices.clone() {
        let stream = world.connect().await;
        asking.push(tokio::spawn(async move { ask(stream, &head, &csr).await }));
    }
    for asked in asking {
        let answer = asked.await.unwrap();
        assert_eq!(status(&answer), 503, "{answer}");
        assert!(answer.contains("retry-after: "), "{answer}");
    }
    let counted = [Counted::OverWaiting, Counted::RequestLate];
    let [over, late] = counted.map(|what| world.counted(what));
    // Two wait, besides those that the thread has taken before it waits for the directory.
    assert!(over >= 1 && late >= 2 && over + late == 8, "{over} {late}");
    drop(busy);
    for (head, csr) in devices {
        let told = async {
            loop {
                match status(&world.ask(&head, &csr).await) {
                    503 => sleep(Duration::from_millis(5)).await,
                    told => return told,
                }
            }
        };
        assert_eq!(timeout(PATIENCE, told).await.unwrap(), 200);
    }
    let temp = world.stop().await;
    let verified = crate::ca_verify(temp.path(), UnixTime::now());
    assert_eq!(verified.unwrap().findings, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_commands_get_their_turn_while_devices_ask_without_end() {
    let limits = Limits {
        rate_of_address: 1_000_000,
        ..Limits::default()
    };
    let world = World::new(0, limits).await;
    let (address, head) = (world.server.address(), world.enrolling("dev-1"));
    let csr = csr("dev-1");
    let asking = (0..8).map(|_| {
        let (dir, head, csr) = (world.dir().to_owned(), head.clone(), csr.clone());
        tokio::spawn(async move {
            loop {
                let stream = connect(&dir, address, None).await.unwrap();
                assert_eq!(status(&ask(stream, &head, &csr).await), 200);
            }
        })
    });
    let asking: Vec<_> = asking.collect();
    until(|| world.counted(Counted::Again) > 10).await;
    for _ in 0..20 {
        let dir = world.dir().to_owned();
        let opened = tokio::task::spawn_blocking(move || Hierarchy::open(&dir).map(drop));
        timeout(PATIENCE, opened).await.unwrap().unwrap().unwrap();
    }
    for it in &asking {
        assert!(!it.is_finished());
        it.abort();
    }
    world.stop().await;
}

/// A figure, and a floor under it: `cargo test --release -p countersign-provisioning --lib
/// long_enrolments -- --ignored --nocapture`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes long and measures; run it alone"]
async fn long_enrolments_in_a_second() {
    const DEVICES: usize = 3_000;
    const AT_ONCE: usize = 64;
    let limits = Limits {
        connections_of_address_max: 512,
        rate_of_address: 1_000_000,
        ..Limits::default()
    };
    let world = World::new(0, limits).await;
    let mut shares: Vec<Vec<_>> = vec![Vec::new(); AT_ONCE];
    for n in 0..DEVICES {
        let id = format!("dev-{n}");
        shares[n % AT_ONCE].push((world.enrolling(&id), csr(&id)));
    }
    let address = world.server.address();
    let start = std::time::Instant::now();
    let asking = shares.into_iter().map(|share| {
        let dir = world.dir().to_owned();
        tokio::spawn(async move {
            for (head, csr) in share {
                let stream = connect(&dir, address, None).await.unwrap();
                assert_eq!(status(&ask(stream, &head, &csr).await), 200);
            }
        })
    });
    for it in asking.collect::<Vec<_>>() {
        it.await.unwrap();
    }
    let taken = start.elapsed();
    assert_eq!(world.counted(Counted::Issued), 3_000);
    world.stop().await;
    println!("{DEVICES} enrolments in {taken:?}");
    assert!(
        taken < Duration::from_secs(10),
        "fewer than 300 in a second"
    );
}
