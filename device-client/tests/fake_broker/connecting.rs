//! How a connection begins, and all the ways in which it does not.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use device_client::{ConnectError, Device, Link, Publish, QoS, WhenRefused, Will};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, SignatureScheme};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use crate::broker::{Broker, CONNACK, CONNACK_SESSION_PRESENT, PATIENCE, verifier};
use crate::material::Authority;

/// What connecting came to, with a broker that answers CONNECT so.
async fn refusal(answer: &[u8]) -> ConnectError {
    let broker = Broker::start().await;
    let device = broker.device().connect_within(Duration::ZERO).connect();
    let (device, _connection) = tokio::join!(device, broker.accept_with(answer));
    device.unwrap_err()
}

#[tokio::test]
async fn a_connect_names_the_device_and_what_it_wants() {
    let broker = Broker::start().await;
    let will = Will::new(Publish::new("devices/dev-1/state", "gone").qos(QoS::AtLeastOnce));
    let builder = broker
        .device()
        .keep_alive(Duration::from_secs(77))
        .will(will)
        .unwrap();
    let connecting = tokio::spawn(builder.connect());
    let (mut connection, connect) = broker.accept().await;
    assert_eq!(
        connection.stream.get_ref().1.alpn_protocol(),
        Some(&b"mqtt"[..])
    );
    assert_eq!(&connect.body[..7], b"\x00\x04MQTT\x05");
    // Clean start, and a will of QoS 1.
    assert_eq!(connect.body[7], 0b0000_1110);
    assert_eq!(&connect.body[8..10], &[0, 77]);
    assert!(
        connect.contains(b"\x00\x05dev-1\x05"),
        "client id before the will properties"
    );
    assert!(
        connect.contains(b"\x11\x00\x00\x0E\x10"),
        "an hour of session expiry"
    );
    assert!(connect.contains(b"\x00\x13devices/dev-1/state\x00\x04gone"));
    connection.write(CONNACK).await;
    assert!(connecting.await.unwrap().unwrap().status().is_connected());
}

#[tokio::test]
async fn a_connack_that_refuses_for_good_ends_connecting_with_its_reason() {
    for (code, expected) in [
        (0x87, "NotAuthorized"),
        (0x85, "ClientIdRefused"),
        (0x8A, "Refused { reason: banned (0x8A) }"),
        (
            0x84,
            "Refused { reason: unsupported protocol version (0x84) }",
        ),
    ] {
        let broker = Broker::start().await;
        let connecting = broker.device().connect();
        let answer = [0x20, 3, 0, code, 0];
        let (device, _connection) = tokio::join!(connecting, broker.accept_with(&answer));
        assert_eq!(format!("{:?}", device.unwrap_err()), expected);
    }
}

#[tokio::test]
async fn a_connack_that_refuses_for_now_is_tried_again() {
    let broker = Broker::start().await;
    let connecting = tokio::spawn(broker.device().connect());
    for code in [0x88, 0x89, 0x97, 0x9F] {
        broker
            .accept_with(&[0x20, 3, 0, code, 0])
            .await
            .expect_closed()
            .await;
    }
    let _connection = broker.accept_with(CONNACK).await;
    connecting.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_is_no_connack_is_no_connection() {
    for answer in [
        &b"\xD0\x00"[..],
        b"\x20\x03\x02\x00\x00",
        CONNACK_SESSION_PRESENT,
        b"\xFF\xFF\xFF\xFF\xFF",
    ] {
        let error = refusal(answer).await;
        assert!(
            matches!(error, ConnectError::Protocol { .. }),
            "{answer:x?}: {error:?}"
        );
    }
}

#[tokio::test]
async fn one_who_keeps_trying_is_not_ended_by_a_refusal() {
    let broker = Broker::start().await;
    let builder = broker.device().when_refused(WhenRefused::KeepTrying);
    let connecting = tokio::spawn(builder.connect());
    broker
        .accept_with(&[0x20, 3, 0, 0x87, 0])
        .await
        .expect_closed()
        .await;
    let _connection = broker.accept_with(CONNACK).await;
    connecting.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_certificate_is_refused_by_its_name() {
    for (why, expected) in [
        (CertificateError::Expired, "CertificateExpired"),
        (CertificateError::Revoked, "CertificateRevoked"),
        (CertificateError::UnknownIssuer, "UnknownAuthority"),
        (
            CertificateError::BadEncoding,
            "CertificateRefused { alert: \"bad certificate\" }",
        ),
    ] {
        let broker = broker_refusing(why, 0).await;
        let (device, handshake) = tokio::join!(broker.device().connect(), broker.try_accept());
        assert!(handshake.is_err());
        assert_eq!(format!("{:?}", device.unwrap_err()), expected);
    }
}

#[tokio::test]
async fn a_certificate_refused_later_stops_the_device_with_the_reason() {
    let broker = broker_refusing(CertificateError::Revoked, 1).await;
    let (mut device, connection) = broker.connected(broker.device()).await;
    drop(connection);
    assert!(broker.try_accept().await.is_err());
    let link = last_link(&mut device).await;
    assert!(
        matches!(
            link,
            Link::Stopped {
                cause: ConnectError::CertificateRevoked
            }
        ),
        "{link:?}"
    );
}

#[tokio::test]
async fn a_broker_of_another_authority_is_not_trusted() {
    let broker = Broker::start().await;
    let stranger = broker.authority.device_trusting("dev-1", &Authority::new());
    let connecting = broker.builder(stranger).connect();
    let (device, handshake) = tokio::join!(connecting, broker.try_accept());
    assert!(handshake.is_err());
    let error = device.unwrap_err();
    assert!(
        matches!(error, ConnectError::BrokerNotTrusted { .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_broker_of_another_name_is_not_trusted() {
    let broker = Broker::start().await;
    let builder = broker.device().server_name("broker.example").unwrap();
    let (device, handshake) = tokio::join!(builder.connect(), broker.try_accept());
    assert!(handshake.is_err());
    let error = device.unwrap_err();
    assert!(error.to_string().contains("another host name"), "{error}");
}

#[tokio::test]
async fn tls_1_2_is_not_spoken() {
    let authority = Authority::new();
    let verifier = verifier(&[&authority]);
    let broker = Broker::start_with(authority, verifier, &rustls::version::TLS12).await;
    let connecting = broker.device().connect_within(Duration::ZERO).connect();
    let (device, handshake) = tokio::join!(connecting, broker.try_accept());
    assert!(handshake.is_err());
    let error = device.unwrap_err();
    assert!(matches!(error, ConnectError::Tls { .. }), "{error:?}");
}

#[tokio::test]
async fn what_does_not_speak_tls_is_no_broker() {
    let broker = Broker::start().await;
    let connecting = broker.device().connect_within(Duration::ZERO).connect();
    let plain = async {
        let mut tcp = broker.accept_tcp().await;
        tcp.write_all(CONNACK).await.unwrap();
        tcp
    };
    let (device, _tcp) = tokio::join!(connecting, plain);
    let error = device.unwrap_err();
    assert!(matches!(error, ConnectError::Tls { .. }), "{error:?}");
}

#[tokio::test]
async fn a_broker_that_says_nothing_is_given_up_in_time() {
    let broker = Broker::start().await;
    let builder = broker.device().connect_within(Duration::ZERO);
    let connecting = builder
        .attempt_time_max(Duration::from_millis(50))
        .connect();
    let (device, _silent) = tokio::join!(connecting, broker.accept_tcp());
    let error = device.unwrap_err();
    assert!(matches!(error, ConnectError::TimedOut), "{error:?}");
}

#[tokio::test]
async fn where_nobody_listens_no_broker_is_reached() {
    let broker = Broker::start().await;
    let builder = broker.device().connect_within(Duration::ZERO);
    drop(broker);
    let error = builder.connect().await.unwrap_err();
    assert!(
        matches!(error, ConnectError::Unreachable { .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_session_taken_over_stops_the_device_and_other_goodbyes_do_not() {
    let broker = Broker::start().await;
    let (mut device, mut connection) = broker.connected(broker.device()).await;
    for code in [0x87, 0x8B, 0x98] {
        connection.write(&[0xE0, 2, code, 0]).await;
        connection = broker.accept_with(CONNACK).await;
    }
    connection.write(&[0xE0, 2, 0x8E, 0]).await;
    let link = last_link(&mut device).await;
    assert!(
        matches!(
            link,
            Link::Stopped {
                cause: ConnectError::SessionTakenOver
            }
        ),
        "{link:?}"
    );
}

#[tokio::test]
async fn a_later_connection_goes_on_with_the_session() {
    let broker = Broker::start().await;
    let (_device, connection) = broker.connected(broker.device()).await;
    drop(connection);
    let (_connection, connect) = broker.accept().await;
    assert_eq!(connect.body[7] & 0b10, 0, "no clean start");
}

#[tokio::test]
async fn an_earlier_session_is_gone_on_with_after_its_packet_ids_are_released() {
    let broker = Broker::start().await;
    let connecting = tokio::spawn(broker.device().resume_session().connect());
    let (mut connection, connect) = broker.accept().await;
    assert_eq!(connect.body[7] & 0b10, 0, "no clean start");
    connection.write(CONNACK_SESSION_PRESENT).await;
    let device = connecting.await.unwrap().unwrap();
    for id in 1..=32 {
        let release = connection.read().await;
        assert_eq!((release.head, &release.body[..2]), (0x62, &[0, id][..]));
        // Packet identifier not found.
        connection.write(&[0x70, 3, 0, id, 0x92]).await;
    }
    let receipt = device
        .queue(Publish::new("a", "").qos(QoS::ExactlyOnce))
        .await
        .unwrap();
    let [high, low] = connection.read().await.publish_id();
    connection.write(&[0x50, 2, high, low]).await;
    assert_eq!(connection.read().await.head, 0x62);
    connection.write(&[0x70, 2, high, low]).await;
    receipt.await.unwrap();
}

#[tokio::test]
async fn no_more_packet_ids_are_released_than_the_broker_lets_us_use() {
    let broker = Broker::start().await;
    let connecting = tokio::spawn(broker.device().resume_session().connect());
    // Receive maximum 2.
    let few = [0x20, 6, 1, 0, 3, 0x21, 0, 2];
    broker.accept_with(&few).await.expect_closed().await;
    let mut connection = broker.accept_with(&few).await;
    let _device = connecting.await.unwrap().unwrap();
    for id in 1..=2 {
        assert_eq!(connection.read().await.body[..2], [0, id]);
        connection.write(&[0x70, 3, 0, id, 0x92]).await;
    }
    connection.expect_silence().await;
}

/// How a device stands when it has ended.
async fn last_link(device: &mut Device) -> Link {
    let ended = async { while device.status_changed().await.is_some() {} };
    timeout(PATIENCE, ended).await.expect("it goes on");
    device.status().link
}

/// A broker that takes this many certificates, and refuses the rest.
pub(crate) async fn broker_refusing(why: CertificateError, taken: usize) -> Broker {
    let authority = Authority::new();
    let (inner, taken) = (verifier(&[&authority]), AtomicUsize::new(taken));
    let verifier = Arc::new(Refusing { inner, why, taken });
    Broker::start_with(authority, verifier, &rustls::version::TLS13).await
}

#[derive(Debug)]
struct Refusing {
    inner: Arc<dyn ClientCertVerifier>,
    why: CertificateError,
    taken: AtomicUsize,
}

impl ClientCertVerifier for Refusing {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let one_less = |left: usize| left.checked_sub(1);
        match self
            .taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less)
        {
            Ok(_) => self
                .inner
                .verify_client_cert(end_entity, intermediates, now),
            Err(_) => Err(self.why.clone().into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
