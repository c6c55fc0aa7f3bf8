//! From a stream of bytes to the packets that may come now.
//!
//! CONNECT comes first and once, nothing comes behind DISCONNECT, and every PUBLISH that is
//! handed on has its topic name. After an error the connection has to end.

use super::topics::TopicsIn;
use crate::ProtocolError;
use crate::packet::{Connack, Connect, Disconnect, Packet, Publish, Version};
use crate::wire::{self, Direction, Frame, Kind};
use bytes::Bytes;
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
                topics: TopicsIn::new(topic_alias_max),
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

    /// Takes the next packet from what has arrived, if it has arrived whole; nothing is taken
    /// otherwise. What the client sends between CONNECT and CONNACK is taken like all else
    /// [MQTT 5.0 §3.1.4].
    ///
    /// # Errors
    /// If the client broke MQTT. Even a packet that has only begun is refused if it may not come.
    pub fn receive(&mut self, arrived: &mut Bytes) -> Result<Option<Packet>, ProtocolError> {
        let mut next = None;
        self.receive_into(arrived, |packet| next = Some(packet))?;
        Ok(next)
    }

    /// As [`Self::receive`], for those who receive many: `take` puts the packet where it belongs,
    /// so that it is made there; to move it costs as much as to read it. False if there was none.
    ///
    /// # Errors
    /// As [`Self::receive`].
    #[inline]
    pub fn receive_into(
        &mut self,
        arrived: &mut Bytes,
        take: impl FnOnce(Packet),
    ) -> Result<bool, ProtocolError> {
        let Some(kind) = first_kind(arrived)? else {
            return Ok(false);
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
        let Some(frame) = self.stream.first(arrived)? else {
            return Ok(false);
        };
        if kind == Kind::Publish {
            self.stream
                .publish(frame, version, |publish| take(Packet::Publish(publish)))?;
        } else if let Some(packet) = wire::read_bare_ack(&frame) {
            frame.check_length(version)?;
            frame.skip();
            take(packet);
        } else {
            take(self.control(frame, version)?);
        }
        Ok(true)
    }

    /// Receives a packet that may change what may come next.
    fn control(&mut self, frame: Frame<'_>, version: Version) -> Result<Packet, ProtocolError> {
        let packet = wire::read_control(frame, version)?;
        self.accept(&packet)?;
        Ok(packet)
    }

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
                topics: TopicsIn::new(topic_alias_max),
            },
            version,
            stage: ClientStage::BeforeConnack,
        }
    }

    /// Takes the next packet, if it has arrived whole.
    ///
    /// # Errors
    /// If the server broke MQTT.
    pub fn receive(&mut self, arrived: &mut Bytes) -> Result<Option<Packet>, ProtocolError> {
        let Some(kind) = first_kind(arrived)? else {
            return Ok(None);
        };
        match (self.stage, kind) {
            (ClientStage::BeforeConnack, Kind::Connack | Kind::Auth) => {}
            (ClientStage::BeforeConnack, _) => return Err(ProtocolError::ConnectNotFirst),
            (ClientStage::Connected, Kind::Connack) => return Err(ProtocolError::ConnectTwice),
            (ClientStage::Connected, _) => {}
            (ClientStage::Ended, _) => return Err(ProtocolError::AfterDisconnect),
        }
        let Some(frame) = self.stream.first(arrived)? else {
            return Ok(None);
        };
        if kind == Kind::Publish {
            let publish = self.stream.publish(frame, self.version, Packet::Publish);
            return publish.map(Some);
        }
        let packet = wire::read_control(frame, self.version)?;
        match &packet {
            Packet::Connack(connack) => self.stage = ClientStage::after(connack),
            Packet::Disconnect(_) => self.stage = ClientStage::Ended,
            _ => {}
        }
        Ok(Some(packet))
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
    topics: TopicsIn,
}

impl Stream {
    #[inline]
    fn first<'a>(&self, arrived: &'a mut Bytes) -> Result<Option<Frame<'a>>, ProtocolError> {
        Frame::first(arrived, self.direction, self.packet_size_max)
    }

    #[inline]
    fn publish<T>(
        &mut self,
        frame: Frame<'_>,
        version: Version,
        make: impl FnOnce(Publish) -> T,
    ) -> Result<T, ProtocolError> {
        let topic = |name: &[u8], alias| self.topics.topic(name, alias);
        Publish::read(frame, version, topic, make)
    }
}

/// What kind of packet has begun to arrive.
#[inline]
fn first_kind(arrived: &[u8]) -> Result<Option<Kind>, ProtocolError> {
    let Some(first) = arrived.first() else {
        return Ok(None);
    };
    let kind = Kind::from_first_byte(*first).ok_or(ProtocolError::PacketTypeReserved)?;
    Ok(Some(kind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ReasonCode;

    const CONNECT_311: &[u8] = b"\x10\x0D\0\x04MQTT\x04\x02\0\x3C\0\x01c";
    const CONNECT_5: &[u8] = b"\x10\x0E\0\x04MQTT\x05\x02\0\x3C\0\0\x01c";
    const CONNECT_5_FOR_AN_HOUR: &[u8] =
        b"\x10\x13\0\x04MQTT\x05\x02\0\x3C\x05\x11\0\0\x0E\x10\0\x01c";
    const CONNECT_5_WITH_METHOD: &[u8] = b"\x10\x12\0\x04MQTT\x05\x02\0\x3C\x04\x15\0\x01m\0\x01c";
    const DISCONNECT_FOR_AN_HOUR: &[u8] = b"\xE0\x07\0\x05\x11\0\0\x0E\x10";
    const AUTH: &[u8] = b"\xF0\x06\x18\x04\x15\0\x01m";
    const PINGREQ: &[u8] = b"\xC0\0";
    const CONNACK: &[u8] = b"\x20\x03\0\0\0";

    fn server() -> ServerConnection {
        ServerConnection::new(NonZeroU32::new(200).unwrap(), 10)
    }

    /// All that is received from these bytes, and the error that ends it.
    fn received(parts: &[&[u8]]) -> (Vec<Packet>, Option<ProtocolError>) {
        let mut arrived = Bytes::from(parts.concat());
        let mut server = server();
        let mut packets = Vec::new();
        loop {
            match server.receive(&mut arrived) {
                Ok(Some(packet)) => packets.push(packet),
                Ok(None) => return (packets, None),
                Err(error) => return (packets, Some(error)),
            }
        }
    }

    #[track_caller]
    fn check(parts: &[&[u8]], len: usize, expected: Option<ProtocolError>) {
        let (packets, error) = received(parts);
        assert_eq!((packets.len(), error), (len, expected), "{parts:02x?}");
    }

    #[test]
    fn mqtt_3_1_0_1_nothing_but_connect_comes_first() {
        for first in 0..=255_u8 {
            let expected = match first {
                0x10 => None,
                0x00..=0x0F => Some(ProtocolError::PacketTypeReserved),
                0x11..=0x1F => Some(ProtocolError::FlagsReserved),
                0x20.. => Some(ProtocolError::ConnectNotFirst),
            };
            check(&[&[first]], 0, expected);
        }
    }

    #[test]
    fn mqtt_3_1_0_2_a_second_connect_is_refused_before_it_has_arrived() {
        check(&[CONNECT_5, &[0x10]], 1, Some(ProtocolError::ConnectTwice));
    }

    #[test]
    fn cve_2021_28166_what_only_a_server_sends_is_refused_before_it_has_arrived() {
        for first in [0x20, 0x90, 0xB0, 0xD0] {
            check(
                &[CONNECT_311, &[first]],
                1,
                Some(ProtocolError::WrongDirection),
            );
        }
    }

    #[test]
    fn mqtt_3_1_4_what_follows_connect_at_once_is_read_in_its_version() {
        // A property length where 3.1.1 has the filter.
        let subscribe = b"\x82\x07\0\x01\0\0\x01a\0";
        check(&[CONNECT_5, subscribe, PINGREQ], 3, None);
        let (_, error) = received(&[CONNECT_311, subscribe]);
        assert_eq!(
            error.map(ProtocolError::reason_code),
            Some(ReasonCode::MalformedPacket)
        );
    }

    #[test]
    fn mqtt_3_14_4_1_nothing_comes_after_disconnect() {
        let after = Some(ProtocolError::AfterDisconnect);
        check(&[CONNECT_5, b"\xE0\0"], 2, None);
        check(&[CONNECT_5, b"\xE0\0", PINGREQ], 2, after);
        check(&[CONNECT_311, b"\xE0\0", CONNECT_311], 2, after);
    }

    #[test]
    fn mqtt_3_14_2_2_disconnect_does_not_revive_a_session_of_expiry_0() {
        let from_zero = Some(ProtocolError::SessionExpiryFromZero);
        check(&[CONNECT_5, DISCONNECT_FOR_AN_HOUR], 1, from_zero);
        check(&[CONNECT_5, b"\xE0\x07\0\x05\x11\0\0\0\0"], 2, None);
        check(&[CONNECT_5_FOR_AN_HOUR, DISCONNECT_FOR_AN_HOUR], 2, None);
    }

    #[test]
    fn mqtt_4_12_0_6_auth_needs_a_method_in_connect() {
        check(
            &[CONNECT_5, AUTH],
            1,
            Some(ProtocolError::AuthNotNegotiated),
        );
        check(&[CONNECT_5_WITH_METHOD, AUTH], 2, None);
        check(
            &[CONNECT_311, AUTH],
            1,
            Some(ProtocolError::PacketTypeReserved),
        );
    }

    #[test]
    fn mqtt_3_2_2_15_a_packet_longer_than_the_server_takes_is_refused_by_its_header() {
        let too_large = Some(ProtocolError::PacketTooLarge);
        check(&[b"\x10\xFF\xFF\xFF\x7F"], 0, too_large);
        check(&[CONNECT_5, b"\x30\xC6\x01"], 1, too_large);
        check(&[CONNECT_5, b"\x30\xC5\x01"], 1, None);
    }

    #[test]
    fn mqtt_3_3_2_topic_aliases_are_resolved_for_one_connection() {
        let bind = b"\x30\x07\0\x01t\x03\x23\0\x0A";
        let by_alias = b"\x30\x06\0\0\x03\x23\0\x0A";
        let (packets, error) = received(&[CONNECT_5, bind, by_alias]);
        assert_eq!((packets.len(), error), (3, None));
        assert_eq!(packets[1], packets[2]);
        let invalid = Some(ProtocolError::TopicAliasInvalid);
        check(&[CONNECT_5, by_alias], 1, invalid);
        check(&[CONNECT_5, b"\x30\x07\0\x01t\x03\x23\0\x0B"], 1, invalid);
        check(&[CONNECT_5, b"\x30\x06\0\0\x03\x23\0\0"], 1, invalid);
        check(
            &[CONNECT_5, b"\x30\x03\0\0\0"],
            1,
            Some(ProtocolError::TopicMissing),
        );
    }

    #[test]
    fn a_stream_is_the_same_whatever_pieces_it_comes_in() {
        let parts: &[&[u8]] = &[
            CONNECT_5,
            b"\x30\x07\0\x01t\x03\x23\0\x01",
            b"\x32\x0B\0\0\0\x07\x03\x23\0\x01abc",
            PINGREQ,
            b"\xE0\0",
        ];
        let (whole, error) = received(parts);
        assert_eq!((whole.len(), error), (5, None));
        let (mut server, mut arrived, mut packets) = (server(), Bytes::new(), Vec::new());
        for byte in parts.concat() {
            arrived = Bytes::from([&*arrived, &[byte]].concat());
            packets.extend(server.receive(&mut arrived).unwrap());
        }
        assert_eq!(packets, whole);
    }

    #[test]
    fn a_message_keeps_nothing_but_what_its_payload_came_in() {
        let mut arrived =
            Bytes::from([CONNECT_5, b"\x30\x04\0\x01t\0", b"\x30\x05\0\x01t\0x"].concat());
        let whole = arrived.clone();
        let mut server = server();
        let mut next = || server.receive(&mut arrived).unwrap();
        drop(next());
        let (empty, full) = (next(), next());
        assert!(empty.is_some());
        drop(full);
        drop(arrived);
        assert!(whole.is_unique(), "{empty:?}");
    }

    #[test]
    fn what_is_put_where_it_belongs_is_what_is_received() {
        let parts = [
            CONNECT_5,
            b"\x32\x07\0\x01t\0\x07\0x",
            b"\x40\x02\0\x07",
            PINGREQ,
            b"\xE0\0",
        ];
        let (received, _) = received(&parts);
        let (mut server, mut arrived) = (server(), Bytes::from(parts.concat()));
        let mut packets = Vec::new();
        while server
            .receive_into(&mut arrived, |it| packets.push(it))
            .is_ok_and(|any| any)
        {}
        assert_eq!((packets.len(), packets), (5, received));
    }

    #[test]
    fn the_version_is_known_from_connect_on() {
        let mut server = server();
        assert_eq!(server.version(), None);
        for (connect, version) in [(CONNECT_311, Version::V311), (CONNECT_5, Version::V5)] {
            let mut server = self::server();
            server.receive(&mut Bytes::from_static(connect)).unwrap();
            assert_eq!(server.version(), Some(version));
        }
        server
            .receive(&mut Bytes::from_static(&CONNECT_5[..7]))
            .unwrap();
        assert_eq!(server.version(), None);
    }

    #[test]
    fn mqtt_3_2_0_1_a_client_awaits_connack_first_and_once() {
        let check = |parts: &[&[u8]], expected: Result<(), ProtocolError>| {
            let mut client = ClientConnection::new(Version::V5, wire::PACKET_SIZE_MAX, 0);
            let mut arrived = Bytes::from(parts.concat());
            let mut last = Ok(());
            while !arrived.is_empty() && last.is_ok() {
                last = client
                    .receive(&mut arrived)
                    .map(|packet| assert!(packet.is_some()));
            }
            assert_eq!(last, expected, "{parts:02x?}");
        };
        let refused = b"\x20\x03\0\x87\0";
        let disconnect = b"\xE0\x01\x8B";
        let auth = b"\xF0\x06\x18\x04\x15\0\x01m";
        check(&[CONNACK, b"\xD0\0"], Ok(()));
        check(&[auth, CONNACK], Ok(()));
        check(&[b"\xD0\0"], Err(ProtocolError::ConnectNotFirst));
        check(&[CONNACK, CONNACK], Err(ProtocolError::ConnectTwice));
        check(&[CONNACK, PINGREQ], Err(ProtocolError::WrongDirection));
        check(&[refused, b"\xD0\0"], Err(ProtocolError::AfterDisconnect));
        check(
            &[CONNACK, disconnect, b"\xD0\0"],
            Err(ProtocolError::AfterDisconnect),
        );
    }
}
