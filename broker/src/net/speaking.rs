//! The speaking half of a connection: what the shard said becomes bytes for the socket.

use crate::engine::{CloseReason, Greeting};
use crate::shard::{Durable, Outbox, Said};
use bytes::{Buf, BytesMut};
use protocol::packet::{Connect, Disconnect, Packet, Version};
use protocol::wire;
use protocol::{ReasonCode, Text};
use std::num::NonZeroU32;
use std::task::{Context, Poll};

/// What is to be written and how far it has come.
#[derive(Debug)]
pub(super) struct Speaking {
    version: Version,
    packet_size_max: NonZeroU32,
    /// Whether the client asked for reason strings [MQTT-3.1.2-29].
    wants_words: bool,
    /// What TLS has not yet taken.
    buffer: BytesMut,
    asked_drained: bool,
    /// The CONNACK is in the buffer: before it the client hears nothing [MQTT-3.2.0-1].
    pub(super) greeted: bool,
    /// Why the engine let go of the connection.
    pub(super) closed: Option<CloseReason>,
    /// The keep-alive the server imposed in its CONNACK, until it is taken.
    pub(super) server_keep_alive: Option<u16>,
}

impl Speaking {
    /// Speaks to the client that sent this CONNECT.
    pub(super) fn to(connect: &Connect) -> Self {
        Self {
            version: connect.version,
            packet_size_max: connect.properties.packet_size_max(),
            wants_words: connect.properties.request_problem_information,
            buffer: BytesMut::new(),
            asked_drained: false,
            greeted: false,
            closed: None,
            server_keep_alive: None,
        }
    }

    /// Takes what was said next, once all before it is written. Pending if there is nothing.
    pub(super) fn poll_next(
        &mut self,
        outbox: &Outbox,
        durable: &Durable,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        debug_assert!(self.buffer.is_empty(), "packets would be lost");
        outbox.poll_next(durable, cx).map(|said| match said {
            Said::Packets(packets, greeting) => {
                self.buffer = packets;
                self.greet(greeting);
            }
            Said::AskDrained => self.asked_drained = true,
            Said::Close(reason) => self.closed = Some(reason),
        })
    }

    fn greet(&mut self, greeting: Option<Greeting>) {
        if let Some(greeting) = greeting {
            self.greeted = true;
            self.server_keep_alive = greeting.server_keep_alive;
        }
    }

    /// What is to be written next.
    pub(super) fn unwritten(&self) -> &[u8] {
        &self.buffer
    }

    /// TLS has taken so many bytes of it.
    pub(super) fn written(&mut self, len: usize) {
        self.buffer.advance(len);
        if self.buffer.is_empty() {
            // An idle connection keeps no buffer.
            self.buffer = BytesMut::new();
        }
    }

    /// Whether the shard asked to be told that all it had said by then is written. Once.
    pub(super) fn take_drained(&mut self) -> bool {
        self.buffer.is_empty() && std::mem::take(&mut self.asked_drained)
    }

    /// Answers PINGREQ, so many of them.
    pub(super) fn answer_pings(&mut self, count: usize) {
        for _ in 0..count {
            self.say(&Packet::Pingresp);
        }
    }

    /// Adds the last word: DISCONNECT where the version has one for servers.
    pub(super) fn finish(&mut self, reason: ReasonCode, words: &str) {
        if self.version != Version::V5 {
            return;
        }
        let mut disconnect = Disconnect::new(reason);
        if self.wants_words {
            disconnect.reason_string = Text::parse(words).ok();
        }
        self.say(&Packet::Disconnect(Box::new(disconnect)));
    }

    /// What is left is for somebody else to write.
    pub(super) fn take_buffer(&mut self) -> BytesMut {
        std::mem::take(&mut self.buffer)
    }

    fn say(&mut self, packet: &Packet) {
        // What does not fit the client's maximum is not sent [MQTT-3.1.2-24].
        let _ = wire::write_within(packet, self.version, self.packet_size_max, &mut self.buffer);
    }
}
