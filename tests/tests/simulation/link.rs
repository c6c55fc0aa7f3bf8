//! A connection over a network that delays and cuts: bytes on their way, and both their ends.
//!
//! The server's end does what the broker's own does, with the real codec: it decodes, hands over,
//! and takes from its outbox what may be said.

use crate::machine::witness::Seen;
use crate::model::client::{Client, Moment};
use crate::model::truth::{MessageId, said};
use broker::engine::{Arrival, ConnectionId, Input, Time};
use broker::shard::{Outbox, Said, Shard};
use bytes::{Bytes, BytesMut};
use protocol::connection::{ClientConnection, ServerConnection};
use protocol::packet::{Connect, Packet, PacketId, Version};
use protocol::wire::{self, PACKET_SIZE_MAX};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

/// The socket takes no more once so much is under way.
const UNDER_WAY_MAX: usize = 4096;

pub(crate) struct Link {
    pub(crate) id: ConnectionId,
    /// Whose it is.
    pub(crate) client: usize,
    pub(crate) shard: Arc<Shard>,
    pub(crate) seen: Arc<Mutex<Seen>>,
    outbox: Arc<Outbox>,
    version: Version,
    server: ServerConnection,
    to_server: BytesMut,
    /// What the server has of a packet.
    begun: BytesMut,
    to_client: BytesMut,
    /// What the client has of a packet.
    heard: BytesMut,
    /// Hears what the server says as it says it.
    tap: ClientConnection,
    ear: ClientConnection,
    /// Which messages came under which identifiers.
    sent: BTreeMap<PacketId, MessageId>,
    /// The CONNECT has arrived.
    has_begun: bool,
    /// The server reads no more of it.
    is_finished: bool,
    /// The server has let go of it.
    pub(crate) closed: Option<Time>,
    /// The client has.
    pub(crate) is_left: bool,
}

/// What an arriving CONNECT is judged by.
pub(crate) struct Door<'c> {
    pub(crate) client: &'c Client,
    pub(crate) now: Time,
    pub(crate) nonce: u64,
    /// Whether its session must be there, and whether it may be.
    pub(crate) presence: &'c mut BTreeMap<ConnectionId, (bool, bool)>,
}

impl Link {
    pub(crate) fn new(
        (id, client): (ConnectionId, usize),
        connect: &Connect,
        (shard, seen): (&Arc<Shard>, &Arc<Mutex<Seen>>),
        outbox: Outbox,
    ) -> Self {
        let aliases = connect.properties.topic_alias_maximum;
        let listener = || ClientConnection::new(connect.version, PACKET_SIZE_MAX, aliases);
        Self {
            id,
            client,
            shard: Arc::clone(shard),
            seen: Arc::clone(seen),
            outbox: Arc::new(outbox),
            version: connect.version,
            server: ServerConnection::new(PACKET_SIZE_MAX, 0),
            to_server: BytesMut::new(),
            begun: BytesMut::new(),
            to_client: BytesMut::new(),
            heard: BytesMut::new(),
            tap: listener(),
            ear: listener(),
            sent: BTreeMap::new(),
            has_begun: false,
            is_finished: false,
            closed: None,
            is_left: false,
        }
    }

    /// The client sends a packet.
    pub(crate) fn send(&mut self, packet: &Packet) {
        wire::write(packet, self.version, &mut self.to_server).unwrap();
    }

    pub(crate) fn has_words(&self) -> bool {
        !self.to_server.is_empty() && self.closed.is_none()
    }

    pub(crate) fn has_answers(&self) -> bool {
        !self.to_client.is_empty() && !self.is_left
    }

    /// Up to so many bytes arrive at the server.
    pub(crate) fn read(&mut self, len: usize, door: &mut Door<'_>, moment: &mut Moment<'_>) {
        if self.closed.is_some() || self.is_finished {
            self.to_server.clear();
            return;
        }
        let len = len.min(self.to_server.len());
        self.begun.extend_from_slice(&self.to_server.split_to(len));
        let mut arrived = std::mem::take(&mut self.begun).freeze();
        let mut inputs = Vec::new();
        self.decode(&mut arrived, &mut inputs, door);
        self.begun = BytesMut::from(&*arrived);
        for input in &inputs {
            self.note(input, moment);
        }
        if !inputs.is_empty() {
            self.hand_over(&mut inputs);
        }
    }

    fn decode(&mut self, arrived: &mut Bytes, inputs: &mut Vec<Input>, door: &mut Door<'_>) {
        let connection = self.id;
        let mut packets = Vec::new();
        let error = loop {
            match self.server.receive(arrived) {
                Ok(Some(Packet::Connect(connect))) => {
                    self.has_begun = true;
                    let presence = door.client.session.presence(door.now);
                    door.presence.insert(connection, presence);
                    self.shard.open(connection, Arc::clone(&self.outbox));
                    inputs.push(Input::Connect(Box::new(Arrival {
                        peer: None,
                        listener: None,
                        connection,
                        device: door.client.device.clone(),
                        connect: *connect,
                        nonce: door.nonce,
                    })));
                }
                Ok(Some(Packet::Pingreq)) => {}
                Ok(Some(packet)) => {
                    self.is_finished |= matches!(packet, Packet::Disconnect(_));
                    packets.push(packet);
                    if self.is_finished {
                        break None;
                    }
                }
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
        };
        if !packets.is_empty() {
            inputs.push(Input::Packets {
                connection,
                packets,
            });
        }
        if let Some(error) = error {
            panic!("the client broke MQTT: {error:?}");
        }
    }

    /// Takes note of the messages that the server is given.
    fn note(&mut self, input: &Input, moment: &mut Moment<'_>) {
        let Input::Packets { packets, .. } = input else {
            return;
        };
        for packet in packets {
            let Packet::Publish(publish) = packet else {
                continue;
            };
            let Some(id) = said(&publish.payload) else {
                continue;
            };
            let published = moment.truth.change(id);
            published.given(publish.message_expiry_interval(), moment.now);
            self.sent.extend(publish.packet_id.map(|it| (it, id)));
        }
    }

    fn hand_over(&mut self, inputs: &mut Vec<Input>) {
        let mut cx = Context::from_waker(Waker::noop());
        let handed_over = self.shard.poll_hand_over(inputs, &mut cx);
        // Where the shard has failed, the process is about to end.
        assert!(handed_over.is_ready(), "the mailbox is full");
    }

    /// The server says what it may, as far as the network takes it.
    pub(crate) fn speak(&mut self, client: &Client, mut judge: impl FnMut(&Packet)) -> bool {
        let mut any = false;
        while self.closed.is_none() && self.to_client.len() < UNDER_WAY_MAX {
            let mut cx = Context::from_waker(Waker::noop());
            let Poll::Ready(said) = self.outbox.poll_next(self.shard.durable(), &mut cx) else {
                break;
            };
            any = true;
            match said {
                Said::Packets(packets, _) => self.write(packets, client, &mut judge),
                Said::AskDrained => {
                    let connection = self.id;
                    self.shard.tell(Input::Drained { connection });
                }
                Said::Close(_) => {
                    self.is_finished = true;
                    return true;
                }
            }
        }
        any
    }

    /// Whether the server has said its last word.
    pub(crate) fn is_finished(&self) -> bool {
        self.is_finished && self.closed.is_none()
    }

    fn write(&mut self, packets: BytesMut, client: &Client, judge: &mut impl FnMut(&Packet)) {
        if !self.is_left {
            self.to_client.extend_from_slice(&packets);
        }
        let is_newest = client.connection == Some(self.id);
        let seen = self.seen.lock().unwrap();
        let mut packets = packets.freeze();
        while let Some(packet) = self.tap.receive(&mut packets).unwrap() {
            judge(&packet);
            if is_newest {
                seen.hear(&client.name, &packet, &self.sent);
            }
        }
        assert!(packets.is_empty(), "half a packet was said");
    }

    /// Up to so many bytes arrive at the client: the packets that are whole by then.
    pub(crate) fn hear(&mut self, len: usize) -> Vec<Packet> {
        let len = len.min(self.to_client.len());
        self.heard.extend_from_slice(&self.to_client.split_to(len));
        let mut arrived = std::mem::take(&mut self.heard).freeze();
        let mut packets = Vec::new();
        while let Some(packet) = self.ear.receive(&mut arrived).unwrap() {
            packets.push(packet);
        }
        self.heard = BytesMut::from(&*arrived);
        packets
    }

    /// The client hears nothing more; of what it has sent, so many bytes may still arrive.
    pub(crate) fn leave(&mut self, arriving: usize) {
        self.is_left = true;
        self.to_client.clear();
        self.to_server.truncate(arriving);
    }

    /// The client opens another one: a CONNECT that is late must not take that one's session.
    pub(crate) fn replace(&mut self) {
        if !self.has_begun {
            self.is_finished = true;
        }
    }

    /// The server lets go of it.
    pub(crate) fn close(&mut self, now: Time) {
        self.shard.close(self.id);
        self.closed = Some(now);
    }
}
