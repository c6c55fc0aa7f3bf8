//! Properties of CONNECT and of its will.
//!
//! Each stands where it may, at most once, with a value it may have.

use crate::{EITHER, PROTOCOL_ERROR, refuses};
use Property::{
    AuthData, AuthMethod, ContentType, CorrelationData, MaximumPacketSize, MessageExpiry,
    PayloadFormat, ReceiveMaximum, RequestProblem, RequestResponse, ResponseTopic, SessionExpiry,
    TopicAliasMaximum, WillDelay,
};
use countersign_tests::prelude::*;

fn with(property: &Property) -> Connect {
    Connect::new(V5, "a").with(property)
}

fn with_will(properties: &[&Property]) -> Connect {
    let will = properties
        .iter()
        .fold(Will::new("w", "x"), |will, property| will.with(property));
    Connect::new(V5, "a").will(&will)
}

#[test]
fn mqtt_3_1_2_all_properties_at_once() {
    let stage = Stage::new();
    let properties = [
        SessionExpiry(10),
        ReceiveMaximum(5),
        MaximumPacketSize(1000),
        TopicAliasMaximum(3),
        RequestResponse(1),
        RequestProblem(1),
        Property::user("a", "1"),
        Property::user("a", "1"),
    ];
    let connect = properties
        .iter()
        .fold(stage.connect(V5, "a"), Connect::with);
    stage.open("a", &connect);
}

#[test]
fn mqtt_3_1_2_a_property_given_twice_is_refused() {
    let once = [
        SessionExpiry(1),
        ReceiveMaximum(1),
        MaximumPacketSize(1000),
        TopicAliasMaximum(1),
        RequestResponse(0),
        RequestProblem(0),
        AuthMethod("m".into()),
    ];
    for property in &once {
        refuses(&with(property).with(property).bytes(), &[PROTOCOL_ERROR]);
    }
}

#[test]
fn mqtt_3_1_2_values_out_of_range_are_refused() {
    for property in [
        ReceiveMaximum(0),
        MaximumPacketSize(0),
        RequestProblem(2),
        RequestResponse(2),
    ] {
        refuses(&with(&property).bytes(), &[PROTOCOL_ERROR]);
    }
}

#[test]
fn mqtt_3_1_2_authentication_data_needs_a_method() {
    refuses(&with(&AuthData(vec![1])).bytes(), &[PROTOCOL_ERROR]);
}

/// [MQTT-3.1.4-2] [MQTT-4.13.2-1]
#[test]
fn mqtt_4_12_0_1_an_authentication_method_is_refused() {
    let stage = Stage::new();
    let connect = stage
        .connect(V5, "a")
        .with(&AuthMethod("SCRAM-SHA-256".into()));
    let (mut client, connack) = stage.ask("a", &connect.with(&AuthData(vec![0])));
    assert_eq!(connack.code, 0x8c);
    client.raw.expect_closed();
}

#[test]
fn mqtt_2_2_2_a_property_that_is_not_of_connect_is_refused() {
    let elsewhere = [
        PayloadFormat(0),
        MessageExpiry(1),
        ContentType("t".into()),
        ResponseTopic("r".into()),
        CorrelationData(vec![1]),
        Property::SubscriptionId(1),
        Property::AssignedClientId("a".into()),
        Property::ServerKeepAlive(1),
        WillDelay(1),
        Property::ResponseInformation("r".into()),
        Property::ServerReference("s".into()),
        Property::Reason("r".into()),
        Property::TopicAlias(1),
        Property::MaximumQos(1),
        Property::RetainAvailable(1),
        Property::WildcardAvailable(1),
        Property::SubscriptionIdAvailable(1),
        Property::SharedAvailable(1),
    ];
    for property in &elsewhere {
        refuses(&with(property).bytes(), &EITHER);
    }
}

#[test]
fn mqtt_2_2_2_an_unknown_property_is_refused() {
    for identifier in [0x00, 0x04, 0x10, 0x2b, 0x7f] {
        refuses(
            &Connect::new(V5, "a").with_bytes(&[identifier, 0]).bytes(),
            &EITHER,
        );
    }
}

#[test]
fn mqtt_2_2_2_1_the_property_length_must_be_there() {
    // CONNECT of 5.0 written as one of 3.1.1: the client id's length is taken for the properties'.
    refuses(&Connect::new(V311, "").protocol("MQTT", 5).bytes(), &EITHER);
}

#[test]
fn mqtt_2_2_2_1_the_property_length_must_fit() {
    let cut = &SessionExpiry(1).bytes()[..3];
    refuses(&Connect::new(V5, "a").with_bytes(cut).bytes(), &EITHER);
    // A length that reaches beyond the packet.
    refuses(
        b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x3c\x7f\x00\x01a",
        &EITHER,
    );
}

#[test]
fn mqtt_1_5_5_1_the_property_length_must_be_as_short_as_it_can() {
    refuses(
        b"\x10\x0f\x00\x04MQTT\x05\x02\x00\x3c\x80\x00\x00\x01a",
        &EITHER,
    );
}

#[test]
fn mqtt_1_5_7_1_user_properties_of_connect_are_two_strings() {
    for wrong in [
        &b"\x26\x00\x01\xff\x00\x00"[..],
        b"\x26\x00\x00\x00\x01\xff",
        b"\x26\x00\x01a",
    ] {
        refuses(&Connect::new(V5, "a").with_bytes(wrong).bytes(), &EITHER);
    }
}

#[test]
fn mqtt_3_1_3_a_will_property_given_twice_is_refused() {
    let once = [
        WillDelay(1),
        PayloadFormat(1),
        MessageExpiry(1),
        ContentType("t".into()),
        ResponseTopic("r".into()),
        CorrelationData(vec![1]),
    ];
    for property in &once {
        refuses(&with_will(&[property, property]).bytes(), &[PROTOCOL_ERROR]);
    }
}

#[test]
fn mqtt_3_1_3_a_property_that_is_not_of_a_will_is_refused() {
    let elsewhere = [
        SessionExpiry(1),
        Property::TopicAlias(1),
        Property::SubscriptionId(1),
        ReceiveMaximum(1),
        Property::Reason("r".into()),
    ];
    for property in &elsewhere {
        refuses(&with_will(&[property]).bytes(), &EITHER);
    }
}

/// [MQTT-3.3.2-14]
#[test]
fn mqtt_3_1_3_values_of_a_will_out_of_range_are_refused() {
    for property in [
        PayloadFormat(2),
        ResponseTopic("a/#".into()),
        ResponseTopic("+".into()),
    ] {
        refuses(&with_will(&[&property]).bytes(), &[0x81, 0x82, 0x90]);
    }
}
