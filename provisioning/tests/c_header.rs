//! What a C compiler makes of the header for firmware.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::process::Command;

use certs::DeviceId;
use countersign_provisioning::{
    Algorithm, InitRequest, IssueRequest, PayloadFormat, PayloadTo, ca_init, device_issue_to,
};
use rustls_pki_types::UnixTime;

const PROGRAM: &str = r#"
#include <stdio.h>
#include "device.h"

int main(void) {
    fwrite(countersign_certificate_pem, 1, sizeof countersign_certificate_pem, stdout);
    fwrite(countersign_private_key_pem, 1, sizeof countersign_private_key_pem, stdout);
    fwrite(countersign_ca_pem, 1, sizeof countersign_ca_pem, stdout);
    printf("%s %lld", COUNTERSIGN_DEVICE_ID, COUNTERSIGN_NOT_AFTER);
    return 0;
}
"#;

#[test]
#[ignore = "needs gcc; scripts/test runs it"]
fn a_c_compiler_reads_the_header_without_a_warning_and_finds_every_octet() {
    let temp = tempfile::tempdir().unwrap();
    let (dir, header) = (temp.path().join("ca-dir"), temp.path().join("device.h"));
    let now = UnixTime::now();
    ca_init(&InitRequest::new(&dir), now).unwrap();
    let request = IssueRequest {
        dir: &dir,
        passphrase: None,
        id: &DeviceId::parse("sensor-7").unwrap(),
        csr: None,
        algorithm: Algorithm::default(),
        again: false,
    };
    let to = PayloadTo {
        format: PayloadFormat::CHeader,
        out: &header,
        password: None,
    };
    let done = device_issue_to(&request, &to, now).unwrap();

    let (program, binary) = (temp.path().join("main.c"), temp.path().join("main"));
    fs::write(&program, PROGRAM).unwrap();
    let strict = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic"];
    let compile = |more: &[&str]| {
        let mut gcc = Command::new("gcc");
        let ran = gcc.args(strict).args(more).arg(&program).output().unwrap();
        assert!(
            ran.status.success(),
            "{}",
            String::from_utf8_lossy(&ran.stderr)
        );
    };
    compile(&["-fsyntax-only"]);
    compile(&["-o", binary.to_str().unwrap()]);
    let printed = Command::new(&binary).output().unwrap().stdout;
    let printed = String::from_utf8(printed).unwrap();
    let parts: Vec<_> = printed.split('\0').collect();
    let [certificate, key, ca, rest] = parts.try_into().unwrap();
    assert_eq!(
        certificate.matches("-----BEGIN CERTIFICATE-----\n").count(),
        2
    );
    assert!(key.starts_with("-----BEGIN PRIVATE KEY-----\n"), "{key}");
    assert_eq!(ca, fs::read_to_string(dir.join("ca.pem")).unwrap());
    let not_after = done.issued.not_after.as_secs();
    assert_eq!(rest, format!("sensor-7 {not_after}"));
}
