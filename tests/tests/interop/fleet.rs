//! `countersign fleet` as its documentation promises it.

use crate::binary::{Up, countersign};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Output;

/// Of one device, in bytes.
const EACH_MAX: u64 = 60_000;

fn run(arguments: &[&str], dir: &Path) -> Output {
    let mut command = countersign();
    command.args(["fleet", "run"]).args(arguments);
    command.current_dir(dir).output().unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
}

#[test]
#[ignore = "long: scripts/test --long runs it"]
fn long_five_thousand_devices_take_less_than_their_share() {
    let devices = ["--devices", "5000"];
    let dir = tempfile::tempdir().unwrap();
    let up = Up::start_in(&dir.path().join("dev"), &devices);
    let address = format!("localhost:{}", up.port);
    let calm = "name = 'calm'\nlength = '40s'\nramp = '20s'\n\
        [[group]]\nname = 'sensors'\nshare = 100\n\
        telemetry = { every = '20s' }\ncommands = { every = '60s' }\n";
    fs::write(dir.path().join("calm.toml"), calm).unwrap();
    let arguments = ["calm.toml", "--json", "--against", &address];
    let identities = ["--identities", "dev"];
    let output = run(
        &[&arguments[..], &devices, &identities].concat(),
        dir.path(),
    );
    assert!(output.status.success(), "{output:?}");
    let verdict = json(&output);
    assert_eq!(verdict["counts"]["connected"], 5000, "{verdict}");
    let each = verdict["resident_each"].as_u64().unwrap();
    println!("outcome: {each} bytes of memory a device");
    assert!(each <= EACH_MAX, "{verdict}");
}

#[test]
#[ignore = "needs the binary; scripts/test runs it"]
fn a_breach_is_an_exit_code_a_line_of_json_and_a_failure_for_machines_that_show_tests() {
    let dir = tempfile::tempdir().unwrap();
    // Nobody is cut within a millisecond; waits that the end cuts short follow no law.
    let scenario = "name = 'hasty'\nlength = '2s'\nramp = '200ms'\n\
        [[group]]\nname = 'all'\nshare = 100\ntelemetry = { every = '500ms' }\n\
        [[event]]\nwhat = 'revoked'\nat = '1s'\nshare = 100\n\
        [invariants]\nrevocation_max = 'MAX'\nleft_out = ['reconnect-law']\n";
    for (max, code, outcome) in [("1ms", 1, "broken"), ("20s", 0, "held")] {
        let scenario = scenario.replace("MAX", max);
        fs::write(dir.path().join("hasty.toml"), scenario).unwrap();
        let arguments = ["hasty.toml", "--devices", "50", "--json"];
        let output = run(
            &[&arguments[..], &["--junit", "it.xml"]].concat(),
            dir.path(),
        );
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        let verdict = json(&output);
        let mut checks = verdict["checks"].as_array().unwrap().iter();
        let is_it = |check: &&Value| check["invariant"] == "revoked-is-cut";
        assert_eq!(checks.find(is_it).unwrap()["outcome"], outcome, "{verdict}");
        let xml = fs::read_to_string(dir.path().join("it.xml")).unwrap();
        let failures = format!("failures=\"{code}\"");
        assert!(xml.contains(&failures), "{xml}");
    }
}
