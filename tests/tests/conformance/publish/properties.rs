//! Properties of PUBLISH: what passes through unaltered, and what may not stand there.
//!
//! A subscriber gets the message as it was published, in its own version's words.

use crate::{EITHER, PROTOCOL_ERROR, closes};
use Property::{
    ContentType, CorrelationData, MessageExpiry, PayloadFormat, ResponseTopic, SubscriptionId,
};
use countersign_tests::prelude::*;

fn with(property: &Property) -> Vec<u8> {
    Publish::new("t", "x").with(property).bytes(V5)
}

/// What a publisher with this property has, a subscriber gets at every QoS.
fn passes(properties: &[Property]) {
    let stage = Stage::new();
    let mut subscriber = stage.client(V5, "sub");
    subscriber.subscribe(&stage.topic("t"), 2);
    let mut publisher = stage.client(V5, "pub");
    for qos in 0..3 {
        let publish = Publish::new(stage.topic("t"), "x").qos(qos);
        publisher.publish(&properties.iter().fold(publish, Publish::with));
        assert_eq!(subscriber.take().properties, properties);
    }
}

#[test]
fn mqtt_3_3_2_4_the_payload_format_is_passed_on() {
    passes(&[PayloadFormat(0)]);
    passes(&[PayloadFormat(1)]);
}

#[test]
fn mqtt_3_3_2_15_the_response_topic_is_passed_on() {
    passes(&[ResponseTopic("answers/\u{e9}".into())]);
}

#[test]
fn mqtt_3_3_2_16_correlation_data_is_passed_on() {
    passes(&[CorrelationData((0..=255).collect())]);
    passes(&[CorrelationData(Vec::new())]);
}

/// [MQTT-3.3.2-17]
#[test]
fn mqtt_3_3_2_18_user_properties_are_passed_on_in_their_order() {
    passes(&[
        Property::user("b", "1"),
        Property::user("a", ""),
        Property::user("b", "1"),
        Property::user("", "0"),
        Property::user("a", "2"),
    ]);
}

#[test]
fn mqtt_3_3_2_17_a_thousand_user_properties_are_passed_on() {
    let many: Vec<_> = (0..1000)
        .map(|n| Property::user(&n.to_string(), "value"))
        .collect();
    passes(&many);
}

#[test]
fn mqtt_3_3_2_20_the_content_type_is_passed_on() {
    passes(&[ContentType("text/plain; charset=utf-8".into())]);
}

#[test]
fn mqtt_3_3_2_properties_survive_a_wait_and_a_new_connection() {
    let stage = Stage::new();
    let (mut subscriber, _) = stage.lasting(V5, "sub");
    subscriber.subscribe(&stage.topic("t"), 1);
    subscriber.leave();
    let properties = [
        ContentType("t".into()),
        CorrelationData(vec![7]),
        Property::user("a", "b"),
    ];
    let publish = Publish::new(stage.topic("t"), "x").qos(1);
    stage
        .client(V5, "pub")
        .publish(&properties.iter().fold(publish, Publish::with));
    for _ in 0..2 {
        let (mut subscriber, _) = stage.lasting(V5, "sub");
        assert_eq!(subscriber.expect_message("x").properties, properties);
        subscriber.vanish();
    }
}

#[test]
fn mqtt_3_3_2_a_subscriber_of_3_1_1_gets_the_message_without_its_properties() {
    let stage = Stage::new();
    let mut subscriber = stage.client(V311, "sub");
    subscriber.subscribe(&stage.topic("t"), 1);
    let publish = Publish::new(stage.topic("t"), "x")
        .with(&Property::user("a", "b"))
        .qos(1);
    stage
        .client(V5, "pub")
        .publish(&publish.with(&ContentType("t".into())));
    subscriber.expect_message("x");
}

#[test]
fn mqtt_2_2_2_1_a_message_of_3_1_1_has_an_empty_property_block() {
    let stage = Stage::new();
    let mut subscriber = stage.client(V5, "sub");
    subscriber.subscribe(&stage.topic("t"), 0);
    stage
        .client(V311, "pub")
        .publish(&Publish::new(stage.topic("t"), "x"));
    assert_eq!(
        subscriber.raw.expect_packet().bytes(),
        Publish::new(stage.topic("t"), "x").bytes(V5)
    );
}

#[test]
fn mqtt_3_3_2_13_the_response_topic_must_be_utf_8() {
    closes(
        &Publish::new("t", "x")
            .with_bytes(b"\x08\x00\x01\xff")
            .bytes(V5),
        &EITHER,
    );
}

#[test]
fn mqtt_3_3_2_14_the_response_topic_has_no_wildcards() {
    for wrong in ["#", "a/+", "a/#"] {
        closes(&with(&ResponseTopic(wrong.into())), &[0x81, 0x82, 0x90]);
    }
}

#[test]
fn mqtt_3_3_2_19_the_content_type_must_be_utf_8() {
    closes(
        &Publish::new("t", "x")
            .with_bytes(b"\x03\x00\x02\xc3\x28")
            .bytes(V5),
        &EITHER,
    );
}

/// [MQTT-1.5.4-2]
#[test]
fn mqtt_1_5_7_1_user_properties_are_two_strings() {
    for wrong in [
        &b"\x26\x00\x01\xff\x00\x01a"[..],
        b"\x26\x00\x01a\x00\x01\xff",
        b"\x26\x00\x01\x00\x00\x01a",
        b"\x26\x00\x01a",
    ] {
        closes(&Publish::new("t", "x").with_bytes(wrong).bytes(V5), &EITHER);
    }
}

#[test]
fn mqtt_3_3_4_6_a_client_sends_no_subscription_identifier() {
    closes(&with(&SubscriptionId(1)), &EITHER);
}

#[test]
fn mqtt_3_3_2_a_property_given_twice_is_a_protocol_error() {
    for property in [
        PayloadFormat(0),
        MessageExpiry(1),
        Property::TopicAlias(1),
        ResponseTopic("r".into()),
        CorrelationData(vec![1]),
        ContentType("t".into()),
    ] {
        let twice = Publish::new("t", "x").with(&property).with(&property);
        closes(&twice.bytes(V5), &[PROTOCOL_ERROR]);
    }
}

#[test]
fn mqtt_3_3_2_a_property_that_is_not_of_publish_is_refused() {
    for property in [
        Property::SessionExpiry(1),
        Property::ServerKeepAlive(1),
        Property::ReceiveMaximum(1),
        Property::Reason("r".into()),
        Property::WillDelay(1),
        Property::AuthMethod("m".into()),
    ] {
        closes(&with(&property), &EITHER);
    }
}

#[test]
fn mqtt_3_3_2_a_payload_format_beyond_1_is_refused() {
    closes(&with(&PayloadFormat(2)), &EITHER);
}

#[test]
fn mqtt_2_2_2_a_property_block_must_fit_its_packet() {
    closes(b"\x30\x05\x00\x01t\x7fx", &EITHER);
    closes(b"\x30\x06\x00\x01t\x02\x01x", &EITHER);
    closes(b"\x30\x06\x00\x01t\x02\x02\x00", &EITHER);
}

#[test]
fn mqtt_3_3_2_request_and_response_find_each_other() {
    let stage = Stage::new();
    let mut responder = stage.client(V5, "responder");
    responder.subscribe(&stage.topic("request"), 1);
    let mut requester = stage.client(V5, "requester");
    requester.subscribe(&stage.topic("response"), 1);
    let request = Publish::new(stage.topic("request"), "question").qos(1);
    let request = request.with(&ResponseTopic(stage.topic("response")));
    requester.publish(&request.with(&CorrelationData(b"17".to_vec())));

    let asked = responder.take();
    let topic = asked.properties.iter().find_map(|property| match property {
        ResponseTopic(topic) => Some(topic.clone()),
        _ => None,
    });
    let answer = Publish::new(topic.unwrap(), "answer").qos(1);
    responder.publish(&answer.with(&CorrelationData(b"17".to_vec())));
    let answered = requester.expect_message("answer");
    assert_eq!(answered.properties, [CorrelationData(b"17".to_vec())]);
}
