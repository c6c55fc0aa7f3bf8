//! Debian's `mosquitto_pub` and `mosquitto_sub`, with the lines that `up` prints.

use crate::binary::{Up, collect, wait_for};
use std::process::{Command, Stdio};

#[test]
#[ignore = "needs mosquitto-clients; scripts/test runs it"]
fn mosquitto_clients_exchange_messages_at_every_qos_in_both_versions() {
    let up = Up::start();
    for version in ["311", "5"] {
        for qos in ["0", "1", "2"] {
            exchange(&up, version, qos);
        }
    }
}

fn exchange(up: &Up, version: &str, qos: &str) {
    let topic = format!("devices/dev-1/v{version}/q{qos}");
    let mut subscriber = client("mosquitto_sub", up, "apps/app-1")
        .args([
            "-V",
            version,
            "-q",
            qos,
            "-t",
            "devices/+/#",
            "-F",
            "%t %q %p",
            "-d",
            "-C",
            "1",
        ])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let heard = collect(subscriber.stdout.take().unwrap());
    wait_for(&heard, "SUBACK");
    let published = client("mosquitto_pub", up, "devices/dev-1")
        .args(["-V", version, "-q", qos, "-t", &topic, "-m", "21.5"])
        .output()
        .unwrap();
    assert!(published.status.success(), "{published:?}");
    wait_for(&heard, &format!("{topic} {qos} 21.5"));
    assert!(subscriber.wait().unwrap().success());
}

#[test]
#[ignore = "needs mosquitto-clients; scripts/test runs it"]
fn the_lines_that_up_prints_can_be_pasted() {
    let up = Up::start();
    let line = |key: &str| up.ready()[key].as_str().unwrap().to_owned();
    let mut subscriber = Command::new("sh")
        .args([
            "-c",
            &format!("exec stdbuf -oL {} -d -C 1", line("subscribe")),
        ])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let heard = collect(subscriber.stdout.take().unwrap());
    wait_for(&heard, "SUBACK");
    let published = Command::new("sh")
        .args(["-c", &line("publish")])
        .output()
        .unwrap();
    assert!(published.status.success(), "{published:?}");
    wait_for(&heard, "devices/dev-1/temperature 21.5");
    assert!(subscriber.wait().unwrap().success());
}

#[test]
#[ignore = "needs mosquitto-clients; scripts/test runs it"]
fn a_session_that_was_away_gets_what_it_missed() {
    let up = Up::start();
    for version in ["311", "5"] {
        let away = |more: &[&str]| {
            let mut command = client("mosquitto_sub", &up, "apps/app-1");
            command.args([
                "-V",
                version,
                "-c",
                "-i",
                "app-1",
                "-q",
                "1",
                "-t",
                "devices/+/#",
            ]);
            // 3.1.1 keeps a session by `-c` alone.
            if version == "5" {
                command.args(["-x", "600"]);
            }
            command.args(more).output().unwrap()
        };
        assert!(away(&["-E"]).status.success());
        let published = client("mosquitto_pub", &up, "devices/dev-2")
            .args([
                "-V",
                version,
                "-q",
                "1",
                "-t",
                "devices/dev-2/log",
                "-m",
                "while you slept",
            ])
            .output()
            .unwrap();
        assert!(published.status.success(), "{published:?}");
        let missed = away(&["-C", "1", "-W", "10"]);
        assert_eq!(String::from_utf8_lossy(&missed.stdout), "while you slept\n");
    }
}

#[test]
#[ignore = "needs mosquitto-clients; scripts/test runs it"]
fn a_publish_outside_the_policy_is_refused_in_words() {
    let up = Up::start();
    let refused = client("mosquitto_pub", &up, "devices/dev-1")
        .args([
            "-V",
            "5",
            "-q",
            "1",
            "-t",
            "devices/dev-2/temperature",
            "-m",
            "0",
        ])
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&refused.stderr);
    assert!(words.contains("Not authorized"), "{refused:?}");
}

/// A mosquitto client with an identity of `up`.
pub(crate) fn client(program: &str, up: &Up, identity: &str) -> Command {
    let identity = up.identity(identity);
    // A pipe would keep what `-d` says until the end.
    let mut command = Command::new("stdbuf");
    command.args([
        "-oL",
        program,
        "-h",
        "127.0.0.1",
        "-p",
        &up.port.to_string(),
    ]);
    for (option, file) in [
        ("--cafile", "ca.pem"),
        ("--cert", "cert.pem"),
        ("--key", "key.pem"),
    ] {
        command.arg(option).arg(identity.join(file));
    }
    command
}
