//! Devices of a program that has no async runtime.

use countersign_tests::authority::Authority;
use countersign_tests::raw::PATIENCE;
use countersign_tests::world::World;
use device_client::{Device, Identity, Publish, QoS, blocking};
use std::fs;

/// How many threads of this process have this name.
fn threads(name: &str) -> usize {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.filter_map(|task| fs::read_to_string(task.unwrap().path().join("comm")).ok());
    names.filter(|it| it.trim_end() == name).count()
}

#[test]
fn devices_without_a_runtime_of_their_own_share_one_thread() {
    let world = World::start();
    let home = tempfile::tempdir().unwrap();
    Authority::shared().write_device_files("waiting", home.path());
    let identity = Identity::open(home.path()).unwrap();
    let url = world.address().to_string();
    let sender = blocking::Device::connect(&url, identity.clone()).unwrap();
    let builder = Device::builder(&url, identity).unwrap();
    let receiver = builder.client_id("waiting/2").connect_blocking().unwrap();
    assert_eq!(threads("device-client"), 1);

    let mut numbers = receiver.subscribe("numbers", QoS::AtLeastOnce).unwrap();
    assert_eq!(numbers.as_async().filter(), "numbers");
    sender.publish("numbers", "1", QoS::AtLeastOnce).unwrap();
    let publish = Publish::new("numbers", "2").qos(QoS::ExactlyOnce);
    let receipt = sender.queue(publish).unwrap();
    receipt.wait().unwrap();
    assert_eq!(numbers.next().unwrap().unwrap().payload, "1");
    let second = numbers.next_within(PATIENCE).unwrap();
    assert_eq!(second.unwrap().unwrap().payload, "2");
    let third = numbers.next_within(std::time::Duration::from_millis(1));
    assert!(third.is_none(), "{third:?}");

    receiver.disconnect(PATIENCE).unwrap();
    assert!(numbers.next().is_none());
    sender.disconnect(PATIENCE).unwrap();
    assert!(!sender.status().is_connected());
    world.expect_health();
}
