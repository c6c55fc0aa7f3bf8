//! The server as its peers see it: who is answered what.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use certs::Role;
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, SanType};
use rustls_pki_types::UnixTime;

use super::super::limits::{Counted, Limits};
use super::peer::{
    DAY, ENROL, HEALTH, RENEW, World, ask, basic, connect, csr, head, identity, status, until,
};
use super::request;
use crate::audit_show;
use crate::authority::key_file;
use crate::layout::Layout;
use crate::registry::Event;
use crate::testing::{certificate, revoke, up};

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_says_what_it_is_and_is_kept_by_nobody() {
    let world = World::new(0, Limits::default()).await;
    let good = world.credentials("dev-1");
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
        let answer = world.ask(&head(line, more), body).await;
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
    assert_eq!(counted.map(|what| world.counted(what)), [1, 2, 3]);
    let unsaid = head(ENROL, &[&good]).replace("application/pkcs10", "text/plain");
    assert_eq!(status(&world.ask(&unsaid, &der).await), 415);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn to_renew_takes_the_certificate_itself_and_the_same_name() {
    let world = World::new(3, Limits::default()).await;
    let (dir, address) = (world.dir(), world.server.address());
    let elsewhere = dir.join("elsewhere");
    up(&elsewhere, 1, UnixTime::now()).unwrap();
    revoke(dir, "dev-3", UnixTime::now()).unwrap();
    for (files, name, expected) in [
        (Some(identity(dir, "dev-1")), "dev-1", 200),
        (Some(identity(dir, "dev-1")), "dev-2", 400),
        (Some(identity(dir, "dev-3")), "dev-3", 403),
        (None, "dev-2", 403),
    ] {
        let stream = connect(dir, address, files.as_ref()).await.unwrap();
        let answer = ask(stream, &head(RENEW, &[]), &csr(name)).await;
        assert_eq!(status(&answer), expected, "{name} {answer}");
    }
    // Who has no certificate of ours gets no word in; TLS 1.3 tells so after the handshake.
    let stranger = identity(&elsewhere, "dev-1");
    if let Ok(stream) = connect(dir, address, Some(&stranger)).await {
        assert_eq!(ask(stream, &head(HEALTH, &[]), b"").await, "");
    }
    until(|| world.counted(Counted::HandshakeFailed) == 1).await;
    assert_eq!(world.counted(Counted::Renewed), 1);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_certificate_shakes_hands_for_so_many_days() {
    for (expired_days, expected) in [(6, Some(200)), (8, None)] {
        let age = (365 + expired_days) * DAY;
        let world = World::made(1, age, Limits::default()).await;
        let files = identity(world.dir(), "dev-1");
        assert!(certificate(&files.cert).not_after < UnixTime::now());
        let connected = connect(world.dir(), world.server.address(), Some(&files));
        let answer = match connected.await {
            Ok(stream) => ask(stream, &head(RENEW, &[]), &csr("dev-1")).await,
            Err(_) => String::new(),
        };
        let told = Some(status(&answer)).filter(|_| !answer.is_empty());
        assert_eq!(told, expected, "{expired_days} {answer}");
        world.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_requests_are_refused_in_words_and_noted() {
    let world = World::new(0, Limits::default()).await;
    let (dir, good) = (world.dir(), world.credentials("dev-1"));
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
        let answer = world.ask(&head(ENROL, &[&good]), &body).await;
        assert!(status(&answer) == 400 && answer.contains(words), "{answer}");
        let noted = || audit_show(dir, 1).unwrap().remove(0);
        until(|| noted().event == Event::Refused && noted().words.contains(words)).await;
    }
    assert_eq!(world.counted(Counted::Refused), 5);
    world.stop().await;
}
