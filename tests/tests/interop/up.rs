//! `countersign up` as its documentation promises it.

use crate::binary::{Up, countersign};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};
use tempfile::TempDir;

#[test]
#[ignore = "needs the binary; scripts/test runs it"]
fn up_makes_everything_and_a_second_run_reuses_it() {
    let temporary = TempDir::new().unwrap();
    let dir = temporary.path().join("made/by/up");
    let mut first = Up::start_in(&dir, &[]);
    let device = fs::read(dir.join("devices/dev-1/cert.pem")).unwrap();
    let expected = [
        "ca.pem",
        "ca/registry.sqlite",
        "broker/cert.pem",
        "broker/key.pem",
        "broker.toml",
        "policy.toml",
        "devices/dev-3/ca.pem",
        "devices/dev-3/cert.pem",
        "devices/dev-3/key.pem",
        "apps/app-1/key.pem",
    ];
    for file in expected {
        assert!(dir.join(file).is_file(), "{file}");
    }
    assert_eq!(first.terminate(), Some(0), "{}", first.log());
    let _second = Up::start_in(&dir, &["--devices", "5"]);
    assert_eq!(
        fs::read(dir.join("devices/dev-1/cert.pem")).unwrap(),
        device
    );
    assert!(dir.join("devices/dev-5/cert.pem").is_file());
}

#[test]
#[ignore = "needs the binary; scripts/test runs it"]
fn up_keeps_keys_to_their_owner_whatever_the_umask() {
    let temporary = TempDir::new().unwrap();
    let dir = temporary.path().join("world");
    let script = "umask 000; exec \"$0\" ca init --dir \"$1\"";
    let made = std::process::Command::new("sh")
        .args(["-c", script])
        .arg(countersign().get_program())
        .arg(&dir)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let _up = Up::start_in(&dir, &[]);
    check_modes(&dir);
}

fn check_modes(dir: &Path) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        let is_secret = path.to_string_lossy().contains("key") || path.ends_with("registry.sqlite");
        if path.is_dir() {
            assert_eq!(mode, 0o700, "{}", path.display());
            check_modes(&path);
        } else if is_secret {
            assert_eq!(mode, 0o600, "{}", path.display());
        }
        assert_eq!(mode & 0o022, 0, "{}", path.display());
    }
}

#[test]
#[ignore = "needs the binary; scripts/test runs it"]
fn up_refuses_a_directory_that_is_not_ours() {
    let temporary = TempDir::new().unwrap();
    fs::write(temporary.path().join("thesis.tex"), "mine").unwrap();
    let refused = countersign()
        .args(["up", "--dir"])
        .arg(temporary.path())
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success());
    assert!(
        words.contains(&temporary.path().display().to_string()),
        "{words}"
    );
    assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 1);
}

#[test]
#[ignore = "needs the binary; scripts/test runs it"]
fn up_serves_within_two_seconds() {
    let temporary = TempDir::new().unwrap();
    let before = Instant::now();
    let _up = Up::start_in(&temporary.path().join("world"), &[]);
    let taken = before.elapsed();
    // A debug build on a busy machine gets twice what the release is promised.
    assert!(taken < Duration::from_secs(4), "{taken:?}");
}

#[test]
#[ignore = "needs the binary; scripts/test runs it"]
fn broker_check_names_every_mistake_at_once() {
    let temporary = TempDir::new().unwrap();
    let config = temporary.path().join("broker.toml");
    let text = "[[listener]]\naddress = \"nowhere\"\ncertificate = \"a.pem\"\nkey = \"b.pem\"\n\n\
                [limits]\nreceive_maximum = 0\n";
    fs::write(&config, text).unwrap();
    let checked = countersign()
        .args(["broker", "check", "--config"])
        .arg(&config)
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&checked.stderr);
    assert_eq!(checked.status.code(), Some(2), "{words}");
    for expected in ["address", "receive_maximum", "broker.toml"] {
        assert!(words.contains(expected), "{expected}: {words}");
    }
}

#[test]
#[ignore = "needs the binary; scripts/test runs it"]
fn an_address_of_the_command_line_stays_whatever_the_file_says() {
    let up = Up::start();
    let config = up.dir.join("broker.toml");
    let text = fs::read_to_string(&config).unwrap();
    let changed = text.lines().map(|line| match line {
        "[limits]" => "[limits]\nsubscriptions_max = 7\n",
        line if line.starts_with("address = ") => "address = '127.0.0.1:1'\n",
        line => line,
    });
    let changed = changed.collect::<Vec<_>>().join("\n");
    assert!(
        changed.contains("127.0.0.1:1'") && changed.contains("= 7"),
        "{text}"
    );
    fs::write(&config, changed).unwrap();
    let asked = countersign()
        .args(["broker", "reload", "--json", "--dir"])
        .arg(&up.dir)
        .output()
        .unwrap();
    assert!(asked.status.success(), "{asked:?}");
    up.log_line(&["reloaded", "limits"]);
}

#[test]
#[ignore = "needs the binary; scripts/test runs it"]
fn policy_diff_says_what_of_a_running_broker_would_be_cut() {
    let up = Up::start();
    let dir = &up.dir;
    let mut subscriber = up.subscriber();
    let strict = dir.join("strict.toml");
    fs::write(&strict, "built_in = false\n[[rule]]\npublish = 'a'\n").unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    let live = loop {
        let asked = countersign()
            .args(["policy", "diff"])
            .args([&dir.join("policy.toml"), &strict])
            .args(["--live", "--json", "--dir"])
            .arg(dir)
            .output()
            .unwrap();
        assert!(asked.status.success(), "{asked:?}");
        let answer: serde_json::Value = serde_json::from_slice(&asked.stdout).unwrap();
        if answer["live"]["subscriptions"] == 1 {
            break answer["live"].clone();
        }
        assert!(Instant::now() < deadline, "{answer}");
    };
    assert_eq!(live["losses"][0]["device"], "app/app-1", "{live}");
    assert_eq!(live["losses"][0]["filters"][0], "devices/+/#", "{live}");
    subscriber.kill().unwrap();
    subscriber.wait().unwrap();
}

#[test]
#[ignore = "needs the binary; scripts/test runs it"]
fn a_signal_tells_every_client_and_ends_the_process() {
    let mut up = Up::start();
    let mut subscriber = up.subscriber();
    up.log_line(&["listening"]);
    assert_eq!(up.terminate(), Some(0), "{}", up.log());
    subscriber.kill().unwrap();
    subscriber.wait().unwrap();
}
