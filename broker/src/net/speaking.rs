//! The speaking half of a connection: what the shard said becomes bytes for the socket.
//!
//! A payload is copied once, from the message into the buffer that TLS encrypts.

use crate::engine::{CloseReason, Delivery, Outgoing};
use crate::shard::Outbox;
use bytes::BytesMut;
use protocol::connection::AliasesOut;
use protocol::packet::{Alias, Connack, Connect, Disconnect, Packet, Version};
use protocol::wire;
use std::num::NonZeroU32;
use std::task::{Context, Poll};

/// How many bytes are gathered before the socket gets them: four full TLS records.
const BUFFER_LEN: usize = 64 * 1024;

/// What is to be written and how far it has come.
#[derive(Debug)]
pub(super) struct Speaking {
    version: Version,
    packet_size_max: NonZeroU32,
    aliases: AliasesOut,
    said: std::vec::IntoIter<Outgoing>,
    spare: Vec<Outgoing>,
    /// Encoded, and not yet taken by TLS.
    pub(super) buffer: BytesMut,
    asked_drained: bool,
    /// The CONNACK is in the buffer: before it the client hears nothing [MQTT-3.2.0-1].
    pub(super) greeted: bool,
    /// The last word is in the buffer.
    pub(super) finished: bool,
    /// Why the engine let go of the connection.
    pub(super) closed: Option<CloseReason>,
    /// The keep-alive the server imposed in its CONNACK, until it is taken.
    pub(super) server_keep_alive: Option<u16>,
}

impl Speaking {
    /// Speaks to the client that sent this CONNECT.
    pub(super) fn to(connect: &Connect, topic_alias_max: u16) -> Self {
        let properties = &connect.properties;
        Self {
            version: connect.version,
            packet_size_max: properties.maximum_packet_size.unwrap_or(NonZeroU32::MAX),
            aliases: AliasesOut::new(properties.topic_alias_maximum.min(topic_alias_max)),
            said: Vec::new().into_iter(),
            spare: Vec::new(),
            buffer: BytesMut::new(),
            asked_drained: false,
            greeted: false,
            finished: false,
            closed: None,
            server_keep_alive: None,
        }
    }

    /// Encodes what was said until the buffer is full. Pending if there was nothing.
    pub(super) fn poll_encode(&mut self, outbox: &Outbox, cx: &mut Context<'_>) -> Poll<()> {
        let mut any = false;
        while !self.finished && self.buffer.len() < BUFFER_LEN {
            if let Some(outgoing) = self.said.next() {
                self.encode(outgoing, outbox);
                any = true;
                continue;
            }
            if outbox.poll_take(&mut self.spare, cx).is_pending() {
                break;
            }
            self.said = std::mem::take(&mut self.spare).into_iter();
        }
        if any || self.finished {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// Whether a peer that does not read has filled the buffer twice over.
    pub(super) fn is_crowded(&self) -> bool {
        self.buffer.len() > 2 * BUFFER_LEN
    }

    /// Whether the shard asked to be told, and all it had said by then is written. Once.
    pub(super) fn take_drained(&mut self) -> bool {
        self.buffer.is_empty() && std::mem::take(&mut self.asked_drained)
    }

    /// Adds a packet. False if it does not fit the client's maximum: it is not sent then
    /// [MQTT-3.1.2-24].
    pub(super) fn say(&mut self, packet: &Packet) -> bool {
        wire::write_within(packet, self.version, self.packet_size_max, &mut self.buffer).is_ok()
    }

    /// Adds the last word: DISCONNECT where the version has one for servers.
    pub(super) fn finish(&mut self, disconnect: Option<Disconnect>) {
        self.finished = true;
        if let (Version::V5, Some(disconnect)) = (self.version, disconnect) {
            self.say(&Packet::Disconnect(Box::new(disconnect)));
        }
    }

    fn encode(&mut self, outgoing: Outgoing, outbox: &Outbox) {
        match outgoing {
            Outgoing::Deliver(delivery) => {
                self.deliver(&delivery);
                outbox.encoded(&delivery);
            }
            Outgoing::Packet(Packet::Connack(connack)) => self.answer(connack),
            Outgoing::Packet(packet) => _ = self.say(&packet),
            Outgoing::AskDrained => self.asked_drained = true,
            Outgoing::Close(reason) => {
                self.finish(reason.disconnect().map(|disconnect| *disconnect));
                self.closed = Some(reason);
            }
        }
    }

    fn answer(&mut self, connack: Box<Connack>) {
        self.server_keep_alive = connack.properties.server_keep_alive;
        self.greeted = self.say(&Packet::Connack(connack));
        // A client that cannot be answered cannot be served.
        self.finished |= !self.greeted;
    }

    fn deliver(&mut self, delivery: &Delivery) {
        let mut head = delivery.head();
        head.alias = self.aliases.choose(head.topic);
        let written = head.write_within(self.version, self.packet_size_max, &mut self.buffer);
        if written.is_err() && matches!(head.alias, Alias::New(_)) {
            // The client never heard of it.
            self.aliases.forget(head.topic);
        }
    }
}
