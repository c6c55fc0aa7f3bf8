//! Connected: what a session knows only while its client is there.

use crate::engine::input::ConnectionId;
use certs::VerifiedDevice;
use protocol::packet::{Connect, Version};

/// The connection a session has now.
#[derive(Debug)]
pub(in crate::engine) struct Connected {
    pub(in crate::engine) id: ConnectionId,
    /// Who is at the other end.
    pub(in crate::engine) device: VerifiedDevice,
    pub(in crate::engine) version: Version,
    /// The longest packet the client takes, in bytes, if it said so.
    pub(in crate::engine) packet_size_max: Option<usize>,
    /// Whether it asked for reason strings [MQTT-3.1.2-29].
    pub(in crate::engine) wants_words: bool,
    /// Whether it has yet to say that all was written.
    pub(in crate::engine) asked_drained: bool,
}

impl Connected {
    pub(in crate::engine) fn new(
        id: ConnectionId,
        device: VerifiedDevice,
        connect: &Connect,
    ) -> Self {
        let packet_size_max = connect.properties.maximum_packet_size;
        Self {
            id,
            device,
            version: connect.version,
            packet_size_max: packet_size_max.and_then(|max| usize::try_from(max.get()).ok()),
            wants_words: connect.version == Version::V5
                && connect.properties.request_problem_information,
            asked_drained: false,
        }
    }
}
