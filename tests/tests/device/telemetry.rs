//! Telemetry of a device whose certificates follow each other, and what became of it.

use countersign_tests::raw::PATIENCE;
use countersign_tests::world::World;
use device_client::{Device, Link, Publish, QoS, Subscription};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use tokio::time::{sleep, timeout};

const INTERVAL: Duration = Duration::from_millis(10);

/// What became of a device and its telemetry.
pub(crate) struct Outcome {
    /// The serial numbers by which the broker knew it.
    pub(crate) used: BTreeSet<String>,
    pub(crate) published: u32,
    /// The longest time between two that arrived.
    pub(crate) longest: Duration,
    lost: Vec<u32>,
    twice: usize,
}

/// Has the device publish until its certificate was renewed so often, each of which lasts for
/// `lifetime`, and leave; `collector` counts what arrives.
pub(crate) async fn follow(
    world: &World,
    (device, collector): (Device, Device),
    (times, lifetime): (u32, Duration),
) -> Outcome {
    let mut commands = subscribe(&device, "commands").await;
    let collecting = tokio::spawn(collect(subscribe(&collector, "telemetry").await));
    let publishing = tokio::spawn(publish(device.clone(), times));
    let used = watch(world, device.clone(), (times, lifetime)).await;
    let published = publishing.await.unwrap();
    // What was subscribed at the beginning still is.
    collector
        .publish("commands", "end", QoS::AtLeastOnce)
        .await
        .unwrap();
    let command = timeout(PATIENCE, commands.next()).await.unwrap();
    assert_eq!(command.unwrap().unwrap().payload, "end");
    device.disconnect(PATIENCE).await.unwrap();
    let (arrived, longest) = collecting.await.unwrap();
    let is_lost = |number: &u32| !arrived.contains_key(number);
    Outcome {
        used,
        published,
        longest,
        lost: (0..published).filter(is_lost).collect(),
        twice: arrived.values().filter(|times| **times > 1).count(),
    }
}

impl Outcome {
    pub(crate) fn expect_all_once(&self) {
        assert!(self.lost.is_empty(), "{:?}", self.lost);
        assert_eq!(
            self.twice, 0,
            "sent again after a connection that was ended in good order"
        );
    }
}

async fn subscribe(device: &Device, filter: &str) -> Subscription {
    device.subscribe(filter, QoS::AtLeastOnce).await.unwrap()
}

/// Publishes until the certificate was renewed so often. Yields how many messages there were.
async fn publish(device: Device, times: u32) -> u32 {
    let mut receipts = Vec::new();
    while device.status().certificate.renewals < times || device.status().connections < times {
        let number = u32::try_from(receipts.len()).unwrap();
        let telemetry = Publish::new("telemetry", number.to_string());
        let queued = device.queue(telemetry.qos(QoS::AtLeastOnce)).await;
        receipts.push(queued.unwrap());
        sleep(INTERVAL).await;
    }
    let published = u32::try_from(receipts.len()).unwrap();
    for receipt in receipts {
        receipt.await.unwrap();
    }
    device
        .publish("telemetry", "end", QoS::AtLeastOnce)
        .await
        .unwrap();
    published
}

/// How often each message arrived, and the longest time between two.
async fn collect(mut telemetry: Subscription) -> (BTreeMap<u32, u32>, Duration) {
    let mut arrived = BTreeMap::new();
    let (mut longest, mut last) = (Duration::ZERO, Instant::now());
    loop {
        let message = timeout(5 * PATIENCE, telemetry.next()).await;
        let message = message.expect("no telemetry").unwrap().unwrap();
        longest = longest.max(last.elapsed());
        last = Instant::now();
        let text = String::from_utf8(message.payload.into()).unwrap();
        if text == "end" {
            return (arrived, longest);
        }
        *arrived.entry(text.parse().unwrap()).or_insert(0) += 1;
    }
}

/// Watches the device through so many renewals. Yields the serial numbers by which the broker knew
/// it.
async fn watch(
    world: &World,
    mut device: Device,
    (times, lifetime): (u32, Duration),
) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    while device.status().connections <= times {
        let status = timeout(9 * lifetime, device.status_changed()).await;
        let status = status.unwrap_or_else(|_| panic!("no renewal: {:?}", device.status()));
        if let Link::Connected { resumed, .. } = status.unwrap().link {
            assert!(resumed, "the session was lost");
            used.insert(serial(world));
        }
    }
    used
}

/// Of the certificate behind the connection of the device.
fn serial(world: &World) -> String {
    let answer = world.ask(&json!({ "sessions": { "device": "renewing" } }));
    let rows = answer["sessions"]["sessions"].as_array().unwrap();
    let own = rows.iter().find(|row| row["client"] == "renewing");
    own.unwrap()["serial"].as_str().unwrap().to_owned()
}
