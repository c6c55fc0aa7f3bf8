//! The server as its peers see it: over TLS, within its limits, and while the authority is busy.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use certs::{Role, Subject};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, SanType};
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::super::{Approval, Counted, EnrolmentServer, Limits, ServeRequest, ca_serve};
use super::{request, token};
use crate::audit_show;
use crate::authority::{Hierarchy, key_file};
use crate::layout::{IdentityFiles, Layout};
use crate::registry::Event;
use crate::testing::{certificate, revoke, up};

/// How long a condition may take on a busy machine before the test fails.
const PATIENCE: Duration = Duration::from_secs(20);

const DAY: Duration = Duration::from_hours(24);

async fn serve(dir: &Path, limits: Limits) -> EnrolmentServer {
    let request = ServeRequest {
        dir,
        passphrase: None,
        listen: (Ipv4Addr::LOCALHOST, 0).into(),
        server_names: &[],
        approval: Approval::AutoWithToken,
        renew_expired: 7 * DAY,
        limits,
    };
    ca_serve(request, UnixTime::now()).await.unwrap()
}

fn ago(time: Duration) -> UnixTime {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap();
    UnixTime::since_unix_epoch(now.checked_sub(time).unwrap())
}

fn identity(dir: &Path, id: &str) -> IdentityFiles {
    Layout::new(dir).peer(&Subject::parse(id).unwrap())
}

/// A connection to the server, with the certificate of `files` if there are any.
async fn connect(
    dir: &Path,
    to: SocketAddr,
    files: Option<&IdentityFiles>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_file(Layout::new(dir).ca_pem()).unwrap();
    roots.add(root).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match files {
        None => config.with_no_client_auth(),
        Some(files) => {
            let chain = CertificateDer::pem_file_iter(&files.cert).unwrap();
            let chain = chain.collect::<Result<_, _>>().unwrap();
            let key = PrivateKeyDer::from_pem_file(&files.key).unwrap();
            config.with_client_auth_cert(chain, key).unwrap()
        }
    };
    let socket = TcpStream::connect(to).await?;
    let name = ServerName::from(to.ip());
    TlsConnector::from(Arc::new(config))
        .connect(name, socket)
        .await
}

/// What is answered to a request, head and body; empty when the connection was closed instead.
async fn ask(mut stream: TlsStream<TcpStream>, head: &str, body: &[u8]) -> String {
    let head = format!(
        "{head}Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let mut answer = Vec::new();
    // What has been closed is seen when it is read.
    let _ = stream.write_all(&[head.as_bytes(), body].concat()).await;
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

fn head(line: &str, more: &[&str]) -> String {
    let pkcs10 = ["Host: localhost", "Content-Type: application/pkcs10"];
    let lines = [line].into_iter().chain(pkcs10).chain(more.iter().copied());
    lines.flat_map(|line| [line, "\r\n"]).collect()
}

const ENROL: &str = "POST /.well-known/est/simpleenroll HTTP/1.1";
const RENEW: &str = "POST /.well-known/est/simplereenroll HTTP/1.1";
const HEALTH: &str = "GET /healthz HTTP/1.1";

fn basic(id: &str, token: &str) -> String {
    format!(
        "Authorization: Basic {}",
        STANDARD.encode(format!("{id}:{token}"))
    )
}

fn status(answer: &str) -> u16 {
    let word = answer.split(' ').nth(1);
    word.map_or(0, |word| word.parse().unwrap())
}

fn csr(name: &str) -> Vec<u8> {
    request(&KeyPair::generate().unwrap(), name)
}

async fn until(what: impl Fn() -> bool) {
    let wait = async {
        while !what() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, wait).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_says_what_it_is_and_is_kept_by_nobody() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    up(dir, 0, ago(Duration::ZERO)).unwrap();
    let server = serve(dir, Limits::default()).await;
    let token = token(dir, "dev-1", UnixTime::now());
    let good = basic("dev-1", token.token.as_str());
    let wrong = basic("dev-1", "wrong");
    let der = csr("dev-1");
    let lines = STANDARD.encode(&der);
    let pem = pem::encode(&pem::Pem::new("CERTIFICATE REQUEST", der.clone()));
    let cases: [(&str, &[&str], &[u8], u16); 11] = [
        (HEALTH, &[], b"", 200),
        ("GET /.well-known/est/cacerts HTTP/1.1", &[], b"", 200),
        ("GET /.well-known/est/csrattrs HTTP/1.1", &[], b"", 200),
        ("GET /nothing HTTP/1.1", &[], b"", 404),
        ("GET /.well-known/est/simpleenroll HTTP/1.1", &[], b"", 405),
        (ENROL, &[], &der, 401),
        (ENROL, &[&wrong], &der, 401),
        (ENROL, &[&good], b"nothing", 400),
        (ENROL, &[&good], lines.as_bytes(), 200),
        (ENROL, &[&good], pem.as_bytes(), 200),
        (ENROL, &[&good], &der, 200),
    ];
    let mut certificates = Vec::new();
    for (line, more, body, expected) in cases {
        let stream = connect(dir, server.address(), None).await.unwrap();
        let answer = ask(stream, &head(line, more), body).await;
        assert_eq!(status(&answer), expected, "{line} {answer}");
        for header in [
            "strict-transport-security: max-age=",
            "cache-control: no-store\r\n",
            "x-content-type-options: nosniff\r\n",
        ] {
            assert!(answer.contains(header), "{line} {answer}");
        }
        let asks_for_credentials = answer.contains("www-authenticate: Basic realm=");
        assert_eq!(asks_for_credentials, expected == 401, "{line}");
        if line == ENROL && expected == 200 {
            let kind = "content-type: application/pkcs7-mime; smime-type=certs-only\r\n";
            assert!(answer.contains(kind), "{answer}");
            assert!(
                answer.contains("content-transfer-encoding: base64\r\n"),
                "{answer}"
            );
            let (_, body) = answer.split_once("\r\n\r\n").unwrap();
            certificates.push(body.to_owned());
        }
    }
    certificates.dedup();
    assert_eq!(certificates.len(), 1, "the same key, the same certificate");
    let counted = [Counted::Issued, Counted::Again, Counted::Refused];
    assert_eq!(counted.map(|what| server.counters().read(what)), [1, 2, 3]);
    let stream = connect(dir, server.address(), None).await.unwrap();
    let unsaid = head(ENROL, &[&good]).replace("application/pkcs10", "text/plain");
    assert_eq!(status(&ask(stream, &unsaid, &der).await), 415);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn to_renew_takes_the_certificate_itself_and_the_same_name() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    up(dir, 3, ago(Duration::ZERO)).unwrap();
    let elsewhere = temp.path().join("elsewhere");
    up(&elsewhere, 1, ago(Duration::ZERO)).unwrap();
    let server = serve(dir, Limits::default()).await;
    revoke(dir, "dev-3", UnixTime::now()).unwrap();
    for (files, name, expected) in [
        (Some(identity(dir, "dev-1")), "dev-1", 200),
        (Some(identity(dir, "dev-1")), "dev-2", 400),
        (Some(identity(dir, "dev-3")), "dev-3", 403),
        (None, "dev-2", 403),
    ] {
        let stream = connect(dir, server.address(), files.as_ref())
            .await
            .unwrap();
        let answer = ask(stream, &head(RENEW, &[]), &csr(name)).await;
        assert_eq!(status(&answer), expected, "{name} {answer}");
    }
    // Who has no certificate of ours gets no word in; TLS 1.3 tells so after the handshake.
    let stranger = identity(&elsewhere, "dev-1");
    if let Ok(stream) = connect(dir, server.address(), Some(&stranger)).await {
        assert_eq!(ask(stream, &head(HEALTH, &[]), b"").await, "");
    }
    until(|| server.counters().read(Counted::HandshakeFailed) == 1).await;
    assert_eq!(server.counters().read(Counted::Renewed), 1);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_certificate_shakes_hands_for_so_many_days() {
    for (expired_days, expected) in [(6, Some(200)), (8, None)] {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path();
        up(dir, 1, ago((365 + expired_days) * DAY)).unwrap();
        let files = identity(dir, "dev-1");
        assert!(certificate(&files.cert).not_after < UnixTime::now());
        let server = serve(dir, Limits::default()).await;
        let answer = match connect(dir, server.address(), Some(&files)).await {
            Ok(stream) => ask(stream, &head(RENEW, &[]), &csr("dev-1")).await,
            Err(_) => String::new(),
        };
        let told = Some(status(&answer)).filter(|_| !answer.is_empty());
        assert_eq!(told, expected, "{expired_days} {answer}");
        server.stop().await;
    }
}

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
async fn hostile_requests_are_refused_in_words_and_noted() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    up(dir, 0, ago(Duration::ZERO)).unwrap();
    let server = serve(dir, Limits::default()).await;
    let good = basic("dev-1", token(dir, "dev-1", UnixTime::now()).token.as_str());
    let asking = |change: fn(&mut CertificateParams)| {
        let mut params = CertificateParams::default();
        change(&mut params);
        let request = params.serialize_request(&KeyPair::generate().unwrap());
        request.unwrap().der().to_vec()
    };
    let authority = key_file::open(&Layout::new(dir).authority_key(Role::DeviceCa)).unwrap();
    let mut broken = csr("dev-1");
    *broken.last_mut().unwrap() ^= 1;
    for (body, words) in [
        (
            asking(|it| it.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)),
            "asks to be an authority",
        ),
        (
            asking(|it| {
                let name = SanType::DnsName("broker.example".try_into().unwrap());
                it.subject_alt_names = vec![name];
            }),
            "names that are not the device's",
        ),
        (request(&authority, "dev-1"), "the key is an authority's"),
        (broken, "nobody proved to have it"),
        (vec![0x30; 4_000], "not a certificate signing request"),
    ] {
        let stream = connect(dir, server.address(), None).await.unwrap();
        let answer = ask(stream, &head(ENROL, &[&good]), &body).await;
        assert!(status(&answer) == 400 && answer.contains(words), "{answer}");
        let noted = || audit_show(dir, 1).unwrap().remove(0);
        until(|| noted().event == Event::Refused && noted().words.contains(words)).await;
    }
    assert_eq!(server.counters().read(Counted::Refused), 5);
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
