//! A device that renews its certificate, step by step, and what can come between.

use std::path::PathBuf;
use std::time::Duration;

use device_client::{
    Builder, ConnectError, Device, EnrolError, Identity, Publish, QoS, Renewal, Will,
};
use rustls::CertificateError;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use super::est::{Asked, Est};
use crate::broker::{Broker, CONNACK, CONNACK_SESSION_PRESENT, Connection, PATIENCE, Packet};
use crate::connecting::broker_refusing;
use crate::material::names;

/// Renewed at once: it began a minute ago.
const LIFETIME: Duration = Duration::from_secs(10);

/// A device goes over to it within a hundredth of this.
const NEXT_LIFETIME: Duration = Duration::from_mins(1);

/// DISCONNECT, normal disconnection.
pub(super) const GOODBYE: Packet = Packet {
    head: 0xE0,
    body: Vec::new(),
};

/// A broker, an enrolment server, and the home of a device.
pub(super) struct Scene {
    pub(super) broker: Broker,
    pub(super) est: Est,
    pub(super) home: TempDir,
}

impl Scene {
    async fn new() -> Self {
        Self::with(Broker::start().await).await
    }

    pub(super) async fn with(broker: Broker) -> Self {
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
