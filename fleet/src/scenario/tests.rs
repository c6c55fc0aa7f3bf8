//! What may stand in a scenario, and what comes of it.

use super::*;
use crate::verdict::Invariant;
use provisioning::RotationStage;

fn parse(text: &str) -> Result<Scenario, Vec<String>> {
    Scenario::parse(Path::new("s.toml"), text)
        .map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect())
}

fn chaos() -> Scenario {
    parse(ready()[0].toml).unwrap()
}

#[test]
fn every_ready_scenario_reads_has_its_name_and_ends_within_40_s() {
    for Ready { name, toml } in ready() {
        let scenario = parse(toml).unwrap();
        assert_eq!(scenario.name, *name);
        let longest = scenario.length + scenario.settle;
        assert!(longest <= Duration::from_secs(40), "{name}: {longest:?}");
        assert!(!scenario.about.is_empty(), "{name}");
    }
}

#[test]
fn all_mistakes_are_named_at_once_with_line_key_and_what_would_be_right() {
    let text = "\
length = '5 s'
rampe = '1s'
[[group]]
name = 'sensors'
share = 40
qos = 1
telemetry = { every = '0s', jitter = 101 }
[[group]]
name = 'others'
share = 40
[[event]]
what = 'flop'
at = '1s'
[[event]]
what = 'flap'
lasting = '1s'
[invariants]
left_out = ['everything']
";
    let mistakes = parse(text).unwrap_err();
    let expected = [
        "s.toml:1: group: the shares of all groups make 80; they must make 100",
        "s.toml:1: length: must be a time from 1ms to 86400s, such as \"500ms\", \"5s\", \"2m\"",
        "s.toml:1: name: is missing",
        "s.toml:2: rampe: there is no such key; there are name, about, length, ramp",
        "s.toml:6: group[0].qos: must be one of at-most-once, at-least-once, exactly-once",
        "s.toml:7: group[0].telemetry.every: must be a time from 1ms to 86400s",
        "s.toml:7: group[0].telemetry.jitter: must be a whole number from 0 to 100",
        "s.toml:12: event[0].what: must be one of flap, half-open,",
        "s.toml:14: event[1].at: is missing",
        "s.toml:14: event[1].lasting: this event is over at once; leave it out",
        "s.toml:18: invariants.left_out: must be a list of any of acknowledged-arrives,",
    ];
    for expected in expected {
        assert!(
            mistakes.iter().any(|mistake| mistake.starts_with(expected)),
            "{expected:?} is not in {mistakes:#?}"
        );
    }
    assert_eq!(mistakes.len(), expected.len(), "{mistakes:#?}");
}

#[test]
fn what_is_not_toml_is_said_to_be_so() {
    let mistakes = parse("name = 'a'\nlength = = 5\n").unwrap_err();
    assert!(
        mistakes[0].starts_with("s.toml:2: not TOML"),
        "{mistakes:?}"
    );
    let mistakes = parse("name = 'a'\nlength = '1s'\n").unwrap_err();
    assert!(mistakes[0].contains("[[group]]"), "{mistakes:?}");
}

#[test]
fn an_event_has_a_time_or_a_rate() {
    let group = "name = 'a'\nlength = '9s'\n[[group]]\nname = 'g'\nshare = 100\n[[event]]\n";
    for (event, wrong) in [
        ("what = 'flap'\nat = '1s'\nspread = '2s'", None),
        ("what = 'flap'\nevery = '1s'", None),
        ("what = 'flap'\nevery = '1s'\nat = '1s'", Some("not both")),
        (
            "what = 'flap'\nevery = '1s'\nspread = '1s'",
            Some("goes with `at`"),
        ),
        ("what = 'flap'\nat = '10s'", Some("from 0ns to 9s")),
        (
            "what = 'kill-broker'\nat = '1s'\nshare = 5",
            Some("one broker"),
        ),
        ("what = 'ca-rotation'\nat = '1s'\nlasting = '4s'", None),
        ("what = 'ca-rotation'\nevery = '1s'", Some("happens once")),
        (
            "what = 'ca-rotation'\nat = '1s'\n[[event]]\nwhat = 'ca-rotation'\nat = '5s'",
            Some("has one"),
        ),
    ] {
        let read = parse(&format!("{group}{event}"));
        match wrong {
            None => assert!(read.is_ok(), "{event}: {read:?}"),
            Some(wrong) => assert!(read.unwrap_err()[0].contains(wrong), "{event}"),
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_schedule_and_another_seed_another() {
    let scenario = chaos();
    let schedule = |seed| Schedule::new(&scenario, 200, seed);
    assert_eq!(schedule(7), schedule(7));
    assert_ne!(schedule(7), schedule(8));
}

#[test]
fn shares_are_exact_and_nobody_acts_before_he_has_come() {
    let scenario = chaos();
    let schedule = Schedule::new(&scenario, 200, 1);
    let count = |group| {
        let of_group = |script: &&Script| script.group == group;
        schedule.devices.iter().filter(of_group).count()
    };
    assert_eq!([count(0), count(1), count(2)], [120, 60, 20]);
    let undergo = |what: What| {
        let is_it = |step: &Step| matches!(step.action, Action::Undergo(it, _) if it == what);
        let undergoes = |script: &&Script| script.steps.iter().any(is_it);
        schedule.devices.iter().filter(undergoes).count()
    };
    assert_eq!(undergo(What::Revoked), 4);
    assert_eq!(undergo(What::Renew), 40);
    for script in &schedule.devices {
        assert_eq!(script.steps[0].action, Action::Come);
        assert!(script.steps.is_sorted_by_key(|step| step.at));
        assert!(script.steps[0].at <= scenario.ramp);
    }
    let kill = BrokerStep {
        at: Duration::from_secs(14),
        change: Change::Ends(Outage::Kill, Duration::from_millis(500)),
    };
    assert_eq!(schedule.broker, [kill]);
}

#[test]
fn telemetry_keeps_its_pace_within_its_jitter() {
    let schedule = Schedule::new(&chaos(), 50, 3);
    let sensors = schedule.devices.iter().filter(|script| script.group == 0);
    for script in sensors {
        let said = script
            .steps
            .iter()
            .filter(|step| step.action == Action::Publish);
        let times: Vec<_> = said.map(|step| step.at).collect();
        assert!((9..=13).contains(&times.len()), "{}", times.len());
        for pair in times.windows(2) {
            let apart = pair[1].saturating_sub(pair[0]).as_secs_f64();
            assert!((0.99..=3.01).contains(&apart), "{apart} s");
        }
    }
}

#[test]
fn authorities_rotate_in_their_order_and_every_device_follows_between_switch_and_retirement() {
    let text = "name = 'a'\nlength = '20s'\n[[group]]\nname = 'g'\nshare = 100\n\
                [[event]]\nwhat = 'ca-rotation'\nat = '3s'\nlasting = '12s'\n";
    let schedule = Schedule::new(&parse(text).unwrap(), 100, 1);
    let stages = schedule.broker.iter().map(|step| (step.change, step.at));
    let expected = RotationStage::ALL.map(Change::Rotates);
    let times = [3, 7, 11, 15].map(Duration::from_secs);
    assert!(stages.eq(expected.into_iter().zip(times)));
    for script in &schedule.devices {
        let follows = |step: &&Step| matches!(step.action, Action::Undergo(What::CaRotation, _));
        let moments: Vec<_> = script.steps.iter().filter(follows).collect();
        assert_eq!(moments.len(), 1);
        assert!((times[2]..times[3]).contains(&moments[0].at), "{moments:?}");
    }
}

#[test]
fn one_device_is_enough_for_every_event() {
    let schedule = Schedule::new(&chaos(), 1, 1);
    assert_eq!(schedule.devices.len(), 1);
    assert!(Schedule::new(&chaos(), 0, 1).devices.is_empty());
}

#[test]
fn a_shorter_scenario_moves_its_moments() {
    let short = chaos().lasting(Duration::from_millis(2500));
    assert_eq!(short.ramp, Duration::from_millis(400));
    let kill = short
        .events
        .iter()
        .find(|event| event.what == What::KillBroker);
    assert_eq!(
        kill.map(|kill| (kill.when, kill.lasting)),
        Some((
            When::At {
                at: Duration::from_millis(1400),
                spread: Duration::ZERO
            },
            Duration::from_millis(50)
        ))
    );
}

#[test]
fn every_invariant_has_a_name_of_its_own() {
    let names: BTreeSet<_> = Invariant::ALL.map(Invariant::name).into_iter().collect();
    assert_eq!(names.len(), Invariant::ALL.len());
}
