//! A gateway: speaks for many devices that cannot themselves, each by its own certificate and with
//! its own outbox, so that none of them can pass for another.
//!
//! Reads `ID TEXT` line by line, as a field bus would say it, and publishes it for that device.
//!
//! `cargo run -p countersign-device-client --example gateway -- certs/dev/devices outboxes`

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::Path;
use std::time::Duration;

use device_client::{Device, Identity, Publish, QoS, WhenFull};
use tokio::io::{AsyncBufReadExt, BufReader, stdin};
use tokio::task::JoinSet;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: gateway IDENTITIES OUTBOXES [BROKER]";
    let identities = arguments.next().ok_or(usage)?;
    let outboxes = arguments.next().ok_or(usage)?;
    let broker = arguments
        .next()
        .unwrap_or_else(|| "mqtts://localhost:8883".into());

    let devices = connect_all(identities.as_ref(), outboxes.as_ref(), &broker).await?;
    eprintln!("speaking for {}", devices.len());
    let mut lines = BufReader::new(stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let (id, text) = line.split_once(' ').unwrap_or((&line, ""));
        match devices.get(id) {
            Some(device) => report(device, id, text).await?,
            None => eprintln!("{id:?} is none of ours"),
        }
    }
    let leaving = devices.into_values().map(|device| async move {
        // What is not acknowledged by then is on disk, and sent by the next run.
        let _ = device.disconnect(Duration::from_secs(5)).await;
    });
    leaving.collect::<JoinSet<_>>().join_all().await;
    Ok(())
}

/// One device for each identity, all connected at once.
async fn connect_all(
    identities: &Path,
    outboxes: &Path,
    broker: &str,
) -> Result<BTreeMap<String, Device>, Box<dyn Error>> {
    let mut connecting = JoinSet::new();
    for entry in fs::read_dir(identities)? {
        let identity = Identity::open(entry?.path())?;
        let id = identity.device_id().to_owned();
        let builder = Device::builder(broker, identity)?
            .outbox(outboxes.join(&id))
            .outbox_bytes_max(256 * 1024)
            // A device that says too much loses its own oldest words, and keeps nobody waiting.
            .when_outbox_full(WhenFull::DropOldest);
        connecting.spawn(async move { (id, builder.connect().await) });
    }
    let mut devices = BTreeMap::new();
    while let Some(connected) = connecting.join_next().await {
        let (id, device) = connected?;
        devices.insert(id, device?);
    }
    Ok(devices)
}

/// Accepted is enough: the outbox has it.
async fn report(device: &Device, id: &str, text: &str) -> Result<(), Box<dyn Error>> {
    let publish = Publish::new(format!("devices/{id}/report"), text.to_owned()).text();
    let receipt = device.queue(publish.qos(QoS::AtLeastOnce)).await?;
    let id = id.to_owned();
    tokio::spawn(async move {
        if let Err(error) = receipt.await {
            eprintln!("{id}: {error}");
        }
    });
    Ok(())
}
