//! A connection that may end at any moment, since somebody kills the broker.

use countersign_tests::authority::Authority;
use countersign_tests::mqtt::answer::{Ack, Connack, Published, Suback};
use countersign_tests::mqtt::connect::Connect;
use countersign_tests::mqtt::request::{self, Publish, Subscribe};
use countersign_tests::mqtt::{Frame, Kind, Version};
use countersign_tests::raw::{Next, PATIENCE, Raw};
use std::net::SocketAddr;
use std::time::Duration;

/// A session to which we are connected.
pub(crate) struct Link {
    pub(crate) raw: Raw,
    pub(crate) version: Version,
    packet_id: u16,
}

/// The broker is gone, or at least our connection to it.
#[derive(Debug)]
pub(crate) struct Gone;

impl Link {
    /// Connects as the device of this name. A refusal is a failure.
    pub(crate) fn open(
        broker: SocketAddr,
        device: &str,
        connect: &Connect,
    ) -> Result<(Self, Connack), Gone> {
        let identity = Authority::shared().device(device);
        let raw = Raw::connect_with(broker, identity.client_config());
        let mut link = Self {
            raw: raw.map_err(|_| Gone)?,
            version: connect.version,
            packet_id: 0,
        };
        link.send(&connect.bytes())?;
        let connack = Connack::read(&link.hear()?, link.version);
        assert_eq!(connack.code, 0, "{device}: {connack:?}");
        Ok((link, connack))
    }

    /// A session that lasts, which must be there if it `was_there` before. A session that starts
    /// is one from here on.
    pub(crate) fn lasting(
        broker: SocketAddr,
        (device, version): (&str, Version),
        was_there: &mut Present,
    ) -> Result<Self, Gone> {
        let connect = Connect::new(version, device).resume().expiry(100_000);
        let (link, connack) = Self::open(broker, device, &connect.keep_alive(1000))?;
        let is_kept = connack.session_present || *was_there != Present::Yes;
        assert!(
            is_kept,
            "{device}: its session was acknowledged and is lost"
        );
        *was_there = Present::Yes;
        Ok(link)
    }

    pub(crate) fn next_id(&mut self) -> u16 {
        self.packet_id = self.packet_id.checked_add(1).unwrap_or(1);
        self.packet_id
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<(), Gone> {
        self.raw.try_send(bytes).map_err(|_| Gone)
    }

    /// The next packet, which must come.
    pub(crate) fn hear(&mut self) -> Result<Frame, Gone> {
        let heard = self.hear_within(PATIENCE)?;
        // Where this process was stopped meanwhile, the time went by without it.
        let heard = heard.map_or_else(|| self.hear_within(PATIENCE), |it| Ok(Some(it)))?;
        Ok(heard.expect("an answer of the broker"))
    }

    /// The next packet, if one comes within this time.
    pub(crate) fn hear_within(&mut self, time: Duration) -> Result<Option<Frame>, Gone> {
        match self.raw.next(time) {
            Next::Packet(frame) => Ok(Some(frame)),
            Next::Closed(_) => Err(Gone),
            Next::Silence => Ok(None),
        }
    }

    /// Subscribes and waits for the answer; nothing else may come before it.
    pub(crate) fn subscribe(&mut self, filters: &[&str], qos: u8) -> Result<(), Gone> {
        let id = self.next_id();
        let mut subscribe = Subscribe::new(id);
        for filter in filters {
            subscribe = subscribe.filter(filter, qos);
        }
        self.send(&subscribe.bytes(self.version))?;
        let suback = Suback::read(&self.hear()?, self.version, Kind::Suback);
        assert_eq!(suback.codes, vec![qos; filters.len()]);
        Ok(())
    }

    /// Publishes at QoS 1 and waits for the acknowledgement. Yields its reason code.
    pub(crate) fn publish(&mut self, topic: &str, payload: &[u8]) -> Result<u8, Gone> {
        let id = self.next_id();
        let publish = Publish::new(topic, payload).qos(1).id(id);
        self.send(&publish.bytes(self.version))?;
        let puback = self.hear()?;
        let ack = Ack::read(&puback, self.version, Kind::Puback);
        assert_eq!(ack.id, id);
        Ok(ack.code)
    }

    /// Takes what waits at QoS 0 or 1 and acknowledges it: so many messages if they are there, and
    /// more if more come.
    pub(crate) fn take_all(&mut self, count: usize) -> Vec<Published> {
        let mut taken = Vec::new();
        loop {
            let patience = if taken.len() < count { 2000 } else { 100 };
            let frame = self.hear_within(Duration::from_millis(patience)).unwrap();
            let Some(frame) = frame else {
                return taken;
            };
            let published = Published::read(&frame, self.version);
            if let Some(id) = published.id {
                self.send(&request::ack(Kind::Puback, id)).unwrap();
            }
            taken.push(published);
        }
    }

    /// Leaves in good order.
    pub(crate) fn leave(mut self) {
        // If the broker is gone, so are we.
        let _ = self.send(&request::disconnect());
        let _ = self.hear_within(PATIENCE);
    }
}

/// Whether the broker has a session of ours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Present {
    /// It never told us so.
    #[default]
    Unknown,
    /// It told us so.
    Yes,
}
