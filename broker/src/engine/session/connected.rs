//! Connected: what a session knows only while its client is there.

use crate::engine::input::ConnectionId;
use crate::engine::time::Time;
use certs::VerifiedDevice;
use protocol::connection::AliasesOut;
use protocol::packet::{Connect, Version};
use protocol::wire::PACKET_SIZE_MAX;
use std::net::SocketAddr;
use std::num::NonZeroU32;

/// The connection a session has now.
#[derive(Debug)]
pub(in crate::engine) struct Connected {
    pub(in crate::engine) id: ConnectionId,
    pub(in crate::engine) since: Time,
    /// From where it came.
    pub(in crate::engine) peer: Option<SocketAddr>,
    /// Who is at the other end.
    pub(in crate::engine) device: VerifiedDevice,
    pub(in crate::engine) version: Version,
    /// The longest packet the client takes, in bytes, if it said so.
    packet_size_max: NonZeroU32,
    /// What stands for the topics we have sent, if the client takes any [MQTT-3.1.2-26].
    pub(in crate::engine) aliases: Option<Box<AliasesOut>>,
    /// Whether it asked for reason strings [MQTT-3.1.2-29].
    pub(in crate::engine) wants_words: bool,
    /// Whether it has yet to say that all was written.
    pub(in crate::engine) asked_drained: bool,
    /// Whether it takes no QoS 0 before all was written.
    pub(in crate::engine) is_full: bool,
    /// Where the speech of this turn is, if there is one.
    pub(in crate::engine) speech_place: usize,
    /// How long the last speech was, in bytes.
    pub(in crate::engine) said_len: usize,
}

impl Connected {
    pub(in crate::engine) fn new(
        id: ConnectionId,
        device: VerifiedDevice,
        connect: &Connect,
        (topic_alias_max, since): (u16, Time),
    ) -> Self {
        let aliases = connect.properties.topic_alias_maximum.min(topic_alias_max);
        Self {
            id,
            since,
            peer: None,
            device,
            version: connect.version,
            packet_size_max: connect.properties.packet_size_max(),
            aliases: (aliases > 0).then(|| Box::new(AliasesOut::new(aliases))),
            wants_words: connect.version == Version::V5
                && connect.properties.request_problem_information,
            asked_drained: false,
            is_full: false,
            speech_place: 0,
            said_len: 0,
        }
    }

    /// Whether the client said how long a packet may be.
    pub(in crate::engine) fn has_packet_size_limit(&self) -> bool {
        self.packet_size_max < PACKET_SIZE_MAX
    }

    /// The longest packet that can be sent, in bytes.
    pub(in crate::engine) fn packet_size_max(&self) -> NonZeroU32 {
        self.packet_size_max
    }
}
