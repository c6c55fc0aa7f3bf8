//! What breaks a verdict, and what does not.

use super::*;
use crate::scenario::Invariants;
use protocol::packet::QoS;

const UP: Way = Way::Up;
const DOWN: Way = Way::Down;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Two devices, the second of which speaks exactly once; both are there.
fn ledger() -> Ledger {
    let ledger = Ledger::new([QoS::AtLeastOnce, QoS::ExactlyOnce].into_iter());
    ledger.app_rests(true);
    for device in [0, 1] {
        ledger.connected(device, (ms(0), false));
        ledger.rests(device, true);
    }
    ledger
}

fn outcome(ledger: &Ledger, invariant: Invariant) -> Outcome {
    let checks = ledger.judge(&Invariants::default());
    checks
        .iter()
        .find(|check| check.invariant == invariant)
        .unwrap()
        .outcome
}

fn check(invariant: Invariant, expected: Outcome, happens: impl Fn(&Ledger)) {
    let ledger = ledger();
    happens(&ledger);
    assert_eq!(outcome(&ledger, invariant), expected, "{invariant:?}");
}

#[test]
fn what_was_acknowledged_must_be_heard() {
    for way in [UP, DOWN] {
        let said = |ledger: &Ledger, heard: bool| {
            let number = ledger.say(0, way);
            ledger.acknowledged(0, (way, number));
            if heard {
                ledger.heard(0, (way, number));
            }
        };
        let invariant = Invariant::AcknowledgedArrives;
        check(invariant, Outcome::NotTried, |_| ());
        check(invariant, Outcome::Held, |ledger| said(ledger, true));
        check(invariant, Outcome::Broken, |ledger| {
            said(ledger, true);
            said(ledger, false);
        });
        // It may be lost as long as nobody was told that it is not.
        check(invariant, Outcome::NotTried, |ledger| {
            ledger.say(0, way);
        });
    }
}

#[test]
fn what_waits_for_a_device_ends_with_its_revocation_and_what_it_said_does_not() {
    for (way, expected) in [(DOWN, Outcome::Held), (UP, Outcome::Broken)] {
        check(Invariant::AcknowledgedArrives, expected, |ledger| {
            let number = ledger.say(0, way);
            ledger.acknowledged(0, (way, number));
            ledger.revoking(0, ms(5));
        });
    }
}

#[test]
fn at_qos_2_nothing_is_heard_twice_unless_the_device_is_two() {
    let twice = |ledger: &Ledger, device, way| {
        ledger.heard(device, (way, 3));
        ledger.heard(device, (way, 3));
    };
    let invariant = Invariant::ExactlyOnce;
    check(invariant, Outcome::NotTried, |ledger| twice(ledger, 0, UP));
    check(invariant, Outcome::Broken, |ledger| twice(ledger, 1, UP));
    check(invariant, Outcome::Broken, |ledger| twice(ledger, 1, DOWN));
    check(invariant, Outcome::Held, |ledger| {
        ledger.cloned(1);
        twice(ledger, 1, DOWN);
    });
}

#[test]
fn who_may_be_there_is_sent_away_for_nothing_while_authorities_rotate() {
    let rotate = |ledger: &Ledger, cause| {
        ledger.stage_due();
        ledger.stage_begun();
        ledger.sent_away(0, cause);
        ledger.stage_done();
    };
    let invariant = Invariant::NobodyIsSentAway;
    check(invariant, Outcome::Held, |_| ());
    let (other, certificate) = (Cause::Other, Cause::Certificate);
    check(invariant, Outcome::Held, |it| it.sent_away(0, other));
    check(invariant, Outcome::Broken, |it| {
        it.sent_away(0, certificate);
    });
    check(invariant, Outcome::Broken, |it| rotate(it, other));
    check(invariant, Outcome::Broken, |it| {
        it.app_sent_away(certificate);
    });
    // It is not done: somebody has not followed.
    check(invariant, Outcome::Broken, Ledger::stage_due);
    for excuse in [
        |ledger: &Ledger| ledger.revoking(0, ms(5)),
        |ledger: &Ledger| ledger.cloned(0),
    ] {
        check(invariant, Outcome::Held, |ledger| {
            excuse(ledger);
            rotate(ledger, certificate);
        });
    }
}

#[test]
fn all_have_followed_but_those_who_are_revoked() {
    let ledger = ledger();
    ledger.app_followed();
    ledger.followed(0);
    assert!(!ledger.have_all_followed());
    ledger.revoking(1, ms(5));
    assert!(ledger.have_all_followed());
}

#[test]
fn one_leak_is_one_too_many() {
    check(Invariant::NoLeak, Outcome::Held, |ledger| {
        ledger.heard(0, (UP, 0));
    });
    check(Invariant::NoLeak, Outcome::Broken, |ledger| {
        ledger.leaked(|| "device 1 heard what is for device 0".into());
    });
}

#[test]
fn who_is_revoked_is_cut_in_time_or_was_not_there() {
    let cut = |ledger: &Ledger, after: Option<u64>| {
        ledger.revoking(0, ms(100));
        if let Some(after) = after {
            ledger.disconnected(0, ms(100 + after));
        }
    };
    let invariant = Invariant::RevokedIsCut;
    check(invariant, Outcome::NotTried, |_| ());
    check(invariant, Outcome::Held, |ledger| cut(ledger, Some(1000)));
    check(invariant, Outcome::Broken, |ledger| cut(ledger, Some(1001)));
    check(invariant, Outcome::Broken, |ledger| cut(ledger, None));
    check(invariant, Outcome::Held, |ledger| {
        ledger.disconnected(0, ms(50));
        cut(ledger, None);
    });
}

#[test]
fn who_is_revoked_does_not_come_back() {
    let come = |ledger: &Ledger, began: u64| {
        ledger.revoking(0, ms(100));
        ledger.revoked(0, ms(200));
        ledger.disconnected(0, ms(150));
        ledger.connected(0, (ms(began), true));
    };
    let invariant = Invariant::StrangersStayOut;
    check(invariant, Outcome::Broken, |ledger| come(ledger, 201));
    // Who was on his way when it was done may have been in for a moment.
    check(invariant, Outcome::Held, |ledger| come(ledger, 199));
}

#[test]
fn who_must_not_come_in_is_counted_either_way() {
    let invariant = Invariant::StrangersStayOut;
    for (let_in, expected) in [
        (None, Outcome::Held),
        (Some("expired".to_owned()), Outcome::Broken),
    ] {
        check(invariant, expected, |ledger| {
            ledger.intruding();
            assert!(!ledger.is_settled());
            ledger.intruded(let_in.clone());
            assert!(ledger.is_settled());
        });
    }
}

#[test]
fn everyone_is_back_who_may_be() {
    let invariant = Invariant::EveryoneIsBack;
    check(invariant, Outcome::Held, |_| ());
    check(invariant, Outcome::Broken, |ledger| {
        ledger.disconnected(0, ms(9));
    });
    check(invariant, Outcome::Held, |ledger| {
        ledger.revoking(0, ms(8));
        ledger.disconnected(0, ms(9));
    });
}

#[test]
fn new_certificates_are_let_in_and_sessions_found() {
    check(Invariant::RenewalWorks, Outcome::Broken, |ledger| {
        ledger.renewing(0);
    });
    check(Invariant::RenewalWorks, Outcome::Held, |ledger| {
        ledger.renewing(0);
        ledger.renewed(0);
    });
    check(Invariant::SessionsAreKept, Outcome::Broken, |ledger| {
        ledger.session_lost(0);
    });
}

#[test]
fn what_is_left_out_breaks_nothing() {
    let ledger = ledger();
    ledger.session_lost(0);
    let mut invariants = Invariants::default();
    invariants.left_out.insert("sessions-are-kept".into());
    let verdict = verdict(ledger.judge(&invariants));
    assert!(verdict.holds(), "{verdict}");
    assert!(verdict.to_string().contains("left out"), "{verdict}");
}

#[test]
fn junit_tells_what_broke_and_escapes_it() {
    let ledger = ledger();
    ledger.leaked(|| "<device> & \"other\"\u{1}".into());
    let verdict = verdict(ledger.judge(&Invariants::default()));
    assert!(!verdict.holds());
    let xml = verdict.junit();
    assert!(
        xml.contains("<testsuite name=\"fleet.a&amp;b\" tests=\"10\" failures=\"1\" errors=\"0\""),
        "{xml}"
    );
    assert!(
        xml.contains(">&lt;device&gt; &amp; &quot;other&quot;</failure>"),
        "{xml}"
    );
    assert_eq!(xml.matches("<testcase ").count(), 10);
}

#[test]
fn what_a_device_took_and_what_the_broker_dropped_is_said_where_it_is_known() {
    let mut verdict = verdict(Vec::new());
    assert!(verdict.to_string().contains("identities in 0.0 s\n"));
    verdict.resident_each = Some(24_060);
    verdict.dropped = Some(3);
    let expected = "identities in 0.0 s; 24.0 kB of memory a device; \
                    the broker dropped 3 at full queues\n";
    assert!(verdict.to_string().contains(expected), "{verdict}");
}

fn verdict(checks: Vec<Check>) -> Verdict {
    Verdict {
        scenario: "a&b".into(),
        devices: 2,
        seed: 7,
        milliseconds: 1500,
        identities_milliseconds: 20,
        counts: Counts::default(),
        checks,
        not_done: Vec::new(),
        dropped: Some(0),
        resident: None,
        resident_each: None,
    }
}
