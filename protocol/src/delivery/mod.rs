//! Delivery of QoS 1 and 2 messages [MQTT 5.0 §4.3, §4.4, §4.6, §4.9].
//!
//! This state outlives the connection. It says what may be sent and what an answer means; it
//! sends nothing itself, and its memory is in proportion to what is in flight.

mod inbound;
mod outbound;
mod packet_ids;
mod window;

pub use inbound::{Inbound, Received, Release};
pub use outbound::{Outbound, Pubrec, Resend, UnknownPacketId};
