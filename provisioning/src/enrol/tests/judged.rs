//! Who is issued what, by token, by certificate, and by a person's word.

use std::path::Path;
use std::time::Duration;

use certs::{Holder, PublicKey, Serial, Subject};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, UnixTime};

use super::super::desk::Desk;
use super::{ask, ask_all, new_key, token, with_approval, with_token};
use crate::authority::Hierarchy;
use crate::commands::{
    DecideRequest, SuspendRequest, audit_show, ca_verify, device_resume, device_show,
    device_suspend, pending_approve, pending_deny, pending_list, token_list, token_revoke,
};
use crate::registry::{Answer, Asked, EnrolmentState, Event, NotEnrolled, Proof, TokenState};
use crate::testing::{day, issue, revoke, up};
use crate::{DeviceState, Layout};

/// How an answer is told apart from others, and what was handed out.
fn kind(answer: &Result<Answer, NotEnrolled>) -> (&'static str, Option<Serial>) {
    match answer {
        Ok(Answer::Issued(recorded)) => ("issued", Some(recorded.certificate().serial)),
        Ok(Answer::Again(recorded)) => ("again", Some(recorded.certificate().serial)),
        Ok(Answer::Wait) => ("wait", None),
        Err(NotEnrolled::UnknownToken) => ("unknown token", None),
        Err(NotEnrolled::TokenExpired) => ("token expired", None),
        Err(NotEnrolled::TokenUsed) => ("token used", None),
        Err(NotEnrolled::TokenRevoked) => ("token revoked", None),
        Err(NotEnrolled::Denied) => ("denied", None),
        Err(NotEnrolled::TooManyWait) => ("too many wait", None),
        Err(NotEnrolled::NotOnRecord) => ("not on record", None),
        Err(NotEnrolled::Removed) => ("removed", None),
        Err(NotEnrolled::NotAdmitted(_)) => ("not admitted", None),
        Err(NotEnrolled::Suspended(_)) => ("suspended", None),
        Err(NotEnrolled::Over) => ("over", None),
        Err(NotEnrolled::Failed(_)) => ("failed", None),
    }
}

#[test]
fn a_token_is_good_for_one_device_one_key_and_one_certificate() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    up(dir, 0, day(0)).unwrap();
    let (of_7, of_8) = (token(dir, "dev-7", day(0)), token(dir, "dev-8", day(0)));
    let (one, two) = (&new_key(), &new_key());
    let issued = ask(dir, with_token("dev-7", &of_7, one), day(0));
    let (what, serial) = kind(&issued);
    assert_eq!(what, "issued");
    for (id, token, key, expected) in [
        ("dev-7", &of_7, one, ("again", serial)),
        ("dev-7", &of_7, two, ("token used", None)),
        ("dev-8", &of_7, one, ("unknown token", None)),
        ("dev-7", &of_8, two, ("unknown token", None)),
        ("DEV-8", &of_8, two, ("unknown token", None)),
    ] {
        let answer = ask(dir, with_token(id, token, key), day(0));
        assert_eq!(kind(&answer), expected, "{id}");
    }
    let Ok(Answer::Issued(recorded)) = issued else {
        panic!("a certificate")
    };
    assert_eq!(*recorded.certificate().public_key, *one.to_der());
    let shown = device_show(dir, &Subject::parse("dev-7").unwrap(), day(0)).unwrap();
    assert_eq!(shown.certificates.len(), 1);
    let tokens = token_list(dir, day(0)).unwrap();
    let states: Vec<_> = tokens.iter().map(|it| (it.state, it.serial)).collect();
    assert_eq!(
        states,
        [(TokenState::Open, None), (TokenState::Used, serial)]
    );

    assert_eq!(ca_verify(dir, day(0)).unwrap().findings, []);
    let entries = audit_show(dir, usize::MAX).unwrap();
    let refused = entries.iter().filter(|it| it.event == Event::Refused);
    assert_eq!(refused.count(), 4);
    let used = entries.iter().find(|it| it.event == Event::TokenUsed);
    assert!(used.unwrap().words.ends_with(&serial.unwrap().to_string()));
}

#[test]
fn a_certificate_is_valid_for_as_long_as_the_server_says_and_no_longer_than_the_profile() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    up(dir, 0, day(0)).unwrap();
    let (hour, year) = (Duration::from_hours(1), Duration::from_hours(24) * 365);
    for (lifetime_max, expected) in [(hour, hour), (2 * year, year)] {
        let token = token(dir, "dev-7", day(0));
        let mut desk = Desk::open(dir, None, day(0)).unwrap();
        desk.lifetime_max = Some(lifetime_max);
        let asked = with_token("dev-7", &token, &new_key());
        let mut answers = desk.answer(&[asked], (day(0), usize::MAX)).unwrap();
        let Ok(Answer::Issued(recorded)) = answers.remove(0) else {
            panic!("a certificate")
        };
        let lasts = recorded.certificate().not_after.as_secs() - day(0).as_secs();
        assert_eq!(lasts, expected.as_secs());
    }
}

#[test]
fn a_token_that_expired_or_was_revoked_is_good_for_nothing_not_even_a_retry() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    up(dir, 0, day(0)).unwrap();
    let key = &new_key();
    let last = UnixTime::since_unix_epoch(Duration::from_secs(day(0).as_secs() + 3_600));
    let late = UnixTime::since_unix_epoch(Duration::from_secs(day(0).as_secs() + 3_601));
    let told = |id, token, now| kind(&ask(dir, with_token(id, token, key), now)).0;

    let one = &token(dir, "dev-1", day(0));
    let told_in_turn = [late, last, last, late].map(|now| told("dev-1", one, now));
    assert_eq!(
        told_in_turn,
        ["token expired", "issued", "again", "token expired"]
    );

    let two = &token(dir, "dev-2", day(0));
    assert_eq!(told("dev-2", two, day(0)), "issued");
    token_revoke(dir, two.number, day(0)).unwrap();
    assert_eq!(told("dev-2", two, day(0)), "token revoked");

    let three = &token(dir, "dev-3", day(0));
    issue(dir, "dev-3", None).unwrap();
    revoke(dir, "dev-3", day(0)).unwrap();
    assert_eq!(told("dev-3", three, day(0)), "token revoked");
    let again = &token(dir, "dev-3", day(0));
    let answer = ask(dir, with_token("dev-3", again, key), day(0));
    let Ok(Answer::Issued(recorded)) = answer else {
        panic!("on purpose")
    };
    assert!(
        recorded.certificate().not_before > day(0),
        "after its revocation"
    );
}

#[test]
fn who_asks_together_is_answered_apart() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    up(dir, 0, day(0)).unwrap();
    let (one, two) = (token(dir, "dev-1", day(0)), token(dir, "dev-2", day(0)));
    let key = [&new_key(), &new_key(), &new_key()];
    let asked = [
        with_token("dev-1", &one, key[0]),
        with_token("dev-1", &one, key[0]),
        with_token("dev-1", &one, key[1]),
        with_token("dev-9", &two, key[2]),
        with_token("dev-2", &two, key[2]),
    ];
    let answers = ask_all(dir, &asked, day(0));
    let told: Vec<_> = answers.iter().map(|it| kind(it).0).collect();
    let expected = ["issued", "again", "token used", "unknown token", "issued"];
    assert_eq!(told, expected);
    assert_eq!(kind(&answers[0]).1, kind(&answers[1]).1);
    assert_eq!(ca_verify(dir, day(0)).unwrap().findings, []);
}

/// What fails halfway leaves nothing: not the device, not the certificate, not the token's use.
#[test]
fn one_that_fails_leaves_nothing_and_takes_nobody_with_it() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    up(dir, 0, day(0)).unwrap();
    let [one, two] = ["dev-1", "dev-2"].map(|id| token(dir, id, day(0)));
    let (first, second) = (&new_key(), &new_key());
    let asked = [
        with_token("dev-1", &one, first),
        with_token("dev-2", &two, second),
    ];
    let connection = rusqlite::Connection::open(Layout::new(dir).registry()).unwrap();
    // The last that is written of the first.
    let trigger = "CREATE TRIGGER broken BEFORE UPDATE ON token WHEN NEW.device = 'dev-1'
                   BEGIN SELECT RAISE(ABORT, 'broken'); END";
    connection.execute_batch(trigger).unwrap();
    let answers = ask_all(dir, &asked, day(0));
    let told: Vec<_> = answers.iter().map(|it| kind(it).0).collect();
    assert_eq!(told, ["failed", "issued"]);
    connection.execute_batch("DROP TRIGGER broken").unwrap();
    let subject = Subject::parse("dev-1").unwrap();
    let shown = device_show(dir, &subject, day(0)).unwrap();
    assert_eq!(
        (shown.device.state, shown.certificates),
        (DeviceState::New, vec![])
    );
    let [retry, _] = asked;
    assert_eq!(kind(&ask(dir, retry, day(0))).0, "issued");
    assert_eq!(ca_verify(dir, day(0)).unwrap().findings, []);
}

#[test]
fn so_many_refusals_are_noted_and_no_more() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    up(dir, 0, day(0)).unwrap();
    let other = token(dir, "dev-9", day(0));
    let key = &new_key();
    let asked: Vec<_> = (0..5).map(|_| with_token("dev-1", &other, key)).collect();
    let before = audit_show(dir, usize::MAX).unwrap().len();
    let mut desk = Desk::open(dir, None, day(0)).unwrap();
    let answers = desk.answer(&asked, (day(0), 3)).unwrap();
    drop(desk);
    assert!(answers.iter().all(Result::is_err));
    let noted = audit_show(dir, usize::MAX).unwrap();
    let refused = noted
        .iter()
        .skip(before)
        .filter(|it| it.event == Event::Refused);
    assert_eq!(refused.count(), 3);
}

/// What whoever holds the certificate `leaf` is told when it asks to renew.
fn renewal(
    dir: &Path,
    (leaf, key): (&[u8], &PublicKey),
    grace: Duration,
    now: UnixTime,
) -> (&'static str, Option<Serial>) {
    let mut desk = Desk::open(dir, None, now).unwrap();
    let Ok((device, at)) = desk.gate(grace).unwrap().admit(leaf, now) else {
        return ("not let in", None);
    };
    let asked = Asked {
        subject: device.subject().clone(),
        key: key.clone(),
        proof: Proof::Certificate { device, at },
    };
    kind(&desk.answer(&[asked], (now, 9)).unwrap().remove(0))
}

fn leaf(dir: &Path, id: &str) -> CertificateDer<'static> {
    let files = Layout::new(dir).peer(&Subject::parse(id).unwrap());
    CertificateDer::from_pem_file(files.cert).unwrap()
}

#[test]
fn a_device_renews_with_its_certificate_and_is_told_again_what_it_did_not_hear() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    up(dir, 1, day(0)).unwrap();
    let old = leaf(dir, "dev-1");
    let (one, two) = (&new_key(), &new_key());
    let renew = |key| renewal(dir, (&old, key), Duration::ZERO, day(1));
    let (what, first) = renew(one);
    assert_eq!(what, "issued");
    assert_eq!(renew(one), ("again", first));
    let (what, second) = renew(two);
    assert!(what == "issued" && second != first);
    assert_eq!(renew(two), ("again", second));
    // An application renews as a device does.
    let app = leaf(dir, "app/app-1");
    assert_eq!(
        renewal(dir, (&app, one), Duration::ZERO, day(1)).0,
        "issued"
    );
    assert_eq!(ca_verify(dir, day(1)).unwrap().findings, []);
}

#[test]
fn whoever_is_revoked_suspended_or_gone_does_not_renew() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    up(dir, 3, day(0)).unwrap();
    let key = &new_key();
    let renew = |leaf: &[u8], now| renewal(dir, (leaf, key), Duration::from_hours(24 * 30), now).0;

    let revoked = leaf(dir, "dev-1");
    revoke(dir, "dev-1", day(1)).unwrap();
    assert_eq!(renew(&revoked, day(1)), "not admitted");
    // Neither once it has expired, nor after the device has come back.
    assert_eq!(renew(&revoked, day(370)), "not admitted");
    let request = token(dir, "dev-1", day(1));
    ask(dir, with_token("dev-1", &request, &new_key()), day(1)).unwrap();
    assert_eq!(renew(&revoked, day(1)), "not admitted");

    let suspended = leaf(dir, "dev-2");
    let subject = &Subject::parse("dev-2").unwrap();
    let request = SuspendRequest {
        dir,
        passphrase: None,
        subject,
    };
    device_suspend(&request, day(1)).unwrap();
    assert_eq!(renew(&suspended, day(1)), "suspended");
    device_resume(&request, day(1)).unwrap();
    assert_eq!(renew(&suspended, day(1)), "issued");

    let gone = leaf(dir, "dev-3");
    assert_eq!(renew(&gone, day(370)), "issued");
    let subject = &Subject::parse("dev-3").unwrap();
    crate::device_remove(dir, subject, day(1_000)).unwrap();
    let long = Duration::from_hours(24 * 1_000);
    let told = renewal(dir, (&gone, key), long, day(1_000)).0;
    assert_eq!(told, "removed");

    let open = token(dir, "dev-4", day(1));
    let subject = &Subject::parse("dev-4").unwrap();
    crate::device_remove(dir, subject, day(1)).unwrap();
    let told = kind(&ask(dir, with_token("dev-4", &open, key), day(1))).0;
    assert_eq!(told, "token revoked");
}

#[test]
fn an_expired_certificate_renews_for_so_many_days() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    up(dir, 1, day(0)).unwrap();
    let leaf = leaf(dir, "dev-1");
    let key = &new_key();
    let told = |days: u64, now| renewal(dir, (&leaf, key), Duration::from_hours(24 * days), now).0;
    assert_eq!(told(0, day(366)), "not let in");
    assert_eq!(told(7, day(373)), "not let in");
    assert_eq!(told(7, day(371)), "issued");
}

/// Signed by the right key and on no record: the key was used elsewhere, or a backup restored.
#[test]
fn a_certificate_that_only_chains_is_not_believed() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    up(dir, 1, day(0)).unwrap();
    let signed = {
        let mut ca = Hierarchy::open(dir).unwrap();
        ca.unlock_device_ca(None, day(0)).unwrap();
        let subject = Subject::parse("dev-1").unwrap();
        let holder = Holder::Peer(&ca.trust_domain, &subject);
        ca.device_ca.sign(holder, &new_key(), day(0)).unwrap()
    };
    let leaf = CertificateDer::from_pem_slice(signed.pem.as_bytes()).unwrap();
    let told = renewal(dir, (&leaf, &new_key()), Duration::ZERO, day(0));
    assert_eq!(told.0, "not on record");
}

fn decide(dir: &Path, number: i64) -> DecideRequest<'_> {
    DecideRequest {
        dir,
        number,
        again: false,
    }
}

#[test]
fn without_a_token_a_person_decides_about_one_key() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    up(dir, 0, day(0)).unwrap();
    let (honest, thief) = (&new_key(), &new_key());
    let told = |id, key| kind(&ask(dir, with_approval(id, key), day(0)));
    for _ in 0..2 {
        assert_eq!(told("dev-1", honest).0, "wait");
        assert_eq!(told("dev-1", thief).0, "wait");
    }
    let pending = pending_list(dir).unwrap();
    assert_eq!(pending.len(), 2);
    let number = pending[1].number;
    assert!(
        !pending_approve(&decide(dir, number), day(0))
            .unwrap()
            .already
    );
    assert!(
        pending_approve(&decide(dir, number), day(0))
            .unwrap()
            .already
    );
    assert_eq!(told("dev-1", thief).0, "wait");
    let (what, serial) = told("dev-1", honest);
    assert_eq!(what, "issued");
    assert_eq!(told("dev-1", honest), ("again", serial));
    assert!(
        pending_deny(&decide(dir, number), day(0)).is_err(),
        "too late"
    );
    pending_deny(&decide(dir, pending[0].number), day(0)).unwrap();
    assert_eq!(told("dev-1", thief).0, "denied");
    let states: Vec<_> = pending_list(dir)
        .unwrap()
        .iter()
        .map(|it| it.state)
        .collect();
    assert_eq!(states, [EnrolmentState::Denied, EnrolmentState::Issued]);

    revoke(dir, "dev-1", day(0)).unwrap();
    assert_eq!(told("dev-1", honest).0, "denied", "with the device");
    assert_eq!(told("dev-1", &new_key()).0, "wait");
    let number = pending_list(dir).unwrap()[0].number;
    assert!(pending_approve(&decide(dir, number), day(0)).is_err());
    let on_purpose = DecideRequest {
        again: true,
        ..decide(dir, number)
    };
    pending_approve(&on_purpose, day(0)).unwrap();
}

#[test]
fn an_id_in_other_letters_is_not_approved() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    up(dir, 1, day(0)).unwrap();
    for id in ["DEV-1", "app-1"] {
        let key = &new_key();
        assert_eq!(kind(&ask(dir, with_approval(id, key), day(0))).0, "wait");
        let number = pending_list(dir).unwrap()[0].number;
        let refused = pending_approve(&decide(dir, number), day(0)).unwrap_err();
        assert_eq!(refused.exit_class(), crate::ExitClass::Refused, "{refused}");
        assert_eq!(kind(&ask(dir, with_approval(id, key), day(0))).0, "wait");
    }
}

#[test]
fn so_many_wait_and_those_who_wait_for_long_make_room() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    up(dir, 0, day(0)).unwrap();
    let key = &new_key();
    let ids: Vec<_> = (0..=1_000).map(|n| format!("dev-{n}")).collect();
    let asked: Vec<_> = ids.iter().map(|id| with_approval(id, key)).collect();
    let answers = ask_all(dir, &asked, day(0));
    let waiting = answers.iter().filter(|it| kind(it).0 == "wait").count();
    assert_eq!(waiting, 1_000);
    assert_eq!(kind(&answers[1_000]).0, "too many wait");
    let told = |now| kind(&ask(dir, with_approval("dev-1000", key), now)).0;
    assert_eq!(told(day(7)), "too many wait");
    assert_eq!(told(day(8)), "wait");
    assert_eq!(pending_list(dir).unwrap()[0].number, 1_001);
}
