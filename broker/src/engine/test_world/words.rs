//! What the engine says, as text.

use crate::engine::{After, CloseReason, Delivery, Outgoing};
use protocol::ReasonCode;
use protocol::packet::{Ack, Packet};

pub(super) fn say((after, outgoing): &(After, Outgoing)) -> String {
    let mark = if *after == After::Sync { "*" } else { "" };
    mark.to_owned() + &say_outgoing(outgoing)
}

fn say_outgoing(outgoing: &Outgoing) -> String {
    match outgoing {
        Outgoing::Packet(packet) => say_packet(packet),
        Outgoing::Deliver(delivery) => say_delivery(delivery),
        Outgoing::AskDrained => "drained?".to_owned(),
        Outgoing::Close(CloseReason::Disconnected) => "bye".to_owned(),
        Outgoing::Close(CloseReason::Refused(_)) => "refused".to_owned(),
        Outgoing::Close(why) => format!("CLOSE {:02x}", why.disconnect().unwrap().reason.byte()),
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
        other => panic!("the engine never says {other:?}"),
    }
}

fn say_delivery(delivery: &Delivery) -> String {
    let payload = String::from_utf8_lossy(delivery.message.payload());
    let ids = delivery.subscription_ids.as_slice();
    let mut words = vec![
        format!("PUBLISH {}={payload}", delivery.message.topic()),
        format!("q{}", delivery.qos.bits()),
    ];
    words.extend(delivery.packet_id.map(|id| format!("#{id}")));
    words.extend(delivery.dup.then(|| "dup".to_owned()));
    words.extend(delivery.retain.then(|| "retain".to_owned()));
    words.extend((!ids.is_empty()).then(|| format!("ids{ids:?}")));
    let expires = delivery.message_expiry_interval;
    words.extend(expires.map(|seconds| format!("expires[{seconds}]")));
    words.join(" ")
}
