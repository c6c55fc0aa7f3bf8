//! The way in: TCP, TLS and CONNECT, until the broker has answered.

use super::talk::Ended;
use crate::wire::{self, Connack, Duplex, Malformed, PacketType, Start, split};
use protocol::packet::Version;
use rustls::{ClientConfig, HandshakeKind};
use rustls_pki_types::ServerName;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A broker that has not answered by then does not.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);

/// How often a device says that it is there, at least, in seconds.
pub(super) const KEEP_ALIVE: u16 = 30;

/// Where the broker is.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    /// As its certificate has it.
    pub(crate) name: ServerName<'static>,
}

/// Who wants to come in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller<'a> {
    pub(super) tls: &'a Arc<ClientConfig>,
    pub(super) client_id: &'a str,
    pub(super) start: Start,
    /// An address of ours to come from.
    pub(super) from: Option<IpAddr>,
}

/// A connection that the broker has let in.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) wire: Duplex<TlsStream<TcpStream>>,
    pub(super) is_session_present: bool,
    pub(super) is_resumed: bool,
}

/// Why somebody is not in.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotIn {
    /// There is no broker.
    #[error("there is no broker")]
    Nobody(#[source] io::Error),
    /// There is one, and it did not let us in.
    #[error("the broker did not let us in")]
    Refused(#[source] Ended),
}

impl Target {
    /// Knocks, and hands what comes behind CONNACK to `rest`, which says how much it took.
    pub(super) async fn call(
        &self,
        caller: Caller<'_>,
        rest: impl FnMut(&[u8], &mut Vec<u8>) -> Result<usize, Ended>,
    ) -> Result<Link, NotIn> {
        let tcp = self.connect(caller.from).await.map_err(NotIn::Nobody)?;
        let answered = timeout(ANSWER_TIME_MAX, self.enter(tcp, caller, rest)).await;
        let silent = || Err(io::Error::from(io::ErrorKind::TimedOut).into());
        answered
            .unwrap_or_else(|_| silent())
            .map_err(NotIn::Refused)
    }

    async fn connect(&self, from: Option<IpAddr>) -> io::Result<TcpStream> {
        let tcp = match from {
            Some(from) if from.is_ipv4() == self.address.is_ipv4() => {
                let socket = TcpSocket::new_v4()?;
                socket.bind((from, 0).into())?;
                socket.connect(self.address).await?
            }
            _ => TcpStream::connect(self.address).await?,
        };
        tcp.set_nodelay(true)?;
        Ok(tcp)
    }

    async fn enter(
        &self,
        tcp: TcpStream,
        caller: Caller<'_>,
        mut rest: impl FnMut(&[u8], &mut Vec<u8>) -> Result<usize, Ended>,
    ) -> Result<Link, Ended> {
        let connector = TlsConnector::from(Arc::clone(caller.tls));
        let stream = connector.connect(self.name.clone(), tcp).await?;
        let kind = stream.get_ref().1.handshake_kind();
        let mut wire = Duplex::new(stream);
        let times = (caller.start, KEEP_ALIVE);
        let packet = wire::connect(Version::V5, caller.client_id, times);
        wire.out().extend(packet);
        let mut connack = None;
        while connack.is_none() {
            let take = |bytes: &[u8], out: &mut Vec<u8>| -> Result<usize, Ended> {
                let Some((frame, after)) = split(bytes)? else {
                    return Ok(0);
                };
                if frame.packet_type() != PacketType::Connack {
                    return Err(Malformed.into());
                }
                connack = Some(Connack::read(&frame, Version::V5)?);
                Ok(bytes.len() - after.len() + rest(after, out)?)
            };
            wire.turn(take).await?;
        }
        let connack = connack.ok_or(Malformed)?;
        if connack.reason != 0 {
            return Err(Ended::Told(connack.reason));
        }
        Ok(Link {
            wire,
            is_session_present: connack.session_present,
            is_resumed: kind == Some(HandshakeKind::Resumed),
        })
    }
}
