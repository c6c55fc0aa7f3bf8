//! Rotation, stage by stage.

use std::fs;
use std::path::Path;

use certs::{Certificate, RevocationReason, Subject};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::*;
use crate::layout::AuthorityId;
use crate::layout::Layout;
use crate::testing::{certificate, day, issue, mode, revoke, up};
use crate::{
    CommandError, ExitClass, ExportRequest, IssueRequest, KeyKept, PublishRequest, RevokeRequest,
    ca_doctor, ca_status, ca_verify, crl_publish, device_issue, device_revoke, read_passphrase,
    registry_export,
};
use RotationStage::{Prepare, Publish, Retire, Switch};

fn rotate(dir: &Path, stage: RotationStage, at: u64) -> Result<Rotated, CommandError> {
    ca_rotate(&RotateRequest::new(dir, Role::DeviceCa, stage), day(at))
}

fn cut_off(dir: &Path, key: KeyFate, at: u64) -> Result<Rotated, CommandError> {
    let request = RotateRequest {
        cut_off: true,
        key,
        ..RotateRequest::new(dir, Role::DeviceCa, Retire)
    };
    ca_rotate(&request, day(at))
}

/// The names of the authorities in a file.
fn names(path: &Path) -> Vec<String> {
    let read = |der: Result<CertificateDer<'_>, _>| {
        let subject = Certificate::read(&der.unwrap()).unwrap().subject;
        subject.rsplit(' ').next().unwrap().to_owned()
    };
    CertificateDer::pem_file_iter(path)
        .unwrap()
        .map(read)
        .collect()
}

fn is_sound(dir: &Path, at: u64) {
    let found = ca_verify(dir, day(at)).unwrap().findings;
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn a_device_ca_is_followed_by_another_in_four_stages() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    let layout = up(dir, 2, day(0)).unwrap().layout;
    let second = AuthorityId {
        role: Role::DeviceCa,
        number: 2,
    };
    let (anchor, issued) = (layout.broker().ca, |id: &str| {
        certificate(&layout.peer(&Subject::parse(id).unwrap()).cert).issuer
    });
    assert_eq!(names(&anchor), ["1"]);

    let prepared = rotate(dir, Prepare, 1).unwrap();
    assert_eq!((prepared.number, prepared.made), (2, true));
    assert_eq!(&*prepared.name, "Countersign DEV ONLY device CA 2");
    assert_eq!(mode(&layout.authority_key(second)), 0o600);
    assert_eq!(names(&anchor), ["1"]);
    is_sound(dir, 1);

    let published = rotate(dir, Publish, 2).unwrap();
    assert_eq!(published.stage, AuthorityStage::Published);
    assert_eq!(names(&anchor), ["1", "2"]);
    assert_eq!(names(&layout.device_cas_pem()), ["1", "2"]);
    assert!(published.files.contains(&anchor), "{:?}", published.files);
    assert_eq!(
        published.list.unwrap().files,
        [layout.list(second), layout.broker_list(second)]
    );
    issue(dir, "dev-3", None).unwrap();
    assert!(issued("dev-3").ends_with("CA 1"));
    is_sound(dir, 2);

    let switched = rotate(dir, Switch, 3).unwrap();
    assert_eq!(
        switched.before,
        Some((1, 4)),
        "three devices and an application"
    );
    issue(dir, "dev-1", None).unwrap();
    assert!(issued("dev-1").ends_with("CA 2"));
    assert!(issued("dev-2").ends_with("CA 1"));
    assert_eq!(names(&anchor), ["1", "2"]);
    is_sound(dir, 3);

    let refused = rotate(dir, Retire, 4).unwrap_err();
    assert_eq!(refused.exit_class(), ExitClass::Refused);
    let words = refused.to_string();
    assert!(
        words.contains("3 hold a certificate") && words.contains("--device-ca 1"),
        "{words}"
    );
    for id in ["dev-2", "dev-3"] {
        issue(dir, id, None).unwrap();
    }
    revoke(dir, "app/app-1", day(4)).unwrap();
    let retired = rotate(dir, Retire, 4).unwrap();
    assert_eq!(
        (retired.number, retired.stage),
        (1, AuthorityStage::Retired)
    );
    assert_eq!(names(&anchor), ["2"]);
    assert!(!layout.broker_crl().exists() && layout.device_ca_crl().exists());
    assert_eq!(
        retired.list.unwrap().next_update,
        day(365),
        "its last certificate ends then"
    );
    is_sound(dir, 4);
}

/// Whatever is given again says what is there and does what is left to do.
#[test]
fn each_stage_may_be_given_again_and_none_is_left_out() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    let layout = up(dir, 0, day(0)).unwrap().layout;
    revoke(dir, "app/app-1", day(0)).unwrap();
    for stage in [Publish, Switch, Retire] {
        let missing = rotate(dir, stage, 1).unwrap_err();
        assert_eq!(
            missing.exit_class(),
            ExitClass::NotFound,
            "{stage:?}: {missing}"
        );
    }
    for (stage, lost) in [
        (
            Prepare,
            layout.authority_pem(AuthorityId {
                role: Role::DeviceCa,
                number: 2,
            }),
        ),
        (
            Publish,
            layout.broker_list(AuthorityId {
                role: Role::DeviceCa,
                number: 2,
            }),
        ),
        (Switch, layout.device_cas_pem()),
    ] {
        if stage == Publish {
            let early = rotate(dir, Switch, 1).unwrap_err();
            assert_eq!(early.exit_class(), ExitClass::Refused);
            assert!(early.to_string().contains("--stage publish"), "{early}");
        }
        let first = rotate(dir, stage, 1).unwrap();
        fs::remove_file(&lost).unwrap();
        let again = rotate(dir, stage, 1).unwrap();
        assert_eq!((first.made, again.made), (true, false), "{stage:?}");
        assert_eq!((first.number, again.number), (2, 2), "{stage:?}");
        assert_eq!(first.stage, again.stage);
        is_sound(dir, 1);
    }
    // An earlier stage than the one it is at changes nothing either.
    assert!(!rotate(dir, Publish, 1).unwrap().made);
    let open = rotate(dir, Prepare, 1).unwrap_err();
    assert_eq!(open.exit_class(), ExitClass::Refused);
    assert!(open.to_string().contains("--another"), "{open}");

    assert!(rotate(dir, Retire, 1).unwrap().made);
    let key = layout.authority_key(Role::DeviceCa);
    assert!(key.exists());
    assert!(!cut_off(dir, KeyFate::Destroy, 1).unwrap().made);
    assert!(!key.exists());
    is_sound(dir, 1);
    assert_eq!(rotate(dir, Prepare, 1).unwrap().number, 3);
}

#[test]
fn a_revocation_is_on_the_list_of_whoever_issued_the_certificate() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    let layout = up(dir, 2, day(0)).unwrap().layout;
    for stage in [Prepare, Publish, Switch] {
        rotate(dir, stage, 1).unwrap();
    }
    issue(dir, "dev-1", None).unwrap();
    // Of dev-1 one certificate of each counts, of dev-2 that of the first.
    let revoked = revoke(dir, "dev-1", day(2)).unwrap();
    assert_eq!((revoked.list.device_ca, revoked.list.entries), (2, 1));
    let others: Vec<_> = revoked
        .list
        .others
        .iter()
        .map(|it| (it.device_ca, it.entries))
        .collect();
    assert_eq!(others, [(1, 1)]);
    let revoked = revoke(dir, "dev-2", day(2)).unwrap().list;
    assert_eq!((revoked.entries, revoked.others[0].entries), (1, 2));
    is_sound(dir, 2);
    let request = PublishRequest {
        dir,
        passphrase: None,
        days: Some(3),
        force: true,
    };
    let published = crl_publish(&request, day(3)).unwrap();
    for list in [&published, &published.others[0]] {
        assert!(list.made && list.next_update == day(6), "{list:?}");
    }
    let shown = crate::crl_show(dir, day(3)).unwrap();
    assert_eq!((shown.entries.len(), shown.others[0].entries.len()), (1, 2));
    fs::remove_file(layout.device_ca_crl()).unwrap();
    fs::remove_file(layout.broker_crl()).unwrap();
    let found = ca_verify(dir, day(3)).unwrap().findings;
    assert_eq!(found.len(), 1, "{found:?}");
    let examined = ca_doctor(dir, std::time::Duration::ZERO, day(3))
        .unwrap()
        .checks;
    let bad = |it: &&crate::Check| it.verdict == crate::Verdict::Bad;
    let bad: Vec<_> = examined.iter().filter(bad).map(|it| it.name).collect();
    assert_eq!(bad, ["revocation list"]);
}

/// A broker remembers one number, and believes only those whom it trusts.
#[test]
fn an_export_goes_on_counting_whoever_signs_it() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    let layout = up(dir, 1, day(0)).unwrap().layout;
    let request = ExportRequest {
        dir,
        passphrase: None,
        days: Some(30),
    };
    registry_export(&request, day(1)).unwrap();
    rotate(dir, Prepare, 1).unwrap();
    rotate(dir, Publish, 1).unwrap();
    let exported = rotate(dir, Switch, 2).unwrap().export.unwrap();
    assert_eq!((exported.number, exported.next_update), (2, day(32)));
    let der = CertificateDer::from_pem_file(layout.authority_pem(AuthorityId {
        role: Role::DeviceCa,
        number: 2,
    }));
    let issuer = certs::Authority::read(&der.unwrap()).unwrap();
    let octets = fs::read(layout.broker_registry_export()).unwrap();
    let read = certs::RegistryExport::read(&octets, &[issuer]).unwrap();
    assert_eq!(read.devices().len(), 2);
    assert_eq!(cut_off(dir, KeyFate::Keep, 3).unwrap().export, None);
    assert_eq!(registry_export(&request, day(3)).unwrap().number, 3);
}

#[test]
fn a_server_ca_is_followed_by_another_in_four_stages() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    let layout = up(dir, 0, day(0)).unwrap().layout;
    let rotate = |stage| ca_rotate(&RotateRequest::new(dir, Role::ServerCa, stage), day(1));
    for stage in [Prepare, Publish, Switch] {
        assert!(rotate(stage).unwrap().made);
        is_sound(dir, 1);
    }
    let second = AuthorityId {
        role: Role::ServerCa,
        number: 2,
    };
    let purposes = certificate(&layout.authority_pem(second))
        .extensions
        .extended_key_usage;
    assert_eq!(purposes, [certs::Purpose::ServerAuth]);
    assert!(
        certificate(&layout.broker().cert)
            .issuer
            .ends_with("server CA 1")
    );
    let refused = rotate(Retire).unwrap_err().to_string();
    assert!(
        refused.contains("broker issue") && refused.contains("1 hold"),
        "{refused}"
    );
    crate::broker_issue(dir, &[], None, day(1)).unwrap();
    assert_eq!(names(&layout.broker().cert).last().unwrap(), "2");
    rotate(Retire).unwrap();
    is_sound(dir, 1);
    // What was good is kept: nobody has to be told of a new authority.
    assert_eq!(up(dir, 0, day(1)).unwrap().broker, crate::Outcome::Kept);
}

#[test]
fn up_keeps_what_an_older_device_ca_has_issued() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    up(dir, 2, day(0)).unwrap();
    for stage in [Prepare, Publish, Switch] {
        rotate(dir, stage, 1).unwrap();
        let prepared = up(dir, 2, day(1)).unwrap();
        let mut outcomes = prepared.devices.iter().map(|it| it.outcome);
        assert!(outcomes.all(|it| it == crate::Outcome::Kept), "{stage:?}");
        assert_eq!(prepared.broker, crate::Outcome::Kept, "{stage:?}");
    }
}

#[test]
fn sessions_of_a_superseded_certificate_keep_its_authority_too() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    let prepared = up(dir, 1, day(0)).unwrap();
    revoke(dir, "app/app-1", day(0)).unwrap();
    let old = certificate(&prepared.devices[0].files.cert).serial;
    for stage in [Prepare, Publish, Switch] {
        rotate(dir, stage, 1).unwrap();
    }
    let new = issue(dir, "dev-1", None).unwrap().serial;
    let retire = |connected: &[Serial]| {
        let request = RotateRequest {
            connected,
            ..RotateRequest::new(dir, Role::DeviceCa, Retire)
        };
        ca_rotate(&request, day(1))
    };
    let refused = retire(&[new, old]).unwrap_err();
    assert!(
        refused.to_string().contains("1 sessions go by one"),
        "{refused}"
    );
    retire(&[new]).unwrap();
}

#[test]
fn what_was_prepared_is_taken_back_by_its_number() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    let layout = up(dir, 1, day(0)).unwrap().layout;
    rotate(dir, Prepare, 1).unwrap();
    rotate(dir, Publish, 1).unwrap();
    let retire = |number| {
        let request = RotateRequest {
            number: Some(number),
            ..RotateRequest::new(dir, Role::DeviceCa, Retire)
        };
        ca_rotate(&request, day(1))
    };
    assert_eq!(
        retire(1).unwrap_err().exit_class(),
        ExitClass::Refused,
        "it issues"
    );
    assert_eq!(retire(7).unwrap_err().exit_class(), ExitClass::NotFound);
    retire(2).unwrap();
    assert_eq!(names(&layout.broker().ca), ["1"]);
    issue(dir, "dev-1", None).unwrap();
    is_sound(dir, 1);
}

#[test]
fn a_new_key_is_encrypted_as_the_one_before() {
    let temp = tempfile::tempdir().unwrap();
    let (dir, file) = (temp.path().join("ca"), temp.path().join("passphrase"));
    fs::write(&file, "right\n").unwrap();
    let right = read_passphrase(&file).unwrap();
    fs::write(&file, "wrong\n").unwrap();
    let wrong = read_passphrase(&file).unwrap();
    let request = crate::InitRequest {
        organization: Some("Acme"),
        passphrase: Some(&right),
        ..crate::InitRequest::new(&dir)
    };
    crate::ca_init(&request, day(0)).unwrap();
    let rotate = |stage, passphrase| {
        let request = RotateRequest {
            passphrase,
            ..RotateRequest::new(&dir, Role::DeviceCa, stage)
        };
        ca_rotate(&request, day(1))
    };
    for passphrase in [None, Some(&wrong)] {
        assert!(rotate(Prepare, passphrase).is_err());
    }
    let prepared = rotate(Prepare, Some(&right)).unwrap();
    assert_eq!(&*prepared.name, "Acme device CA 2");
    let key = Layout::new(&dir).authority_key(AuthorityId {
        role: Role::DeviceCa,
        number: 2,
    });
    assert_eq!(KeyKept::at(&key).unwrap(), KeyKept::Encrypted);
    for stage in [Publish, Switch] {
        assert!(rotate(stage, Some(&wrong)).is_err(), "{stage:?}");
        rotate(stage, Some(&right)).unwrap();
    }
    let id = &certs::DeviceId::parse("dev-1").unwrap();
    let issue = IssueRequest {
        dir: &dir,
        passphrase: Some(&right),
        id,
        csr: None,
        algorithm: Algorithm::default(),
        again: false,
    };
    device_issue(&issue, day(1)).unwrap();
    let subject = &Subject::parse("dev-1").unwrap();
    let reason = RevocationReason::KeyCompromise;
    let request = RevokeRequest {
        dir: &dir,
        passphrase: Some(&right),
        subject,
        reason,
    };
    assert_eq!(
        device_revoke(&request, day(1)).unwrap().list.others.len(),
        1
    );
}

#[test]
fn status_says_which_stage_is_due() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    up(dir, 1, day(0)).unwrap();
    let request = PublishRequest {
        dir,
        passphrase: None,
        days: Some(365),
        force: true,
    };
    crl_publish(&request, day(0)).unwrap();
    let next = || ca_status(dir, day(1)).unwrap().next;
    let due = |stage| crate::NextStep::GoOn(Role::DeviceCa, stage);
    for (stage, then) in [
        (Prepare, due(Publish)),
        (Publish, due(Switch)),
        // Whoever holds a certificate of the one before is waited for.
        (Switch, crate::NextStep::Issue),
    ] {
        rotate(dir, stage, 1).unwrap();
        assert_eq!(next(), then);
    }
    issue(dir, "dev-1", None).unwrap();
    revoke(dir, "app/app-1", day(1)).unwrap();
    assert_eq!(next(), due(Retire));
    let stages: Vec<_> = ca_status(dir, day(1)).unwrap().authorities;
    let stages = stages.iter().map(|it| (it.role, it.number, it.stage));
    assert!(stages.eq([
        (Role::Root, 1, AuthorityStage::Active),
        (Role::DeviceCa, 2, AuthorityStage::Active),
        (Role::ServerCa, 1, AuthorityStage::Active),
        (Role::DeviceCa, 1, AuthorityStage::Older),
    ]));
}

#[test]
fn a_root_is_followed_by_another_whose_key_it_certifies() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    let layout = up(dir, 1, day(0)).unwrap().layout;
    let rotate = |role, stage| ca_rotate(&RotateRequest::new(dir, role, stage), day(1));
    let prepared = rotate(Role::Root, Prepare).unwrap();
    assert_eq!(&*prepared.name, "Countersign DEV ONLY root 2");
    assert_eq!(names(&layout.ca_pem()), ["1"]);
    rotate(Role::Root, Publish).unwrap();
    assert_eq!(names(&layout.ca_pem()), ["1", "2"]);
    issue(dir, "dev-1", None).unwrap();
    let device = layout.peer(&Subject::parse("dev-1").unwrap());
    assert_eq!(names(&device.ca), ["1", "2"]);
    let switched = rotate(Role::Root, Switch).unwrap();
    assert_eq!(switched.before, Some((1, 2)), "a device CA and a server CA");
    for stage in [Prepare, Publish, Switch] {
        rotate(Role::ServerCa, stage).unwrap();
    }
    crate::broker_issue(dir, &[], None, day(1)).unwrap();
    let chain = names(&layout.broker().cert);
    assert_eq!(
        chain[1..],
        ["2", "2"],
        "the server CA, and the key of its root"
    );
    is_sound(dir, 1);
    let refused = rotate(Role::Root, Retire).unwrap_err();
    assert_eq!(refused.exit_class(), ExitClass::Refused);
    // What the cross certificate says is compared with the roots on record.
    let registry = rusqlite::Connection::open(layout.registry()).unwrap();
    let swap = "UPDATE cross_certificate SET subject = issuer, issuer = subject";
    registry.execute_batch(swap).unwrap();
    let found = ca_verify(dir, day(1)).unwrap().findings;
    assert!(
        found
            .iter()
            .any(|it| it.about.starts_with("cross certificate")),
        "{found:?}"
    );
}
