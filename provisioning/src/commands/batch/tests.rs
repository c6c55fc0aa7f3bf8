//! Batches from their list to their last payload.

mod refused;

use std::cell::RefCell;
use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use certs::{DeviceId, Subject};
use rcgen::{KeyPair, PublicKeyData};
use rusqlite::Connection;
use tempfile::TempDir;

use super::*;
use crate::authority::Passphrase;
use crate::layout::Layout;
use crate::registry::{BatchFormat, DeviceState};
use crate::testing::{certificate, day, issue, mode, revoke};
use crate::{
    CommandError, ExitClass, Filter, InitRequest, ca_init, device_list, device_remove, device_show,
};

/// A directory with an authority in `ca`, and a list in `list`.
pub(super) struct World {
    temp: TempDir,
}

impl World {
    pub(super) fn new(list: impl AsRef<[u8]>) -> Self {
        let world = Self {
            temp: tempfile::tempdir().unwrap(),
        };
        ca_init(&InitRequest::new(&world.ca()), day(0)).unwrap();
        fs::write(world.path("list"), list).unwrap();
        world
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    pub(super) fn ca(&self) -> PathBuf {
        self.path("ca")
    }

    pub(super) fn issue(&self, name: &str, format: BatchFormat) -> Result<BatchDone, CommandError> {
        self.issue_watched(name, format, &|_| ())
    }

    fn issue_watched(
        &self,
        name: &str,
        format: BatchFormat,
        seen: &dyn Fn(&BatchStatus),
    ) -> Result<BatchDone, CommandError> {
        let password = Passphrase::new("secret".to_owned());
        let request = BatchRequest {
            password: password.as_ref().filter(|_| format == BatchFormat::P12),
            passphrase: None,
            dir: &self.ca(),
            file: &self.path("list"),
            name: &DeviceId::parse(name).unwrap(),
            out: &self.path("out"),
            format,
        };
        batch_issue(&request, seen, day(0))
    }

    fn resume(&self, name: &str) -> Result<BatchDone, CommandError> {
        let name = &DeviceId::parse(name).unwrap();
        let dir = &self.ca();
        batch_resume(
            &ResumeRequest {
                password: None,
                passphrase: None,
                dir,
                name,
            },
            &|_| (),
            day(0),
        )
    }

    pub(super) fn registry(&self) -> Connection {
        Connection::open(Layout::new(self.ca()).registry()).unwrap()
    }

    pub(super) fn count(&self, which: &str) -> u32 {
        let sql = format!("SELECT count(*) FROM {which}");
        self.registry()
            .query_row(&sql, [], |row| row.get(0))
            .unwrap()
    }

    fn active(&self) -> usize {
        let filter = Filter {
            state: Some(DeviceState::Active),
            ..Filter::default()
        };
        device_list(&self.ca(), &filter, day(0)).unwrap().len()
    }

    /// Puts the rows of a batch back to where a process that was killed after it had recorded their
    /// certificates leaves them.
    fn forget_that_rows_are_written(&self) {
        let sql = "UPDATE batch_row SET state = 'recorded'; UPDATE batch SET finished = NULL;";
        self.registry().execute_batch(sql).unwrap();
    }
}

pub(super) fn list(count: usize) -> String {
    let rows = (1..=count).map(|n| format!("sensor-{n},site {n}\n"));
    ["device_id,site\n".to_owned()]
        .into_iter()
        .chain(rows)
        .collect()
}

fn mistakes(error: &CommandError) -> Vec<String> {
    let CommandError::Roster { mistakes, .. } = error else {
        panic!("{error}")
    };
    mistakes.iter().map(ToString::to_string).collect()
}

#[test]
fn every_device_of_a_list_gets_a_file_under_one_password() {
    let world = World::new(list(3));
    fs::create_dir(world.path("out")).unwrap();
    fs::set_permissions(world.path("out"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(world.path("out/SENSOR-2.p12"), "theirs").unwrap();
    let refused = world.issue("lot-1", BatchFormat::P12).unwrap_err();
    assert!(mistakes(&refused)[0].contains("sensor-2.p12 is there already"));
    fs::remove_file(world.path("out/SENSOR-2.p12")).unwrap();
    let done = world.issue("lot-1", BatchFormat::P12).unwrap();
    assert_eq!(done.status.standing.written, 3);
    let names = ["sensor-1.p12", "sensor-2.p12", "sensor-3.p12"];
    let files = names.map(|name| world.path("out").join(name));
    assert_eq!(fs::read_dir(world.path("out")).unwrap().count(), 3);
    assert!(files.iter().all(|file| mode(file) == 0o600));

    // Whose files may be of another password is issued another one.
    let before = files.map(|file| fs::read(file).unwrap());
    world.forget_that_rows_are_written();
    let refused = world.resume("lot-1").unwrap_err();
    assert_eq!(refused.exit_class(), ExitClass::Usage);
    let again = world.issue("lot-1", BatchFormat::P12).unwrap();
    assert_eq!((again.status.standing.written, world.active()), (3, 3));
    for (name, before) in names.iter().zip(before) {
        assert_ne!(fs::read(world.path("out").join(name)).unwrap(), before);
    }
}

#[test]
fn every_device_of_a_list_gets_a_directory_of_its_own() {
    let world = World::new(list(3));
    let done = world.issue("lot-1", BatchFormat::Dir).unwrap();
    assert_eq!(
        (done.status.standing.written, done.passed_over.len()),
        (3, 0)
    );
    assert!(done.status.finished.is_some());
    for n in 1..=3 {
        let dir = world.path("out").join(format!("sensor-{n}"));
        let key = KeyPair::from_pem(&fs::read_to_string(dir.join("key.pem")).unwrap()).unwrap();
        let certificate = certificate(&dir.join("cert.pem"));
        assert_eq!(*certificate.public_key, *key.subject_public_key_info());
        let ca = fs::read(dir.join("ca.pem")).unwrap();
        assert_eq!(ca, fs::read(world.ca().join("ca.pem")).unwrap());
        assert_eq!((mode(&dir), mode(&dir.join("key.pem"))), (0o700, 0o600));
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 3);
    }
    let shown = Subject::parse("sensor-2").unwrap();
    let shown = device_show(&world.ca(), &shown, day(0)).unwrap();
    assert_eq!(&*shown.device.labels.attributes["site"], "site 2");
}

#[test]
fn or_a_line_of_its_own_in_one_file() {
    let world = World::new(list(300));
    // As a process leaves it that is stopped before the batch is on record.
    fs::write(world.path("out.part"), "").unwrap();
    let done = world.issue("lot-1", BatchFormat::Jsonl).unwrap();
    assert_eq!(done.status.standing.written, 300);
    assert_eq!(mode(&world.path("out")), 0o600);
    assert!(!world.path("out.part").exists());
    let text = fs::read_to_string(world.path("out")).unwrap();
    let mut ids = HashSet::new();
    for line in text.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let key = KeyPair::from_pem(line["private_key"].as_str().unwrap()).unwrap();
        let leaf = crate::authority::read_pem(line["certificate"].as_str().unwrap()).unwrap();
        assert_eq!(*leaf.public_key, *key.subject_public_key_info());
        assert_eq!(leaf.serial.to_string(), line["serial"]);
        assert!(ids.insert(line["device_id"].to_string()));
    }
    assert_eq!((ids.len(), world.active()), (300, 300));
}

#[test]
fn no_private_key_is_in_the_registry() {
    let world = World::new(list(2));
    world.issue("lot-1", BatchFormat::Dir).unwrap();
    let needle = fs::read_to_string(world.path("out/sensor-1/key.pem")).unwrap();
    let needle = needle.lines().nth(1).unwrap().to_owned();
    for name in ["registry.sqlite", "registry.sqlite-wal"] {
        let Ok(octets) = fs::read(world.ca().join("ca").join(name)) else {
            continue;
        };
        let text = String::from_utf8_lossy(&octets);
        assert!(
            !text.contains(&needle) && !text.contains("PRIVATE KEY"),
            "{name}"
        );
        assert!(name != "registry.sqlite" || text.contains("BEGIN CERTIFICATE"));
    }
}

#[test]
fn a_batch_given_again_is_the_same_batch() {
    for format in [BatchFormat::Dir, BatchFormat::Jsonl] {
        let world = World::new(list(3));
        let first = world.issue("lot-1", format).unwrap();
        let certificates = world.count("certificate");
        assert_eq!(world.issue("lot-1", format).unwrap(), first);
        assert_eq!(world.issue("LOT-1", format).unwrap(), first);
        assert_eq!(world.resume("lot-1").unwrap(), first);
        assert_eq!(world.count("certificate"), certificates);
    }
}

#[test]
fn another_list_is_another_batch() {
    let world = World::new(list(3));
    world.issue("lot-1", BatchFormat::Dir).unwrap();
    fs::write(world.path("list"), list(4)).unwrap();
    let refused = world.issue("lot-1", BatchFormat::Dir).unwrap_err();
    assert_eq!(refused.exit_class(), ExitClass::Refused, "{refused}");
    let missing = world.resume("lot-2").unwrap_err();
    assert_eq!(missing.exit_class(), ExitClass::NotFound, "{missing}");
}

#[test]
fn a_device_waits_in_one_batch_at_a_time() {
    let world = World::new(list(3));
    world.issue("lot-1", BatchFormat::Dir).unwrap();
    let sql = "DELETE FROM certificate WHERE role = 'device';";
    let undo = format!("UPDATE batch_row SET serial = NULL, state = 'waiting'; {sql}");
    world.registry().execute_batch(&undo).unwrap();
    fs::remove_dir_all(world.path("out")).unwrap();
    let refused = world.issue("lot-2", BatchFormat::Dir).unwrap_err();
    let found = mistakes(&refused);
    assert!(
        found[0].ends_with("sensor-1 is waiting in the batch lot-1"),
        "{found:?}"
    );
    let subject = Subject::parse("sensor-1").unwrap();
    let refused = device_remove(&world.ca(), &subject, day(0)).unwrap_err();
    assert_eq!(refused.exit_class(), ExitClass::Refused, "{refused}");
}

#[test]
fn a_link_slipped_in_while_a_batch_is_stopped_is_not_followed() {
    let world = World::new(list(3));
    world.issue("lot-1", BatchFormat::Dir).unwrap();
    world.forget_that_rows_are_written();
    let (dir, outside) = (world.path("out/sensor-2"), world.path("outside"));
    fs::rename(&dir, &outside).unwrap();
    let before = fs::read(outside.join("key.pem")).unwrap();
    symlink(&outside, &dir).unwrap();
    let refused = world.resume("lot-1").unwrap_err();
    assert!(
        matches!(refused, CommandError::SymbolicLink(_)),
        "{refused}"
    );
    assert_eq!(fs::read(outside.join("key.pem")).unwrap(), before);
}

#[test]
fn a_device_whose_payload_is_there_keeps_its_certificate() {
    let world = World::new(list(3));
    world.issue("lot-1", BatchFormat::Dir).unwrap();
    let certificates = world.count("certificate");
    world.forget_that_rows_are_written();
    let done = world.resume("lot-1").unwrap();
    assert_eq!(done.status.standing.written, 3);
    assert_eq!(world.count("certificate"), certificates);
}

#[test]
fn a_device_whose_key_was_lost_gets_another_certificate_and_the_first_is_superseded() {
    for damage in ["key.pem", "cert.pem", "ca.pem"] {
        let world = World::new(list(3));
        world.issue("lot-1", BatchFormat::Dir).unwrap();
        let first = certificate(&world.path("out/sensor-2/cert.pem")).serial;
        fs::remove_file(world.path("out/sensor-2").join(damage)).unwrap();
        world.forget_that_rows_are_written();
        world.resume("lot-1").unwrap();
        let subject = Subject::parse("sensor-2").unwrap();
        let shown = device_show(&world.ca(), &subject, day(0)).unwrap();
        let lives: Vec<_> = shown.certificates.iter().map(|c| c.status.name()).collect();
        assert_eq!(lives, ["superseded", "issued"], "{damage}");
        assert_eq!(shown.certificates[0].certificate.serial, first);
        let now = certificate(&world.path("out/sensor-2/cert.pem")).serial;
        assert_eq!(shown.certificates[1].certificate.serial, now);
        assert_eq!(world.active(), 3);
    }
}

#[test]
fn what_a_killed_process_left_behind_the_last_durable_octet_is_cut_off() {
    let world = World::new(list(300));
    world.issue("lot-1", BatchFormat::Jsonl).unwrap();
    // As it is after the first chunk, and a second that was recorded and half written.
    let sql = "UPDATE batch SET finished = NULL, durable = ?";
    let text = fs::read_to_string(world.path("out")).unwrap();
    let durable: usize = text.lines().take(256).map(|line| line.len() + 1).sum();
    world
        .registry()
        .execute(sql, [i64::try_from(durable).unwrap()])
        .unwrap();
    let sql = "UPDATE batch_row SET state = 'recorded' WHERE line > 257";
    assert_eq!(world.registry().execute(sql, []).unwrap(), 44);
    fs::remove_file(world.path("out")).unwrap();
    fs::write(world.path("out.part"), &text[..durable + 5_000]).unwrap();
    world.resume("lot-1").unwrap();
    let text = fs::read_to_string(world.path("out")).unwrap();
    let ids: HashSet<_> = text.lines().map(|line| line.split(',').next()).collect();
    assert_eq!(
        (text.lines().count(), ids.len(), world.active()),
        (300, 300, 300)
    );
    assert_eq!(world.count("certificate WHERE status = 'superseded'"), 44);
}

#[test]
fn payloads_that_somebody_took_away_are_not_passed_over_in_silence() {
    let world = World::new(list(300));
    world.issue("lot-1", BatchFormat::Jsonl).unwrap();
    let sql = "UPDATE batch SET finished = NULL;
               UPDATE batch_row SET state = 'recorded' WHERE line > 257";
    world.registry().execute_batch(sql).unwrap();
    fs::write(world.path("out.part"), "short").unwrap();
    for _ in 0..2 {
        let lost = world.resume("lot-1").unwrap_err();
        assert!(matches!(lost, CommandError::OutputLost(_)), "{lost}");
    }
}

#[test]
fn a_file_that_had_its_name_before_the_batch_was_finished_is_kept() {
    let world = World::new(list(3));
    world.issue("lot-1", BatchFormat::Jsonl).unwrap();
    let before = fs::read(world.path("out")).unwrap();
    let sql = "UPDATE batch SET finished = NULL";
    world.registry().execute_batch(sql).unwrap();
    assert!(world.resume("lot-1").unwrap().status.finished.is_some());
    assert_eq!(fs::read(world.path("out")).unwrap(), before);
}

#[test]
fn others_get_their_turn_and_their_devices_are_passed_over() {
    let world = World::new(list(600));
    let turns = RefCell::new(0);
    let between = |status: &BatchStatus| {
        *turns.borrow_mut() += 1;
        assert_eq!(status.standing.rows, 600);
    };
    world
        .issue_watched("lot-1", BatchFormat::Dir, &between)
        .unwrap();
    assert!(turns.into_inner() >= 4);
    let sql = "UPDATE batch SET finished = NULL;
               UPDATE batch_row SET state = 'waiting', serial = NULL WHERE line IN (2, 3);";
    world.registry().execute_batch(sql).unwrap();
    revoke(&world.ca(), "sensor-1", day(0)).unwrap();
    let done = world.resume("lot-1").unwrap();
    assert_eq!(*done.passed_over, ["sensor-1".into(), "sensor-2".into()]);
    assert_eq!((done.status.standing.written, world.active()), (598, 599));
}

#[test]
fn the_status_says_how_far_each_batch_has_come() {
    let world = World::new(list(3));
    world.issue("lot-1", BatchFormat::Dir).unwrap();
    world.forget_that_rows_are_written();
    let [status] = &*batch_status(&world.ca(), None).unwrap() else {
        panic!("one batch")
    };
    assert_eq!((status.standing.waiting, status.finished), (3, None));
    assert!(status.output.is_absolute() && status.output == world.path("out"));
    let lot = DeviceId::parse("lot-2").unwrap();
    let missing = batch_status(&world.ca(), Some(&lot)).unwrap_err();
    assert_eq!(missing.exit_class(), ExitClass::NotFound);
}
