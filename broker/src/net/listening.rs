//! The listening half of a connection: bytes from the socket become inputs for the shard.
//!
//! An error of the protocol is the last of them: what came before it still counts and is
//! answered first.

use crate::engine::{Arrival, ConnectionId, Input};
use bytes::{Bytes, BytesMut};
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
    /// As many are handed over at once; what else there is waits in the buffer.
    packets_len_max: usize,
    /// Whether whole packets may wait there.
    has_more: bool,
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
        packets_len_max: usize,
    ) -> Self {
        Self {
            packets_len_max,
            has_more: false,
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
        if self.buffer.len() >= SMALL_READ_LEN {
            // A long packet grows where it is.
            self.buffer.reserve(READ_LEN);
            return poll_read_buf(Pin::new(stream), cx, &mut self.buffer);
        }
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.clear();
            scratch.reserve(READ_LEN);
            let read = ready!(poll_read_buf(Pin::new(stream), cx, scratch))?;
            if !self.buffer.is_empty() {
                // The rest of a packet joins its beginning.
                self.buffer.extend_from_slice(scratch);
            } else if read < SMALL_READ_LEN {
                self.buffer = BytesMut::from(&scratch[..]);
            } else {
                std::mem::swap(&mut self.buffer, scratch);
            }
            Poll::Ready(Ok(read))
        })
    }

    /// Turns all complete packets of the buffer into inputs. True if there was one.
    pub(super) fn decode(&mut self) -> bool {
        let mut arrived = std::mem::take(&mut self.buffer).freeze();
        let mut any = false;
        if self.packets.is_empty() && !arrived.is_empty() {
            self.packets.reserve_exact(self.packets_len);
        }
        self.has_more = false;
        while !self.finished {
            if self.packets.len() >= self.packets_len_max {
                self.has_more = true;
                break;
            }
            match self.receive(&mut arrived) {
                Ok(false) => break,
                Ok(true) => {}
                Err(error) => self.give_up(error),
            }
            any = true;
        }
        self.buffer = if any {
            // What has begun does not keep what came before it, and an idle connection no buffer.
            BytesMut::from(&*arrived)
        } else {
            // It is ours alone, and is not copied.
            BytesMut::from(arrived)
        };
        any
    }

    /// Whether there is more to decode without a further read.
    pub(super) fn has_more(&self) -> bool {
        self.has_more
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

    fn receive(&mut self, arrived: &mut Bytes) -> Result<bool, ProtocolError> {
        self.protocol.receive_into(arrived, |packet| match packet {
            Packet::Pingreq => self.pings += 1,
            packet => {
                self.finished = matches!(packet, Packet::Disconnect(_));
                self.packets.push(packet);
            }
        })
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroU32;
    use std::task::Waker;

    const CONNECT: &[u8] = b"\x10\x0D\0\x04MQTT\x04\x02\0\x3C\0\x01c";
    const PUBLISH: &[u8] = b"\x30\x04\0\x01tx";

    /// A connection whose CONNECT has been received.
    fn listening() -> Listening {
        let mut protocol = ServerConnection::new(NonZeroU32::new(1 << 20).unwrap(), 0);
        protocol.receive(&mut Bytes::from_static(CONNECT)).unwrap();
        Listening::new(ConnectionId(1), protocol, BytesMut::new(), usize::MAX)
    }

    /// Reads these bytes and decodes what is complete then.
    fn hear(listening: &mut Listening, mut bytes: &[u8]) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        let mut any = false;
        while !bytes.is_empty() {
            let read = listening.poll_read(&mut bytes, &mut cx);
            assert!(matches!(read, Poll::Ready(Ok(1..))));
            any |= listening.decode();
        }
        any
    }

    /// A PUBLISH of that many bytes behind its fixed header.
    fn long_publish(len: usize) -> Vec<u8> {
        let septets = [len & 0x7F | 0x80, len >> 7 & 0x7F | 0x80, len >> 14];
        let mut packet = vec![0x30];
        packet.extend(septets.map(|it| u8::try_from(it).unwrap()));
        packet.extend(b"\0\x01t");
        packet.resize(4 + len, b'x');
        packet
    }

    #[test]
    fn what_has_begun_is_kept_and_nothing_else() {
        let mut listening = listening();
        let stream = PUBLISH.repeat(3);
        for cut in 0..stream.len() {
            let complete_len = cut / PUBLISH.len() * PUBLISH.len();
            assert_eq!(hear(&mut listening, &stream[..cut]), complete_len > 0);
            assert_eq!(listening.buffer, stream[complete_len..cut]);
            assert!(listening.buffer.capacity() < 64);
            assert!(hear(&mut listening, &stream[cut..]));
            assert_eq!(listening.buffer.capacity(), 0);
        }
    }

    #[test]
    fn a_long_packet_is_not_copied_again_at_each_read() {
        let mut listening = listening();
        let stream = [PUBLISH, &long_publish(1_000_000), PUBLISH].concat();
        let mut places = Vec::new();
        for part in stream[..1_000_000].chunks(1_000) {
            hear(&mut listening, part);
            places.push(listening.buffer.as_ptr());
        }
        places.dedup();
        assert!(places.len() < 30, "{}", places.len());
        assert!(hear(&mut listening, &stream[1_000_000..]));
        assert_eq!(listening.buffer.capacity(), 0);
    }

    #[test]
    fn cve_2017_7651_no_room_is_made_for_what_has_not_arrived() {
        let mut listening = listening();
        hear(&mut listening, &long_publish(1_000_000)[..10]);
        assert!(listening.buffer.capacity() < 64);
    }

    #[test]
    fn as_many_packets_as_may_be_are_handed_over_and_the_rest_waits() {
        let mut listening = listening();
        listening.packets_len_max = 2;
        assert!(hear(&mut listening, &PUBLISH.repeat(5)));
        let mut batches = Vec::new();
        loop {
            let inputs = std::mem::take(listening.inputs());
            batches.extend(inputs.iter().map(|input| match input {
                Input::Packets { packets, .. } => packets.len(),
                other => panic!("{other:?}"),
            }));
            if !listening.has_more() {
                break;
            }
            listening.decode();
        }
        assert_eq!(batches, [2, 2, 1]);
        assert_eq!(listening.buffer.capacity(), 0);
    }
}
