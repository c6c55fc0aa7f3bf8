//! Asking for a permit where a policy has many rules.

use crate::world::device;
use countersign_broker::engine::policy::{Credentials, Policy, Principal, Publication, Rights};
use divan::{Bencher, black_box};
use protocol::Text;
use protocol::topic::{TopicFilter, TopicName};
use std::fmt::Write;

const RULES: [usize; 3] = [1, 100, 1_000];

/// A policy with so many rules, all of them for every device.
fn policy(rules: usize) -> Policy {
    let mut text = String::new();
    for number in 0..rules {
        let below = format!("area-{number}/{{device}}");
        write!(
            text,
            "[[rule]]\nname = \"{number}\"\npublish = [\"{below}/state\", \"{below}/log/#\"]\n\
             subscribe = [\"{below}/#\"]\n"
        )
        .unwrap();
    }
    Policy::parse("policy.toml", &text).unwrap()
}

fn rights(policy: &Policy) -> Rights {
    let client_id = Text::parse("dev-1").unwrap();
    let device = device();
    let principal = Principal {
        subject: device.subject(),
        credentials: Some(&Credentials::default()),
    };
    policy.rights(principal, &client_id).unwrap()
}

fn permit(bencher: Bencher<'_, '_>, rights: &Rights, topic: &str) {
    let topic = TopicName::parse(topic).unwrap();
    bencher
        .bench_local(|| black_box(rights).permit_publish(black_box(&topic), &Publication::PLAIN));
}

#[divan::bench(args = RULES)]
fn permit_publish_by_the_last_of_rules(bencher: Bencher<'_, '_>, rules: usize) {
    let topic = format!("area-{}/dev-1/log/today", rules - 1);
    permit(bencher, &rights(&policy(rules)), &topic);
}

#[divan::bench(args = RULES)]
fn deny_publish_by_all_rules(bencher: Bencher<'_, '_>, rules: usize) {
    permit(bencher, &rights(&policy(rules)), "area-0/dev-2/state");
}

/// The permit of the last message serves the next.
#[divan::bench(args = RULES)]
fn permit_publish_again_by_rules(bencher: Bencher<'_, '_>, rules: usize) {
    let topic = TopicName::parse(&format!("area-{}/dev-1/log/today", rules - 1)).unwrap();
    let rights = rights(&policy(rules));
    let permit = rights.permit_publish(&topic, &Publication::PLAIN).unwrap();
    bencher.bench_local(|| black_box(&permit).again(black_box(topic.clone()), &Publication::PLAIN));
}

#[divan::bench(args = RULES)]
fn permit_subscribe_by_the_last_of_rules(bencher: Bencher<'_, '_>, rules: usize) {
    let filter = TopicFilter::parse(&format!("area-{}/dev-1/log/+", rules - 1)).unwrap();
    let rights = rights(&policy(rules));
    let now = Publication::PLAIN.at;
    bencher.bench_local(|| black_box(&rights).permit_subscribe(black_box(&filter), now));
}

/// Each is for another device, and all are about the same topics.
#[divan::bench(args = RULES)]
fn permit_publish_where_rules_are_for_one_device_each(bencher: Bencher<'_, '_>, rules: usize) {
    let rule = |number: usize| {
        format!(
            "[[rule]]\ndevices = \"dev-{number}\"\npublish = \"all/{{device}}/#\"\nqos_max = 1\n"
        )
    };
    let text: String = (0..=rules).map(rule).collect();
    let policy = Policy::parse("policy.toml", &text).unwrap();
    permit(bencher, &rights(&policy), "all/dev-1/log/today");
}

/// Every rule's filter matches, and a hundredth of them limits the hours.
#[divan::bench(args = RULES)]
fn permit_publish_where_all_rules_match(bencher: Bencher<'_, '_>, rules: usize) {
    let rule = |number: usize| {
        let when = if number.is_multiple_of(100) {
            "when = \"mon-fri\"\n"
        } else {
            ""
        };
        format!("[[rule]]\npublish = \"all/{{device}}/#\"\nqos_max = 1\n{when}")
    };
    let text: String = (0..rules).map(rule).collect();
    let policy = Policy::parse("policy.toml", &text).unwrap();
    permit(bencher, &rights(&policy), "all/dev-1/log/today");
}

/// No two say the same: each is decided on its own.
#[divan::bench(args = RULES)]
fn permit_publish_where_all_rules_match_and_differ(bencher: Bencher<'_, '_>, rules: usize) {
    let rule = |number: usize| {
        format!(
            "[[rule]]\npublish = \"all/#\"\npayload_bytes_max = {}\n",
            number + 1
        )
    };
    let text: String = (0..rules).map(rule).collect();
    let policy = Policy::parse("policy.toml", &text).unwrap();
    permit(bencher, &rights(&policy), "all/dev-1/log/today");
}

/// Once for each connection, where each rule is for another pattern of ids.
#[divan::bench(args = RULES)]
fn rights_of_a_device_by_patterns(bencher: Bencher<'_, '_>, rules: usize) {
    let rule = |number: usize| format!("[[rule]]\ndevices = \"x{number}-*\"\npublish = \"a\"\n");
    let text: String = (0..rules).map(rule).collect();
    let policy = Policy::parse("policy.toml", &text).unwrap();
    bencher.bench_local(|| rights(black_box(&policy)));
}

/// Once for each connection.
#[divan::bench(args = RULES)]
fn rights_of_a_device_by_rules(bencher: Bencher<'_, '_>, rules: usize) {
    let policy = policy(rules);
    bencher.bench_local(|| rights(black_box(&policy)));
}
