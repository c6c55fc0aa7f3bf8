//! A broker's answers in words and tables for people, and as JSON for scripts.

use super::table::{plain, table};
use crate::failure::{FAILED, Failure};
use certs::TimeText;
use certs::admin::{
    Answer, Cut, Decision, Explanation, ListState, Outcome, Receipt, RefusalRow, Reloaded,
    SessionPage, Status, Target, UnknownPage,
};
use rustls_pki_types::UnixTime;
use std::fmt::Write as _;
use std::time::Duration;

/// The answer as the broker gave it, without what names its sort.
pub(super) fn json(answer: &Answer) -> Result<String, Failure> {
    let text = match answer {
        Answer::Status(status) => serde_json::to_string(status),
        Answer::Reloaded(reloaded) => serde_json::to_string(reloaded),
        Answer::Revoked(receipt) => serde_json::to_string(receipt),
        Answer::Sessions(page) => serde_json::to_string(page),
        Answer::Explained(explanation) => serde_json::to_string(explanation),
        Answer::WouldCut(cut) => serde_json::to_string(cut),
        Answer::Why(refusals) => serde_json::to_string(refusals),
        Answer::Unknown(page) => serde_json::to_string(page),
        other => serde_json::to_string(other),
    };
    text.map_err(|error| Failure::from_error(FAILED, &error))
}

/// The answer for people.
pub(super) fn words(answer: &Answer) -> String {
    match answer {
        Answer::Status(it) => status(it),
        Answer::Reloaded(it) => reloaded(it),
        Answer::Revoked(it) => format!("{}\n", receipt(it)),
        Answer::Sessions(it) => sessions(it),
        Answer::Explained(it) => explanation(it),
        Answer::WouldCut(it) => losses(it),
        Answer::Why(it) => refusals(it),
        Answer::Unknown(it) => unknown(it),
        other => format!("{other:?}\n"),
    }
}

/// What must end the command with another exit code than 0.
pub(super) fn failure(answer: &Answer) -> Option<Failure> {
    match answer {
        Answer::Reloaded(Reloaded { parts, .. }) => parts
            .iter()
            .any(|part| part.outcome == Outcome::Kept)
            .then(|| {
                Failure::new(
                    FAILED,
                    "some of it was not good, and what was there is kept",
                )
            }),
        _ => None,
    }
}

/// `dev-1: revoked at …, 1 session closed in 31 ms`.
pub(crate) fn receipt(receipt: &Receipt) -> String {
    let whom = match &receipt.target {
        Some(Target::Device(subject)) => subject.to_string(),
        Some(Target::Certificate { issuer, serial }) => format!("{serial} of issuer {issuer}"),
        None => "the revocation list".to_owned(),
    };
    let list = receipt
        .list_number
        .map_or_else(String::new, |n| format!(" by list number {n}"));
    let already = if receipt.already {
        ", as it was before"
    } else {
        ""
    };
    let durable = if receipt.durable {
        ""
    } else {
        "; NOT durable: a restart forgets it"
    };
    let sessions = plural(receipt.sessions_closed, "session");
    format!(
        "{whom}: revoked at {} ({}){list}{already}; {sessions} closed in {} ms{durable}",
        date(receipt.time),
        receipt.reason,
        receipt.milliseconds,
    )
}

fn status(status: &Status) -> String {
    let mut text = format!(
        "version {}, running since {}: {} with {}, {} of its own, policy generation {}\n",
        plain(&status.version),
        date(status.started),
        plural(status.sessions, "session"),
        plural(status.connections, "connection"),
        plural(status.own_revocations, "revocation"),
        status.policy_generation,
    );
    let listeners = status.listeners.iter().map(|it| {
        let generation = it.tls_generation.to_string();
        [
            it.name.clone(),
            it.address.to_string(),
            generation,
            date(it.not_after),
        ]
    });
    text += "\n";
    text += &table(
        ["LISTENER", "ADDRESS", "TLS", "CERTIFICATE UNTIL"],
        listeners.collect(),
    );
    let lists = status.revocation_lists.iter().map(|it| {
        let state = match it.state {
            ListState::Fresh => "fresh",
            ListState::NotYet => "from the future",
            ListState::Stale => "stale",
            ListState::Refusing => "stale: refusing",
        };
        let (number, entries) = (it.number.to_string(), it.entries.to_string());
        [
            it.id.to_string(),
            number,
            entries,
            date(it.next_update),
            state.to_owned(),
        ]
    });
    if !status.revocation_lists.is_empty() {
        text += "\n";
        let header = [
            "REVOCATION LIST",
            "NUMBER",
            "ENTRIES",
            "NEXT UPDATE",
            "STATE",
        ];
        text += &table(header, lists.collect());
    }
    if let Some(registry) = &status.registry {
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "\nregistry export {}: {}, next update {}",
            registry.number,
            plural(registry.devices, "device"),
            date(registry.next_update),
        );
    }
    for warning in &status.warnings {
        let _ = writeln!(text, "\nwarning: {}", plain(warning));
    }
    text
}

fn reloaded(reloaded: &Reloaded) -> String {
    let rows = reloaded.parts.iter().map(|it| {
        let outcome = match it.outcome {
            Outcome::Changed => "changed",
            Outcome::Same => "same",
            Outcome::Kept => "not good, kept",
        };
        [it.part.clone(), outcome.to_owned()]
    });
    let mut text = table(["PART", "OUTCOME"], rows.collect());
    for problem in reloaded.parts.iter().flat_map(|part| &part.problems) {
        let _ = writeln!(text, "{}", plain(problem));
    }
    let sessions = plural(reloaded.sessions_closed, "session");
    let _ = writeln!(text, "{sessions} closed in {} ms", reloaded.milliseconds);
    text
}

fn sessions(page: &SessionPage) -> String {
    let rows = page.sessions.iter().map(|it| {
        let address = it
            .address
            .map_or_else(|| "offline".to_owned(), |at| at.to_string());
        let until = it.not_after.map_or_else(String::new, date);
        let (subscriptions, queued) = (it.subscriptions.to_string(), it.queued.to_string());
        let (device, client) = (it.device.to_string(), it.client.clone());
        [
            device,
            client,
            address,
            date(it.since),
            it.mqtt.clone(),
            subscriptions,
            queued,
            until,
        ]
    });
    let header = [
        "DEVICE",
        "CLIENT",
        "ADDRESS",
        "SINCE",
        "MQTT",
        "SUBSCRIBED",
        "QUEUED",
        "CERT. UNTIL",
    ];
    table(header, rows.collect()) + &format!("{}\n", plural(page.total, "session"))
}

fn explanation(explanation: &Explanation) -> String {
    let decision = match explanation.decision {
        Decision::Allow => "allowed",
        Decision::Deny => "denied",
    };
    let mut text = format!("{decision}: {}\n", plain(&explanation.words));
    for (what, rule) in [
        ("rule", &explanation.rule),
        ("nearest", &explanation.nearest),
    ] {
        if let Some(rule) = rule {
            let place = rule.place.as_deref().unwrap_or("built in");
            let _ = writeln!(text, "{what}: {} ({})", plain(&rule.name), plain(place));
        }
    }
    text
}

/// Whose sessions a policy would cut, and how many.
pub(crate) fn losses(cut: &Cut) -> String {
    let rows = cut.losses.iter().map(|it| {
        let what = match (it.ends, it.closes) {
            (true, _) => "ends",
            (false, true) => "closed",
            (false, false) => "stays",
        };
        let (device, client) = (it.device.to_string(), it.client.clone());
        let named = it.filters.join(" ");
        [
            device,
            client,
            what.to_owned(),
            it.subscriptions.to_string(),
            named,
        ]
    });
    let header = ["DEVICE", "CLIENT", "SESSION", "UNSUBSCRIBED", "FROM"];
    let mut text = table(header, rows.collect());
    if cut.more > 0 {
        let _ = writeln!(text, "and {} more", cut.more);
    }
    let _ = writeln!(
        text,
        "would be cut: {}, {}, {}",
        plural(cut.sessions, "session"),
        plural(cut.connections, "connection"),
        plural(cut.subscriptions, "subscription"),
    );
    text
}

fn refusals(refusals: &[RefusalRow]) -> String {
    if refusals.is_empty() {
        return "nobody of that name was refused of late\n".to_owned();
    }
    let rows = refusals.iter().map(|it| {
        let device = it.device.clone().unwrap_or_default();
        let serial = it
            .serial
            .map_or_else(String::new, |serial| serial.to_string());
        [
            date(it.time),
            it.address.to_string(),
            device,
            serial,
            it.words.clone(),
        ]
    });
    table(
        ["TIME", "ADDRESS", "DEVICE", "SERIAL", "WHY"],
        rows.collect(),
    )
}

fn unknown(page: &UnknownPage) -> String {
    let rows = page.devices.iter().map(|it| {
        let device = it.device.to_string();
        let times = it.count.to_string();
        [
            device,
            it.address.to_string(),
            date(it.first),
            date(it.last),
            times,
            it.sha256.clone(),
        ]
    });
    let header = ["DEVICE", "ADDRESS", "FIRST", "LAST", "TIMES", "SHA-256"];
    table(header, rows.collect()) + &format!("{}\n", plural(page.total, "unknown device"))
}

fn date(seconds: u64) -> String {
    TimeText(UnixTime::since_unix_epoch(Duration::from_secs(seconds))).to_string()
}

fn plural(count: u64, what: &str) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{count} {what}{s}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operate::broker_admin::tests::revoked;
    use certs::admin::ReloadedPart;

    #[test]
    fn a_receipt_says_what_came_of_it() {
        let dev_1 = "dev-1: revoked at 2026-11-22T07:14:18Z (key-compromise)";
        for (said, words) in [
            (revoked(), "; 1 session closed in 31 ms"),
            (
                Receipt {
                    already: true,
                    sessions_closed: 0,
                    ..revoked()
                },
                ", as it was before; 0 sessions closed in 31 ms",
            ),
            (
                Receipt {
                    durable: false,
                    ..revoked()
                },
                "; 1 session closed in 31 ms; NOT durable: a restart forgets it",
            ),
        ] {
            assert_eq!(receipt(&said), format!("{dev_1}{words}"));
        }
        let of_list = Receipt {
            target: None,
            list_number: Some(8.into()),
            ..revoked()
        };
        assert!(receipt(&of_list).contains("by list number 8"));
    }

    #[test]
    fn a_reload_that_kept_something_old_fails_and_says_what() {
        let reload = |outcome, problems: Vec<String>| {
            let part = ReloadedPart {
                part: "policy".to_owned(),
                outcome,
                problems,
            };
            Answer::Reloaded(Reloaded {
                parts: vec![part],
                sessions_closed: 2,
                milliseconds: 4,
            })
        };
        let good = reload(Outcome::Changed, vec![]);
        assert!(failure(&good).is_none());
        assert!(words(&good).ends_with("2 sessions closed in 4 ms\n"));
        let bad = reload(Outcome::Kept, vec!["policy.toml: line 3".to_owned()]);
        assert!(failure(&bad).is_some());
        assert!(words(&bad).contains("not good, kept\npolicy.toml: line 3\n"));
    }
}
