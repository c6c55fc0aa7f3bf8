//! Keys in a PKCS #11 token, by `SoftHSM`: an authority's and a device's.
//!
//! Each test has tokens of its own, which none but the processes it starts can see.

use crate::binary::{PATIENCE, Up, collect, countersign};
use crate::enrolment::{Device, Enrolment};
use countersign_tests::world::program;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const PIN: &str = "1234";

/// Where Debian and others put the module.
const MODULES: [&str; 3] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/lib/pkcs11/libsofthsm2.so",
];

/// Tokens, and a directory beside them.
struct SoftHsm {
    dir: TempDir,
    module: &'static str,
}

impl SoftHsm {
    /// With the token `acme`.
    fn new() -> Self {
        let found = MODULES.iter().find(|path| Path::new(path).exists());
        let dir = TempDir::new().unwrap();
        let tokens = dir.path().join("tokens");
        fs::create_dir(&tokens).unwrap();
        let config = format!("directories.tokendir = {}\n", tokens.display());
        fs::write(dir.path().join("softhsm2.conf"), config).unwrap();
        let hsm = Self {
            dir,
            module: found.expect("softhsm2 is installed"),
        };
        hsm.add_token("acme");
        hsm.write_private("pin", &format!("{PIN}\n"));
        hsm
    }

    fn add_token(&self, label: &str) {
        let mut command = Command::new("softhsm2-util");
        command.args(["--init-token", "--free", "--so-pin", "5678", "--pin", PIN]);
        done(self.with_tokens(command).args(["--label", label]));
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write_private(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn with_tokens(&self, mut command: Command) -> Command {
        command.env("SOFTHSM2_CONF", self.path("softhsm2.conf"));
        command.current_dir(self.dir.path());
        command
    }

    /// `countersign`, which sees the tokens.
    fn countersign(&self, arguments: &[&str]) -> Command {
        let mut command = self.with_tokens(countersign());
        command.args(arguments);
        command
    }

    /// A key in the token `acme`, and the PIN with it.
    fn uri(&self, key: &str) -> String {
        self.uri_with(&format!("token=acme;object={key}"), "pin")
    }

    fn uri_with(&self, key: &str, pin: &str) -> String {
        let (module, pin) = (self.module, self.path(pin));
        format!(
            "pkcs11:{key}?module-path={module}&pin-source={}",
            pin.display()
        )
    }

    /// Makes a key, and returns where it is.
    fn make(&self, key: &str, algorithm: &str) -> String {
        let uri = self.uri(key);
        done(&mut self.countersign(&["key", "make", &uri, "--algorithm", algorithm]));
        uri
    }

    /// An authority for development whose key is in the token, and a broker that trusts it.
    fn up(&self) -> Up {
        let key = format!("device-ca={}", self.make("device-ca", "p256"));
        done(&mut self.countersign(&["ca", "init", "--dir", "world", "--key", &key]));
        Up::start_by(self.countersign(&[]), &self.path("world"), &[])
    }

    /// Publishes with an identity in the directory of the authority.
    fn publish(&self, up: &Up, device: &str) -> Output {
        let broker = format!("mqtts://127.0.0.1:{}", up.port);
        let identity = up.identity(&format!("devices/{device}"));
        let topic = format!("devices/{device}/hello");
        let mut command = self.countersign(&["pub", "--broker", &broker, "-t", &topic]);
        let command = command.args(["-m", "hi", "-q", "1", "--identity"]);
        command.arg(identity).output().unwrap()
    }

    /// A certificate for a device whose key is in the token.
    fn issue(&self, up: &Up, device: &str, uri: &str) {
        let request = done(&mut self.countersign(&["key", "request", uri, "--id", device]));
        fs::write(self.path("request.csr"), request.stdout).unwrap();
        let mut command = self.countersign(&["device", "issue", device, "--csr", "request.csr"]);
        done(command.arg("--dir").arg(&up.dir));
        self.write_private(
            &format!("world/devices/{device}/key.uri"),
            &format!("{uri}\n"),
        );
    }
}

#[track_caller]
fn done(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    output
}

#[test]
#[ignore = "needs softhsm2 and openssl; scripts/test runs it"]
fn an_authority_whose_key_is_in_a_token_issues_what_others_verify() {
    let hsm = SoftHsm::new();
    let up = hsm.up();
    assert!(hsm.path("world/ca/device-ca.key.uri").exists());
    assert!(!hsm.path("world/ca/device-ca.key.pem").exists());
    let published = hsm.publish(&up, "dev-1");
    assert!(published.status.success(), "{published:?}");

    done(&mut hsm.countersign(&[
        "device",
        "revoke",
        "dev-2",
        "--dir",
        "world",
        "--reason",
        "key-compromise",
    ]));
    let refused = hsm.publish(&up, "dev-2");
    assert!(!refused.status.success(), "{refused:?}");
    let verify = |device: &str| {
        let mut command = Command::new("openssl");
        command.args(["verify", "-crl_check", "-CAfile", "ca.pem"]);
        command.args(["-untrusted", "ca/device-ca.pem"]);
        command.args(["-CRLfile", "ca/device-ca.crl"]);
        command.arg(format!("devices/{device}/cert.pem"));
        command.current_dir(&up.dir).output().unwrap()
    };
    assert!(verify("dev-1").status.success(), "{:?}", verify("dev-1"));
    let revoked = String::from_utf8(verify("dev-2").stderr).unwrap();
    assert!(revoked.contains("certificate revoked"), "{revoked}");
    done(&mut hsm.countersign(&["ca", "verify", "--dir", "world"]));
}

#[test]
#[ignore = "needs softhsm2; scripts/test runs it"]
fn an_authority_in_a_token_is_followed_by_one_in_a_token() {
    let hsm = SoftHsm::new();
    let mut up = hsm.up();
    assert!(hsm.publish(&up, "dev-1").status.success());
    let rotate = |role: &str, stage: &str, more: &[&str]| {
        let mut command = hsm.countersign(&["ca", "rotate", "--dir", "world", "--role", role]);
        command
            .args(["--stage", stage])
            .args(more)
            .output()
            .unwrap()
    };
    let refused = |more: &[&str], code: i32, words: &str| {
        let refused = rotate("device-ca", "prepare", more);
        let said = String::from_utf8(refused.stderr).unwrap();
        assert_eq!(refused.status.code(), Some(code), "{said}");
        assert!(said.contains(words), "{said}");
    };
    refused(&[], 5, "name it with --key");
    refused(
        &["--key", &hsm.uri("device-ca")],
        5,
        "is that of Countersign DEV ONLY device CA 1",
    );
    refused(&["--key", &hsm.uri("missing")], 4, "holds no private key");
    let (next, other) = (hsm.make("device-ca-2", "p384"), hsm.make("other", "p256"));
    refused(
        &["--key", &next, "--algorithm", "p256"],
        2,
        "is p384, not p256",
    );
    let prepare = ["--key", &*next];
    for _ in 0..2 {
        let prepared = rotate("device-ca", "prepare", &prepare);
        assert!(prepared.status.success(), "{prepared:?}");
    }
    refused(&["--key", &other], 2, "the key is");
    assert!(hsm.path("world/ca/device-ca-2.key.uri").exists());
    assert!(!hsm.path("world/ca/device-ca-2.key.pem").exists());
    for stage in ["publish", "switch"] {
        let rotated = rotate("device-ca", stage, &[]);
        assert!(rotated.status.success(), "{rotated:?}");
    }
    done(&mut hsm.countersign(&["device", "renew", "dev-1", "--dir", "world"]));
    let published = hsm.publish(&up, "dev-1");
    assert!(published.status.success(), "{published:?}");
    // One whose key was in a file may be followed by one in a token.
    let server = ["--key", &*other];
    assert!(rotate("server-ca", "prepare", &server).status.success());
    done(&mut hsm.countersign(&["ca", "verify", "--dir", "world"]));
    assert_eq!(up.terminate(), Some(0));
}

#[test]
#[ignore = "needs softhsm2; scripts/test runs it"]
fn a_root_that_is_kept_apart_and_those_below_it_may_all_be_in_tokens() {
    let hsm = SoftHsm::new();
    let root = hsm.make("root", "p384");
    done(&mut hsm.countersign(&["ca", "root", "init", "--dir", "root", "--key", &root]));
    let key = |role: &str| format!("{role}={}", hsm.make(role, "p256"));
    let mut ask = hsm.countersign(&["ca", "request", "--dir", "online", "--out", "requests.pem"]);
    ask.args(["--key", &key("device-ca"), "--key", &key("server-ca")]);
    done(&mut ask);
    let sign = [
        "ca",
        "root",
        "sign",
        "requests.pem",
        "--dir",
        "root",
        "--yes",
    ];
    done(hsm.countersign(&sign).args(["--out", "certificates.pem"]));
    let status = done(&mut hsm.countersign(&["ca", "root", "status", "--dir", "root", "--json"]));
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    let install = ["ca", "install", "certificates.pem", "--dir", "online"];
    let fingerprint = status["sha256"].as_str().unwrap();
    done(
        hsm.countersign(&install)
            .args(["--root-fingerprint", fingerprint]),
    );
    done(&mut hsm.countersign(&["device", "issue", "dev-1", "--dir", "online"]));
    done(&mut hsm.countersign(&["ca", "verify", "--dir", "online"]));
    for dir in ["root", "online"] {
        let names = fs::read_dir(hsm.path(dir).join("ca")).unwrap();
        let names = names.map(|it| it.unwrap().file_name().into_string().unwrap());
        assert_eq!(names.filter(|it| it.ends_with(".key.pem")).count(), 0);
    }
}

#[test]
#[ignore = "needs softhsm2; scripts/test runs it"]
fn a_device_whose_key_is_in_a_token_connects_and_has_none_on_disk() {
    let hsm = SoftHsm::new();
    let up = hsm.up();
    for algorithm in ["p256", "p384", "ed25519"] {
        let device = format!("sensor-{algorithm}");
        let uri = hsm.make(&device, algorithm);
        hsm.issue(&up, &device, &uri);
        let published = hsm.publish(&up, &device);
        assert!(published.status.success(), "{published:?}");
        let files = fs::read_dir(up.identity(&format!("devices/{device}"))).unwrap();
        let mut names: Vec<_> = files.map(|file| file.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["ca.pem", "cert.pem", "key.uri"]);
    }
    // That of another device does not pass for it.
    let other = hsm.uri("sensor-p384");
    hsm.write_private("world/devices/sensor-p256/key.uri", &other);
    let refused = hsm.publish(&up, "sensor-p256");
    let words = String::from_utf8(refused.stderr).unwrap();
    assert!(words.contains("does not belong to"), "{words}");
}

/// A program that is ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
#[ignore = "needs softhsm2, curl, openssl and the examples; scripts/test runs it"]
fn a_device_renews_its_certificate_for_the_key_that_stays_in_its_token() {
    let (hsm, up) = (SoftHsm::new(), Up::start());
    let enrolment = Enrolment::start(&up.dir, "0", &["--lifetime", "10s"]);
    let device = Device::new(&up.dir, &hsm.path("devices"), "sensor-1");
    let uri = hsm.make("sensor-1", "p256");
    let request = done(&mut hsm.countersign(&["key", "request", &uri, "--id", "sensor-1"]));
    fs::write(device.dir.join("csr.pem"), request.stdout).unwrap();
    device.keep(&device.enrol(&enrolment.port));
    hsm.write_private("devices/sensor-1/key.uri", &format!("{uri}\n"));

    // It begins in the past and lasts for seconds, so it is renewed at once; and it is not renewed
    // by one that ends in the same second.
    thread::sleep(Duration::from_millis(1100));
    let mut command = hsm.with_tokens(Command::new(program("examples").join("renewal")));
    command
        .arg("sensor-1")
        .args([&device.dir, &up.dir.join("ca.pem")]);
    command.arg(format!("https://127.0.0.1:{}", enrolment.port));
    command.args(["no-token", &format!("mqtts://127.0.0.1:{}", up.port)]);
    let mut running = Running(command.stdout(Stdio::piped()).spawn().unwrap());
    let told = collect(running.0.stdout.take().unwrap());
    // What is used takes the place of what came before.
    let in_device = |name: &str| device.dir.join(name);
    let is_used = || {
        let counts = fs::read_link(in_device("current")).ok();
        counts.is_some_and(|it| it == Path::new("v2")) && !in_device("v1").exists()
    };
    let deadline = Instant::now() + 2 * PATIENCE;
    while !is_used() {
        let told = told.lock().unwrap();
        assert!(
            Instant::now() < deadline,
            "no second renewal was used: {told}"
        );
        drop(told);
        thread::sleep(Duration::from_millis(20));
    }
    assert!(!in_device("key.uri").exists(), "the first is still there");
    let kept = fs::read_to_string(in_device("v2/key.uri")).unwrap();
    assert_eq!(kept, format!("{uri}\n"));
    assert!(!in_device("v2/key.pem").exists());
}

#[test]
#[ignore = "needs softhsm2; scripts/test runs it"]
fn what_is_wrong_with_a_key_in_a_token_is_said_in_words() {
    let hsm = SoftHsm::new();
    hsm.add_token("other");
    hsm.write_private("wrong", "4321\n");
    hsm.write_private("empty", "\n");
    fs::write(hsm.path("open"), PIN).unwrap();
    for twin in ["twin;id=%01", "twin;id=%02", "single"] {
        hsm.make(twin, "p256");
    }
    let single = "token=acme;object=single";
    let module = hsm.module;
    let bare = format!("pkcs11:{single}?module-path={module}");
    for (uri, code, words) in [
        (
            hsm.uri_with(single, "wrong"),
            1,
            "the PIN is not that of the token \"acme\"",
        ),
        (
            hsm.uri_with("token=nobody;object=a", "pin"),
            4,
            "no token token=\"nobody\"",
        ),
        (hsm.uri_with("object=single", "pin"), 2, "2 tokens fit"),
        (hsm.uri("missing"), 4, "holds no private key \"missing\""),
        (
            hsm.uri("single;id=%01"),
            4,
            "holds no private key \"single\" of id 01",
        ),
        (hsm.uri("twin"), 2, "holds 2 private keys \"twin\""),
        (hsm.uri_with(single, "absent"), 1, "cannot read the PIN"),
        (hsm.uri_with(single, "empty"), 2, "no PIN in the first line"),
        (hsm.uri_with(single, "open"), 5, "others can read the PIN"),
        (bare.clone(), 2, "asks for a PIN"),
        (
            bare.replace(module, "/dev/null"),
            1,
            "/dev/null is not a PKCS #11 module",
        ),
        (format!("{bare}&pin-value={PIN}"), 2, "pin-value is refused"),
        (hsm.uri("single;slot-id=1"), 2, "slot-id is not understood"),
    ] {
        let key = format!("device-ca={uri}");
        let refused = hsm
            .countersign(&["ca", "init", "--dir", "none", "--key", &key])
            .output();
        let refused = refused.unwrap();
        let said = String::from_utf8(refused.stderr).unwrap();
        assert_eq!(refused.status.code(), Some(code), "{uri}: {said}");
        assert!(said.contains(words), "{uri}: {said}");
        assert!(!said.contains("4321"), "{said}");
        let status = hsm.countersign(&["ca", "status", "--dir", "none"]).output();
        assert_eq!(status.unwrap().status.code(), Some(4), "{uri}");
    }
    let right = hsm.uri("twin;id=%02");
    let (right, wrong) = (
        format!("device-ca={right}"),
        format!("device-ca={}", hsm.uri("single")),
    );
    done(&mut hsm.countersign(&["ca", "init", "--dir", "one", "--key", &right]));
    done(&mut hsm.countersign(&["ca", "init", "--dir", "one", "--key", &right]));
    let other = hsm
        .countersign(&["ca", "init", "--dir", "one", "--key", &wrong])
        .output();
    assert_eq!(other.unwrap().status.code(), Some(2));
}

#[test]
#[ignore = "needs softhsm2; scripts/test runs it"]
fn a_reference_to_a_key_is_its_owners_alone_and_leads_to_the_right_one() {
    let hsm = SoftHsm::new();
    let up = hsm.up();
    let issue = || {
        let mut command = hsm.countersign(&["device", "issue", "sensor-7", "--dir", "world"]);
        let refused = command.output().unwrap();
        (
            refused.status.code(),
            String::from_utf8(refused.stderr).unwrap(),
        )
    };
    let reference = up.dir.join("ca/device-ca.key.uri");
    assert_eq!(issue().0, Some(0));
    fs::set_permissions(&reference, fs::Permissions::from_mode(0o644)).unwrap();
    let (code, words) = issue();
    assert!(code == Some(5) && words.contains("chmod 600"), "{words}");
    for (uri, expected) in [
        (
            hsm.make("other", "p256"),
            "is not that of the authority in the registry",
        ),
        ("pkcs11:object=a".to_owned(), "module-path is missing"),
    ] {
        hsm.write_private("world/ca/device-ca.key.uri", &uri);
        let (code, words) = issue();
        assert!(code == Some(1) && words.contains(expected), "{words}");
    }
}
