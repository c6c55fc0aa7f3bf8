//! The reason codes a broker answers with (MQTT 5.0 §2.4).
//!
//! A code this library does not know is kept as it came: the broker said something, and it is
//! shown.

use std::fmt;

/// Why a broker refused, in its own words.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReasonCode(u8);

impl ReasonCode {
    /// The client id may not be used by this device.
    pub const CLIENT_ID_NOT_VALID: Self = Self(0x85);
    /// The policy of the broker does not permit it.
    pub const NOT_AUTHORIZED: Self = Self(0x87);
    /// The broker cannot serve us now.
    pub const SERVER_UNAVAILABLE: Self = Self(0x88);
    /// The broker is too busy.
    pub const SERVER_BUSY: Self = Self(0x89);
    /// Another connection uses our session now.
    pub const SESSION_TAKEN_OVER: Self = Self(0x8E);
    /// A limit of the broker is exhausted.
    pub const QUOTA_EXCEEDED: Self = Self(0x97);
    /// An administrator closed the connection.
    pub const ADMINISTRATIVE_ACTION: Self = Self(0x98);
    /// The broker does not keep retained messages.
    pub const RETAIN_NOT_SUPPORTED: Self = Self(0x9A);
    /// The broker does not support this quality of service.
    pub const QOS_NOT_SUPPORTED: Self = Self(0x9B);
    /// Another broker is to be used for now.
    pub const USE_ANOTHER_SERVER: Self = Self(0x9C);
    /// Another broker is to be used from now on.
    pub const SERVER_MOVED: Self = Self(0x9D);
    /// We connected too often.
    pub const CONNECTION_RATE_EXCEEDED: Self = Self(0x9F);

    /// The reason with this number.
    pub const fn new(code: u8) -> Self {
        Self(code)
    }

    /// The number on the wire.
    pub const fn value(self) -> u8 {
        self.0
    }

    /// Whether the same request may well succeed later, with nothing changed on our side.
    pub(crate) const fn is_passing(self) -> bool {
        // 0x03 is how a broker of MQTT 3.1.1 says 0x88.
        matches!(self.0, 0x03 | 0x80 | 0x83 | 0x88 | 0x89 | 0x97 | 0x9F)
    }

    /// Whether another broker is to be asked: use another server, or server moved.
    pub(crate) const fn is_elsewhere(self) -> bool {
        matches!(self, Self::USE_ANOTHER_SERVER | Self::SERVER_MOVED)
    }

    const fn name(self) -> &'static str {
        match self.0 {
            0x00 => "success",
            0x01 | 0x84 => "unsupported protocol version",
            0x02 | 0x85 => "client id not valid",
            0x03 | 0x88 => "server unavailable",
            0x04 | 0x86 => "bad user name or password",
            0x05 | 0x87 => "not authorized",
            0x10 => "no matching subscribers",
            0x80 => "unspecified error",
            0x81 => "malformed packet",
            0x82 => "protocol error",
            0x83 => "implementation specific error",
            0x89 => "server busy",
            0x8A => "banned",
            0x8B => "server shutting down",
            0x8C => "bad authentication method",
            0x8D => "keep alive timeout",
            0x8E => "session taken over",
            0x8F => "topic filter invalid",
            0x90 => "topic name invalid",
            0x91 => "packet identifier in use",
            0x92 => "packet identifier not found",
            0x93 => "receive maximum exceeded",
            0x94 => "topic alias invalid",
            0x95 => "packet too large",
            0x96 => "message rate too high",
            0x97 => "quota exceeded",
            0x98 => "administrative action",
            0x99 => "payload format invalid",
            0x9A => "retain not supported",
            0x9B => "QoS not supported",
            0x9C => "use another server",
            0x9D => "server moved",
            0x9E => "shared subscriptions not supported",
            0x9F => "connection rate exceeded",
            0xA0 => "maximum connect time",
            0xA1 => "subscription identifiers not supported",
            0xA2 => "wildcard subscriptions not supported",
            _ => "unknown reason",
        }
    }
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (0x{:02X})", self.name(), self.0)
    }
}

impl fmt::Debug for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::ReasonCode;

    #[test]
    fn a_reason_is_shown_with_its_name_and_number() {
        assert_eq!(
            ReasonCode::NOT_AUTHORIZED.to_string(),
            "not authorized (0x87)"
        );
        assert_eq!(ReasonCode::new(0xFE).to_string(), "unknown reason (0xFE)");
    }

    #[test]
    fn what_a_device_cannot_mend_by_waiting_is_not_passing() {
        for (code, passing) in [
            (0x85, false),
            (0x87, false),
            (0x8A, false),
            (0x88, true),
            (0x9F, true),
        ] {
            assert_eq!(ReasonCode::new(code).is_passing(), passing, "{code:#x}");
        }
    }
}
