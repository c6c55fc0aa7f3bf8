//! Request problem information: who does not want to be told reasons.
//!
//! Reasons help whoever asked for them and cost the others nothing.

use Property::RequestProblem;
use countersign_tests::prelude::*;

/// The answers to seven requests that fail, the last of them DISCONNECT.
fn failures(stage: &Stage, connect: &Connect) -> Vec<Vec<Property>> {
    let (mut client, _) = stage.open("a", connect);
    let denied = stage.topic("denied/t");
    client.send_publish(&Publish::new(&denied, "x").qos(1).id(1));
    client.send_publish(&Publish::new(&denied, "x").qos(2).id(2));
    client.send(&request::ack(Kind::Pubrec, 3));
    client.send(&request::ack(Kind::Pubrel, 4));
    client.send(
        &Subscribe::new(5)
            .filter(stage.topic("hidden/t"), 0)
            .bytes(V5),
    );
    client.send(&request::unsubscribe(V5, 6, &[stage.topic("never")]));
    client.send(b"\xd0\x00");
    let mut said: Vec<_> = [Kind::Puback, Kind::Pubrec, Kind::Pubrel, Kind::Pubcomp]
        .into_iter()
        .map(|kind| client.expect_ack(kind).properties)
        .collect();
    said.push(client.expect_suback().properties);
    said.push(Suback::read(&client.raw.expect_packet(), V5, Kind::Unsuback).properties);
    said.push(client.expect_disconnect(crate::PROTOCOL_ERROR));
    said
}

fn is_problem_information(property: &Property) -> bool {
    matches!(property, Property::Reason(_) | Property::User(..))
}

#[test]
fn mqtt_3_1_2_29_who_wants_no_reasons_gets_none() {
    let stage = Stage::new();
    let mut said = failures(&stage, &stage.connect(V5, "a").with(&RequestProblem(0)));
    said.pop();
    assert!(
        !said.iter().flatten().any(is_problem_information),
        "{said:?}"
    );
}

#[test]
fn mqtt_3_1_2_29_who_asks_for_reasons_is_told_why_something_was_denied() {
    let stage = Stage::new();
    for connect in [
        stage.connect(V5, "a"),
        stage.connect(V5, "a").with(&RequestProblem(1)),
    ] {
        let said = failures(&stage, &connect);
        for denied in [0, 1, 4] {
            assert!(said[denied].iter().any(is_problem_information), "{said:?}");
        }
    }
}

#[test]
fn mqtt_3_1_2_29_user_properties_of_messages_come_all_the_same() {
    let stage = Stage::new();
    let (mut client, _) = stage.open("a", &stage.connect(V5, "a").with(&RequestProblem(0)));
    client.subscribe(&stage.topic("t"), 0);
    client.send_publish(&Publish::new(stage.topic("t"), "x").with(&Property::user("a", "b")));
    assert_eq!(
        client.expect_message("x").properties,
        [Property::user("a", "b")]
    );
}
