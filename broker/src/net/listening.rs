//! The listening half of a connection: bytes from the socket become inputs for the shard.
//!
//! An error of the protocol is the last of them: what came before it still counts and is
//! answered first.

use crate::engine::{Arrival, ConnectionId, Input};
use bytes::BytesMut;
use protocol::ProtocolError;
use protocol::connection::ServerConnection;
use protocol::packet::Packet;
use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::AsyncRead;
use tokio_util::io::poll_read_buf;

/// How much one read may bring: two full TLS records.
const READ_LEN: usize = 32 * 1024;
/// A read that brought less is copied out of the buffer, which others then use: a message that
/// waits keeps what was read with it, and should not keep much more.
const SMALL_READ_LEN: usize = READ_LEN / 4;

thread_local! {
    /// What the thread's connections read into, one at a time: an idle one keeps no buffer.
    static SCRATCH: RefCell<BytesMut> = RefCell::default();
}

/// What was read and is not yet handed over.
#[derive(Debug)]
pub(super) struct Listening {
    pub(super) connection: ConnectionId,
    protocol: ServerConnection,
    pub(super) buffer: BytesMut,
    packets: Vec<Packet>,
    /// How many the last read brought: the next may bring as many.
    packets_len: usize,
    inputs: Vec<Input>,
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
            packets: Vec::new(),
            packets_len: 0,
            inputs: Vec::new(),
            finished: false,
            pings: 0,
        }
    }

    /// Reads what there is, once.
    pub(super) fn poll_read(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if !self.buffer.is_empty() {
            // The rest of a packet joins its beginning.
            self.buffer.reserve(READ_LEN);
            return poll_read_buf(Pin::new(stream), cx, &mut self.buffer);
        }
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.clear();
            scratch.reserve(READ_LEN);
            let read = ready!(poll_read_buf(Pin::new(stream), cx, scratch))?;
            if read < SMALL_READ_LEN {
                self.buffer = BytesMut::from(&scratch[..]);
            } else {
                std::mem::swap(&mut self.buffer, scratch);
            }
            Poll::Ready(Ok(read))
        })
    }

    /// Turns all complete packets of the buffer into inputs. True if there was one.
    pub(super) fn decode(&mut self) -> bool {
        let mut any = false;
        while !self.finished {
            match self.protocol.receive(&mut self.buffer) {
                Ok(None) => break,
                Ok(Some(Packet::Pingreq)) => self.pings += 1,
                Ok(Some(packet)) => self.take(packet),
                Err(error) => self.give_up(error),
            }
            any = true;
        }
        if self.buffer.is_empty() {
            // An idle connection keeps no buffer.
            self.buffer = BytesMut::new();
        }
        any
    }

    /// The CONNECT is the first input.
    pub(super) fn begin(&mut self, arrival: Arrival) {
        self.inputs.push(Input::Connect(Box::new(arrival)));
    }

    /// Whether something waits to be handed over.
    pub(super) fn has_inputs(&self) -> bool {
        !(self.inputs.is_empty() && self.packets.is_empty())
    }

    /// What waits to be handed over.
    pub(super) fn inputs(&mut self) -> &mut Vec<Input> {
        self.close_batch();
        &mut self.inputs
    }

    fn take(&mut self, packet: Packet) {
        self.finished = matches!(packet, Packet::Disconnect(_));
        if self.packets.is_empty() {
            self.packets.reserve_exact(self.packets_len);
        }
        self.packets.push(packet);
    }

    fn give_up(&mut self, error: ProtocolError) {
        self.finished = true;
        self.close_batch();
        self.inputs.push(Input::Broke {
            connection: self.connection,
            error,
        });
    }

    fn close_batch(&mut self) {
        if self.packets.is_empty() {
            return;
        }
        self.packets_len = self.packets.len();
        self.inputs.push(Input::Packets {
            connection: self.connection,
            packets: std::mem::take(&mut self.packets),
        });
    }
}
