//! Connecting: TCP, TLS, CONNECT, and SUBSCRIBE where it is asked for.
//!
//! Whatever the broker refuses is told in its own words and ends the run.

use super::identity::Identity;
use super::socket::{Socket, Volume};
use crate::host::server_name;
use crate::load::LoadError;
use crate::wire::{self, Connack, DISCONNECT, Duplex, Frame, PacketType, Start, split};
use protocol::packet::{QoS, Version};
use rustls::HandshakeKind;
use rustls_pki_types::ServerName;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A broker that has not answered by then does not.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(20);

/// Knows the broker and connects to it.
#[derive(Clone, Debug)]
pub(crate) struct Dialer {
    address: Arc<str>,
    name: ServerName<'static>,
    pub(crate) version: Version,
    pub(crate) volume: Arc<Volume>,
    pub(crate) keep_alive: u16,
    pub(crate) start: Start,
}

/// An MQTT connection.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) wire: Duplex<TlsStream<Socket>>,
    /// How many QoS 1 and 2 messages the broker takes at once.
    pub(crate) receive_maximum: u16,
    /// Whether its session was there before.
    pub(crate) session_present: bool,
}

impl Dialer {
    /// Connects to `host:port`.
    pub(crate) fn new(address: &str, version: Version, keep_alive: u16) -> Result<Self, LoadError> {
        let wrong = || LoadError::BadAddress {
            address: address.to_owned(),
        };
        let name = server_name(address).ok_or_else(wrong)?;
        Ok(Self {
            address: address.into(),
            name,
            version,
            volume: Arc::default(),
            keep_alive,
            start: Start::Clean,
        })
    }

    /// A connection whose CONNECT was answered.
    pub(crate) async fn connect(
        &self,
        identity: &Identity,
        client_id: &str,
    ) -> Result<Link, LoadError> {
        let connect = async {
            let tcp = TcpStream::connect(&*self.address).await?;
            tcp.set_nodelay(true)?;
            let socket = Socket::new(tcp, Arc::clone(&self.volume));
            let connector = TlsConnector::from(Arc::clone(&identity.tls));
            let stream = connector.connect(self.name.clone(), socket).await?;
            let mut link = Link {
                wire: Duplex::new(stream),
                receive_maximum: u16::MAX,
                session_present: false,
            };
            let packet = wire::connect(self.version, client_id, (self.start, self.keep_alive));
            link.ask(packet, |frame| self.connack(frame))
                .await
                .map(|connack| {
                    link.receive_maximum = connack.receive_maximum;
                    link.session_present = connack.session_present;
                    link
                })
        };
        let answered = timeout(ANSWER_TIME_MAX, connect).await;
        answered
            .unwrap_or(Err(LoadError::Silent {
                time: ANSWER_TIME_MAX,
            }))
            .map_err(|error| error.of(client_id))
    }

    fn connack(&self, frame: &Frame<'_>) -> Result<Option<Connack>, LoadError> {
        if frame.packet_type() != PacketType::Connack {
            return Err(LoadError::Unexpected { first: frame.first });
        }
        let connack = Connack::read(frame, self.version)?;
        match connack.reason {
            0 => Ok(Some(connack)),
            reason => Err(LoadError::Refused {
                what: "CONNECT",
                reason,
            }),
        }
    }
}

impl Link {
    /// Subscribes, and waits for the SUBACK.
    pub(crate) async fn subscribe(
        &mut self,
        version: Version,
        filter: &str,
        qos: QoS,
    ) -> Result<(), LoadError> {
        let packet = wire::subscribe(version, filter, qos);
        let granted = self.ask(packet, |frame| match frame.packet_type() {
            PacketType::Suback if wire::suback_grants(frame, qos) => Ok(Some(())),
            PacketType::Suback | PacketType::Disconnect => Err(LoadError::Refused {
                what: "SUBSCRIBE",
                reason: wire::refusal(frame).unwrap_or(0x80),
            }),
            _ => Ok(None),
        });
        let granted = timeout(ANSWER_TIME_MAX, granted).await;
        granted.unwrap_or(Err(LoadError::Silent {
            time: ANSWER_TIME_MAX,
        }))
    }

    /// Whether TLS went on with an earlier session.
    pub(crate) fn is_resumed(&self) -> bool {
        let (_, tls) = self.wire.stream().get_ref();
        tls.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// Says DISCONNECT and closes.
    pub(crate) async fn close(mut self) -> Result<(), LoadError> {
        self.wire.out().extend(DISCONNECT);
        Ok(timeout(ANSWER_TIME_MAX, self.wire.drain())
            .await
            .unwrap_or(Ok(()))?)
    }

    /// Closes TLS without a word of MQTT.
    pub(crate) async fn leave(mut self) -> Result<(), LoadError> {
        Ok(timeout(ANSWER_TIME_MAX, self.wire.shut_down())
            .await
            .unwrap_or(Ok(()))?)
    }

    /// Sends `packet` and reads until `answer` finds one; it is shown every frame.
    pub(crate) async fn ask<T>(
        &mut self,
        packet: Vec<u8>,
        mut answer: impl FnMut(&Frame<'_>) -> Result<Option<T>, LoadError>,
    ) -> Result<T, LoadError> {
        self.wire.out().extend(packet);
        loop {
            let mut found = None;
            self.wire
                .turn(|bytes, _| {
                    let mut rest = bytes;
                    while let (None, Some((frame, after))) = (&found, split(rest)?) {
                        found = answer(&frame)?;
                        rest = after;
                    }
                    Ok::<_, LoadError>(bytes.len() - rest.len())
                })
                .await?;
            if let Some(found) = found {
                return Ok(found);
            }
        }
    }
}

/// So many clients connect at once.
const CONNECTING_MAX: usize = 32;

/// Connects all clients and gives their connections in the same order; `tell` hears how many are
/// there.
pub(crate) async fn connect_all(
    dialer: &Dialer,
    clients: Vec<(Identity, String)>,
    tell: &dyn Fn(usize),
) -> Result<Vec<Link>, LoadError> {
    let mut waiting = clients.into_iter().enumerate();
    let mut connecting = JoinSet::new();
    let mut links = Vec::new();
    loop {
        while connecting.len() < CONNECTING_MAX
            && let Some((index, (identity, client_id))) = waiting.next()
        {
            let dialer = dialer.clone();
            connecting.spawn(async move { (index, dialer.connect(&identity, &client_id).await) });
        }
        let Some(connected) = connecting.join_next().await else {
            break;
        };
        let (index, link) = connected?;
        links.push((index, link?));
        tell(links.len());
    }
    links.sort_by_key(|(index, _)| *index);
    Ok(links.into_iter().map(|(_, link)| link).collect())
}
