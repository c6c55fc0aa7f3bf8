//! Shared subscriptions: §4.8.2.
//!
//! Each message goes to one member of the group, and is lost only with its reader's consent.

use Property::SubscriptionId;
use countersign_tests::prelude::*;
use std::collections::HashMap;

/// Members of one group on one topic.
struct Group {
    stage: Stage,
    topic: String,
    filter: String,
}

impl Group {
    fn new() -> Self {
        let stage = Stage::new();
        let topic = stage.topic("t");
        let filter = format!("$share/{}/{topic}", stage.id("group"));
        Self {
            stage,
            topic,
            filter,
        }
    }

    fn member(&self, name: &str, qos: u8) -> Client {
        let mut member = self.stage.client(V5, name);
        member.subscribe(&self.filter, qos);
        member
    }

    fn publish(&self, payloads: &[&str], qos: u8) {
        let mut publisher = self.stage.client(V5, "pub");
        for payload in payloads {
            publisher.publish(&Publish::new(&self.topic, payload).qos(qos));
        }
    }
}

fn payloads(frames: &[Frame]) -> Vec<String> {
    frames
        .iter()
        .map(|frame| Published::read(frame, V5).text().to_owned())
        .collect()
}

const TEN: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];

#[test]
fn mqtt_4_8_2_each_message_goes_to_one_member() {
    let group = Group::new();
    let mut members = ["a", "b", "c"].map(|name| group.member(name, 1));
    group.publish(&TEN, 1);
    let shares = members.each_mut().map(|member| payloads(&member.drain()));
    let mut all = shares.concat();
    all.sort();
    assert_eq!(all, TEN);
    assert!(shares.iter().all(|share| !share.is_empty()), "{shares:?}");
}

#[test]
fn mqtt_4_8_2_1_groups_of_other_names_and_plain_subscriptions_get_their_own_copy() {
    let group = Group::new();
    let mut member = group.member("a", 1);
    let mut other = group.stage.client(V5, "b");
    other.subscribe(
        &format!("$share/{}/{}", group.stage.id("other"), group.topic),
        1,
    );
    let mut plain = group.stage.client(V5, "c");
    plain.subscribe(&group.topic, 1);
    group.publish(&TEN, 1);
    for client in [&mut member, &mut other, &mut plain] {
        assert_eq!(payloads(&client.drain()), TEN);
    }
}

#[test]
fn mqtt_4_8_2_1_the_filter_behind_the_name_may_have_wildcards() {
    let group = Group::new();
    let mut member = group.stage.client(V5, "a");
    let share = format!("$share/{}", group.stage.id("g"));
    member.subscribe(&format!("{share}/{}", group.stage.topic("#")), 0);
    group.publish(&["x"], 0);
    assert_eq!(member.expect_message("x").topic, group.topic);
    assert_eq!(
        member.unsubscribe(&[&format!("{share}/{}", group.stage.topic("+"))]),
        [0x11]
    );
    assert_eq!(
        member.unsubscribe(&[&format!("{share}/{}", group.stage.topic("#"))]),
        [0x00]
    );
    group.publish(&["y"], 0);
    member.expect_nothing();
}

#[test]
fn mqtt_4_8_2_2_the_filter_behind_the_name_may_begin_with_a_separator() {
    let stage = Stage::new();
    let mut member = stage.client(V5, "a");
    let topic = format!("/{}", stage.topic("t"));
    member.subscribe(&format!("$share/g/{topic}"), 0);
    member.send_publish(&Publish::new(&topic, "x"));
    assert_eq!(member.expect_message("x").topic, topic);
}

#[test]
fn mqtt_4_8_2_a_client_with_a_shared_and_a_plain_subscription_gets_two_copies() {
    let group = Group::new();
    let mut member = group.member("a", 1);
    member.subscribe(&group.topic, 1);
    group.publish(&["x"], 1);
    assert_eq!(payloads(&member.drain()), ["x", "x"]);
}

#[test]
fn mqtt_4_8_2_3_each_members_granted_qos_counts() {
    let group = Group::new();
    let mut members =
        HashMap::from([0, 1, 2].map(|qos| (qos, group.member(&qos.to_string(), qos))));
    group.publish(&TEN, 2);
    let mut count = 0;
    for (qos, member) in &mut members {
        for frame in member.drain() {
            assert_eq!(Published::read(&frame, V5).qos, *qos);
            count += 1;
        }
    }
    assert_eq!(count, 10);
}

#[test]
fn mqtt_4_8_2_a_member_that_unsubscribes_gets_no_more() {
    let group = Group::new();
    let (mut stays, mut leaves) = (group.member("a", 1), group.member("b", 1));
    assert_eq!(leaves.unsubscribe(&[&group.filter]), [0]);
    group.publish(&TEN, 1);
    leaves.expect_nothing();
    assert_eq!(payloads(&stays.drain()), TEN);
}

#[test]
fn mqtt_4_8_2_subscribing_twice_makes_no_second_member() {
    let group = Group::new();
    let mut member = group.member("a", 0);
    member.subscribe(&group.filter, 1);
    group.publish(&["x"], 1);
    assert_eq!(member.take().qos, 1);
    member.expect_nothing();
    assert_eq!(member.unsubscribe(&[&group.filter]), [0]);
    group.publish(&["y"], 1);
    member.expect_nothing();
}

#[test]
fn mqtt_4_8_2_a_shared_subscription_has_its_identifier() {
    let group = Group::new();
    let mut member = group.stage.client(V5, "a");
    let subscribe = Subscribe::new(1)
        .with(&SubscriptionId(4))
        .filter(&group.filter, 0);
    member.subscribe_with(&subscribe);
    group.publish(&["x"], 0);
    assert_eq!(member.expect_message("x").subscription_ids(), [4]);
}

/// At QoS 1 the standard says it should: what an ended session had not acknowledged goes on.
#[test]
fn mqtt_4_8_2_messages_of_a_session_that_ends_go_to_another_member() {
    let group = Group::new();
    let (mut leaves, mut stays) = (group.member("a", 1), group.member("b", 1));
    group.publish(&TEN, 1);
    let unacknowledged = payloads(&leaves.drain());
    let mut all = payloads(&stays.drain());
    leaves.vanish();
    for _ in &unacknowledged {
        all.push(stays.expect_publish().text().to_owned());
    }
    all.sort();
    assert_eq!(all, TEN);
    assert!(!unacknowledged.is_empty());
}

#[test]
fn mqtt_4_8_2_4_a_qos_2_delivery_begun_is_completed_with_its_member() {
    let group = Group::new();
    let (mut away, _) = group.stage.lasting(V5, "a");
    away.subscribe(&group.filter, 2);
    group.publish(&["x"], 2);
    let first = away.expect_message("x");
    let mut other = group.member("b", 2);
    away.vanish();
    let (mut back, present) = group.stage.lasting(V5, "a");
    assert!(present);
    assert_eq!(back.expect_message("x"), Published { dup: true, ..first });
    other.expect_nothing();
}

#[test]
fn mqtt_4_8_2_5_a_qos_2_delivery_begun_goes_to_nobody_else() {
    let group = Group::new();
    let (mut away, _) = group.stage.lasting(V5, "a");
    away.subscribe(&group.filter, 2);
    group.publish(&["x"], 2);
    away.expect_message("x");
    let mut other = group.member("b", 2);
    away.vanish();
    // A clean start ends the session.
    group.stage.client(V5, "a").leave();
    other.expect_nothing();
}

#[test]
fn mqtt_4_8_2_6_a_message_a_member_refuses_is_discarded() {
    let group = Group::new();
    for (qos, kind) in [(1, Kind::Puback), (2, Kind::Pubrec)] {
        let mut refusing = group.member("a", qos);
        group.publish(&["x"], qos);
        let id = refusing.expect_message("x").id.unwrap();
        let mut other = group.member("b", qos);
        refusing.send(&request::ack_with(kind, id, 0x80));
        refusing.expect_nothing();
        other.expect_nothing();
        refusing.leave();
        other.expect_nothing();
        other.leave();
    }
}

#[test]
fn mqtt_4_8_2_a_lasting_member_alone_collects_while_away() {
    let group = Group::new();
    let (mut away, _) = group.stage.lasting(V5, "a");
    away.subscribe(&group.filter, 1);
    away.leave();
    group.publish(&TEN, 1);
    let (mut back, _) = group.stage.lasting(V5, "a");
    for payload in TEN {
        assert_eq!(back.take().text(), payload);
    }
}

/// 3.1.1 does not know them; Countersign gives them to its clients all the same.
#[test]
fn mqtt311_3_8_3_shared_subscriptions_work_in_3_1_1_too() {
    let group = Group::new();
    let mut members = ["a", "b"].map(|name| {
        let mut member = group.stage.client(V311, name);
        member.subscribe(&group.filter, 0);
        member
    });
    group.publish(&TEN, 0);
    let count: usize = members.iter_mut().map(|member| member.drain().len()).sum();
    assert_eq!(count, 10);
}
