//! A batch under `kill -9`, and batches of several processes: each device has exactly one
//! certificate that counts and the payload for it, and no serial number is there twice.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

use std::cell::Cell;
use std::collections::{BTreeMap, HashSet};
use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use certs::{Certificate, DeviceId};
use countersign_provisioning::{
    BatchFormat, BatchRequest, BatchStatus, InitRequest, Layout, ResumeRequest, audit_verify,
    batch_issue, batch_resume, batch_status, ca_init,
};
use rcgen::{KeyPair, PublicKeyData};
use rusqlite::Connection;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, UnixTime};
use tempfile::TempDir;

/// Where the victim works: the directory of the test, the name of the batch, its format.
const PLACE: &str = "COUNTERSIGN_TEST_BATCH";

/// The disk is one: these tests would only wait for each other.
static ALONE: Mutex<()> = Mutex::new(());

#[test]
fn a_batch_killed_at_five_moments_is_done_exactly_once() {
    for format in ["dir", "jsonl"] {
        kill_and_resume(2_000, 5, format);
    }
}

#[test]
fn four_processes_on_one_authority_give_each_device_one_certificate() {
    four_processes(100);
}

#[test]
fn two_processes_on_one_batch_do_it_together() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    for format in ["dir", "jsonl"] {
        let world = World::new(1, 1_000);
        let mut children = [(); 2].map(|()| world.start(0, format));
        for child in &mut children {
            assert!(child.wait().unwrap().success());
        }
        world.check(0, 1_000, format);
        assert_eq!(world.certificates().len(), 1_000);
    }
}

mod at_length {
    use super::*;

    #[test]
    #[ignore = "long: scripts/test --long runs it"]
    fn long_a_batch_of_10_000_killed_at_twenty_moments_is_done_exactly_once() {
        for format in ["dir", "jsonl"] {
            kill_and_resume(10_000, 20, format);
        }
    }

    #[test]
    #[ignore = "long: scripts/test --long runs it"]
    fn long_four_processes_that_issue_1_000_each_use_4_000_serial_numbers() {
        four_processes(1_000);
    }
}

/// Not a test: what the tests start in a process of its own. It does its batch, writes after each
/// chunk how many rows are done, and how many milliseconds that chunk took, and goes no further
/// than its leash.
#[test]
#[ignore = "runs only when the tests of batches start it"]
fn victim() {
    let Ok(place) = env::var(PLACE) else { return };
    let [dir, lot, format] = *place.split('\n').collect::<Vec<_>>() else {
        panic!("{place}")
    };
    let world = Path::new(dir);
    let request = BatchRequest {
        password: None,
        passphrase: None,
        dir: &world.join("ca"),
        file: &world.join(format!("list-{lot}")),
        name: &DeviceId::parse(&format!("lot-{lot}")).unwrap(),
        out: &world.join(format!("out-{lot}")),
        format: if format == "dir" {
            BatchFormat::Dir
        } else {
            BatchFormat::Jsonl
        },
    };
    // Written past the harness, which keeps what a test prints.
    let last = Cell::new(Instant::now());
    let tell = |status: &BatchStatus| {
        let took = last.replace(Instant::now()).elapsed().as_millis();
        let [new, told] = ["new", "done"].map(|name| world.join(format!("{name}-{lot}")));
        fs::write(&new, format!("{} {took}", status.standing.written)).unwrap();
        fs::rename(new, told).unwrap();
        while fs::read_to_string(world.join(format!("leash-{lot}"))).is_ok_and(|leash| {
            leash
                .parse()
                .is_ok_and(|rows| status.standing.written >= rows)
        }) {
            thread::sleep(Duration::from_millis(1));
        }
        last.set(Instant::now());
    };
    batch_issue(&request, &tell, UnixTime::now()).unwrap();
}

fn four_processes(devices: usize) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let world = World::new(4, devices);
    let mut children: Vec<_> = (0..4).map(|lot| world.start(lot, "dir")).collect();
    for child in &mut children {
        assert!(child.wait().unwrap().success());
    }
    for lot in 0..4 {
        world.check(lot, devices, "dir");
    }
    assert_eq!(world.certificates().len(), 4 * devices);
}

/// Kills a batch `kills` times, at moments spread over all of it, and lets the last process end it.
fn kill_and_resume(devices: usize, kills: usize, format: &str) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let world = World::new(1, devices);
    let mut random = Random::new();
    eprintln!("seed {}: {devices} devices, {format}", random.0);
    let mut killed = 0;
    for kill in 0..kills {
        world.leash(0, devices * kill / kills);
        let mut victim = world.start(0, format);
        let (done, chunk) = world.wait_until_done(0, devices * kill / kills, &mut victim);
        world.leash(0, done + 1);
        // Anywhere in the next chunk: while it is signed, recorded, written or noted.
        thread::sleep(chunk * random.below(1_000) / 1_000);
        if victim.try_wait().unwrap().is_none() {
            victim.kill().unwrap();
            killed += 1;
        }
        let ended = victim.wait().unwrap();
        assert!(ended.success() || ended.signal().is_some(), "{ended}");
        world.nobody_has_two(devices);
    }
    assert!(
        killed * 2 > kills,
        "the victim was done before it was killed"
    );
    let name = &DeviceId::parse("lot-0").unwrap();
    let dir = &world.ca();
    let resumed = batch_resume(
        &ResumeRequest {
            password: None,
            passphrase: None,
            dir,
            name,
        },
        &|_| (),
        UnixTime::now(),
    )
    .unwrap();
    assert_eq!(resumed.passed_over.len(), 0);
    world.check(0, devices, format);
    let lost = world.certificates().len() - devices;
    eprintln!("{killed} kills, {lost} certificates superseded because their keys were lost");
    assert!(lost <= killed * 256);
}

/// A directory with an authority in `ca`, and lists for several batches.
struct World {
    temp: TempDir,
}

impl World {
    fn new(lots: usize, devices: usize) -> Self {
        let world = Self {
            temp: tempfile::tempdir().unwrap(),
        };
        ca_init(&InitRequest::new(&world.ca()), UnixTime::now()).unwrap();
        for lot in 0..lots {
            world.write_list(lot, devices);
        }
        world
    }

    fn write_list(&self, lot: usize, devices: usize) {
        let rows: Vec<_> = (0..devices)
            .map(|n| format!("d-{lot}-{n},Bern\n"))
            .collect();
        let list = format!("device_id,site\n{}", rows.concat());
        fs::write(self.path(&format!("list-{lot}")), list).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    fn ca(&self) -> PathBuf {
        self.path("ca")
    }

    fn start(&self, lot: usize, format: &str) -> Child {
        let place = format!("{}\n{lot}\n{format}", self.temp.path().display());
        Command::new(env::current_exe().unwrap())
            .args(["victim", "--exact", "--ignored", "--nocapture"])
            .env(PLACE, place)
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    }

    /// Once so many rows are done, the next victim waits.
    fn leash(&self, lot: usize, rows: usize) {
        let [new, leash] = ["new-leash", "leash"].map(|name| self.path(&format!("{name}-{lot}")));
        fs::write(&new, rows.to_string()).unwrap();
        fs::rename(new, leash).unwrap();
    }

    /// Waits until so many rows are done, or all that the victim does. Yields how many are, and how
    /// long its last chunk took.
    fn wait_until_done(&self, lot: usize, rows: usize, victim: &mut Child) -> (usize, Duration) {
        let told = self.path(&format!("done-{lot}"));
        let give_up = Instant::now() + Duration::from_mins(2);
        loop {
            let text = fs::read_to_string(&told).unwrap_or_default();
            let (done, took) = text.split_once(' ').unwrap_or(("0", "50"));
            let done = done.parse().unwrap();
            if done >= rows || victim.try_wait().unwrap().is_some() {
                return (done, Duration::from_millis(took.parse().unwrap()));
            }
            assert!(Instant::now() < give_up, "the victim does nothing");
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn registry(&self) -> Connection {
        Connection::open(Layout::new(self.ca()).dir().join("ca/registry.sqlite")).unwrap()
    }

    /// The serial number and the PEM of every certificate of a device.
    fn certificates(&self) -> BTreeMap<Vec<u8>, String> {
        let registry = self.registry();
        let sql = "SELECT serial, pem FROM certificate WHERE role = 'device'";
        let mut statement = registry.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
        let rows: Vec<_> = rows.unwrap().collect::<Result<_, _>>().unwrap();
        let count = rows.len();
        let serials: BTreeMap<_, _> = rows.into_iter().collect();
        assert_eq!(serials.len(), count, "a serial number is there twice");
        serials
    }

    fn nobody_has_two(&self, devices: usize) {
        let sql = "SELECT count(*), count(DISTINCT device) FROM certificate
                   WHERE role = 'device' AND status = 'issued'";
        let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
        let (active, distinct): (u32, u32) = self.registry().query_row(sql, [], read).unwrap();
        assert_eq!(active, distinct);
        assert!(usize::try_from(active).unwrap() <= devices);
    }

    /// Each device of a batch has one certificate that counts, and the payload for it.
    fn check(&self, lot: usize, devices: usize, format: &str) {
        let name = DeviceId::parse(&format!("lot-{lot}")).unwrap();
        let status = batch_status(&self.ca(), Some(&name)).unwrap().remove(0);
        let chain = audit_verify(&self.ca()).unwrap();
        assert!(chain.entries > u64::try_from(devices).unwrap());
        assert!(status.finished.is_some());
        assert_eq!(usize::try_from(status.standing.written).unwrap(), devices);
        let payloads = match format {
            "dir" => self.payloads_in_dirs(lot),
            _ => self.payloads_in_file(lot),
        };
        assert_eq!(payloads.len(), devices);
        let recorded = self.certificates();
        let active: HashSet<String> = self.active(lot);
        assert_eq!(active.len(), devices);
        let mut ids = HashSet::new();
        for (id, chain, key) in payloads {
            let der = CertificateDer::from_pem_slice(chain.as_bytes()).unwrap();
            let leaf = Certificate::read(&der).unwrap();
            let key = KeyPair::from_pem(&key).unwrap();
            assert_eq!(*leaf.public_key, *key.subject_public_key_info(), "{id}");
            let pem = &recorded[leaf.serial.as_octets()];
            assert!(
                chain.starts_with(pem.as_str()) && active.contains(pem),
                "{id}"
            );
            assert!(leaf.subject.contains(&id), "{id}");
            assert!(ids.insert(id));
        }
    }

    fn active(&self, lot: usize) -> HashSet<String> {
        let registry = self.registry();
        let sql = "SELECT pem FROM certificate WHERE status = 'issued' AND device LIKE ?";
        let mut statement = registry.prepare(sql).unwrap();
        let like = format!("d-{lot}-%");
        let pems = statement.query_map([like], |row| row.get(0)).unwrap();
        pems.collect::<Result<_, _>>().unwrap()
    }

    fn payloads_in_dirs(&self, lot: usize) -> Vec<(String, String, String)> {
        let entries = fs::read_dir(self.path(&format!("out-{lot}"))).unwrap();
        let payload = |entry: fs::DirEntry| {
            let read = |name| fs::read_to_string(entry.path().join(name)).unwrap();
            let names = fs::read_dir(entry.path()).unwrap().count();
            assert_eq!(names, 3, "{}", entry.path().display());
            let id = entry.file_name().into_string().unwrap();
            (id, read("cert.pem"), read("key.pem"))
        };
        entries.map(|entry| payload(entry.unwrap())).collect()
    }

    fn payloads_in_file(&self, lot: usize) -> Vec<(String, String, String)> {
        let file = fs::File::open(self.path(&format!("out-{lot}"))).unwrap();
        let payload = |line: String| {
            let line: serde_json::Value = serde_json::from_str(&line).unwrap();
            let text = |name: &str| line[name].as_str().unwrap().to_owned();
            (text("device_id"), text("certificate"), text("private_key"))
        };
        let lines = BufReader::new(file).lines();
        lines.map(|line| payload(line.unwrap())).collect()
    }
}

/// Small, and another one each time; the seed is printed.
struct Random(u64);

impl Random {
    fn new() -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Self(u64::try_from(now.unwrap().as_nanos() % u128::from(u64::MAX)).unwrap() | 1)
    }

    fn below(&mut self, most: u32) -> u32 {
        // xorshift64
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        u32::try_from(self.0 % u64::from(most)).unwrap()
    }
}
