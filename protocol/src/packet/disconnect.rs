//! DISCONNECT: the last packet of a connection [MQTT 5.0 §3.14].

use super::UserProperties;
use crate::{ReasonCode, Text};

/// A DISCONNECT. A server of 3.1.1 has none: it closes the socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disconnect {
    /// Why the connection ends.
    pub reason: ReasonCode,
    /// A new session expiry interval, from a client only [MQTT-3.14.2-2].
    pub session_expiry_interval: Option<u32>,
    /// Words for a person.
    pub reason_string: Option<Text>,
    /// In their order.
    pub user_properties: UserProperties,
    /// Another server to use, from a server only.
    pub server_reference: Option<Text>,
}

impl Disconnect {
    /// A DISCONNECT that carries its reason alone.
    pub fn new(reason: ReasonCode) -> Self {
        Self {
            reason,
            session_expiry_interval: None,
            reason_string: None,
            user_properties: UserProperties::new(),
            server_reference: None,
        }
    }
}
