//! A device that renews its certificate, step by step, and what can come between.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use certs::{BundleHeader, BundleWriter, InvalidBundle, TrustDomain};
use device_client::{
    Builder, ConnectError, Device, EnrolError, Identity, Publish, QoS, Renewal, TrustBundleError,
    Will,
};
use rustls::CertificateError;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use crate::broker::{
    Broker, CONNACK, CONNACK_SESSION_PRESENT, Connection, PATIENCE, Packet, verifier,
};
use crate::connecting::broker_refusing;
use crate::est::{Asked, Est};
use crate::material::{Authority, names};

/// Renewed at once: it began a minute ago.
const LIFETIME: Duration = Duration::from_secs(10);

/// A device goes over to it within a hundredth of this.
const NEXT_LIFETIME: Duration = Duration::from_mins(1);

/// DISCONNECT, normal disconnection.
const GOODBYE: Packet = Packet {
    head: 0xE0,
    body: Vec::new(),
};

/// A broker, an enrolment server, and the home of a device.
struct Scene {
    broker: Broker,
    est: Est,
    home: TempDir,
}

impl Scene {
    async fn new() -> Self {
        Self::with(Broker::start().await).await
    }

    async fn with(broker: Broker) -> Self {
        let home = tempfile::tempdir().unwrap();
        broker
            .authority
            .write_device("dev-1", LIFETIME, home.path());
        Self {
            est: Est::start(&broker.authority).await,
            broker,
            home,
        }
    }

    fn device(&self) -> Builder {
        let identity = Identity::open(self.home.path()).unwrap();
        let renewal = Renewal::by_est(&self.est.url()).unwrap();
        self.broker.builder(identity).renew(renewal)
    }

    /// Tells the device of the authority that it knows, and waits for what it asks then.
    async fn asked(&self) -> Asked {
        let asked = self.est.asked().await;
        let expected = "GET /.well-known/est/cacerts HTTP/1.1\r\n";
        assert!(asked.head.starts_with(expected), "{}", asked.head);
        asked.certificates(&[self.broker.authority.der()]).await;
        self.est.asked().await
    }

    /// Gives the device the certificate that it asks for.
    async fn certify(&self) {
        let asked = self.asked().await;
        let expected = "POST /.well-known/est/simplereenroll HTTP/1.1\r\n";
        assert!(asked.head.starts_with(expected), "{}", asked.head);
        assert!(asked.has_certificate());
        let leaf = self
            .broker
            .authority
            .certify("dev-1", &asked.body, NEXT_LIFETIME);
        asked.certificates(&[leaf]).await;
    }

    /// The probe, let in.
    async fn probed(&self) -> Vec<u8> {
        let (mut probe, connect) = self.broker.accept().await;
        // A clean start, no will, and no session afterwards.
        assert_eq!(connect.body[7], 0b10);
        assert!(connect.contains(b"\x00\x0Ddev-1/renewal"));
        assert!(connect.contains(b"\x11\x00\x00\x00\x00"));
        probe.write(CONNACK).await;
        let certificate = certificate_of(&probe);
        probe.expect_closed().await;
        certificate
    }

    fn names(&self) -> Vec<String> {
        names(self.home.path())
    }

    async fn expect_names(&self, expected: &[&str]) {
        let come = async {
            while self.names() != expected {
                sleep(Duration::from_millis(5)).await;
            }
        };
        let come = timeout(PATIENCE, come).await;
        assert!(come.is_ok(), "{:?}", self.names());
    }

    fn key(&self) -> PathBuf {
        self.home.path().join("key.pem")
    }
}

/// What TLS showed on this connection.
fn certificate_of(connection: &Connection) -> Vec<u8> {
    let tls = connection.stream.get_ref().1;
    tls.peer_certificates().unwrap()[0].to_vec()
}

/// The failure of a renewal, once there is one.
async fn failure(device: &Device) -> EnrolError {
    let come = async {
        loop {
            if let Some(failure) = device.status().certificate.last_failure {
                return failure;
            }
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, come).await.expect("nothing failed")
}

#[tokio::test]
async fn a_device_goes_over_to_its_next_certificate_in_good_order() {
    let scene = Scene::new().await;
    let will = Will::new(Publish::new("devices/dev-1/state", "gone"));
    let builder = scene.device().will(will).unwrap();
    let (device, mut connection) = scene.broker.connected(builder).await;
    let old = certificate_of(&connection);
    let before = device.status().certificate;
    let first = device
        .queue(Publish::new("a", "").qos(QoS::AtLeastOnce))
        .await
        .unwrap();
    let [high, low] = connection.read().await.publish_id();
    let ((), new) = tokio::join!(scene.certify(), scene.probed());
    assert_ne!(new, old);
    // Until the message is answered, nothing happens.
    connection.expect_silence().await;
    scene
        .expect_names(&["ca.pem", "cert.pem", "current", "key.pem", "v1"])
        .await;
    connection.write(&[0x40, 2, high, low]).await;
    first.await.unwrap();
    assert_eq!(connection.read().await, GOODBYE);
    connection.expect_closed_without_a_word().await;
    let second = device
        .queue(Publish::new("b", "").qos(QoS::AtLeastOnce))
        .await
        .unwrap();
    connection.end().await;
    let (mut connection, connect) = scene.broker.accept().await;
    assert_eq!(certificate_of(&connection), new);
    assert_eq!(connect.body[7] & 0b10, 0, "no clean start");
    assert!(connect.contains(b"\x00\x05dev-1\x05"));
    assert!(
        scene.key().exists(),
        "the old one is kept until the new one has been used"
    );
    connection.write(CONNACK_SESSION_PRESENT).await;
    let published = connection.read().await;
    assert_eq!(published.topic(), "b");
    let [high, low] = published.publish_id();
    connection.write(&[0x40, 2, high, low]).await;
    second.await.unwrap();
    scene.expect_names(&["current", "v1"]).await;
    let after = device.status().certificate;
    assert!(after.not_after > before.not_after);
    assert!(after.next_renewal > before.next_renewal);
    assert_eq!((after.renewals, device.status().connections), (1, 2));
    let identity = Identity::open(scene.home.path()).unwrap();
    assert_eq!(identity.not_after(), after.not_after);
}

#[tokio::test]
async fn what_a_device_goes_through_is_no_matter_of_another_of_the_same_builder() {
    let scene = Scene::new().await;
    let builder = scene
        .broker
        .builder(Identity::open(scene.home.path()).unwrap());
    let other = builder.clone().client_id("dev-1/other");
    let (other, mut other_connection) = scene.broker.connected(other).await;
    let old = certificate_of(&other_connection);
    let renewal = Renewal::by_est(&scene.est.url()).unwrap();
    let (_device, mut connection) = scene.broker.connected(builder.renew(renewal)).await;
    tokio::join!(scene.certify(), scene.probed());
    assert_eq!(connection.read().await, GOODBYE);
    connection.end().await;
    let _connection = scene.broker.accept_with(CONNACK_SESSION_PRESENT).await;
    let receipt = other
        .queue(Publish::new("a", "").qos(QoS::AtLeastOnce))
        .await
        .unwrap();
    let published = other_connection.read().await;
    assert_eq!(published.topic(), "a");
    let [high, low] = published.publish_id();
    other_connection.write(&[0x40, 2, high, low]).await;
    receipt.await.unwrap();
    other_connection.expect_silence().await;
    other_connection.end().await;
    let (other_connection, _) = scene.broker.accept().await;
    assert_eq!(certificate_of(&other_connection), old);
}

#[tokio::test]
async fn a_certificate_that_the_broker_refuses_changes_nothing() {
    let scene = Scene::with(broker_refusing(CertificateError::Revoked, 1).await).await;
    let (device, mut connection) = scene.broker.connected(scene.device()).await;
    let ((), probe) = tokio::join!(scene.certify(), scene.broker.try_accept());
    assert!(probe.is_err());
    let failure = failure(&device).await;
    let is_probe = matches!(failure, EnrolError::Probe(ConnectError::CertificateRevoked));
    assert!(is_probe, "{failure:?}");
    scene.expect_names(&["ca.pem", "cert.pem", "key.pem"]).await;
    let receipt = device
        .queue(Publish::new("a", "").qos(QoS::AtLeastOnce))
        .await
        .unwrap();
    let [high, low] = connection.read().await.publish_id();
    connection.write(&[0x40, 2, high, low]).await;
    receipt.await.unwrap();
}

#[tokio::test]
async fn a_server_that_refuses_changes_nothing() {
    let scene = Scene::new().await;
    let (device, mut connection) = scene.broker.connected(scene.device()).await;
    scene.asked().await.refuse("403 No", "revoked").await;
    let failure = failure(&device).await;
    assert!(
        matches!(failure, EnrolError::Refused { status: 403, .. }),
        "{failure:?}"
    );
    assert_eq!(scene.names(), ["ca.pem", "cert.pem", "key.pem"]);
    connection.expect_silence().await;
}

#[tokio::test]
async fn a_certificate_that_could_not_be_tried_is_tried_again_and_no_other_is_asked_for() {
    let scene = Scene::new().await;
    let (device, mut connection) = scene.broker.connected(scene.device()).await;
    // The broker has no time for the probe.
    let ((), probe) = tokio::join!(scene.certify(), scene.broker.accept_tcp());
    drop(probe);
    let failure = failure(&device).await;
    assert!(
        matches!(failure, EnrolError::Probe(ConnectError::Closed)),
        "{failure:?}"
    );
    scene.probed().await;
    assert_eq!(connection.read().await, GOODBYE);
    connection.end().await;
    let _connection = scene.broker.accept_with(CONNACK_SESSION_PRESENT).await;
    scene.expect_names(&["current", "v1"]).await;
    scene.est.expect_silence().await;
}

#[tokio::test]
async fn a_broker_that_forbids_the_client_id_of_the_probe_has_let_the_certificate_in() {
    let scene = Scene::new().await;
    let (_device, mut connection) = scene.broker.connected(scene.device()).await;
    scene.certify().await;
    let mut probe = scene.broker.accept_with(&[0x20, 3, 0, 0x85, 0]).await;
    probe.expect_closed().await;
    assert_eq!(connection.read().await, GOODBYE);
    connection.end().await;
    let _connection = scene.broker.accept_with(CONNACK_SESSION_PRESENT).await;
    scene.expect_names(&["current", "v1"]).await;
}

#[tokio::test]
async fn a_broker_that_refuses_it_after_the_probe_gets_the_one_before_again() {
    let scene = Scene::with(broker_refusing(CertificateError::UnknownIssuer, 2).await).await;
    let (device, mut connection) = scene.broker.connected(scene.device()).await;
    tokio::join!(scene.certify(), scene.probed());
    assert_eq!(connection.read().await, GOODBYE);
    connection.end().await;
    assert!(scene.broker.try_accept().await.is_err());
    let failure = failure(&device).await;
    let is_probe = matches!(failure, EnrolError::Probe(ConnectError::UnknownAuthority));
    assert!(is_probe, "{failure:?}");
    scene.expect_names(&["ca.pem", "cert.pem", "key.pem"]).await;
    Identity::open(scene.home.path()).unwrap();
}

#[tokio::test]
async fn a_device_whose_certificate_has_expired_renews_it_and_connects() {
    let broker = Broker::start().await;
    let home = tempfile::tempdir().unwrap();
    broker
        .authority
        .write_device("dev-1", Duration::ZERO, home.path());
    sleep(Duration::from_millis(1100)).await;
    assert!(Identity::open(home.path()).is_err());
    let identity = Identity::open_at_any_time(home.path()).unwrap();
    let est = Est::start_late(&broker.authority, Duration::from_secs(30)).await;
    let renewal = Renewal::by_est(&est.url()).unwrap();
    let connecting = tokio::spawn(broker.builder(identity).renew(renewal).connect());
    let scene = Scene { broker, est, home };
    tokio::join!(scene.certify(), scene.probed());
    let _connection = scene.broker.accept_with(CONNACK).await;
    connecting.await.unwrap().unwrap();
}

/// What a device trusts that lives in this scene.
fn trusted(scene: &Scene) -> Vec<CertificateDer<'static>> {
    let files = scene.home.path().join("current");
    let pem = CertificateDer::pem_file_iter(files.join("ca.pem"));
    pem.unwrap().map(Result::unwrap).collect()
}

/// One renewal in which these authorities are served each time somebody asks, and after which the
/// device is connected.
async fn renew(
    scene: &Scene,
    certified: (Connection, &Authority, u64),
    served: &[CertificateDer<'static>],
) -> Connection {
    renew_and(scene, certified, served, || ()).await
}

/// The same, and something is done before the device goes over to its certificate.
async fn renew_and(
    scene: &Scene,
    (mut connection, issuer, lifetime): (Connection, &Authority, u64),
    served: &[CertificateDer<'static>],
    act: impl Fn(),
) -> Connection {
    let serve = async {
        loop {
            let Ok(asked) = scene.est.try_asked().await else {
                continue;
            };
            if asked.head.starts_with("GET ") {
                asked.certificates(served).await;
            } else {
                act();
                let leaf = issuer.certify("dev-1", &asked.body, Duration::from_secs(lifetime));
                asked.certificates(&[leaf]).await;
            }
        }
    };
    let probed = async {
        loop {
            // One that does not trust the broker ends in the handshake.
            if let Ok(mut probe) = scene.broker.try_accept().await {
                probe.read().await;
                probe.write(CONNACK).await;
                return probe.expect_closed().await;
            }
        }
    };
    tokio::select! {
        () = serve => unreachable!(),
        () = probed => {}
    }
    // Whoever asks for the next one waits meanwhile.
    assert_eq!(connection.read().await, GOODBYE);
    connection.end().await;
    scene.broker.accept_with(CONNACK_SESSION_PRESENT).await
}

#[tokio::test]
async fn a_root_is_replaced_while_a_device_lives() {
    let (old, new) = (Authority::new(), Authority::new());
    let both = [old.der(), new.der()];
    let devices_of_both = verifier(&[&old, &new]);
    let broker = Broker::start_with(old, devices_of_both, &rustls::version::TLS13).await;
    let mut scene = Scene::with(broker).await;
    scene.est.prove_by(&scene.broker.authority, &new);
    let identity = Identity::open(scene.home.path()).unwrap();
    let renewal = Renewal::by_est(&scene.est.url()).unwrap().at(50);
    let builder = scene.broker.builder(identity).renew(renewal);
    let (device, connection) = scene.broker.connected(builder).await;
    let connection = renew(&scene, (connection, &new, 12), &both).await;
    assert_eq!(trusted(&scene), both);
    // Both servers prove themselves by the old one still, whatever is served.
    let only_new = [new.der()];
    let connection = renew(&scene, (connection, &new, 14), &only_new).await;
    assert_eq!(trusted(&scene), both);
    scene.est.prove_by(&new, &scene.broker.authority);
    let connection = renew(&scene, (connection, &new, 16), &only_new).await;
    assert_eq!(trusted(&scene), both);
    scene.broker.prove_by(&new);
    let connection = renew(&scene, (connection, &new, 18), &only_new).await;
    assert_eq!(trusted(&scene), only_new);
    let _connection = renew(&scene, (connection, &new, 20), &[]).await;
    assert_eq!(trusted(&scene), only_new);
    assert_eq!(device.status().certificate.renewals, 5);
}

#[tokio::test]
async fn a_trust_bundle_is_followed_at_each_renewal_and_nobody_elses_word() {
    let (old, new, stranger) = (Authority::new(), Authority::new(), Authority::new());
    let devices_of_both = verifier(&[&old, &new]);
    let broker = Broker::start_with(old, devices_of_both, &rustls::version::TLS13).await;
    let mut scene = Scene::with(broker).await;
    let old = Arc::clone(&scene.broker.authority);
    scene.est.prove_by(&old, &new);
    let file = scene.home.path().join("trust.bundle");
    let write = |octets: Vec<u8>| fs::write(&file, octets).unwrap();
    write(bundle(7, &[&stranger], &stranger));
    let identity = Identity::open(scene.home.path()).unwrap();
    let renewal = Renewal::by_est(&scene.est.url()).unwrap().at(50);
    let builder = scene.broker.builder(identity);
    let builder = builder.renew(renewal.trust_bundle(&file));
    let (device, connection) = scene.broker.connected(builder).await;

    // A stranger's is not followed, and what the enrolment server tells of neither. The next one is
    // there before the device looks again.
    let served = [old.der(), stranger.der()];
    bundle_failure(
        &device,
        Some("it is signed by no root that is trusted here"),
    )
    .await;
    let next = || write(bundle(2, &[&old, &new], &old));
    let connection = renew_and(&scene, (connection, &old, 12), &served, next).await;
    assert_eq!(trusted(&scene), [old.der()]);

    bundle_failure(&device, None).await;
    let next = || write(bundle(1, &[&old], &old));
    let connection = renew_and(&scene, (connection, &old, 14), &served, next).await;
    assert_eq!(trusted(&scene), [old.der(), new.der()]);

    bundle_failure(&device, Some("it has number 1, and 2 was seen before")).await;
    let next = || write(bundle(3, &[&new], &old));
    let connection = renew_and(&scene, (connection, &new, 16), &[], next).await;
    assert_eq!(trusted(&scene), [old.der(), new.der()]);

    bundle_failure(&device, None).await;
    scene.est.prove_by(&new, &old);
    scene.broker.prove_by(&new);
    let _connection = renew(&scene, (connection, &new, 18), &[]).await;
    assert_eq!(trusted(&scene), [new.der()]);
    assert_eq!(device.status().certificate.renewals, 4);
}

/// Waits until the bundle is followed, or not for this reason.
async fn bundle_failure(device: &Device, why: Option<&str>) {
    let is_so = || {
        let failure = device.status().certificate.bundle_failure;
        match (failure, why) {
            (Some(failure), Some(why)) => failure.to_string().ends_with(why),
            (failure, why) => failure.is_none() && why.is_none(),
        }
    };
    let so = async {
        while !is_so() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    let waited = timeout(PATIENCE, so).await;
    waited.unwrap_or_else(|_| panic!("{:?}", device.status().certificate));
}

/// A trust bundle of these roots.
fn bundle(number: u64, roots: &[&Authority], signer: &Authority) -> Vec<u8> {
    let header = BundleHeader {
        number,
        trust_domain: TrustDomain::parse("test").unwrap(),
        created: UnixTime::now(),
    };
    let pems: Vec<_> = roots.iter().map(|root| root.pem()).collect();
    let pems: Vec<_> = pems.iter().map(|pem| &**pem).collect();
    let mut writer = BundleWriter::new(&header, &pems).unwrap();
    let root = certs::Authority::read_root(&signer.der()).unwrap();
    let sign = |body: &[u8]| Ok::<_, InvalidBundle>(signer.sign(body));
    writer.sign(&root, sign).unwrap();
    writer.finish()
}

#[tokio::test]
async fn an_identity_in_memory_or_in_use_is_not_renewed() {
    let scene = Scene::new().await;
    let renewal = || Renewal::by_est(&scene.est.url()).unwrap();
    let in_memory = scene.broker.device().renew(renewal()).connect().await;
    let error = in_memory.unwrap_err();
    assert!(matches!(error, ConnectError::NotRenewable(_)), "{error:?}");
    let (_device, _connection) = scene.broker.connected(scene.device()).await;
    let second = scene.device().client_id("dev-1/2").connect().await;
    let error = second.unwrap_err();
    assert!(matches!(error, ConnectError::NotRenewable(_)), "{error:?}");
}
