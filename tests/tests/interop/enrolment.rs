//! `countersign ca serve` as a device meets it that has nothing of ours: `openssl req` and `curl`.

use crate::binary::{PATIENCE, Process, Up, collect, countersign, wait_for};
use crate::mosquitto::client;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A running `countersign ca serve`.
pub(crate) struct Enrolment {
    process: Process,
    pub(crate) port: String,
}

impl Enrolment {
    pub(crate) fn start(dir: &Path, port: &str, more: &[&str]) -> Self {
        let listen = format!("127.0.0.1:{port}");
        let mut command = countersign();
        command.args(["ca", "serve", "--json", "--listen", &listen]);
        command.args(["--rate-of-address", "1000", "--dir"]);
        let process = Process::start(command.arg(dir).args(more));
        let port = process.port().to_string();
        Self { process, port }
    }
}

/// What a device has: a directory with its key, and what it was given.
pub(crate) struct Device {
    pub(crate) dir: PathBuf,
    id: String,
    /// User and password.
    credentials: Option<String>,
}

impl Device {
    /// With a token of the authority in `ca`, whose root it trusts.
    pub(crate) fn new(ca: &Path, below: &Path, id: &str) -> Self {
        let device = Self::without_token(ca, below, id);
        let made = countersign()
            .args(["token", "create", id, "--ttl", "1h", "--json", "--dir"])
            .arg(ca)
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        let made: serde_json::Value = serde_json::from_slice(&made.stdout).unwrap();
        let token = made["token"].as_str().unwrap();
        Self {
            credentials: Some(format!("{id}:{token}")),
            ..device
        }
    }

    fn without_token(ca: &Path, below: &Path, id: &str) -> Self {
        let dir = below.join(id);
        fs::create_dir_all(&dir).unwrap();
        fs::copy(ca.join("ca.pem"), dir.join("ca.pem")).unwrap();
        Self {
            dir,
            id: id.to_owned(),
            credentials: None,
        }
    }

    /// A new key in `key`, and the request for it.
    fn request(&self, key: &str) {
        let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
        let mut command = Command::new("openssl");
        command.args(["req", "-new", "-nodes"]).args(curve);
        command.args(["-subj", &format!("/CN={}", self.id), "-keyout", key]);
        self.run(command.args(["-out", "csr.pem"]));
    }

    /// `curl`, which prints the status after the answer.
    fn curl(&self, port: &str, path: &str, more: &[&str]) -> (String, String) {
        let url = format!("https://127.0.0.1:{port}/.well-known/est/{path}");
        let asked = Command::new("curl")
            .current_dir(&self.dir)
            .args(["--silent", "--cacert", "ca.pem", "--max-time", "20"])
            .args([
                "-w",
                "%{http_code}",
                "-H",
                "Content-Type: application/pkcs10",
            ])
            .args(more)
            .arg(url)
            .output()
            .unwrap();
        let text = String::from_utf8(asked.stdout).unwrap();
        let (body, status) = text.split_at(text.len().saturating_sub(3));
        (status.to_owned(), body.to_owned())
    }

    pub(crate) fn enrol(&self, port: &str) -> (String, String) {
        let body = ["--data-binary", "@csr.pem"];
        match &self.credentials {
            Some(credentials) => {
                let more = [&body[..], &["-u", credentials]].concat();
                self.curl(port, "simpleenroll", &more)
            }
            None => self.curl(port, "simpleenroll", &body),
        }
    }

    /// Takes the certificate out of an answer.
    pub(crate) fn keep(&self, (status, body): &(String, String)) {
        assert_eq!(status, "200", "{body}");
        fs::write(self.dir.join("answer.p7"), body).unwrap();
        let take = "openssl base64 -d -in answer.p7 |
                    openssl pkcs7 -inform DER -print_certs -out cert.pem";
        self.run(Command::new("sh").args(["-c", take]));
    }

    /// The serial number in the certificate that it has.
    pub(crate) fn serial(&self) -> String {
        let mut command = Command::new("openssl");
        let shown = self.run(command.args(["x509", "-noout", "-serial", "-in", "cert.pem"]));
        let text = String::from_utf8(shown.stdout).unwrap();
        text.trim().trim_start_matches("serial=").to_lowercase()
    }

    #[track_caller]
    fn run(&self, command: &mut Command) -> Output {
        let output = command.current_dir(&self.dir).output().unwrap();
        assert!(output.status.success(), "{command:?}: {output:?}");
        output
    }
}

#[test]
#[ignore = "needs curl, openssl and mosquitto-clients; scripts/test runs it"]
fn curl_and_openssl_enrol_and_renew_and_the_certificate_reaches_the_broker() {
    let up = Up::start();
    let enrolment = Enrolment::start(&up.dir, "0", &[]);
    let device = Device::new(&up.dir, &up.dir.join("mine"), "sensor-7");
    device.request("key.pem");
    device.keep(&device.enrol(&enrolment.port));
    let first = device.serial();
    publish(&up, "first");

    device.request("new-key.pem");
    let body = ["--data-binary", "@csr.pem"];
    let identity = ["--cert", "cert.pem", "--key", "key.pem"];
    let with_identity = [&body[..], &identity].concat();
    let answer = device.curl(&enrolment.port, "simplereenroll", &with_identity);
    device.keep(&answer);
    fs::rename(device.dir.join("new-key.pem"), device.dir.join("key.pem")).unwrap();
    assert_ne!(device.serial(), first);
    publish(&up, "second");

    // Whoever has no certificate to renew, or asks in another name, is refused.
    assert_eq!(
        device.curl(&enrolment.port, "simplereenroll", &body).0,
        "403"
    );
    let (status, chain) = device.curl(&enrolment.port, "cacerts", &[]);
    assert_eq!(status, "200");
    fs::write(device.dir.join("chain.p7"), chain).unwrap();
    let verify = "openssl base64 -d -in chain.p7 |
                  openssl pkcs7 -inform DER -print_certs -out chain.pem &&
                  openssl verify -x509_strict -purpose sslclient -CAfile ca.pem \
                    -untrusted chain.pem cert.pem";
    device.run(Command::new("sh").args(["-c", verify]));
}

/// What the device says, an application hears.
fn publish(up: &Up, words: &str) {
    let mut subscriber = client("mosquitto_sub", up, "apps/app-1")
        .args(["-t", "devices/sensor-7/#", "-q", "1", "-d", "-C", "1"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let heard = collect(subscriber.stdout.take().unwrap());
    wait_for(&heard, "SUBACK");
    let published = client("mosquitto_pub", up, "mine/sensor-7")
        .args(["-q", "1", "-t", "devices/sensor-7/log", "-m", words])
        .output()
        .unwrap();
    assert!(published.status.success(), "{published:?}");
    wait_for(&heard, words);
    assert!(subscriber.wait().unwrap().success());
}

#[test]
#[ignore = "needs curl and openssl; scripts/test runs it"]
fn without_a_token_a_person_approves() {
    let temporary = TempDir::new().unwrap();
    let (ca, mine) = (temporary.path().join("ca"), temporary.path().join("mine"));
    assert!(provision(&["ca", "init"], &ca).status.success());
    let enrolment = Enrolment::start(&ca, "0", &["--approve", "manual"]);
    let device = Device::without_token(&ca, &mine, "sensor-8");
    device.request("key.pem");
    assert_eq!(device.enrol(&enrolment.port).0, "202");
    let listed = provision(&["pending", "list", "--json"], &ca);
    let request: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    let hash = "openssl pkey -in key.pem -pubout -outform DER | openssl sha256 -r | cut -c 1-64";
    let hash = device.run(Command::new("sh").args(["-c", hash]));
    assert_eq!(request["key"], String::from_utf8_lossy(&hash.stdout).trim());
    assert_eq!(request["device"], "sensor-8");
    let number = request["number"].to_string();
    assert_eq!(device.enrol(&enrolment.port).0, "202");
    assert!(
        provision(&["pending", "approve", &number], &ca)
            .status
            .success()
    );
    device.keep(&device.enrol(&enrolment.port));
    let denied = provision(&["pending", "deny", &number], &ca);
    assert_eq!(denied.status.code(), Some(5), "{denied:?}");
    assert_eq!(
        provision(&["token", "revoke", "9"], &ca).status.code(),
        Some(4)
    );
}

/// Devices ask until they are answered, and the server is killed while they do.
#[test]
#[ignore = "needs curl and openssl; scripts/test runs it"]
fn no_answer_is_lost_when_the_server_is_killed() {
    let temporary = TempDir::new().unwrap();
    let (ca, mine) = (temporary.path().join("ca"), temporary.path().join("mine"));
    assert!(provision(&["ca", "init"], &ca).status.success());
    let mut enrolment = Enrolment::start(&ca, "0", &[]);
    let port = enrolment.port.clone();
    let devices: Vec<_> = (0..24)
        .map(|n| {
            let device = Device::new(&ca, &mine, &format!("dev-{n}"));
            device.request("key.pem");
            device
        })
        .collect();
    thread::scope(|scope| {
        let asking = devices.chunks(6).map(|some| {
            let port = &port;
            scope.spawn(move || {
                for device in some {
                    ask_until_answered(device, port);
                }
            })
        });
        let asking: Vec<_> = asking.collect();
        let mut wait = Duration::from_millis(20);
        while asking.iter().any(|it| !it.is_finished()) {
            thread::sleep(wait);
            enrolment.process.kill();
            enrolment = Enrolment::start(&ca, &port, &[]);
            // Each time it lives a little longer, so that all come to an end.
            wait += Duration::from_millis(20);
        }
        for it in asking {
            it.join().unwrap();
        }
    });
    for device in &devices {
        let again = device.serial();
        device.keep(&device.enrol(&port));
        assert_eq!(device.serial(), again, "{}", device.id);
        let shown = provision(&["device", "show", &device.id, "--json"], &ca);
        let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
        let certificates = shown["certificates"].as_array().unwrap();
        assert_eq!(certificates.len(), 1, "{shown}");
        assert_eq!(certificates[0]["serial"], again.as_str(), "{shown}");
    }
    let verified = provision(&["ca", "verify"], &ca);
    assert!(verified.status.success(), "{verified:?}");
}

fn ask_until_answered(device: &Device, port: &str) {
    let deadline = Instant::now() + PATIENCE * 3;
    loop {
        let answer = device.enrol(port);
        if answer.0 == "200" && answer.1.len() > 100 {
            return device.keep(&answer);
        }
        // Nobody listens, the connection broke, or it was answered in part.
        assert!(
            ["000", "503", "200", ""].contains(&&*answer.0),
            "{answer:?}"
        );
        assert!(Instant::now() < deadline, "{answer:?}");
        // The server needs the processor more than we do.
        thread::sleep(Duration::from_millis(50));
    }
}

fn provision(arguments: &[&str], ca: &Path) -> Output {
    let mut command = countersign();
    command.args(arguments).arg("--dir").arg(ca);
    command.output().unwrap()
}
