//! CONNECT and its will, as a client writes them.
//!
//! A builder writes what it is told, right or wrong.

use super::request::{block, data, packet};
use super::{Kind, Property, Version};

/// CONNECT. A new one starts clean with a keep-alive of a minute.
#[derive(Clone, Debug)]
#[must_use]
pub struct Connect {
    /// The version it speaks, and the reader of the answer expects.
    pub version: Version,
    /// The client id.
    pub client_id: Vec<u8>,
    protocol: (Vec<u8>, u8),
    flags: u8,
    keep_alive: u16,
    properties: Vec<u8>,
    will: Vec<u8>,
    credentials: Vec<u8>,
}

impl Connect {
    /// With this client id.
    pub fn new(version: Version, client_id: impl AsRef<[u8]>) -> Self {
        let level = match version {
            Version::V311 => 4,
            Version::V5 => 5,
        };
        Self {
            version,
            client_id: client_id.as_ref().to_vec(),
            protocol: (b"MQTT".to_vec(), level),
            flags: 0b0000_0010,
            keep_alive: 60,
            properties: Vec::new(),
            will: Vec::new(),
            credentials: Vec::new(),
        }
    }

    /// Clean start (3.1.1: clean session) not set.
    pub fn resume(mut self) -> Self {
        self.flags &= !0b0000_0010;
        self
    }

    /// Another protocol name and level.
    pub fn protocol(mut self, name: impl AsRef<[u8]>, level: u8) -> Self {
        self.protocol = (name.as_ref().to_vec(), level);
        self
    }

    /// These bits turned over in the connect flags, nothing else.
    pub fn flip(mut self, bits: u8) -> Self {
        self.flags ^= bits;
        self
    }

    /// In seconds.
    pub fn keep_alive(mut self, seconds: u16) -> Self {
        self.keep_alive = seconds;
        self
    }

    /// One more property.
    pub fn with(self, property: &Property) -> Self {
        self.with_bytes(&property.bytes())
    }

    /// More property bytes, whatever they are.
    pub fn with_bytes(mut self, bytes: &[u8]) -> Self {
        self.properties.extend(bytes);
        self
    }

    /// A session that outlives its connection this long; 3.1.1 has no such thing to say.
    pub fn expiry(self, seconds: u32) -> Self {
        match self.version {
            Version::V5 => self.with(&Property::SessionExpiry(seconds)),
            Version::V311 => self,
        }
    }

    /// This will.
    pub fn will(mut self, will: &Will) -> Self {
        self.flags |= 0b0000_0100 | will.qos << 3 | will.retain << 5;
        if self.version == Version::V5 {
            self.will.extend(block(&will.properties));
        }
        self.will.extend(data(&will.topic));
        self.will.extend(data(&will.payload));
        self
    }

    /// This user name.
    pub fn user_name(mut self, name: impl AsRef<[u8]>) -> Self {
        self.flags |= 0b1000_0000;
        self.credentials.extend(data(name));
        self
    }

    /// This password.
    pub fn password(mut self, password: impl AsRef<[u8]>) -> Self {
        self.flags |= 0b0100_0000;
        self.credentials.extend(data(password));
        self
    }

    /// On the wire.
    pub fn bytes(&self) -> Vec<u8> {
        packet(Kind::Connect.head(), &self.body())
    }

    /// Behind the remaining length.
    pub fn body(&self) -> Vec<u8> {
        let (name, level) = &self.protocol;
        let mut body = data(name);
        body.extend([*level, self.flags]);
        body.extend(self.keep_alive.to_be_bytes());
        if self.version == Version::V5 {
            body.extend(block(&self.properties));
        }
        body.extend(data(&self.client_id));
        body.extend(&self.will);
        body.extend(&self.credentials);
        body
    }
}

/// The will of a CONNECT.
#[derive(Clone, Debug)]
#[must_use]
pub struct Will {
    topic: Vec<u8>,
    payload: Vec<u8>,
    qos: u8,
    retain: u8,
    properties: Vec<u8>,
}

impl Will {
    /// At QoS 0, not retained.
    pub fn new(topic: impl AsRef<[u8]>, payload: impl AsRef<[u8]>) -> Self {
        Self {
            topic: topic.as_ref().to_vec(),
            payload: payload.as_ref().to_vec(),
            qos: 0,
            retain: 0,
            properties: Vec::new(),
        }
    }

    /// At this QoS, 3 included.
    pub fn qos(mut self, qos: u8) -> Self {
        self.qos = qos;
        self
    }

    /// Retained.
    pub fn retain(mut self) -> Self {
        self.retain = 1;
        self
    }

    /// One more property.
    pub fn with(self, property: &Property) -> Self {
        self.with_bytes(&property.bytes())
    }

    /// More property bytes, whatever they are.
    pub fn with_bytes(mut self, bytes: &[u8]) -> Self {
        self.properties.extend(bytes);
        self
    }
}
