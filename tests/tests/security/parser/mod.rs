//! The parser and the state machine behind it.
//!
//! No bytes of a device can panic the broker, grow its memory without bound or keep it busy.

mod cut;
mod flood;
mod mutants;
mod sequences;
mod single;

use countersign_tests::mqtt::connect::Will;
use countersign_tests::mqtt::request::{self, Publish, Subscribe};
use countersign_tests::mqtt::{Kind, Property, Version};
use countersign_tests::stage::Stage;

/// A good packet of every kind that a client can send, with much in it.
fn every_packet(stage: &Stage, version: Version) -> Vec<Vec<u8>> {
    let will = Will::new(stage.topic("will"), "gone")
        .qos(1)
        .with(&Property::WillDelay(1));
    let connect = stage
        .connect(version, "a")
        .will(&will)
        .user_name("user")
        .password("secret");
    let connect = match version {
        Version::V311 => connect,
        Version::V5 => connect
            .with(&Property::SessionExpiry(1))
            .with(&Property::ReceiveMaximum(10))
            .with(&Property::user("name", "value")),
    };
    let publish = Publish::new(stage.topic("t"), "payload")
        .with(&Property::ContentType("text".into()))
        .with(&Property::CorrelationData(vec![1, 2, 3]))
        .with(&Property::TopicAlias(1))
        .with(&Property::user("name", "value"));
    let subscribe = Subscribe::new(3)
        .with(&Property::SubscriptionId(300))
        .filter(stage.topic("+/#"), 1)
        .filter(format!("$share/g/{}", stage.topic("t")), 2);
    let mut packets = vec![
        connect.bytes(),
        publish.bytes(version),
        publish.clone().qos(1).id(1).retain().bytes(version),
        publish.qos(2).id(2).bytes(version),
        subscribe.bytes(version),
        request::unsubscribe(version, 4, &[stage.topic("+/#"), stage.topic("none")]),
        request::pingreq(),
        request::disconnect(),
    ];
    for kind in [Kind::Puback, Kind::Pubrec, Kind::Pubrel, Kind::Pubcomp] {
        packets.push(request::ack(kind, 1));
        if version == Version::V5 {
            let more = [
                &[0, 1, 0][..],
                &request::properties(&[Property::Reason("why".into())]),
            ];
            packets.push(request::packet(kind.head(), &more.concat()));
        }
    }
    if version == Version::V5 {
        packets.push(request::disconnect_with(4, &[Property::SessionExpiry(0)]));
        packets.push(request::auth(0x18, &[Property::AuthMethod("m".into())]));
    }
    packets
}
