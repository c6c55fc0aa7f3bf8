//! The broker: accepts one connection at a time and knows packets by their octets only.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use device_client::{Backoff, Builder, Device, Identity};
use rustls::SupportedProtocolVersion;
use rustls::crypto::aws_lc_rs;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::material::{Authority, roots, server_config};

/// Only a failure lasts this long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) const CONNACK: &[u8] = &[0x20, 3, 0, 0, 0];
pub(crate) const CONNACK_SESSION_PRESENT: &[u8] = &[0x20, 3, 1, 0, 0];

pub(crate) struct Broker {
    pub(crate) authority: Arc<Authority>,
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl Broker {
    pub(crate) async fn start() -> Self {
        let authority = Authority::new();
        let verifier = verifier(&[&authority]);
        Self::start_with(authority, verifier, &rustls::version::TLS13).await
    }

    /// One that judges certificates in its own way, or speaks another TLS.
    pub(crate) async fn start_with(
        authority: Authority,
        verifier: Arc<dyn ClientCertVerifier>,
        version: &'static SupportedProtocolVersion,
    ) -> Self {
        let acceptor = acceptor(&authority, verifier, version);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self {
            authority: Arc::new(authority),
            listener,
            acceptor,
        }
    }

    /// Another one of the same authority.
    pub(crate) async fn sibling(&self) -> Self {
        Self {
            authority: Arc::clone(&self.authority),
            listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
            acceptor: self.acceptor.clone(),
        }
    }

    /// From the next connection on it shows a certificate of `by`, and takes devices of both.
    pub(crate) fn prove_by(&mut self, by: &Authority) {
        let verifier = verifier(&[&self.authority, by]);
        self.acceptor = acceptor(by, verifier, &rustls::version::TLS13);
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    pub(crate) fn url(&self) -> String {
        format!("localhost:{}", self.address().port())
    }

    /// A device that does not wait long.
    pub(crate) fn builder(&self, identity: Identity) -> Builder {
        let hasty = Backoff {
            base: Duration::from_millis(1),
            cap: Duration::from_millis(1),
        };
        Device::builder(&self.url(), identity)
            .unwrap()
            .backoff(hasty)
    }

    /// The device `dev-1`.
    pub(crate) fn device(&self) -> Builder {
        self.builder(self.authority.device("dev-1"))
    }

    pub(crate) async fn accept_tcp(&self) -> TcpStream {
        timeout(PATIENCE, self.listener.accept())
            .await
            .expect("nobody came")
            .unwrap()
            .0
    }

    /// The next connection, if it comes to one.
    pub(crate) async fn try_accept(&self) -> std::io::Result<Connection> {
        let tcp = self.accept_tcp().await;
        Ok(Connection {
            stream: self.acceptor.accept(tcp).await?,
        })
    }

    /// The next connection and its CONNECT.
    pub(crate) async fn accept(&self) -> (Connection, Packet) {
        let mut connection = self.try_accept().await.unwrap();
        let connect = connection.read().await;
        assert_eq!(connect.head, 0x10);
        (connection, connect)
    }

    /// The next connection, accepted with this CONNACK.
    pub(crate) async fn accept_with(&self, connack: &[u8]) -> Connection {
        let (mut connection, _) = self.accept().await;
        connection.write(connack).await;
        connection
    }

    /// A connected device and its connection.
    pub(crate) async fn connected(&self, builder: Builder) -> (Device, Connection) {
        let (device, connection) = tokio::join!(builder.connect(), self.accept_with(CONNACK));
        (device.unwrap(), connection)
    }
}

fn acceptor(
    authority: &Authority,
    verifier: Arc<dyn ClientCertVerifier>,
    version: &'static SupportedProtocolVersion,
) -> TlsAcceptor {
    let mut config = server_config(authority, verifier, (version, b"mqtt"));
    // A resumed session would pass by the verifier.
    config.send_tls13_tickets = 0;
    Arc::new(config).into()
}

/// Accepts devices of these.
pub(crate) fn verifier(authorities: &[&Authority]) -> Arc<dyn ClientCertVerifier> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    WebPkiClientVerifier::builder_with_provider(roots(authorities), provider)
        .build()
        .unwrap()
}

pub(crate) struct Connection {
    pub(crate) stream: TlsStream<TcpStream>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) head: u8,
    pub(crate) body: Vec<u8>,
}

impl Packet {
    /// The packet id of a PUBLISH that is not QoS 0.
    pub(crate) fn publish_id(&self) -> [u8; 2] {
        let topic_len = usize::from(u16::from_be_bytes([self.body[0], self.body[1]]));
        [self.body[2 + topic_len], self.body[3 + topic_len]]
    }

    /// The topic of a PUBLISH.
    pub(crate) fn topic(&self) -> &str {
        let topic_len = usize::from(u16::from_be_bytes([self.body[0], self.body[1]]));
        std::str::from_utf8(&self.body[2..2 + topic_len]).unwrap()
    }

    pub(crate) fn contains(&self, octets: &[u8]) -> bool {
        self.body
            .windows(octets.len())
            .any(|window| window == octets)
    }
}

impl Connection {
    pub(crate) async fn read(&mut self) -> Packet {
        timeout(PATIENCE, self.try_read())
            .await
            .expect("nothing came")
            .expect("closed")
    }

    async fn try_read(&mut self) -> std::io::Result<Packet> {
        let head = self.stream.read_u8().await?;
        let (mut len, mut shift) = (0, 0);
        loop {
            let octet = self.stream.read_u8().await?;
            len |= usize::from(octet & 0x7F) << shift;
            shift += 7;
            if octet & 0x80 == 0 {
                break;
            }
        }
        let mut body = vec![0; len];
        self.stream.read_exact(&mut body).await?;
        Ok(Packet { head, body })
    }

    pub(crate) async fn write(&mut self, octets: &[u8]) {
        self.stream.write_all(octets).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// Writes, unless the device has closed the connection already.
    pub(crate) async fn write_if_open(&mut self, octets: &[u8]) {
        let _ = self.stream.write_all(octets).await;
        let _ = self.stream.flush().await;
    }

    /// Closes the connection, when the device has had time to read what was written.
    pub(crate) async fn end(mut self) {
        let _ = self.stream.shutdown().await;
        while self.try_read().await.is_ok() {}
    }

    /// The device closes the connection without another packet.
    pub(crate) async fn expect_closed_without_a_word(&mut self) {
        let read = timeout(PATIENCE, self.try_read())
            .await
            .expect("it stays open");
        assert!(read.is_err(), "{read:?}");
    }

    /// The device sends nothing for a moment.
    pub(crate) async fn expect_silence(&mut self) {
        let read = timeout(Duration::from_millis(50), self.try_read()).await;
        assert!(read.is_err(), "{read:?}");
    }

    /// The device closes the connection.
    pub(crate) async fn expect_closed(&mut self) {
        let rest = async { while self.try_read().await.is_ok() {} };
        timeout(PATIENCE, rest).await.expect("it stays open");
    }
}

/// A PUBLISH to a topic of one letter, with an empty payload.
pub(crate) fn publish(flags: u8, topic: u8, packet_id: u8) -> Vec<u8> {
    if flags & 0b0110 == 0 {
        vec![0x30 | flags, 4, 0, 1, topic, 0]
    } else {
        vec![0x30 | flags, 6, 0, 1, topic, 0, packet_id, 0]
    }
}
