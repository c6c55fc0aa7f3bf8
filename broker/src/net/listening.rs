//! The listening half of a connection: bytes from the socket become inputs for the shard.
//!
//! An error of the protocol ends it; what came before the error still counts.

use crate::engine::{ConnectionId, Input};
use bytes::BytesMut;
use protocol::ProtocolError;
use protocol::connection::ServerConnection;
use protocol::packet::Packet;

/// What was read and is not yet handed over.
#[derive(Debug)]
pub(super) struct Listening {
    pub(super) connection: ConnectionId,
    protocol: ServerConnection,
    pub(super) buffer: BytesMut,
    pub(super) inputs: Vec<Input>,
    /// The client said DISCONNECT or broke the protocol: nothing more is read.
    pub(super) finished: bool,
    /// How many PINGREQ wait for their PINGRESP.
    pub(super) pings: usize,
}

impl Listening {
    /// Goes on with what the CONNECT left in the buffer.
    pub(super) fn new(
        connection: ConnectionId,
        protocol: ServerConnection,
        buffer: BytesMut,
    ) -> Self {
        Self {
            connection,
            protocol,
            buffer,
            inputs: Vec::new(),
            finished: false,
            pings: 0,
        }
    }

    /// Turns all complete packets of the buffer into inputs. True if there was one.
    ///
    /// # Errors
    /// If the peer broke the protocol; inputs from before that stand.
    pub(super) fn decode(&mut self) -> Result<bool, ProtocolError> {
        let mut any = false;
        while !self.finished {
            let packet = self.protocol.receive(&mut self.buffer).inspect_err(|_| {
                self.finished = true;
            })?;
            let Some(packet) = packet else { break };
            any = true;
            match packet {
                Packet::Pingreq => self.pings += 1,
                packet => self.take(packet),
            }
        }
        if self.buffer.is_empty() {
            // An idle connection keeps no buffer.
            self.buffer = BytesMut::new();
        }
        Ok(any)
    }

    fn take(&mut self, packet: Packet) {
        self.finished = matches!(packet, Packet::Disconnect(_));
        self.inputs.push(Input::Packet {
            connection: self.connection,
            packet,
        });
    }
}
