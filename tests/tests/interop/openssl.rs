//! `openssl s_client` at the door: who does not get in, and what the log says of it.

use crate::binary::{Up, countersign};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// CONNECT of MQTT 3.1.1 with client id `dev-1`.
const CONNECT: &[u8] = b"\x10\x11\x00\x04MQTT\x04\x02\x00\x3c\x00\x05dev-1";
/// CONNACK: accepted, no session present.
const CONNACK: &[u8] = b"\x20\x02\x00\x00";

/// Options of `s_client` and the files that they name.
type Files = Vec<(&'static str, PathBuf)>;

#[test]
#[ignore = "needs openssl; scripts/test runs it"]
fn openssl_with_a_device_certificate_reaches_mqtt() {
    let up = Up::start();
    let talk = s_client(&up, &identity(&up.identity("devices/dev-1")));
    assert!(contains(&talk.stdout, CONNACK), "{talk:?}");
}

#[test]
#[ignore = "needs openssl; scripts/test runs it"]
fn openssl_without_a_good_certificate_never_reaches_mqtt() {
    let up = Up::start();
    let makeshift = Makeshift::new(&up);
    let stranger = Up::start();
    let broker = [
        ("-cert", up.dir.join("broker/cert.pem")),
        ("-key", up.dir.join("broker/key.pem")),
    ];
    let of_another_ca = identity(&stranger.identity("devices/dev-1"));
    let cases: [(&str, Files, &str); 4] = [
        ("no certificate", vec![], "no certificate was shown"),
        ("another CA", of_another_ca, "unknown authority"),
        ("a server's certificate", broker.into(), "unknown authority"),
        ("an expired certificate", makeshift.expired(), "expired"),
    ];
    for (case, identity, reason) in cases {
        refused(&up, case, (&identity, reason));
    }
    let server_purpose = makeshift.for_servers();
    refused(&up, "EKU serverAuth", (&server_purpose, "serverAuth"));
}

#[test]
#[ignore = "needs openssl; scripts/test runs it"]
fn openssl_with_an_old_tls_never_reaches_mqtt() {
    let up = Up::start();
    let good = identity(&up.identity("devices/dev-1"));
    for version in ["-tls1_1", "-tls1_2"] {
        let mut command = s_client_command(&up, &good);
        // Debian's policy hides TLS 1.1 from its own client; the server is what is tested.
        command.args([version, "-cipher", "ALL:@SECLEVEL=0"]);
        let talk = converse(command);
        assert!(!contains(&talk.stdout, CONNACK), "{version}: {talk:?}");
    }
    up.log_line(&["refused", "TLS version is not accepted here"]);
    let lines = up
        .log()
        .lines()
        .filter(|line| line.contains("refused"))
        .count();
    assert_eq!(lines, 2, "one line each:\n{}", up.log());
}

#[track_caller]
fn refused(up: &Up, case: &str, (identity, reason): (&[(&str, PathBuf)], &str)) {
    let before = up.log().lines().count();
    let talk = s_client(up, identity);
    assert!(!contains(&talk.stdout, CONNACK), "{case}: {talk:?}");
    let line = up.log_line(&["refused", "127.0.0.1", reason]);
    if !identity.is_empty() {
        assert!(
            line.contains("sha256=") && line.contains("subject="),
            "{case}: {line}"
        );
    }
    let lines: Vec<_> = up.log().lines().skip(before).map(str::to_owned).collect();
    assert_eq!(lines.len(), 1, "{case}: {lines:?}");
}

/// Certificates that the provisioning would never issue, made with its device CA by openssl.
struct Makeshift {
    dir: TempDir,
    ca: PathBuf,
}

impl Makeshift {
    fn new(up: &Up) -> Self {
        Self {
            dir: TempDir::new().unwrap(),
            ca: up.dir.join("ca"),
        }
    }

    fn expired(&self) -> Files {
        let validity = [
            "-not_before",
            "20200101000000Z",
            "-not_after",
            "20200201000000Z",
        ];
        self.issue("expired", "clientAuth", &validity)
    }

    fn for_servers(&self) -> Files {
        self.issue("server", "serverAuth", &["-days", "1"])
    }

    /// `openssl ca` rather than `x509`, for OpenSSL 3.0 takes dates there only.
    fn issue(&self, name: &str, usage: &str, validity: &[&str]) -> Files {
        let file = |end: &str| self.dir.path().join(format!("{name}{end}"));
        let (key, csr, cert) = (file(".key"), file(".csr"), file(".pem"));
        openssl(&[
            "req",
            "-new",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
        ])
        .args(["-subj", "/CN=dev-1", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&csr)
        .run();
        let config = file(".cnf");
        std::fs::write(file(".index"), "").unwrap();
        let mut text = String::new();
        writeln!(
            text,
            "[ca]\ndefault_ca=us\n[us]\nrand_serial=yes\ndefault_md=sha256"
        )
        .unwrap();
        writeln!(
            text,
            "database={}\nnew_certs_dir={}",
            file(".index").display(),
            self.dir.path().display()
        )
        .unwrap();
        writeln!(
            text,
            "policy=any\nx509_extensions=leaf\nunique_subject=no\n[any]\ncommonName=supplied"
        )
        .unwrap();
        writeln!(
            text,
            "[leaf]\nextendedKeyUsage={usage}\nkeyUsage=critical,digitalSignature"
        )
        .unwrap();
        writeln!(
            text,
            "authorityKeyIdentifier=keyid\nsubjectAltName=URI:{}",
            self.uri()
        )
        .unwrap();
        std::fs::write(&config, text).unwrap();
        openssl(&["ca", "-batch", "-notext", "-config"])
            .arg(&config)
            .arg("-cert")
            .arg(self.ca.join("device-ca.pem"))
            .arg("-keyfile")
            .arg(self.ca.join("device-ca.key.pem"))
            .arg("-in")
            .arg(&csr)
            .arg("-out")
            .arg(&cert)
            .args(validity.iter().map(|word| match *word {
                "-not_before" => "-startdate",
                "-not_after" => "-enddate",
                word => word,
            }))
            .run();
        vec![("-cert", cert), ("-key", key)]
    }

    /// The URI name of dev-1, read from its certificate.
    fn uri(&self) -> String {
        let certificate = self.ca.parent().unwrap().join("devices/dev-1/cert.pem");
        let text = openssl(&["x509", "-noout", "-ext", "subjectAltName", "-in"])
            .arg(certificate)
            .run();
        let text = String::from_utf8(text.stdout).unwrap();
        text.split("URI:").nth(1).unwrap().trim().to_owned()
    }
}

fn identity(dir: &Path) -> Files {
    vec![
        ("-cert", dir.join("cert.pem")),
        ("-key", dir.join("key.pem")),
        ("-cert_chain", dir.join("cert.pem")),
    ]
}

fn s_client(up: &Up, identity: &[(&str, PathBuf)]) -> Output {
    converse(s_client_command(up, identity))
}

fn s_client_command(up: &Up, identity: &[(&str, PathBuf)]) -> Command {
    let mut command = openssl(&["s_client", "-quiet", "-no_ign_eof", "-connect"]);
    command.arg(format!("127.0.0.1:{}", up.port));
    for (option, file) in identity {
        command.arg(option).arg(file);
    }
    command
}

/// Sends a CONNECT through `s_client`, and ends when the broker does or after a moment.
fn converse(mut command: Command) -> Output {
    let mut shell = Command::new("sh");
    let connect: String = CONNECT.iter().fold(String::new(), |mut text, byte| {
        write!(text, "\\{byte:03o}").unwrap();
        text
    });
    shell.args([
        "-c",
        &format!("{{ printf '{connect}'; sleep 3; }} | \"$@\"; true"),
        "sh",
    ]);
    shell.arg(command.get_program()).args(command.get_args());
    command = shell;
    command.stdin(Stdio::null()).output().unwrap()
}

fn openssl(arguments: &[&str]) -> Command {
    let mut command = Command::new("openssl");
    command.args(arguments);
    command
}

trait Run {
    /// Runs to success.
    fn run(&mut self) -> Output;
}

impl Run for Command {
    #[track_caller]
    fn run(&mut self) -> Output {
        let output = self.output().unwrap();
        assert!(output.status.success(), "{self:?}: {output:?}");
        output
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack
        .windows(needle.len())
        .any(|window| window == needle)
}

#[test]
#[ignore = "needs openssl; scripts/test runs it"]
fn openssl_verifies_what_was_issued() {
    let up = Up::start();
    for (purpose, file) in [("sslclient", "devices/dev-1"), ("sslserver", "broker")] {
        let leaf = up.dir.join(file).join("cert.pem");
        openssl(&["verify", "-x509_strict", "-purpose", purpose, "-CAfile"])
            .arg(up.dir.join("ca.pem"))
            .arg("-untrusted")
            .arg(&leaf)
            .arg(&leaf)
            .run();
    }
    let issued = countersign()
        .args(["device", "issue", "dev-9", "--dir"])
        .arg(&up.dir)
        .output();
    assert!(issued.unwrap().status.success());
    let talk = s_client(&up, &identity(&up.identity("devices/dev-9")));
    assert!(
        !contains(&talk.stdout, CONNACK),
        "dev-1 is not a client id of dev-9: {talk:?}"
    );
    up.log_line(&["dev-9", "client id"]);
}
