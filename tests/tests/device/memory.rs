//! What a device costs that does nothing.

use countersign_tests::authority::Authority;
use countersign_tests::world::World;
use device_client::{Device, Identity};
use std::fs;

/// Of this process, in KiB.
fn resident() -> u32 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let value = line.and_then(|line| line.split_whitespace().next());
    value.unwrap().parse().unwrap()
}

/// In KiB.
const EACH_MAX: f64 = 100.0;

#[test]
#[ignore = "long: scripts/test --long runs it"]
fn long_an_idle_device_takes_less_than_its_share() {
    const DEVICES: u32 = 300;
    let world = World::start();
    let home = tempfile::tempdir().unwrap();
    Authority::shared().write_device_files("idle", home.path());
    let identity = Identity::open(home.path()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let url = world.address().to_string();
    let mut devices = Vec::new();
    runtime.block_on(async {
        let mut before = 0;
        for number in 0..DEVICES + 50 {
            // What the first of them take is there for all.
            if number == 50 {
                before = resident();
            }
            let builder = Device::builder(&url, identity.clone()).unwrap();
            let builder = builder.client_id(format!("idle/{number}"));
            devices.push(builder.connect().await.unwrap());
        }
        let each = f64::from(resident() - before) / f64::from(DEVICES);
        println!("outcome: an idle device takes {each:.1} KiB");
        assert!(each < EACH_MAX, "{each:.1} KiB");
    });
}
