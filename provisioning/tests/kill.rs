//! Invariant 10 under `kill -9`: whatever certificate is on disk, the registry has it; and the next
//! run puts right what was left.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::HashSet;
use std::env;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use countersign_provisioning::{Layout, UpRequest, up_prepare};
use rusqlite::Connection;
use rustls_pki_types::UnixTime;

const DIR: &str = "COUNTERSIGN_TEST_KILL_DIR";
/// More than are recorded at once.
const DEVICES: u32 = 300;

#[test]
fn a_certificate_is_on_record_before_it_is_on_disk() {
    for after in [1, 100, 260] {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("dev");
        kill_when(&dir, after);
        check_record(&dir);
        let request = UpRequest {
            dir: &dir,
            devices: DEVICES,
            server_names: &[],
            trust_domain: None,
        };
        let prepared = up_prepare(&request, UnixTime::now()).unwrap();
        let on_disk = prepared
            .devices
            .iter()
            .filter(|peer| peer.files.key.exists())
            .count();
        assert_eq!(on_disk, prepared.devices.len());
        assert_eq!(check_record(&dir), prepared.devices.len() + 2);
    }
}

/// Not a test: what [`kill_when`] starts in a process of its own, which it tells where to work.
#[test]
#[ignore = "runs only when the test of kill -9 starts it"]
fn victim() {
    let Some(dir) = env::var_os(DIR) else { return };
    let dir = Path::new(&dir);
    let request = UpRequest {
        dir,
        devices: DEVICES,
        server_names: &[],
        trust_domain: None,
    };
    up_prepare(&request, UnixTime::now()).unwrap();
}

/// Starts the victim and kills it when it has made `after` directories of devices.
fn kill_when(dir: &Path, after: usize) {
    let mut victim = Command::new(env::current_exe().unwrap())
        .args(["victim", "--exact", "--ignored"])
        .env(DIR, dir)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let give_up = Instant::now() + Duration::from_mins(1);
    let devices = dir.join("devices");
    while fs::read_dir(&devices).map_or(0, Iterator::count) < after {
        assert!(
            victim.try_wait().unwrap().is_none(),
            "the victim was done before it was killed"
        );
        assert!(Instant::now() < give_up, "the victim makes no devices");
        thread::sleep(Duration::from_millis(1));
    }
    victim.kill().unwrap();
    victim.wait().unwrap();
}

/// Every certificate in a file is in the registry; how many there are.
fn check_record(dir: &Path) -> usize {
    let registry = Connection::open(Layout::new(dir).dir().join("ca/registry.sqlite")).unwrap();
    let mut statement = registry.prepare("SELECT pem FROM certificate").unwrap();
    let pems = statement.query_map([], |row| row.get(0)).unwrap();
    let recorded: HashSet<String> = pems.collect::<Result<_, _>>().unwrap();
    let mut found = 0;
    for group in ["devices", "apps", "."] {
        let Ok(holders) = fs::read_dir(dir.join(group)) else {
            continue;
        };
        for holder in holders {
            let holder = holder.unwrap();
            let (path, name) = (holder.path().join("cert.pem"), holder.file_name());
            let Ok(chain) = fs::read_to_string(path) else {
                continue;
            };
            let end = "-----END CERTIFICATE-----\n";
            let at_its_place = !name.to_string_lossy().starts_with('.');
            let Some(len) = chain.find(end) else {
                assert!(!at_its_place, "half of a file is at its place");
                continue;
            };
            let leaf = &chain[..len + end.len()];
            assert!(recorded.contains(leaf), "{leaf} is not on record");
            found += usize::from(at_its_place);
        }
    }
    found
}
