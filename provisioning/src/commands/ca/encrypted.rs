//! Authorities whose keys are encrypted: who needs the passphrase, and what a wrong one does.

use std::fs;
use std::path::{Path, PathBuf};

use certs::{BasicConstraints, DeviceId, RevocationReason, Role, Subject};
use tempfile::TempDir;

use crate::authority::Algorithm;
use crate::layout::Layout;
use crate::testing::{certificate, day, up};
use crate::{
    BatchFormat, BatchRequest, CommandError, ExitClass, ExportRequest, InitRequest, IssueRequest,
    KeyKept, Passphrase, PublishRequest, RenewRequest, ResumeRequest, RevokeRequest, batch_issue,
    batch_resume, broker_issue, ca_init, ca_status, crl_publish, device_issue, device_renew,
    device_revoke, registry_export,
};

fn passphrase(text: &str) -> Option<Passphrase> {
    Passphrase::new(text.to_owned())
}

fn world(algorithm: Algorithm) -> TempDir {
    let temp = tempfile::tempdir().unwrap();
    let right = passphrase("right");
    let request = InitRequest {
        organization: Some("Acme, Inc."),
        algorithm: Some(algorithm),
        passphrase: right.as_ref(),
        ..InitRequest::new(temp.path())
    };
    assert_eq!(ca_init(&request, day(0)).unwrap().keys, KeyKept::Encrypted);
    fs::write(temp.path().join("list.csv"), "device_id\nd-1\nd-2\n").unwrap();
    temp
}

/// Every command that needs a key of an authority, one after the other.
fn commands(dir: &Path, passphrase: Option<&Passphrase>) -> Vec<Result<(), CommandError>> {
    let id = &DeviceId::parse("dev-1").unwrap();
    let subject = &Subject::parse("dev-1").unwrap();
    let (file, out) = (&dir.join("list.csv"), &dir.join("out"));
    let name = &DeviceId::parse("lot").unwrap();
    let now = day(1);
    let issue = IssueRequest {
        dir,
        passphrase,
        id,
        csr: None,
        algorithm: Algorithm::default(),
        again: false,
    };
    let renew = RenewRequest {
        dir,
        passphrase,
        id,
        csr: None,
        out: None,
    };
    let batch = BatchRequest {
        password: None,
        dir,
        passphrase,
        file,
        name,
        out,
        format: BatchFormat::Jsonl,
    };
    let resume = ResumeRequest {
        password: None,
        dir,
        passphrase,
        name,
    };
    let export = ExportRequest {
        dir,
        passphrase,
        days: None,
    };
    let publish = PublishRequest {
        force: false,
        dir,
        passphrase,
        days: None,
    };
    let revoke = RevokeRequest {
        dir,
        passphrase,
        subject,
        reason: RevocationReason::KeyCompromise,
    };
    vec![
        device_issue(&issue, now).map(drop),
        device_renew(&renew, now).map(drop),
        broker_issue(dir, &[], passphrase, now).map(drop),
        batch_issue(&batch, &|_| (), now).map(drop),
        batch_resume(&resume, &|_| (), now).map(drop),
        registry_export(&export, now).map(drop),
        crl_publish(&publish, now).map(drop),
        device_revoke(&revoke, now).map(drop),
    ]
}

/// Every file in a directory, and those below it, with what is in it. What SQLite keeps beside the
/// registry comes and goes.
fn contents(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(contents(&path));
        } else if !path.to_string_lossy().contains("sqlite") {
            let octets = fs::read(&path).unwrap();
            found.push((path, octets));
        }
    }
    found.sort();
    found
}

/// How many rows there are of what a command could add.
fn rows(dir: &Path) -> u32 {
    let registry = rusqlite::Connection::open(Layout::new(dir).registry()).unwrap();
    let sql = "SELECT (SELECT count(*) FROM certificate) + (SELECT count(*) FROM device)
               + (SELECT count(*) FROM publication) + (SELECT count(*) FROM batch)
               + (SELECT count(*) FROM device_revocation)";
    registry.query_row(sql, [], |row| row.get(0)).unwrap()
}

#[test]
fn a_wrong_passphrase_is_refused_in_words_and_changes_nothing() {
    let temp = world(Algorithm::P256);
    let before = (contents(temp.path()), rows(temp.path()));
    for (passphrase, words, class) in [
        (
            passphrase("wrong"),
            "the passphrase is not that of",
            ExitClass::Failed,
        ),
        (None, "--passphrase-file", ExitClass::Usage),
    ] {
        for done in commands(temp.path(), passphrase.as_ref()) {
            let refused = done.unwrap_err();
            assert!(refused.to_string().contains(words), "{refused}");
            assert_eq!(refused.exit_class(), class);
        }
        assert_eq!((contents(temp.path()), rows(temp.path())), before);
    }
}

#[test]
fn the_right_passphrase_opens_every_command_whatever_the_algorithm() {
    for algorithm in [Algorithm::P256, Algorithm::P384, Algorithm::Ed25519] {
        let temp = world(algorithm);
        for done in commands(temp.path(), passphrase("right").as_ref()) {
            done.unwrap();
        }
        let status = ca_status(temp.path(), day(1)).unwrap();
        let stand: Vec<_> = status
            .authorities
            .iter()
            .map(|it| (it.algorithm, it.key))
            .collect();
        let encrypted = |algorithm| (Some(algorithm), KeyKept::Encrypted);
        let expected = [Algorithm::P384, algorithm, algorithm].map(encrypted);
        assert_eq!(stand, expected);
    }
}

#[test]
fn the_organization_and_a_number_stand_in_the_names() {
    let temp = world(Algorithm::P256);
    let layout = Layout::new(temp.path());
    for (role, name, path_len) in [
        (Role::Root, "root", 2),
        (Role::DeviceCa, "device CA", 0),
        (Role::ServerCa, "server CA", 0),
    ] {
        let found = certificate(&layout.authority_pem(role));
        assert_eq!(found.organizations, ["Acme, Inc.".into()]);
        assert_eq!(
            found.common_name,
            certs::CommonName::One(format!("Acme, Inc. {name} 1").into())
        );
        let constraints = BasicConstraints::Authority {
            path_len: Some(path_len),
        };
        assert_eq!(found.extensions.basic_constraints, constraints);
    }
}

#[test]
fn authorities_that_are_not_such_as_are_asked_for_are_not_passed_off_as_such() {
    let encrypted = world(Algorithm::P256);
    let development = tempfile::tempdir().unwrap();
    up(development.path(), 0, day(0)).unwrap();
    let right = passphrase("right");
    let asked = |dir| InitRequest {
        passphrase: right.as_ref(),
        ..InitRequest::new(dir)
    };
    let organization = Some("Other");
    let algorithm = Some(Algorithm::Ed25519);
    for (request, words) in [
        (
            asked(development.path()),
            "the keys are unencrypted, not encrypted",
        ),
        (
            InitRequest {
                organization,
                ..asked(encrypted.path())
            },
            "the authorities are Acme, Inc., not Other",
        ),
        (
            InitRequest {
                algorithm,
                ..asked(encrypted.path())
            },
            "sign with p256, not ed25519",
        ),
    ] {
        let refused = ca_init(&request, day(0)).unwrap_err();
        assert!(refused.to_string().contains(words), "{refused}");
        assert_eq!(refused.exit_class(), ExitClass::Usage);
    }
    let refused = up(encrypted.path(), 0, day(0)).unwrap_err();
    assert!(refused.to_string().contains("for development"), "{refused}");
    assert_eq!(refused.exit_class(), ExitClass::Refused);
}

#[test]
fn a_name_that_cannot_stand_in_a_certificate_is_refused_before_anything_is_made() {
    let temp = tempfile::tempdir().unwrap();
    let (long, right) = ("x".repeat(60), passphrase("right"));
    for organization in ["", " Acme", "Ac\nme", &long] {
        let request = InitRequest {
            organization: Some(organization),
            passphrase: right.as_ref(),
            ..InitRequest::new(temp.path())
        };
        let refused = ca_init(&request, day(0)).unwrap_err();
        assert_eq!(refused.exit_class(), ExitClass::Usage, "{organization:?}");
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 0);
    }
}
