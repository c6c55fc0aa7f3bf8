//! Whole loads against the floor, and against a broker that does wrong.

mod faulty;
mod stage;

use super::plan::{
    Batching, Durable, Farewell, Half, Handshakes, Idle, Pace, Plan, Resumption, Scenario, Shape,
    Span, SystemCalls, Target, Traffic, Until,
};
use super::{Fault, Figure, KeyExchange, LoadError, Observer, PAYLOAD_MIN, Report, run};
use faulty::Wrong;
use protocol::packet::{QoS, Version};
use stage::Stage;
use std::time::Duration;

const ALL_QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

fn traffic(shape: Shape, qos: QoS) -> Scenario {
    Scenario::Traffic(Traffic {
        shape,
        qos,
        payload: PAYLOAD_MIN,
        publishers: 3,
        subscribers: 2,
        window: None,
        pace: Pace::Window,
        batching: Batching::Together,
        stalled: 0,
        retained: 0,
    })
}

fn plan(stage: &Stage, scenario: Scenario) -> Plan {
    Plan {
        target: Target {
            address: stage.address.to_string(),
            identities: stage.identities(),
            pid: Some(std::process::id()),
            version: Version::V5,
            key_exchange: KeyExchange::X25519,
            system_calls: SystemCalls::Ignore,
        },
        scenario,
        span: Span {
            warmup: Duration::ZERO,
            until: Until::Count(3000),
        },
        runs: 1,
        threads: 1,
    }
}

#[track_caller]
fn load(plan: &Plan) -> Report {
    run(plan, &Observer::new(&|_| ())).unwrap()
}

#[track_caller]
fn check_units(report: &Report, units: f64) {
    assert_eq!(report.median.value(Figure::Units), Some(units), "{report}");
}

#[test]
fn every_message_reaches_every_subscriber_at_every_qos_in_both_versions() {
    let stage = Stage::floor();
    for version in [Version::V311, Version::V5] {
        for qos in ALL_QOS {
            for (shape, deliveries) in [
                (Shape::FanIn, 6000.0),
                (Shape::FanOut, 6000.0),
                (Shape::Pairs, 3000.0),
            ] {
                let mut plan = plan(&stage, traffic(shape, qos));
                plan.target.version = version;
                check_units(&load(&plan), deliveries);
            }
        }
    }
}

#[test]
fn messages_larger_than_a_read_and_windows_of_one_are_carried() {
    let stage = Stage::floor();
    for qos in ALL_QOS {
        for (payload, window) in [(300_000, Some(7)), (100, Some(1)), (20_000, None)] {
            let Scenario::Traffic(small) = traffic(Shape::FanIn, qos) else {
                unreachable!()
            };
            let mut plan = plan(
                &stage,
                Scenario::Traffic(Traffic {
                    payload,
                    window,
                    ..small
                }),
            );
            plan.span.until = Until::Count(60);
            check_units(&load(&plan), 120.0);
        }
    }
}

fn durable(half: Half) -> Scenario {
    Scenario::Durable(Durable {
        qos: QoS::AtLeastOnce,
        payload: PAYLOAD_MIN,
        publishers: 3,
        window: 5,
        half,
    })
}

#[test]
fn what_is_stored_is_acknowledged_and_what_was_not_kept_is_lost() {
    let stage = Stage::floor();
    check_units(&load(&plan(&stage, durable(Half::Store))), 3000.0);
    // The floor acknowledges and keeps nothing.
    for half in [Half::Both, Half::Drain] {
        let error = run(&plan(&stage, durable(half)), &Observer::new(&|_| ())).unwrap_err();
        let all_lost = Fault {
            expected: 3000,
            lost: 3000,
            ..Fault::default()
        };
        assert!(
            matches!(error, LoadError::Fault(fault) if fault == all_lost),
            "{error}"
        );
    }
}

#[test]
fn one_by_one_each_message_has_a_record_of_its_own() {
    let stage = Stage::floor();
    let Scenario::Traffic(together) = traffic(Shape::FanIn, QoS::AtMostOnce) else {
        unreachable!()
    };
    let one_by_one = Traffic {
        batching: Batching::OneByOne,
        ..together
    };
    let bytes = |traffic| {
        let report = load(&plan(&stage, Scenario::Traffic(traffic)));
        report.median.value(Figure::BytesToBroker).unwrap() * 2.0
    };
    // A record of TLS 1.3 adds 22 bytes.
    let more = bytes(one_by_one) - bytes(together);
    assert!(more > 20.0, "{more} bytes");
}

#[test]
fn at_a_fixed_rate_messages_are_spread_over_the_time() {
    let stage = Stage::floor();
    let Scenario::Traffic(fast) = traffic(Shape::FanIn, QoS::AtLeastOnce) else {
        unreachable!()
    };
    let mut plan = plan(
        &stage,
        Scenario::Traffic(Traffic {
            pace: Pace::PerSecond(3000),
            ..fast
        }),
    );
    plan.span.until = Until::Count(600);
    let report = load(&plan);
    check_units(&report, 1200.0);
    assert!(
        report.median.value(Figure::Seconds).unwrap() > 0.19,
        "{report}"
    );
    assert!(report.median.value(Figure::P50Us).is_some(), "{report}");
}

#[test]
fn a_time_ends_a_load_too_and_runs_have_medians() {
    let stage = Stage::floor();
    let mut plan = plan(&stage, traffic(Shape::FanIn, QoS::AtLeastOnce));
    let time = Duration::from_millis(100);
    plan.span = Span {
        warmup: time,
        until: Until::Elapsed(time),
    };
    plan.runs = 3;
    let report = load(&plan);
    assert_eq!(report.runs.len(), 3);
    for figure in [
        Figure::PerSecond,
        Figure::BrokerCpuUs,
        Figure::P99Us,
        Figure::BytesFromBroker,
    ] {
        assert!(
            report.median.value(figure).is_some_and(|value| value > 0.0),
            "{report}"
        );
    }
}

#[test]
fn who_stalls_keeps_nothing_from_the_others() {
    let stage = Stage::floor();
    for qos in ALL_QOS {
        let Scenario::Traffic(moving) = traffic(Shape::FanOut, qos) else {
            unreachable!()
        };
        let stalled = Scenario::Traffic(Traffic {
            stalled: 3,
            ..moving
        });
        let report = load(&plan(&stage, stalled));
        check_units(&report, 6000.0);
        assert_eq!(report.settings["stalled"], "3");
    }
}

#[test]
fn retained_messages_are_asked_for_all_the_time() {
    let stage = Stage::floor();
    let Scenario::Traffic(fast) = traffic(Shape::FanIn, QoS::AtLeastOnce) else {
        unreachable!()
    };
    let mut plan = plan(
        &stage,
        Scenario::Traffic(Traffic {
            pace: Pace::PerSecond(3000),
            retained: 250,
            ..fast
        }),
    );
    plan.span.until = Until::Count(600);
    let report = load(&plan);
    check_units(&report, 1200.0);
    let came = report.median.value(Figure::RetainedPerSecond).unwrap()
        * report.median.value(Figure::Seconds).unwrap();
    assert!(came > 500.0, "{came} of 250 at a time");
}

#[test]
fn handshakes_are_full_or_resumed_as_asked_for_in_both_groups() {
    let stage = Stage::floor();
    for resumption in [Resumption::Full, Resumption::Resumed] {
        for key_exchange in [KeyExchange::X25519, KeyExchange::Hybrid] {
            let handshakes = Handshakes {
                resumption,
                concurrency: 5,
                farewell: Farewell::Disconnect,
            };
            let mut plan = plan(&stage, Scenario::Connect(handshakes));
            plan.target.key_exchange = key_exchange;
            plan.span.until = Until::Count(50);
            check_units(&load(&plan), 50.0);
        }
    }
}

#[test]
fn connections_at_rest_are_kept_by_pings() {
    let stage = Stage::floor();
    let idle = Idle {
        connections: 20,
        keep_alive: 1,
    };
    let mut plan = plan(&stage, Scenario::Idle(idle));
    let (warmup, time) = (Duration::from_millis(100), Duration::from_millis(600));
    plan.span = Span {
        warmup,
        until: Until::Elapsed(time),
    };
    let report = load(&plan);
    assert_eq!(report.median.value(Figure::Connections), Some(20.0));
    assert!(
        report
            .median
            .value(Figure::Resident)
            .is_some_and(|bytes| bytes > 0.0),
        "{report}"
    );
}

#[track_caller]
fn check_fault(wrong: Wrong, expected: impl Fn(Fault) -> bool) {
    let stage = Stage::faulty(wrong);
    let Scenario::Traffic(two) = traffic(Shape::FanIn, QoS::AtMostOnce) else {
        unreachable!()
    };
    let one = Traffic {
        publishers: 1,
        subscribers: 1,
        ..two
    };
    let error = run(
        &plan(&stage, Scenario::Traffic(one)),
        &Observer::new(&|_| ()),
    )
    .unwrap_err();
    let LoadError::Fault(fault) = error else {
        panic!("{wrong:?}: {error}")
    };
    assert!(expected(fault), "{wrong:?}: {fault:?}");
}

#[test]
fn a_lost_a_doubled_and_a_late_message_fail_the_load() {
    let fault = Fault {
        expected: 3000,
        ..Fault::default()
    };
    check_fault(Wrong::Lose(1000), |found| {
        found == Fault { lost: 1, ..fault }
    });
    check_fault(Wrong::Double(1000), |found| {
        found
            == Fault {
                duplicated: 1,
                ..fault
            }
    });
    check_fault(Wrong::Swap(1000), |found| {
        found
            == Fault {
                reordered: 1,
                ..fault
            }
    });
    // The last message has nobody behind it who would show that it is missing.
    check_fault(Wrong::Lose(2999), |found| {
        found == Fault { lost: 1, ..fault }
    });
    check_fault(Wrong::Double(2999), |found| {
        found
            == Fault {
                duplicated: 1,
                ..fault
            }
    });
}

#[test]
fn a_setting_that_cannot_be_is_said_before_anything_is_connected() {
    let stage = Stage::floor();
    let mut plan = plan(&stage, traffic(Shape::FanIn, QoS::AtMostOnce));
    plan.target.address = "nowhere".into();
    plan.runs = 0;
    let error = run(&plan, &Observer::new(&|_| ())).unwrap_err();
    assert_eq!(error.to_string(), "runs must be 1 to 1000");
    plan.runs = 1;
    let error = run(&plan, &Observer::new(&|_| ())).unwrap_err();
    assert_eq!(error.to_string(), "\"nowhere\" is not HOST:PORT");
}
