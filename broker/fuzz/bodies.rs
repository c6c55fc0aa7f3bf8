//! What must hold whatever stands in a policy and whoever asks it. The fuzz targets run these, and
//! so do the ordinary tests.

#![allow(dead_code, reason = "each target uses one of them")]

use certs::{DeviceId, Kind, Subject};
use countersign_broker::engine::Time;
use countersign_broker::engine::policy::explain::{Expectations, Question, difference, sample};
use countersign_broker::engine::policy::{Credentials, Policy, Principal, Publication, Rights};
use protocol::Text;
use protocol::packet::QoS;
use protocol::topic::{TopicFilter, TopicName};

/// A policy, and behind a line `---` a client id, a common name, topics and filters, one a line:
/// what is decided, what is explained, and what is kept for later do not contradict.
pub(crate) fn policy(octets: &[u8]) {
    let text = String::from_utf8_lossy(octets);
    let (written, asked) = text.split_once("\n---\n").unwrap_or((&text, ""));
    let policy = match Policy::parse("policy.toml", written) {
        Ok(policy) => policy,
        Err(mistakes) => {
            assert!(!mistakes.is_empty());
            for mistake in mistakes {
                assert!(!mistake.to_string().contains(char::is_control));
            }
            return;
        }
    };
    assert_eq!(difference(&policy, &policy, &sample(&policy, &policy)), []);
    let _ = Expectations::parse("tests.toml", written);
    let mut lines = asked.lines();
    let client_id = lines.next().and_then(|line| Text::parse(line).ok());
    let Some(client_id) = client_id else {
        return;
    };
    let credentials = Credentials {
        common_name: lines.next().map(Into::into),
        organizational_units: Some(lines.clone().take(1).map(Into::into).collect()),
        listener: lines.clone().next().map(Into::into),
        ..Credentials::default()
    };
    let subject = device();
    for credentials in [Some(&credentials), None] {
        let principal = Principal {
            subject: &subject,
            credentials,
        };
        let Ok(rights) = policy.rights(principal, &client_id) else {
            let decision = policy.explain(principal, &client_id, Question::Connect);
            assert!(!decision.is_allowed());
            continue;
        };
        for line in lines.clone() {
            for publication in publications() {
                check_publish(
                    (&policy, &rights),
                    principal,
                    &client_id,
                    (line, publication),
                );
            }
            check_subscribe((&policy, &rights), principal, &client_id, line);
        }
    }
}

fn check_publish(
    (policy, rights): (&Policy, &Rights),
    principal: Principal<'_>,
    client_id: &Text,
    (line, publication): (&str, Publication),
) {
    let Ok(topic) = TopicName::parse(line) else {
        return;
    };
    let permit = rights.permit_publish(&topic, &publication);
    let question = Question::Publish(&topic, publication);
    let decision = policy.explain(principal, client_id, question);
    assert_eq!(
        permit.is_some(),
        decision.is_allowed(),
        "{topic}: {decision}"
    );
    let Some(permit) = permit else {
        return;
    };
    assert!(!line.starts_with("$SYS/") && !line.starts_with("$share/"));
    assert!(permit.again(topic.clone(), &publication).is_ok());
    for other in publications() {
        if let Ok(again) = permit.again(topic.clone(), &other) {
            let anew = rights.permit_publish(&topic, &other);
            let anew = anew.expect("what is permitted again is permitted anew");
            assert_eq!(again.stamps(), anew.stamps());
        }
    }
}

fn check_subscribe(
    (policy, rights): (&Policy, &Rights),
    principal: Principal<'_>,
    client_id: &Text,
    line: &str,
) {
    let Ok(filter) = TopicFilter::parse(line) else {
        return;
    };
    let now = Time::default();
    let permit = rights.permit_subscribe(&filter, now);
    let question = Question::Subscribe(&filter, now);
    let decision = policy.explain(principal, client_id, question);
    assert_eq!(
        permit.is_some(),
        decision.is_allowed(),
        "{filter}: {decision}"
    );
    let Some(permit) = permit else {
        return;
    };
    assert!(rights.keep_subscription(&filter).is_some());
    if let (Ok(topic), None) = (TopicName::parse(line), filter.share_group()) {
        assert!(rights.may_receive(&topic, now));
        assert!(rights.may_wait(&topic, now));
    }
    assert!(permit.qos_max() >= QoS::AtMostOnce);
}

/// An allow, a deny and a wanted filter, then topics, one a line: a subscription is what the
/// filters themselves say of each other, and what it receives is what they match.
pub(crate) fn inclusion(octets: &[u8]) {
    let text = String::from_utf8_lossy(octets);
    let mut lines = text.lines();
    let mut filter = || TopicFilter::parse(lines.next()?).ok();
    let (Some(allow), Some(deny), Some(wanted)) = (filter(), filter(), filter()) else {
        return;
    };
    let quoted = |filter: &TopicFilter| format!("{:?}", filter.as_str());
    let written = format!(
        "built_in = false\n[[rule]]\nsubscribe = {}\ndeny_subscribe = {}\n",
        quoted(&allow),
        quoted(&deny)
    );
    let has_variables = |filter: &TopicFilter| filter.as_str().contains(['{', '}']);
    if has_variables(&allow) || has_variables(&deny) {
        return;
    }
    let Ok(policy) = Policy::parse("policy.toml", &written) else {
        return;
    };
    let (subject, now) = (device(), Time::default());
    let principal = Principal {
        subject: &subject,
        credentials: Some(&Credentials::default()),
    };
    let client_id = Text::parse("dev-1").expect("it is text");
    let rights = policy
        .rights(principal, &client_id)
        .expect("it is its own id");
    let permit = rights.permit_subscribe(&wanted, now);
    let expected = allow.includes(&wanted) && !deny.includes(&wanted);
    assert_eq!(permit.is_some(), expected);
    if let Some(permit) = permit {
        assert_eq!(permit.is_partial(), deny.overlaps(&wanted));
    }
    for topic in lines.filter_map(|line| TopicName::parse(line).ok()) {
        let expected = allow.matches(&topic) && !deny.matches(&topic);
        assert_eq!(rights.may_receive(&topic, now), expected, "{topic}");
    }
}

fn device() -> Subject {
    Subject {
        kind: Kind::Device,
        id: DeviceId::parse("dev-1").expect("it is an id"),
    }
}

/// Messages of all sorts, at several hours.
fn publications() -> impl Iterator<Item = Publication> {
    let levels = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
    let shapes = [(false, 0), (true, 10), (false, 100)];
    levels.into_iter().flat_map(move |qos| {
        shapes
            .into_iter()
            .map(move |(retain, payload_len)| Publication {
                qos,
                retain,
                payload_len,
                at: Time::from_millis(payload_len as u64 * 3_600_000),
            })
    })
}
