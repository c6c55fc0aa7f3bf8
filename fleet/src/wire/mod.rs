//! MQTT as a load and a simulated device need it: packets encoded once and patched, frames looked
//! at and no more.
//!
//! It shares nothing with `protocol`, on purpose: what is measured must not measure itself, and a
//! mistake of the broker's codec must not be made here too. Only these files know MQTT bytes.

mod duplex;
mod frames;
mod packets;
mod template;

pub(crate) use duplex::Duplex;
pub use frames::Malformed;
pub(crate) use frames::{Frame, split, split_varint};
pub(crate) use packets::{
    Connack, Delivery, PacketType, Start, ack_id, ack_parts, connect, id_bytes, id_number,
    push_ack, refusal, split_text, suback_grants, subscribe,
};
pub(crate) use packets::{
    DISCONNECT, DISCONNECT_FOR_GOOD, PINGREQ, PINGRESP, PUBACK, PUBCOMP, PUBREC, PUBREL,
};
pub use template::PAYLOAD_MIN;
pub(crate) use template::{Stamp, Template};
