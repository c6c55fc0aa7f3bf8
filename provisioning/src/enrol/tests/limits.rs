//! The server at its limits, while the authority is busy, and how fast it is.

use std::time::Duration;

use rustls_pki_types::UnixTime;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::super::{Counted, Limits};
use super::peer::{
    ENROL, HEALTH, PATIENCE, ago, ask, basic, connect, csr, head, serve, status, until,
};
use super::token;
use crate::audit_show;
use crate::authority::Hierarchy;
use crate::testing::up;

#[tokio::test(flavor = "multi_thread")]
async fn a_body_too_long_is_refused_and_counted() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    up(dir, 0, ago(Duration::ZERO)).unwrap();
    let server = serve(dir, Limits::default()).await;
    let good = basic("dev-1", token(dir, "dev-1", UnixTime::now()).token.as_str());
    let stream = connect(dir, server.address(), None).await.unwrap();
    let answer = ask(stream, &head(ENROL, &[&good]), &vec![b'A'; 16 * 1024 + 1]).await;
    assert_eq!(status(&answer), 413, "{answer}");
    assert_eq!(server.counters().read(Counted::BodyTooLong), 1);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_asks_too_fast_is_slowed_down() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    up(dir, 0, ago(Duration::ZERO)).unwrap();
    let limits = Limits {
        rate_of_address: 1,
        ..Limits::default()
    };
    let server = serve(dir, limits).await;
    let mut told = Vec::new();
    for _ in 0..12 {
        let Ok(stream) = connect(dir, server.address(), None).await else {
            told.push(0);
            continue;
        };
        told.push(status(&ask(stream, &head(HEALTH, &[]), b"").await));
    }
    assert!(
        told.starts_with(&[200; 4]) && told.ends_with(&[0]),
        "{told:?}"
    );
    assert!(server.counters().read(Counted::OverRate) >= 5, "{told:?}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_one_connection_have_the_rate_of_their_address() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    up(dir, 0, ago(Duration::ZERO)).unwrap();
    let limits = Limits {
        rate_of_address: 1,
        ..Limits::default()
    };
    let server = serve(dir, limits).await;
    let stream = connect(dir, server.address(), None).await.unwrap();
    let one = format!("{}\r\n", head(HEALTH, &[]));
    let answers = ask(stream, &(one.repeat(19) + &head(HEALTH, &[])), b"").await;
    let count = |words: &str| answers.matches(words).count();
    let (good, slow) = (count("HTTP/1.1 200"), count("HTTP/1.1 429"));
    assert!(good >= 9 && slow >= 5 && good + slow == 20, "{answers}");
    assert_eq!(count("retry-after: "), slow);
    let counted = server.counters().read(Counted::OverRate);
    assert_eq!(usize::try_from(counted), Ok(slow));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_does_not_last_for_ever_and_the_audit_chain_does_not_grow_for_ever() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    up(dir, 0, ago(Duration::ZERO)).unwrap();
    let limits = Limits {
        connection_time_max: Duration::from_millis(500),
        notes_of_hour: 1,
        ..Limits::default()
    };
    let server = serve(dir, limits).await;
    let before = audit_show(dir, usize::MAX).unwrap().len();
    let mut mute = connect(dir, server.address(), None).await.unwrap();
    let _ = timeout(PATIENCE, mute.read_to_end(&mut Vec::new()))
        .await
        .unwrap();
    until(|| server.counters().read(Counted::ConnectionLate) == 1).await;
    for _ in 0..3 {
        let stream = connect(dir, server.address(), None).await.unwrap();
        assert_eq!(status(&ask(stream, &head(ENROL, &[]), b"x").await), 401);
    }
    until(|| server.counters().read(Counted::NotNoted) == 2).await;
    assert_eq!(audit_show(dir, usize::MAX).unwrap().len(), before + 1);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_peer_is_closed_and_delays_nobody() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    up(dir, 0, ago(Duration::ZERO)).unwrap();
    let limits = Limits {
        connections_of_address_max: 3,
        handshake_time_max: Duration::from_millis(300),
        request_time_max: Duration::from_millis(300),
        ..Limits::default()
    };
    let server = serve(dir, limits).await;
    let address = server.address();
    let mut silent = TcpStream::connect(address).await.unwrap();
    let mut mute = connect(dir, address, None).await.unwrap();
    let stream = connect(dir, address, None).await.unwrap();
    // There are three of this address.
    let mut fourth = TcpStream::connect(address).await.unwrap();
    let mut rest = Vec::new();
    let closed = timeout(PATIENCE, fourth.read_to_end(&mut rest))
        .await
        .unwrap();
    assert!(closed.is_err() || rest.is_empty());
    assert_eq!(status(&ask(stream, &head(HEALTH, &[]), b"").await), 200);
    // The one never shakes hands, the other never asks.
    let _ = timeout(PATIENCE, silent.read_to_end(&mut rest))
        .await
        .unwrap();
    let _ = timeout(PATIENCE, mute.read_to_end(&mut rest))
        .await
        .unwrap();
    until(|| server.counters().read(Counted::HandshakeLate) == 1).await;
    assert_eq!(server.counters().read(Counted::OverConnectionsOfAddress), 1);
    server.stop().await;
}

/// Another command works on the directory for longer than anybody waits.
#[tokio::test(flavor = "multi_thread")]
async fn while_the_authority_is_busy_few_wait_and_all_get_their_certificate_in_the_end() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    up(dir, 0, ago(Duration::ZERO)).unwrap();
    let limits = Limits {
        waiting_max: 2,
        request_time_max: Duration::from_millis(500),
        ..Limits::default()
    };
    let server = serve(dir, limits).await;
    let devices: Vec<_> = (0..8)
        .map(|n| {
            let id = format!("dev-{n}");
            let token = token(dir, &id, UnixTime::now());
            let head = head(ENROL, &[&basic(&id, token.token.as_str())]);
            (head, csr(&id))
        })
        .collect();
    let busy = Hierarchy::open(dir).unwrap();
    let mut asking = Vec::new();
    for (head, csr) in devices.clone() {
        let stream = connect(dir, server.address(), None).await.unwrap();
        asking.push(tokio::spawn(async move { ask(stream, &head, &csr).await }));
    }
    for asked in asking {
        let answer = asked.await.unwrap();
        assert_eq!(status(&answer), 503, "{answer}");
        assert!(answer.contains("retry-after: "), "{answer}");
    }
    let counted = [Counted::OverWaiting, Counted::RequestLate];
    let [over, late] = counted.map(|what| server.counters().read(what));
    // Two wait, and the thread has taken one at least before it waits for the directory.
    assert!(over >= 1 && late >= 3 && over + late == 8, "{over} {late}");
    drop(busy);
    for (head, csr) in devices {
        let told = async {
            loop {
                let stream = connect(dir, server.address(), None).await.unwrap();
                match status(&ask(stream, &head, &csr).await) {
                    503 => sleep(Duration::from_millis(5)).await,
                    told => return told,
                }
            }
        };
        assert_eq!(timeout(PATIENCE, told).await.unwrap(), 200);
    }
    server.stop().await;
    assert_eq!(crate::ca_verify(dir, UnixTime::now()).unwrap().findings, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_commands_get_their_turn_while_devices_ask_without_end() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    up(dir, 0, ago(Duration::ZERO)).unwrap();
    let limits = Limits {
        rate_of_address: 1_000_000,
        ..Limits::default()
    };
    let server = serve(dir, limits).await;
    let (address, head) = {
        let token = token(dir, "dev-1", UnixTime::now());
        let credentials = basic("dev-1", token.token.as_str());
        (server.address(), head(ENROL, &[&credentials]))
    };
    let csr = csr("dev-1");
    let asking = (0..8).map(|_| {
        let (dir, head, csr) = (dir.to_owned(), head.clone(), csr.clone());
        tokio::spawn(async move {
            loop {
                let stream = connect(&dir, address, None).await.unwrap();
                assert_eq!(status(&ask(stream, &head, &csr).await), 200);
            }
        })
    });
    let asking: Vec<_> = asking.collect();
    until(|| server.counters().read(Counted::Again) > 10).await;
    for _ in 0..20 {
        let dir = dir.to_owned();
        let opened = tokio::task::spawn_blocking(move || Hierarchy::open(&dir).map(drop));
        timeout(PATIENCE, opened).await.unwrap().unwrap().unwrap();
    }
    for it in &asking {
        assert!(!it.is_finished());
        it.abort();
    }
    server.stop().await;
}

/// A figure, and a floor under it: `cargo test --release -p countersign-provisioning --lib
/// long_enrolments -- --ignored --nocapture`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes long and measures; run it alone"]
async fn long_enrolments_in_a_second() {
    const DEVICES: usize = 3_000;
    const AT_ONCE: usize = 64;
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    up(dir, 0, ago(Duration::ZERO)).unwrap();
    let asked = (0..DEVICES).map(|n| {
        let id = format!("dev-{n}");
        let token = token(dir, &id, UnixTime::now());
        let head = head(ENROL, &[&basic(&id, token.token.as_str())]);
        (head, csr(&id))
    });
    let mut shares: Vec<Vec<_>> = vec![Vec::new(); AT_ONCE];
    for (n, asked) in asked.enumerate() {
        shares[n % AT_ONCE].push(asked);
    }
    let limits = Limits {
        connections_of_address_max: 512,
        rate_of_address: 1_000_000,
        ..Limits::default()
    };
    let server = serve(dir, limits).await;
    let (dir, address) = (dir.to_owned(), server.address());
    let start = std::time::Instant::now();
    let asking = shares.into_iter().map(|share| {
        let dir = dir.clone();
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
    assert_eq!(server.counters().read(Counted::Issued), 3_000);
    server.stop().await;
    println!("{DEVICES} enrolments in {taken:?}");
    assert!(
        taken < Duration::from_secs(10),
        "fewer than 300 in a second"
    );
}
