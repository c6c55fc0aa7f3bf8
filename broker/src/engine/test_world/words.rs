//! What the engine says, as text.

use super::Heard;
use crate::engine::{After, CloseReason};
use protocol::ReasonCode;
use protocol::packet::{Ack, Packet, Publish};

pub(super) fn say((after, heard): &(After, Heard)) -> String {
    let mark = if *after == After::Sync { "*" } else { "" };
    mark.to_owned() + &say_heard(heard)
}

fn say_heard(heard: &Heard) -> String {
    match heard {
        Heard::Packet(packet) => say_packet(packet),
        Heard::AskDrained => "drained?".to_owned(),
        Heard::Close(CloseReason::Disconnected) => "bye".to_owned(),
        Heard::Close(CloseReason::Refused(_)) => "refused".to_owned(),
        Heard::Close(why) => match why.disconnect() {
            Some(disconnect) => format!("CLOSE {:02x}", disconnect.reason.byte()),
            None => "CLOSE".to_owned(),
        },
    }
}

fn say_packet(packet: &Packet) -> String {
    let ack =
        |name: &str, ack: &Ack| format!("{name} #{} {:02x}", ack.packet_id, ack.reason.byte());
    let codes = |reasons: &[ReasonCode]| {
        let codes: Vec<_> = reasons
            .iter()
            .map(|code| format!("{:02x}", code.byte()))
            .collect();
        format!("[{}]", codes.join(" "))
    };
    match packet {
        Packet::Connack(connack) => {
            let present = if connack.session_present {
                " present"
            } else {
                ""
            };
            format!("CONNACK {:02x}{present}", connack.reason.byte())
        }
        Packet::Puback(it) => ack("PUBACK", it),
        Packet::Pubrec(it) => ack("PUBREC", it),
        Packet::Pubrel(it) => ack("PUBREL", it),
        Packet::Pubcomp(it) => ack("PUBCOMP", it),
        Packet::Suback(suback) => format!("SUBACK {}", codes(&suback.reasons)),
        Packet::Unsuback(unsuback) => format!("UNSUBACK {}", codes(&unsuback.reasons)),
        Packet::Publish(publish) => say_publish(publish),
        other => panic!("the engine never says {other:?}"),
    }
}

fn say_publish(publish: &Publish) -> String {
    let payload = String::from_utf8_lossy(&publish.payload);
    let ids = publish.subscription_ids();
    let mut words = vec![
        format!("PUBLISH {}={payload}", publish.topic),
        format!("q{}", publish.qos.bits()),
    ];
    words.extend(publish.packet_id.map(|id| format!("#{id}")));
    words.extend(publish.dup.then(|| "dup".to_owned()));
    words.extend(publish.retain.then(|| "retain".to_owned()));
    words.extend((!ids.is_empty()).then(|| format!("ids{ids:?}")));
    let expires = publish.message_expiry_interval();
    words.extend(expires.map(|seconds| format!("expires[{seconds}]")));
    words.join(" ")
}
