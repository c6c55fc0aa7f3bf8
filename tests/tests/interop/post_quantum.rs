//! ML-DSA, which is for trial: devices and authorities whose certificates quantum computers do not
//! forge, over real TLS.

use crate::binary::{Up, countersign};
use std::process::Output;
use tempfile::TempDir;

#[track_caller]
fn run(arguments: &[&str]) -> Output {
    let output = countersign().args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    output
}

fn publish(up: &Up, device: &str) -> Output {
    let mut command = countersign();
    command.args(["pub", "--broker", &format!("mqtts://127.0.0.1:{}", up.port)]);
    command.args([
        "-t",
        &format!("devices/{device}/hello"),
        "-m",
        "hi",
        "-q",
        "1",
    ]);
    command
        .arg("--identity")
        .arg(up.identity(&format!("devices/{device}")));
    command.output().unwrap()
}

/// What `openssl` is not asked for here: it knows ML-DSA since 3.5 only.
fn explained(up: &Up, device: &str) -> String {
    let certificate = up.identity(&format!("devices/{device}/cert.pem"));
    let shown = run(&["cert", "explain", certificate.to_str().unwrap()]);
    String::from_utf8(shown.stdout).unwrap()
}

#[test]
#[ignore = "needs the binary; scripts/test runs it"]
fn a_device_with_an_ml_dsa_key_connects_and_keeps_its_algorithm() {
    let up = Up::start();
    let dir = up.dir.to_str().unwrap();
    for algorithm in ["ml-dsa-44", "ml-dsa-65"] {
        let arguments = ["--dir", dir, "--key-algorithm", algorithm];
        let issued = run(&[&["device", "issue", algorithm][..], &arguments].concat());
        let said = String::from_utf8(issued.stderr).unwrap();
        assert!(said.contains("experimental"), "{said}");
        let published = publish(&up, algorithm);
        assert!(published.status.success(), "{published:?}");
        run(&["device", "renew", algorithm, "--dir", dir]);
        let shown = explained(&up, algorithm);
        assert!(shown.contains(&algorithm.to_uppercase()), "{shown}");
        let published = publish(&up, algorithm);
        assert!(published.status.success(), "{published:?}");
    }
    run(&["ca", "verify", "--dir", dir]);
}

#[test]
#[ignore = "needs the binary; scripts/test runs it"]
fn authorities_that_sign_by_ml_dsa_issue_revoke_and_export() {
    for algorithm in ["ml-dsa-44", "ml-dsa-65"] {
        let temp = TempDir::new().unwrap();
        let world = temp.path().join("world");
        let dir = world.to_str().unwrap();
        let made = run(&["ca", "init", "--dir", dir, "--algorithm", algorithm]);
        let said = String::from_utf8(made.stderr).unwrap();
        assert!(said.contains("experimental"), "{said}");
        let status = String::from_utf8(run(&["ca", "status", "--dir", dir]).stdout).unwrap();
        assert!(
            status.contains(&format!("{algorithm} (experimental)")),
            "{status}"
        );

        let up = Up::start_in(&world, &[]);
        assert!(publish(&up, "dev-1").status.success());
        run(&[
            "device",
            "revoke",
            "dev-1",
            "--dir",
            dir,
            "--reason",
            "key-compromise",
        ]);
        assert!(!publish(&up, "dev-1").status.success());
        assert!(publish(&up, "dev-2").status.success());
        run(&["registry", "export", "--dir", dir]);
        run(&["ca", "verify", "--dir", dir]);
    }
}
