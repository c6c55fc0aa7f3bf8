//! An MQTT client that does what a test says, in the order it says it.
//!
//! It answers nothing by itself: an acknowledgement is sent because a test sent it.

use crate::mqtt::answer::{Ack, Connack, Disconnected, Published, Suback};
use crate::mqtt::connect::Connect;
use crate::mqtt::request::{self, Publish, Subscribe};
use crate::mqtt::{Frame, Kind, Property, Version};
use crate::raw::{Next, PATIENCE, Raw};

/// A connection that has sent its CONNECT.
pub struct Client {
    /// The bytes below.
    pub raw: Raw,
    /// What it speaks.
    pub version: Version,
    packet_id: u16,
}

impl Client {
    /// Sends CONNECT and takes the answer, whatever it is.
    pub fn open(mut raw: Raw, connect: &Connect) -> (Self, Connack) {
        raw.send(&connect.bytes());
        let connack = Connack::read(&raw.expect_packet(), connect.version);
        (Self::on(raw, connect.version), connack)
    }

    /// On a connection whose CONNECT is a test's own business.
    pub fn on(raw: Raw, version: Version) -> Self {
        // Far from the ids that tests write by hand.
        Self {
            raw,
            version,
            packet_id: 1000,
        }
    }

    /// A packet id this client has not used for long.
    pub fn next_id(&mut self) -> u16 {
        self.packet_id = self.packet_id.checked_add(1).unwrap_or(1);
        self.packet_id
    }

    /// Sends bytes.
    pub fn send(&mut self, bytes: &[u8]) {
        self.raw.send(bytes);
    }

    /// Sends a PUBLISH and waits for nothing. Yields its packet id, if it has one.
    pub fn send_publish(&mut self, publish: &Publish) -> Option<u16> {
        let mut publish = publish.clone();
        if publish.qos > 0 && publish.id.is_none() {
            publish.id = Some(self.next_id());
        }
        self.raw.send(&publish.bytes(self.version));
        publish.id
    }

    /// Publishes and sees it through: acknowledged at QoS 1 and 2, decided at QoS 0.
    pub fn publish(&mut self, publish: &Publish) {
        let id = self.send_publish(publish);
        match publish.qos {
            0 => self.expect_nothing(),
            1 => self.expect_success(Kind::Puback, id.unwrap()),
            _ => {
                self.expect_success(Kind::Pubrec, id.unwrap());
                self.send(&request::ack(Kind::Pubrel, id.unwrap()));
                self.expect_success(Kind::Pubcomp, id.unwrap());
            }
        }
    }

    /// Subscribes to one filter, which must be granted with the QoS in `options`. Retained
    /// messages come behind the SUBACK and are left for the test.
    pub fn subscribe(&mut self, filter: &str, options: u8) {
        let suback = self.subscribe_with(&Subscribe::new(0).filter(filter, options));
        assert_eq!(suback.codes, [options & 0b11], "the answer for {filter:?}");
    }

    /// Sends this SUBSCRIBE under a fresh packet id and takes the answer.
    pub fn subscribe_with(&mut self, subscribe: &Subscribe) -> Suback {
        let mut subscribe = subscribe.clone();
        subscribe.id = self.next_id();
        self.raw.send(&subscribe.bytes(self.version));
        let suback = self.expect_suback();
        assert_eq!(suback.id, subscribe.id, "[MQTT-3.8.4-2]");
        suback
    }

    /// Ends these subscriptions. Yields the reason codes; 3.1.1 has none.
    pub fn unsubscribe(&mut self, filters: &[&str]) -> Vec<u8> {
        let id = self.next_id();
        self.raw
            .send(&request::unsubscribe(self.version, id, filters));
        let unsuback = Suback::read(&self.raw.expect_packet(), self.version, Kind::Unsuback);
        assert_eq!(unsuback.id, id, "[MQTT-3.10.4-5]");
        unsuback.codes
    }

    /// The next packet is a message.
    pub fn expect_publish(&mut self) -> Published {
        Published::read(&self.raw.expect_packet(), self.version)
    }

    /// The next packet is a message with this payload.
    pub fn expect_message(&mut self, payload: impl AsRef<[u8]>) -> Published {
        let published = self.expect_publish();
        let expected = String::from_utf8_lossy(payload.as_ref());
        assert_eq!(
            String::from_utf8_lossy(&published.payload),
            expected,
            "{published:?}"
        );
        published
    }

    /// The next packet is a SUBACK.
    pub fn expect_suback(&mut self) -> Suback {
        Suback::read(&self.raw.expect_packet(), self.version, Kind::Suback)
    }

    /// The next packet is an acknowledgement of this kind.
    pub fn expect_ack(&mut self, kind: Kind) -> Ack {
        Ack::read(&self.raw.expect_packet(), self.version, kind)
    }

    /// The next packet acknowledges this packet id, and nothing went wrong.
    pub fn expect_success(&mut self, kind: Kind, id: u16) {
        let ack = self.expect_ack(kind);
        assert_eq!(ack.id, id, "the packet id of {ack:?} [MQTT-2.2.1-5]");
        assert!(ack.code < 0x80, "{ack:?}");
    }

    /// Receives a message at QoS 1 or 2 and sees it through.
    pub fn take(&mut self) -> Published {
        let published = self.expect_publish();
        self.answer(&published);
        if let (2, Some(id)) = (published.qos, published.id) {
            self.expect_success(Kind::Pubrel, id);
            self.send(&request::ack(Kind::Pubcomp, id));
        }
        published
    }

    /// Receives this many messages and sees each through, while further ones come.
    pub fn take_many(&mut self, count: usize) -> Vec<Published> {
        let mut taken = Vec::new();
        while taken.len() < count {
            let frame = self.raw.expect_packet();
            match frame.kind() {
                Kind::Publish => {
                    let published = Published::read(&frame, self.version);
                    self.answer(&published);
                    taken.push(published);
                }
                Kind::Pubrel => {
                    let id = Ack::read(&frame, self.version, Kind::Pubrel).id;
                    self.send(&request::ack(Kind::Pubcomp, id));
                }
                _ => panic!("neither PUBLISH nor PUBREL: {frame:?}"),
            }
        }
        taken
    }

    /// Nothing is on its way to us: the broker has decided all we sent before, and what came of
    /// it for us would have come before the answer to a question asked now.
    pub fn expect_nothing(&mut self) {
        let id = self.next_id();
        self.raw.send(&request::unsubscribe(
            self.version,
            id,
            &["no/such/subscription"],
        ));
        let frame = self.raw.expect_packet();
        assert_eq!(
            frame.kind(),
            Kind::Unsuback,
            "something came after all: {frame:?}"
        );
        assert_eq!(Suback::read(&frame, self.version, Kind::Unsuback).id, id);
    }

    /// All that comes before the answer to a question asked now.
    pub fn drain(&mut self) -> Vec<Frame> {
        let id = self.next_id();
        self.raw.send(&request::unsubscribe(
            self.version,
            id,
            &["no/such/subscription"],
        ));
        let mut frames = Vec::new();
        loop {
            let frame = self.raw.expect_packet();
            if frame.kind() == Kind::Unsuback {
                return frames;
            }
            frames.push(frame);
        }
    }

    /// A PINGREQ is answered: the connection lives.
    pub fn expect_alive(&mut self) {
        self.raw.send(&request::pingreq());
        self.raw.expect_hex("d0 00");
    }

    /// The broker says why (5.0) and closes.
    pub fn expect_disconnect(&mut self, code: u8) -> Vec<Property> {
        if self.version == Version::V311 {
            self.raw.expect_closed();
            return Vec::new();
        }
        let disconnect = Disconnected::read(&self.raw.expect_packet());
        assert_eq!(disconnect.code, code, "{disconnect:?}");
        self.raw.expect_closed();
        disconnect.properties
    }

    /// The broker closes; if it says why, then with one of these codes.
    pub fn expect_closed_with(&mut self, codes: &[u8]) {
        match self.raw.next(PATIENCE) {
            Next::Closed(_) => {}
            Next::Packet(frame) => {
                assert_eq!(
                    self.version,
                    Version::V5,
                    "3.1.1 has no word for it: {frame:?}"
                );
                let disconnect = Disconnected::read(&frame);
                assert!(codes.contains(&disconnect.code), "{disconnect:?}");
                self.raw.expect_closed();
            }
            Next::Silence => panic!("the broker keeps the connection open"),
        }
    }

    fn answer(&mut self, published: &Published) {
        match (published.qos, published.id) {
            (1, Some(id)) => self.send(&request::ack(Kind::Puback, id)),
            (2, Some(id)) => self.send(&request::ack(Kind::Pubrec, id)),
            _ => {}
        }
    }

    /// Leaves in good order: DISCONNECT, and the broker has closed.
    pub fn leave(mut self) {
        self.send(&request::disconnect());
        self.raw.expect_closed();
    }

    /// Leaves without a word, as when the network fails.
    pub fn vanish(self) {
        self.raw.close();
    }
}
