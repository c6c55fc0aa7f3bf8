//! A rotation under `kill -9`: whenever it was stopped, the same stages given again bring it to the
//! same end.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::env;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Instant;

use certs::{DeviceId, Role};
use countersign_provisioning::{
    Algorithm, AuthorityStage, IssueRequest, KeyFate, Layout, RotateRequest, RotationStage,
    UpRequest, ca_rotate, ca_status, ca_verify, device_issue, up_prepare,
};
use rustls_pki_types::UnixTime;

const DIR: &str = "COUNTERSIGN_TEST_ROTATE_KILL_DIR";
const KILLS: u32 = 12;

#[test]
fn a_rotation_that_is_killed_anywhere_goes_on_to_its_end() {
    let whole = {
        let temp = tempfile::tempdir().unwrap();
        up(temp.path());
        let begun = Instant::now();
        assert!(spawn(temp.path()).wait().unwrap().success());
        begun.elapsed()
    };
    for kill in 0..KILLS {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path();
        up(dir);
        let mut victim = spawn(dir);
        thread::sleep(whole * kill / KILLS);
        // It may be done already.
        let _ = victim.kill();
        victim.wait().unwrap();
        let stages = left(dir);
        println!("kill {kill}: {stages:?} are left");
        for stage in stages {
            rotate(dir, *stage);
        }
        check_end(dir);
    }
}

/// Not a test: what the test starts in a process of its own, which it tells where to work.
#[test]
#[ignore = "runs only when the test of kill -9 starts it"]
fn victim() {
    let Some(dir) = env::var_os(DIR) else { return };
    for stage in RotationStage::ALL {
        rotate(Path::new(&dir), stage);
    }
}

fn up(dir: &Path) {
    let request = UpRequest {
        dir,
        devices: 1,
        server_names: &[],
        trust_domain: None,
    };
    up_prepare(&request, UnixTime::now()).unwrap();
}

fn spawn(dir: &Path) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["victim", "--exact", "--ignored"])
        .env(DIR, dir)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

fn rotate(dir: &Path, stage: RotationStage) {
    let retires = stage == RotationStage::Retire;
    let request = RotateRequest {
        cut_off: retires,
        key: if retires {
            KeyFate::Destroy
        } else {
            KeyFate::Keep
        },
        ..RotateRequest::new(dir, Role::DeviceCa, stage)
    };
    ca_rotate(&request, UnixTime::now()).unwrap();
}

/// The stages from the last one that was come to: it may have been stopped within.
fn left(dir: &Path) -> &'static [RotationStage] {
    let authorities = ca_status(dir, UnixTime::now()).unwrap().authorities;
    let stage_of = |number| {
        let mut device_cas = authorities.iter().filter(|it| it.role == Role::DeviceCa);
        device_cas.find(|it| it.number == number).map(|it| it.stage)
    };
    let reached = match (stage_of(1), stage_of(2)) {
        (Some(AuthorityStage::Retired), _) => 3,
        (_, Some(AuthorityStage::Active)) => 2,
        (_, Some(AuthorityStage::Published)) => 1,
        _ => 0,
    };
    RotationStage::ALL.get(reached..).unwrap()
}

/// One key of each, one anchor, one list, and everything as it is on record.
fn check_end(dir: &Path) {
    let found = ca_verify(dir, UnixTime::now()).unwrap();
    assert_eq!(found.findings, []);
    let layout = Layout::new(dir);
    let names = |dir: &Path| {
        let names = fs::read_dir(dir).unwrap().map(|it| it.unwrap().file_name());
        let mut names: Vec<_> = names.map(|it| it.into_string().unwrap()).collect();
        names.retain(|it| it.starts_with("device-ca") && !it.contains(".new"));
        names.sort();
        names
    };
    let expected = [
        "device-ca-2.crl",
        "device-ca-2.key.pem",
        "device-ca-2.pem",
        "device-ca.crl",
        "device-ca.pem",
        "device-cas.pem",
    ];
    assert_eq!(names(&dir.join("ca")), expected);
    assert_eq!(names(&layout.broker().dir.join("crl")), ["device-ca-2.crl"]);
    let anchor = fs::read(layout.broker().ca).unwrap();
    assert_eq!(anchor, fs::read(dir.join("ca/device-ca-2.pem")).unwrap());
    let request = IssueRequest {
        dir,
        passphrase: None,
        id: &DeviceId::parse("dev-2").unwrap(),
        csr: None,
        algorithm: Algorithm::default(),
        again: false,
    };
    device_issue(&request, UnixTime::now()).unwrap();
}
