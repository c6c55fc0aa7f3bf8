//! Asking for a permit where a policy has many rules.

use crate::world::device;
use countersign_broker::engine::policy::{Policy, Rights};
use divan::{Bencher, black_box};
use protocol::Text;
use protocol::topic::TopicName;
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
    policy.rights(device().subject(), &client_id).unwrap()
}

fn permit(bencher: Bencher<'_, '_>, rights: &Rights, topic: &str) {
    let topic = TopicName::parse(topic).unwrap();
    bencher.bench_local(|| black_box(rights).permit_publish(black_box(&topic)));
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

/// Once for each connection.
#[divan::bench(args = RULES)]
fn rights_of_a_device_by_rules(bencher: Bencher<'_, '_>, rules: usize) {
    let policy = policy(rules);
    bencher.bench_local(|| rights(black_box(&policy)));
}
