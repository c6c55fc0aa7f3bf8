//! Python's `paho-mqtt`, as device developers use it.

use crate::binary::Up;
use std::process::Command;

#[test]
#[ignore = "needs Python with paho-mqtt; scripts/test runs it"]
fn paho_mqtt_exchanges_messages_at_every_qos_in_both_versions() {
    let up = Up::start();
    let python = std::env::var("COUNTERSIGN_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/interop/paho_exchange.py"
    );
    let output = Command::new(python)
        .arg(script)
        .arg(&up.dir)
        .arg(up.port.to_string())
        .output();
    let output = output.unwrap();
    assert!(output.status.success(), "{output:?}");
}
