//! One certificate after the other, each of ten seconds, under telemetry: nothing is lost, the
//! session least of all.

use crate::est::Est;
use countersign_tests::authority::Authority;
use countersign_tests::raw::PATIENCE;
use countersign_tests::world::{Settings, World};
use device_client::{Device, Identity, Link, Publish, QoS, Renewal, Subscription};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

const LIFETIME: Duration = Duration::from_secs(10);

/// Telemetry.
const INTERVAL: Duration = Duration::from_millis(10);

#[test]
fn twelve_certificates_of_ten_seconds_follow_each_other_without_a_loss() {
    renew(12);
}

#[test]
#[ignore = "long: scripts/test --long runs it"]
fn long_a_hundred_and_forty_four_certificates_of_ten_seconds_follow_each_other() {
    renew(144);
}

fn renew(times: u32) {
    let world = World::start_with(&Settings {
        more: "[admin]\nsocket = 'admin.sock'".into(),
        ..Settings::default()
    });
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(run(&world, times));
    world.expect_health();
}

async fn run(world: &World, times: u32) {
    let est = Est::start(&world.file("broker"), LIFETIME);
    let home = home();
    let device = connect(world, "renewing", home.path(), Some(&est)).await;
    let mut commands = subscribe(&device, "commands").await;
    let collector_home = self::home();
    let collector = connect(world, "collector", collector_home.path(), None).await;
    let collecting = tokio::spawn(collect(subscribe(&collector, "telemetry").await));
    let publishing = tokio::spawn(publish(device.clone(), times));

    let used = watch(world, device.clone(), times).await;
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
    let lost: Vec<_> = (0..published)
        .filter(|it| !arrived.contains_key(it))
        .collect();
    let twice = arrived.values().filter(|times| **times > 1).count();
    println!(
        "outcome: {} certificates used of {} issued for {} requests, {published} messages, {} \
         lost, {twice} twice, {longest:?} between two at most",
        used.len(),
        est.issued().len(),
        est.asked(),
        lost.len(),
    );
    assert!(lost.is_empty(), "{lost:?}");
    assert_eq!(
        twice, 0,
        "sent again after a connection that was ended in good order"
    );
    // Each that counted was used; one that was asked for last may not have been.
    let issued = est.issued();
    let unused: Vec<_> = issued.iter().filter(|it| !used.contains(*it)).collect();
    assert!(unused.len() <= 1, "{unused:?}");
    let names = fs::read_dir(home.path()).unwrap().count();
    assert!(names <= 3, "{names} names: versions were left behind");
}

/// In memory where that can be had: a disk that others keep busy may take longer to sync than such
/// a certificate has left.
fn home() -> TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

async fn connect(world: &World, id: &str, home: &Path, est: Option<&Est>) -> Device {
    let authority = Authority::shared();
    authority.write_device_files(id, home);
    if est.is_some() {
        // It began a day ago: it is renewed at once, by one that ends later, which is told by the
        // second.
        let short_lived = authority.short_lived(id, LIFETIME);
        fs::write(home.join("cert.pem"), short_lived.pem()).unwrap();
        fs::write(home.join("key.pem"), short_lived.key_pem()).unwrap();
        sleep(Duration::from_millis(1100)).await;
    }
    let identity = Identity::open(home).unwrap();
    let mut builder = Device::builder(&world.address().to_string(), identity).unwrap();
    if let Some(est) = est {
        builder = builder.renew(Renewal::by_est(est.url()).unwrap());
    }
    builder.connect().await.unwrap()
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
async fn watch(world: &World, mut device: Device, times: u32) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    while device.status().connections <= times {
        let status = timeout(9 * LIFETIME, device.status_changed()).await;
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
