//! The way from what stands in a file to a [`Scenario`].

use super::table::{Mistake, Report, Table};
use super::{Backoff, Cycle, Event, Group, Invariants, Pace, Scenario, What, When};
use crate::verdict::Invariant;
use crate::wire::PAYLOAD_MIN;
use protocol::packet::QoS;
use std::ops::RangeInclusive;
use std::time::Duration;

const QOS: &[(&str, QoS)] = &[
    ("at-most-once", QoS::AtMostOnce),
    ("at-least-once", QoS::AtLeastOnce),
    ("exactly-once", QoS::ExactlyOnce),
];

/// Any time that is one.
const SOME: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_hours(24);
/// A time that may be none.
const ANY: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_hours(24);

pub(super) fn scenario(file: &str, text: &str) -> Result<Scenario, Vec<Mistake>> {
    let mut report = Report::new(file, text);
    let root = report.root();
    let scenario = root.and_then(|root| whole(root, &mut report));
    report.finish(scenario)
}

fn whole(mut root: Table<'_>, report: &mut Report<'_>) -> Option<Scenario> {
    let name = root.text(report, "name");
    let name = root.needed(report, ("name", name));
    let about = root.text(report, "about");
    let length = root.duration(report, ("length", SOME));
    let length = root.needed(report, ("length", length));
    let until = ANY.start().to_owned()..=length.unwrap_or(*ANY.end());
    let ramp = root.duration(report, ("ramp", until.clone()));
    let settle = root.duration(report, ("settle", SOME));
    let reconnect = backoff(&mut root, report);
    let groups = groups(&mut root, report);
    let events = root.tables(report, "event");
    let events: Vec<_> = events
        .into_iter()
        .map(|table| event(table, &until, report))
        .collect();
    refuse_second_rotation(&root, &events, report);
    let invariants = invariants(&mut root, report);
    root.end(report);
    Some(Scenario {
        name: name?,
        about: about.unwrap_or_default(),
        length: length?,
        ramp: ramp.unwrap_or(Duration::from_secs(2)).min(length?),
        settle: settle.unwrap_or(Duration::from_secs(10)),
        reconnect,
        groups: groups?,
        events: events.into_iter().collect::<Option<_>>()?,
        invariants,
    })
}

/// The stages of one would meet those of the other.
fn refuse_second_rotation(root: &Table<'_>, events: &[Option<Event>], report: &mut Report<'_>) {
    let rotations = events.iter().flatten();
    let rotations = rotations.filter(|event| event.what == What::CaRotation);
    if rotations.count() > 1 {
        let what = "there are several ca-rotation; a scenario has one";
        root.note(report, "event", what);
    }
}

fn backoff(root: &mut Table<'_>, report: &mut Report<'_>) -> Backoff {
    let (mut base, mut cap) = (None, None);
    if let Some(mut table) = root.table(report, "reconnect") {
        base = table.duration(report, ("base", SOME));
        cap = table.duration(report, ("cap", SOME));
        table.end(report);
    }
    Backoff {
        base: base.unwrap_or(Duration::from_secs(1)),
        cap: cap.unwrap_or(Duration::from_secs(5)),
    }
}

fn groups(root: &mut Table<'_>, report: &mut Report<'_>) -> Option<Vec<Group>> {
    let tables = root.tables(report, "group");
    if tables.is_empty() {
        let what = "there is none; write a [[group]] with a name and `share = 100`";
        root.note(report, "group", what);
    }
    let groups: Vec<_> = tables
        .into_iter()
        .map(|table| group(table, report))
        .collect();
    let groups: Vec<_> = groups.into_iter().collect::<Option<_>>()?;
    let shares: u32 = groups.iter().map(|group| group.share).sum();
    if !groups.is_empty() && shares != 100 {
        let what = format!("the shares of all groups make {shares}; they must make 100");
        root.note(report, "group", what);
    }
    Some(groups)
}

fn group(mut table: Table<'_>, report: &mut Report<'_>) -> Option<Group> {
    let name = table.text(report, "name");
    let name = table.needed(report, ("name", name));
    let share = table.number(report, ("share", 1..=100));
    let share = table.needed(report, ("share", share));
    let least = u32::try_from(PAYLOAD_MIN).unwrap_or(u32::MAX);
    let payload = table.number(report, ("payload", least..=64 * 1024));
    let qos = table.choice(report, ("qos", QOS));
    let group = Group {
        qos: qos.unwrap_or(QoS::AtLeastOnce),
        payload: usize::try_from(payload.unwrap_or(64)).unwrap_or(PAYLOAD_MIN),
        telemetry: pace(&mut table, "telemetry", report),
        commands: pace(&mut table, "commands", report),
        sleep: cycle(&mut table, report),
        roam: pace(&mut table, "roam", report),
        name: name.unwrap_or_default(),
        share: share.unwrap_or_default(),
    };
    table.end(report);
    share.map(|_| group)
}

fn pace(around: &mut Table<'_>, key: &'static str, report: &mut Report<'_>) -> Option<Pace> {
    let mut table = around.table(report, key)?;
    let every = table.duration(report, ("every", SOME));
    let every = table.needed(report, ("every", every));
    let jitter = table.number(report, ("jitter", 0..=100));
    table.end(report);
    Some(Pace {
        every: every?,
        jitter: jitter.unwrap_or(20),
    })
}

fn cycle(around: &mut Table<'_>, report: &mut Report<'_>) -> Option<Cycle> {
    let mut table = around.table(report, "sleep")?;
    let mut time = |key| {
        let time = table.duration(report, (key, SOME));
        table.needed(report, (key, time))
    };
    let (awake, asleep) = (time("awake"), time("asleep"));
    table.end(report);
    Some(Cycle {
        awake: awake?,
        asleep: asleep?,
    })
}

fn event(
    mut table: Table<'_>,
    until: &RangeInclusive<Duration>,
    report: &mut Report<'_>,
) -> Option<Event> {
    let what = table.choice(report, ("what", What::ALL));
    let what = table.needed(report, ("what", what));
    let share = table.number(report, ("share", 1..=100));
    let at = table.duration(report, ("at", until.clone()));
    let spread = table.duration(report, ("spread", until.clone()));
    let every = table.duration(report, ("every", SOME));
    let when = match (at, every) {
        (Some(at), None) => Some(When::At {
            at,
            spread: spread.unwrap_or_default(),
        }),
        (None, Some(every)) => Some(When::Every(every)),
        (Some(_), Some(_)) => {
            let what = "an event has a time (`at`, and `spread`) or a rate (`every`), not both";
            table.note(report, "every", what);
            None
        }
        (None, None) => table.needed(report, ("at", None)),
    };
    if spread.is_some() && every.is_some() {
        table.note(report, "spread", "goes with `at`; leave it out");
    }
    if (every.is_some() || spread.is_some()) && what == Some(What::CaRotation) {
        table.note(report, "what", "a rotation happens once; write `at`");
    }
    if share.is_some() && what.is_some_and(What::befalls_broker) {
        table.note(report, "share", "there is one broker; leave it out");
    }
    let lasting = table.duration(report, ("lasting", SOME));
    if lasting.is_some() && what.is_some_and(|what| !what.lasts()) {
        table.note(
            report,
            "lasting",
            "this event is over at once; leave it out",
        );
    }
    table.end(report);
    Some(Event {
        what: what?,
        when: when?,
        share: share.unwrap_or(100),
        lasting: lasting.unwrap_or(Duration::from_secs(1)),
    })
}

fn invariants(root: &mut Table<'_>, report: &mut Report<'_>) -> Invariants {
    let mut invariants = Invariants::default();
    if let Some(mut table) = root.table(report, "invariants") {
        let names = Invariant::ALL.map(Invariant::name);
        if let Some(max) = table.duration(report, ("revocation_max", SOME)) {
            invariants.revocation_max = max;
        }
        let left_out = table.names(report, ("left_out", &names));
        invariants.left_out = left_out.into_iter().collect();
        table.end(report);
    }
    invariants
}
