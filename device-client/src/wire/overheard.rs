//! What a broker says that refuses or ends a connection, overheard on its way to the library below.
//!
//! That library tells of it the reason and no more. Where the broker says to go instead is read
//! from the packet itself, by the same library.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::BytesMut;
use rumqttc::mqttbytes::v5::Packet;

/// A longer packet is not kept: where it sends us is not known then.
const LEN_MAX: usize = 4096;

/// The connection of a device. Clones are of the same one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Overheard(Arc<Mutex<Listener>>);

#[derive(Debug, Default)]
struct Listener {
    at: At,
    /// The CONNACK or DISCONNECT that came last, as far as it has come.
    kept: BytesMut,
    keeps: bool,
}

/// Of which part of a packet the next octet is.
#[derive(Clone, Copy, Debug, Default)]
enum At {
    #[default]
    Type,
    /// Of its remaining length (MQTT 5.0 §1.5.5).
    Length { len: usize, shift: u32 },
    /// So many octets of it are to come.
    Rest(usize),
    /// It is no packet: the library ends the connection.
    Lost,
}

impl Overheard {
    /// Another connection begins.
    pub(super) fn begin(&self) {
        self.with(|listener| *listener = Listener::default());
    }

    pub(super) fn heard(&self, octets: &[u8]) {
        self.with(|listener| listener.hear(octets));
    }

    /// Where the broker says to go.
    pub(super) fn server_reference(&self) -> Option<String> {
        let mut kept = self.with(|listener| std::mem::take(&mut listener.kept));
        match Packet::read(&mut kept, None).ok()? {
            Packet::ConnAck(connack) => connack.properties?.server_reference,
            Packet::Disconnect(disconnect) => disconnect.properties?.server_reference,
            _ => None,
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut Listener) -> T) -> T {
        // Nothing panics while it is held.
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Listener {
    fn hear(&mut self, mut octets: &[u8]) {
        while let Some((&octet, behind)) = octets.split_first() {
            let taken = match self.at {
                At::Type => {
                    self.keeps = matches!(octet, 0x20 | 0xE0);
                    self.kept.clear();
                    self.at = At::Length { len: 0, shift: 0 };
                    1
                }
                At::Length { len, shift } => {
                    let len = len | usize::from(octet & 0x7F) << shift;
                    self.at = match (octet & 0x80, shift, len) {
                        (0, _, 0) => At::Type,
                        (0, _, len) => At::Rest(len),
                        (_, 21.., _) => At::Lost,
                        (_, shift, len) => At::Length {
                            len,
                            shift: shift + 7,
                        },
                    };
                    1
                }
                At::Rest(rest) => {
                    let taken = rest.min(behind.len() + 1);
                    self.at = match rest - taken {
                        0 => At::Type,
                        rest => At::Rest(rest),
                    };
                    taken
                }
                At::Lost => return,
            };
            let (these, others) = octets.split_at(taken);
            self.keep(these);
            octets = others;
        }
    }

    fn keep(&mut self, octets: &[u8]) {
        if !self.keeps {
            return;
        }
        if self.kept.len() + octets.len() > LEN_MAX {
            self.keeps = false;
            self.kept = BytesMut::new();
            return;
        }
        self.kept.extend_from_slice(octets);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where these packets send us, heard in pieces of this length.
    fn reference(packets: &[&[u8]], piece_len: usize) -> Option<String> {
        let overheard = Overheard::default();
        overheard.begin();
        for piece in packets.concat().chunks(piece_len) {
            overheard.heard(piece);
        }
        overheard.server_reference()
    }

    #[test]
    fn the_packet_that_ends_a_connection_is_heard_behind_others_and_in_pieces() {
        let connack = &b"\x20\x03\0\0\0"[..];
        let refusal = &b"\x20\x07\0\x9C\x04\x1C\0\x01a"[..];
        let disconnect = &b"\xE0\x06\x9D\x04\x1C\0\x01b"[..];
        // Its payload looks as a DISCONNECT does.
        let publish = &b"\x30\x0B\0\x01t\xE0\x06\x9D\x04\x1C\0\x01c"[..];
        let long = [&b"\x30\xAD\x02\0\x01t"[..], &[0xE0; 298]].concat();
        let ping = &b"\xD0\0"[..];
        let none = &b"\xE0\x02\x8B\0"[..];
        let too_long = [&b"\xE0\x81\x20\x9D"[..], &[0; 4096]].concat();
        for (packets, expected) in [
            (vec![refusal], Some("a")),
            (vec![connack, publish, ping, disconnect], Some("b")),
            (vec![connack, &long, disconnect], Some("b")),
            (vec![connack, disconnect, publish], None),
            (vec![connack, publish], None),
            (vec![connack, none], None),
            (vec![connack, &too_long], None),
            (vec![connack, b"\xFF\xFF\xFF\xFF\xFF", disconnect], None),
        ] {
            for piece_len in [1, 2, 3, 7, 8192] {
                let heard = reference(&packets, piece_len);
                assert_eq!(heard.as_deref(), expected, "{packets:x?}, by {piece_len}");
            }
        }
    }
}
