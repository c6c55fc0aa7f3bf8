//! What was lost comes back, and what was taken away does not.

mod forged;
mod killed;
mod rotated;
mod tokens;

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;
use std::thread;

use certs::{DeviceId, Subject};
use rusqlite::Connection;
use rustls_pki_types::UnixTime;
use tempfile::TempDir;

use super::*;
use crate::age::{DecryptWith, EncryptTo};
use crate::authority::Passphrase;
use crate::error::{CommandError, ExitClass};
use crate::registry::DeviceState;
use crate::testing::{day, issue, mode, revoke, up};
use crate::{
    Event, IssueRequest, LabelChange, LabelRequest, PublishRequest, app_issue, ca_verify,
    crl_publish, crl_show, device_issue, device_label, device_show,
};

fn secret() -> Passphrase {
    Passphrase::new("of the backup".to_owned()).unwrap()
}

fn backup(dir: &Path, out: &Path) -> BackedUp {
    let to = EncryptTo::Passphrase(&secret());
    ca_backup(&BackupRequest { dir, out, to }, day(1)).unwrap()
}

fn restore(file: &Path, dir: &Path) -> Result<Restored, CommandError> {
    restore_with(file, dir, None)
}

fn restore_with(file: &Path, dir: &Path, list: Option<&Path>) -> Result<Restored, CommandError> {
    let request = RestoreRequest {
        file,
        dir,
        with: DecryptWith::Passphrase(&secret()),
        list,
    };
    ca_restore(&request, day(2))
}

fn publish(dir: &Path, now: UnixTime) -> u64 {
    let request = PublishRequest {
        dir,
        passphrase: None,
        days: None,
        force: true,
    };
    crl_publish(&request, now).unwrap().number
}

fn state(dir: &Path, id: &str) -> DeviceState {
    let subject = Subject::parse(id).unwrap();
    device_show(dir, &subject, day(2)).unwrap().device.state
}

/// Whether the certificate that a device had is on the list.
fn is_listed(dir: &Path, id: &str) -> bool {
    let list = crl_show(dir, day(2)).unwrap();
    list.entries
        .iter()
        .any(|it| it.holder.as_deref() == Some(id))
}

/// What is wrong but for files of devices, which are in no backup.
fn findings(dir: &Path) -> Vec<crate::Finding> {
    ca_verify(dir, day(3)).unwrap().findings
}

/// A temporary directory, in it an authority `ca` with two devices and a list, and a backup of it.
fn world() -> (TempDir, [PathBuf; 3]) {
    let temp = tempfile::tempdir().unwrap();
    let [dir, file, other] = ["ca", "backup.age", "other"].map(|name| temp.path().join(name));
    up(&dir, 2, day(0)).unwrap();
    publish(&dir, day(0));
    backup(&dir, &file);
    (temp, [dir, file, other])
}

#[test]
fn an_authority_comes_back_whole_in_an_empty_or_a_new_directory_for_its_owner_alone() {
    let (_temp, [dir, file, other]) = world();
    assert_eq!(mode(&file), 0o600);
    for make in [false, true] {
        if make {
            fs::remove_dir_all(&other).unwrap();
            fs::create_dir(&other).unwrap();
        }
        let done = restore(&file, &other).unwrap();
        assert_eq!((done.into, done.list), (RestoredInto::Empty, 1));
        assert_eq!(done.created, day(1));
        assert_eq!(findings(&other), []);
        for path in [
            "ca.pem",
            "broker.toml",
            "ca/device-ca.key.pem",
            "broker/key.pem",
        ] {
            let [before, after] = [&dir, &other].map(|it| fs::read(it.join(path)).ok());
            assert_eq!(before, after, "{path}");
        }
        assert_eq!(mode(&other.join("ca/device-ca.key.pem")), 0o600);
        assert_eq!(mode(&other.join("ca/registry.sqlite")), 0o600);
        assert_eq!(mode(&other.join("ca")), 0o700);
        issue(&other, "dev-9", None).unwrap();
        assert_eq!(publish(&other, day(3)), 2);
    }
    // The keys of devices are in no backup.
    assert!(!other.join("devices/dev-1").exists());
}

#[test]
fn restored_after_a_revocation_the_revoked_device_stays_revoked() {
    let (_temp, [dir, file, _]) = world();
    revoke(&dir, "dev-1", day(1)).unwrap();
    let number = crl_show(&dir, day(1)).unwrap().number;
    let done = restore(&file, &dir).unwrap();
    assert_eq!((done.into, done.list), (RestoredInto::Kept, number));
    assert_eq!(state(&dir, "dev-1"), DeviceState::Revoked);
    assert!(is_listed(&dir, "dev-1"));
    assert!(publish(&dir, day(3)) > number);
    assert!(is_listed(&dir, "dev-1"));
    assert_eq!(findings(&dir), []);
}

#[test]
fn where_each_knows_what_the_other_does_not_both_are_kept() {
    let (temp, [dir, file, other]) = world();
    // The one goes on, and is backed up again.
    issue(&dir, "dev-3", None).unwrap();
    issue(&dir, "dev-2", None).unwrap();
    let later = temp.path().join("later.age");
    backup(&dir, &later);
    // The other one, restored from the earlier one, goes another way.
    restore(&file, &other).unwrap();
    revoke(&other, "dev-1", day(1)).unwrap();
    issue(&other, "dev-4", None).unwrap();
    issue(&other, "dev-2", None).unwrap();
    let number = publish(&other, day(1));
    let lock = || fs::metadata(other.join("ca/lock")).unwrap().ino();
    let before = lock();

    let done = restore(&later, &other).unwrap();
    let RestoredInto::Merged {
        former,
        was_damaged: false,
    } = &done.into
    else {
        panic!("{done:?}");
    };
    assert!(former.join("registry.sqlite").exists());
    // Whoever waits for the lock waits for that of the new authority.
    assert_eq!(lock(), before);
    assert_eq!((done.certificates_kept, done.list), (2, number));
    assert_eq!(state(&other, "dev-1"), DeviceState::Revoked);
    for id in ["dev-2", "dev-3", "dev-4"] {
        assert_eq!(state(&other, id), DeviceState::Active, "{id}");
    }
    assert!(publish(&other, day(3)) > number);
    assert!(is_listed(&other, "dev-1"));
    assert_eq!(findings(&other), []);
    // What dev-2 was given on either way is on record, so it can be revoked.
    revoke(&other, "dev-2", day(3)).unwrap();
    let subject = Subject::parse("dev-2").unwrap();
    let shown = device_show(&other, &subject, day(3)).unwrap();
    assert_eq!(shown.certificates.len(), 3);
    assert!(
        shown
            .certificates
            .iter()
            .all(|it| it.status.reason().is_some())
    );
}

#[test]
fn the_audit_chain_calls_an_application_restored_as_it_called_it_before() {
    let (temp, [dir, file, other]) = world();
    restore(&file, &other).unwrap();
    let request = IssueRequest {
        dir: &other,
        passphrase: None,
        id: &DeviceId::parse("app-2").unwrap(),
        csr: None,
        algorithm: crate::Algorithm::default(),
        again: false,
    };
    app_issue(&request, day(1)).unwrap();
    revoke(&dir, "app/app-1", day(1)).unwrap();
    let (later, lost) = (temp.path().join("later.age"), temp.path().join("lost"));
    backup(&dir, &later);
    restore(&later, &other).unwrap();
    restore_with(&file, &lost, Some(&dir.join("ca/device-ca.crl"))).unwrap();
    for (dir, event, subject) in [
        (&other, Event::Issued, "app/app-2"),
        (&lost, Event::Revoked, "app/app-1"),
    ] {
        let told = crate::audit_show(dir, 2).unwrap();
        let told: Vec<_> = told.iter().map(|it| (it.event, &*it.subject)).collect();
        assert_eq!(told, [(event, subject), (Event::Restored, "registry")]);
    }
}

/// Puts a device into a group, or takes it out.
fn group(dir: &Path, id: &str, (name, is_in): (&str, bool)) {
    let mut change = LabelChange::default();
    if is_in {
        change.set.groups.insert(name.into());
    } else {
        change.without_groups.insert(name.into());
    }
    let subject = Subject::parse(id).unwrap();
    let request = LabelRequest {
        dir,
        subject: &subject,
        change: &change,
    };
    device_label(&request, day(1)).unwrap();
}

fn groups(dir: &Path, id: &str) -> Vec<String> {
    let subject = Subject::parse(id).unwrap();
    let device = device_show(dir, &subject, day(2)).unwrap().device;
    device
        .labels
        .groups
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn a_group_taken_away_stays_away_and_one_given_later_comes_back() {
    let (temp, [dir, file, other]) = world();
    group(&dir, "dev-2", ("pumps", true));
    fs::remove_file(&file).unwrap();
    backup(&dir, &file);
    restore(&file, &other).unwrap();
    // What was set back to an earlier day, as with a copy of the disk.
    let earlier = temp.path().join("earlier");
    let copy = Command::new("cp").arg("-a").args([&dir, &earlier]).status();
    assert!(copy.unwrap().success());
    group(&dir, "dev-2", ("valves", true));
    issue(&dir, "dev-3", None).unwrap();
    let later = temp.path().join("later.age");
    backup(&dir, &later);

    group(&other, "dev-2", ("pumps", false));
    revoke(&other, "dev-1", day(1)).unwrap();
    restore(&later, &other).unwrap();
    assert_eq!(groups(&other, "dev-2"), [""; 0]);
    restore(&later, &earlier).unwrap();
    assert_eq!(groups(&earlier, "dev-2"), ["pumps", "valves"]);
}

#[test]
fn a_certificate_issued_on_one_way_to_a_device_revoked_on_the_other_is_revoked() {
    let (temp, [dir, file, other]) = world();
    restore(&file, &other).unwrap();
    revoke(&other, "dev-1", day(1)).unwrap();
    issue(&dir, "dev-1", None).unwrap();
    let later = temp.path().join("later.age");
    backup(&dir, &later);
    let done = restore(&later, &other).unwrap();
    assert!(done.revoked >= 2, "{done:?}");
    assert_eq!(state(&other, "dev-1"), DeviceState::Revoked);
    assert_eq!(publish(&other, day(3)), 3);
    let list = crl_show(&other, day(3)).unwrap();
    assert_eq!(list.entries.len(), 2);
}

#[test]
fn where_the_registry_is_damaged_the_lists_say_who_stays_revoked() {
    let (_temp, [dir, file, _]) = world();
    revoke(&dir, "dev-1", day(1)).unwrap();
    let number = publish(&dir, day(1));
    fs::write(dir.join("ca/registry.sqlite"), [7; 8192]).unwrap();
    for leftover in ["registry.sqlite-wal", "registry.sqlite-shm"] {
        let _ = fs::remove_file(dir.join("ca").join(leftover));
    }
    let done = restore(&file, &dir).unwrap();
    assert!(matches!(
        done.into,
        RestoredInto::Merged {
            was_damaged: true,
            ..
        }
    ));
    assert_eq!((done.revoked, done.list), (1, number));
    assert_eq!(state(&dir, "dev-1"), DeviceState::Revoked);
    // The number is on record, also when the files are lost next.
    for list in ["ca/device-ca.crl", "broker/crl/device-ca.crl"] {
        fs::remove_file(dir.join(list)).unwrap();
    }
    assert_eq!(publish(&dir, day(3)), number + 1);
    assert!(is_listed(&dir, "dev-1"));
    assert_eq!(findings(&dir), []);
}

#[test]
fn a_list_that_brokers_have_is_gone_by_where_the_directory_was_lost() {
    let (temp, [dir, file, other]) = world();
    revoke(&dir, "dev-1", day(1)).unwrap();
    let number = publish(&dir, day(1));
    let list = temp.path().join("from-a-broker.crl");
    fs::copy(dir.join("ca/device-ca.crl"), &list).unwrap();
    let done = restore_with(&file, &other, Some(&list)).unwrap();
    assert_eq!((done.revoked, done.list), (1, number));
    assert_eq!(state(&other, "dev-1"), DeviceState::Revoked);
    assert_eq!(publish(&other, day(3)), number + 1);

    let foreign = temp.path().join("foreign");
    up(&foreign, 1, day(0)).unwrap();
    publish(&foreign, day(0));
    fs::remove_dir_all(&other).unwrap();
    let refused = restore_with(&file, &other, Some(&foreign.join("ca/device-ca.crl")));
    assert!(
        refused
            .unwrap_err()
            .to_string()
            .contains("not a revocation list of this")
    );
    assert!(!other.exists());
}

#[test]
fn revocations_that_would_be_forgotten_are_not_restored_over() {
    let (_temp, [dir, file, _]) = world();
    issue(&dir, "dev-5", None).unwrap();
    revoke(&dir, "dev-5", day(1)).unwrap();
    fs::write(dir.join("ca/registry.sqlite"), [7; 8192]).unwrap();
    let refused = restore(&file, &dir).unwrap_err();
    assert_eq!(refused.exit_class(), ExitClass::Refused);
    assert_eq!(fs::read(dir.join("ca/registry.sqlite")).unwrap(), [7; 8192]);
    assert!(!dir.join(".restore.new").exists());
}

#[test]
fn the_directory_of_another_authority_and_that_of_something_else_are_left_alone() {
    let (temp, [_, file, other]) = world();
    up(&other, 1, day(0)).unwrap();
    let refused = restore(&file, &other).unwrap_err();
    assert_eq!(refused.exit_class(), ExitClass::Refused);
    assert_eq!(findings(&other), []);
    let photos = temp.path().join("photos");
    fs::create_dir(&photos).unwrap();
    fs::write(photos.join("cat.jpg"), "cat").unwrap();
    let refused = restore(&file, &photos).unwrap_err();
    assert!(matches!(refused, CommandError::NotOurs(_)));
    assert_eq!(fs::read_dir(&photos).unwrap().count(), 1);
    // Nothing was left beside them either.
    let names = fs::read_dir(temp.path())
        .unwrap()
        .map(|it| it.unwrap().file_name());
    assert!(
        names
            .into_iter()
            .all(|name| !name.to_string_lossy().ends_with(".new"))
    );
}

#[test]
fn files_that_are_missing_come_back_and_those_that_are_there_stay() {
    let (_temp, [dir, file, _]) = world();
    fs::remove_file(dir.join("ca/server-ca.key.pem")).unwrap();
    fs::remove_file(dir.join("ca.pem")).unwrap();
    fs::write(dir.join("broker.toml"), "# changed since").unwrap();
    restore(&file, &dir).unwrap();
    assert_eq!(
        fs::read_to_string(dir.join("broker.toml")).unwrap(),
        "# changed since"
    );
    assert_eq!(mode(&dir.join("ca/server-ca.key.pem")), 0o600);
    assert_eq!(findings(&dir), []);
}

#[test]
fn where_a_key_is_in_a_token_comes_back_and_stays() {
    let (temp, [dir, _, other]) = world();
    let place = |dir: &Path| Layout::new(dir).authority_key(certs::Role::DeviceCa);
    let uri = "pkcs11:object=device-ca?module-path=/p11.so\n";
    fs::remove_file(place(&dir)).unwrap();
    fs::write(reference(&place(&dir)), uri).unwrap();
    fs::set_permissions(reference(&place(&dir)), Permissions::from_mode(0o600)).unwrap();
    let file = temp.path().join("token.age");
    backup(&dir, &file);
    for dir in [&other, &dir] {
        restore(&file, dir).unwrap();
        let found = reference(&place(dir));
        assert_eq!(fs::read_to_string(&found).unwrap(), uri);
        assert_eq!(mode(&found), 0o600);
        assert!(!place(dir).exists());
    }
}

#[test]
fn a_backup_made_while_devices_are_issued_to_is_whole() {
    let (temp, [dir, _, _]) = world();
    let working = dir.clone();
    let work = thread::spawn(move || {
        for n in 0..20 {
            let request = IssueRequest {
                dir: &working,
                passphrase: None,
                id: &DeviceId::parse(&format!("busy-{n}")).unwrap(),
                csr: None,
                algorithm: crate::Algorithm::default(),
                again: false,
            };
            device_issue(&request, day(0)).unwrap();
        }
    });
    for n in 0..5 {
        let file = temp.path().join(format!("{n}.age"));
        backup(&dir, &file);
        let other = temp.path().join(format!("restored-{n}"));
        restore(&file, &other).unwrap();
        assert_eq!(findings(&other), [], "{n}");
    }
    work.join().unwrap();
    let stray = dir.join("ca/registry.sqlite.backup.new");
    assert!(!stray.exists());
}

#[test]
fn a_file_that_is_there_is_not_written_over_and_its_mode_does_not_matter() {
    let (_temp, [dir, file, _]) = world();
    let before = fs::read(&file).unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o666)).unwrap();
    let secret = secret();
    let request = BackupRequest {
        dir: &dir,
        out: &file,
        to: EncryptTo::Passphrase(&secret),
    };
    let refused = ca_backup(&request, day(1)).unwrap_err();
    assert_eq!(refused.exit_class(), ExitClass::Refused);
    assert_eq!(fs::read(&file).unwrap(), before);
}

#[test]
fn nothing_of_a_secret_stands_in_the_file_and_the_restore_is_on_record() {
    let (_temp, [dir, file, other]) = world();
    let text = fs::read(&file).unwrap();
    let has = |needle: &[u8]| text.windows(needle.len()).any(|it| it == needle);
    assert!(has(b"age-encryption.org/v1"));
    for secret in [&b"PRIVATE KEY"[..], b"SQLite format", b"manifest"] {
        assert!(!has(secret));
    }
    restore(&file, &other).unwrap();
    let last = crate::audit_show(&other, 1).unwrap().pop().unwrap();
    assert_eq!(last.event, Event::Restored);
    let count = "SELECT count(*) FROM audit WHERE event = 'restored'";
    let connection = Connection::open(dir.join("ca/registry.sqlite")).unwrap();
    assert_eq!(
        connection.query_row(count, [], |row| row.get::<_, i64>(0)),
        Ok(0)
    );
}
