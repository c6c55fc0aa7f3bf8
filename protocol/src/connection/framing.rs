//! From a stream of bytes to the packets that may come now.
//!
//! CONNECT comes first and once, nothing comes behind DISCONNECT, and every PUBLISH that is
//! handed on has its topic name. After an error the connection has to end.

use super::alias::AliasesIn;
use crate::ProtocolError;
use crate::packet::{Connack, Connect, Disconnect, Packet, Version};
use crate::wire::{self, Direction, Frame, Kind};
use bytes::BytesMut;
use std::num::NonZeroU32;

/// What a server has received on one connection.
#[derive(Debug)]
pub struct ServerConnection {
    stream: Stream,
    stage: ServerStage,
}

#[derive(Clone, Copy, Debug)]
enum ServerStage {
    BeforeConnect,
    Connected {
        version: Version,
        /// The session ends with the connection, whatever DISCONNECT says.
        expires_at_once: bool,
        authenticates: bool,
    },
    AfterDisconnect,
}

impl ServerConnection {
    /// A connection on which nothing has come, of a server that takes packets of so many bytes
    /// and lets the client use so many topic aliases.
    pub fn new(packet_size_max: NonZeroU32, topic_alias_max: u16) -> Self {
        Self {
            stream: Stream {
                direction: Direction::ToServer,
                packet_size_max,
                aliases: AliasesIn::new(topic_alias_max),
            },
            stage: ServerStage::BeforeConnect,
        }
    }

    /// What the client speaks, once its CONNECT has been received.
    pub fn version(&self) -> Option<Version> {
        match self.stage {
            ServerStage::Connected { version, .. } => Some(version),
            ServerStage::BeforeConnect | ServerStage::AfterDisconnect => None,
        }
    }

    /// Takes the next packet, if it has arrived whole. What the client sends between CONNECT and
    /// CONNACK is taken like all else [MQTT 5.0 §3.1.4].
    ///
    /// # Errors
    /// If the client broke MQTT. Even a packet that has only begun is refused if it may not come.
    #[inline]
    pub fn receive(&mut self, buffer: &mut BytesMut) -> Result<Option<Packet>, ProtocolError> {
        let Some(kind) = first_kind(buffer)? else {
            return Ok(None);
        };
        let version = match (self.stage, kind) {
            // The CONNECT itself says what it is written in.
            (ServerStage::BeforeConnect, Kind::Connect) => Version::V5,
            (ServerStage::BeforeConnect, _) => return Err(ProtocolError::ConnectNotFirst),
            (ServerStage::Connected { .. }, Kind::Connect) => {
                return Err(ProtocolError::ConnectTwice);
            }
            (ServerStage::Connected { version, .. }, _) => version,
            (ServerStage::AfterDisconnect, _) => return Err(ProtocolError::AfterDisconnect),
        };
        let packet = self.stream.next(buffer, version)?;
        if let Some(packet) = &packet {
            self.accept(packet)?;
        }
        Ok(packet)
    }

    #[inline]
    fn accept(&mut self, packet: &Packet) -> Result<(), ProtocolError> {
        match packet {
            Packet::Connect(connect) => self.stage = ServerStage::connected(connect),
            Packet::Disconnect(disconnect) => return self.disconnect(disconnect),
            Packet::Auth(_) => return self.check_auth(),
            _ => {}
        }
        Ok(())
    }

    fn disconnect(&mut self, disconnect: &Disconnect) -> Result<(), ProtocolError> {
        let revives = disconnect.session_expiry_interval.is_some_and(|it| it > 0);
        match self.stage {
            ServerStage::Connected {
                expires_at_once: true,
                ..
            } if revives => Err(ProtocolError::SessionExpiryFromZero),
            _ => {
                self.stage = ServerStage::AfterDisconnect;
                Ok(())
            }
        }
    }

    fn check_auth(&self) -> Result<(), ProtocolError> {
        match self.stage {
            ServerStage::Connected {
                authenticates: true,
                ..
            } => Ok(()),
            _ => Err(ProtocolError::AuthNotNegotiated),
        }
    }
}

impl ServerStage {
    fn connected(connect: &Connect) -> Self {
        Self::Connected {
            version: connect.version,
            expires_at_once: connect.properties.session_expiry_interval == 0,
            authenticates: connect.properties.authentication.is_some(),
        }
    }
}

/// What a client has received on one connection.
#[derive(Debug)]
pub struct ClientConnection {
    stream: Stream,
    version: Version,
    stage: ClientStage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ClientStage {
    BeforeConnack,
    Connected,
    /// Refused or disconnected.
    Ended,
}

impl ClientConnection {
    /// A connection on which nothing has come, of a client that said so many bytes and topic
    /// aliases in its CONNECT.
    pub fn new(version: Version, packet_size_max: NonZeroU32, topic_alias_max: u16) -> Self {
        Self {
            stream: Stream {
                direction: Direction::ToClient,
                packet_size_max,
                aliases: AliasesIn::new(topic_alias_max),
            },
            version,
            stage: ClientStage::BeforeConnack,
        }
    }

    /// Takes the next packet, if it has arrived whole.
    ///
    /// # Errors
    /// If the server broke MQTT.
    pub fn receive(&mut self, buffer: &mut BytesMut) -> Result<Option<Packet>, ProtocolError> {
        let Some(kind) = first_kind(buffer)? else {
            return Ok(None);
        };
        match (self.stage, kind) {
            (ClientStage::BeforeConnack, Kind::Connack | Kind::Auth) => {}
            (ClientStage::BeforeConnack, _) => return Err(ProtocolError::ConnectNotFirst),
            (ClientStage::Connected, Kind::Connack) => return Err(ProtocolError::ConnectTwice),
            (ClientStage::Connected, _) => {}
            (ClientStage::Ended, _) => return Err(ProtocolError::AfterDisconnect),
        }
        let packet = self.stream.next(buffer, self.version)?;
        match &packet {
            Some(Packet::Connack(connack)) => self.stage = ClientStage::after(connack),
            Some(Packet::Disconnect(_)) => self.stage = ClientStage::Ended,
            _ => {}
        }
        Ok(packet)
    }
}

impl ClientStage {
    fn after(connack: &Connack) -> Self {
        if connack.reason.is_error() {
            Self::Ended
        } else {
            Self::Connected
        }
    }
}

/// What both sides do with the bytes that arrive.
#[derive(Debug)]
struct Stream {
    direction: Direction,
    packet_size_max: NonZeroU32,
    aliases: AliasesIn,
}

impl Stream {
    #[inline]
    fn next(
        &mut self,
        buffer: &mut BytesMut,
        version: Version,
    ) -> Result<Option<Packet>, ProtocolError> {
        let Some(frame) = Frame::split_off(buffer, self.direction, self.packet_size_max)? else {
            return Ok(None);
        };
        let aliases = &mut self.aliases;
        let resolve = |name, alias| aliases.resolve(name, alias);
        wire::read_with(frame, version, resolve).map(Some)
    }
}

/// What kind of packet has begun to arrive.
#[inline]
fn first_kind(buffer: &BytesMut) -> Result<Option<Kind>, ProtocolError> {
    let Some(first) = buffer.first() else {
        return Ok(None);
    };
    let kind = Kind::from_first_byte(*first).ok_or(ProtocolError::PacketTypeReserved)?;
    Ok(Some(kind))
}
