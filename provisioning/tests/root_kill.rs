//! A root that is kept apart, and those it certifies, under `kill -9`: whenever the way was
//! stopped, the same commands given again bring it to its end, and nothing is certified twice.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::env;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use certs::DeviceId;
use countersign_provisioning::{
    Algorithm, CertifyRequest, InstallRequest, IssueRequest, RootInitRequest, RootListRequest,
    RootSignRequest, audit_verify, ca_install, ca_request, ca_verify, device_issue, root_init,
    root_list, root_sign, root_status,
};
use rustls_pki_types::UnixTime;

const DIR: &str = "COUNTERSIGN_TEST_ROOT_KILL_DIR";
/// What comes into being on the way, in this order.
const STEPS: [&str; 13] = [
    "root/ca/registry.sqlite",
    "root/ca/root.key.pem",
    "root/ca.pem",
    "online/ca/registry.sqlite",
    "online/ca/device-ca.key.pem",
    "online/ca/device-ca.csr.pem",
    "online/ca/server-ca.key.pem",
    "requests.pem",
    "certificates.pem",
    "root.crl",
    "online/ca/root.pem",
    "online/ca.pem",
    "online/ca/root.crl",
];

#[test]
fn the_way_from_a_root_to_those_that_issue_is_taken_up_wherever_it_was_killed() {
    for step in STEPS {
        let temp = tempfile::tempdir().unwrap();
        let mut victim = spawn(temp.path());
        while !temp.path().join(step).exists() && victim.try_wait().unwrap().is_none() {
            thread::yield_now();
        }
        // It may be done already.
        let _ = victim.kill();
        victim.wait().unwrap();
        let certified = root_status(&temp.path().join("root"), UnixTime::now());
        let certified = certified.map_or(0, |it| it.certified.len());
        let next = STEPS.iter().find(|step| !temp.path().join(step).exists());
        println!("killed at {step}: {certified} were certified, {next:?} was next");
        go(temp.path());
        check_end(temp.path());
    }
}

/// Not a test: what the test starts in a process of its own, which it tells where to work.
#[test]
#[ignore = "runs only when the test of kill -9 starts it"]
fn victim() {
    if let Some(dir) = env::var_os(DIR) {
        go(Path::new(&dir));
    }
}

fn spawn(dir: &Path) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["victim", "--exact", "--ignored"])
        .env(DIR, dir)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// Everything, from nothing or from where it was stopped.
fn go(temp: &Path) {
    let now = UnixTime::now();
    let (root, online) = (&*temp.join("root"), &*temp.join("online"));
    let init = RootInitRequest {
        dir: root,
        trust_domain: None,
        organization: None,
        passphrase: None,
        token: None,
    };
    root_init(&init, now).unwrap();
    let ask = CertifyRequest {
        dir: online,
        role: None,
        trust_domain: None,
        algorithm: None,
        passphrase: None,
        tokens: &[],
        another: false,
        out: &temp.join("requests.pem"),
    };
    let is_done = ca_verify(online, now).is_ok();
    if !is_done {
        ca_request(&ask, now).unwrap();
    }
    let sign = RootSignRequest {
        dir: root,
        passphrase: None,
        requests: &[temp.join("requests.pem")],
        out: &temp.join("certificates.pem"),
    };
    root_sign(&sign, |_| true, now).unwrap();
    let list = RootListRequest {
        dir: root,
        passphrase: None,
        days: None,
        out: &temp.join("root.crl"),
    };
    root_list(&list, now).unwrap();
    let install = InstallRequest {
        dir: online,
        files: &[temp.join("certificates.pem"), temp.join("root.crl")],
        root_fingerprint: None,
    };
    ca_install(&install, |_| true, now).unwrap();
}

fn check_end(temp: &Path) {
    let (root, online) = (&*temp.join("root"), &*temp.join("online"));
    let now = UnixTime::now();
    assert_eq!(root_status(root, now).unwrap().certified.len(), 2);
    let end = audit_verify(root).unwrap();
    assert_eq!(end.signed, end.entries);
    assert_eq!(ca_verify(online, now).unwrap().findings, []);
    let request = IssueRequest {
        dir: online,
        passphrase: None,
        id: &DeviceId::parse("dev-1").unwrap(),
        csr: None,
        algorithm: Algorithm::default(),
        again: false,
    };
    device_issue(&request, now).unwrap();
}
