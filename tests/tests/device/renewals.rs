//! One certificate after the other, each of ten seconds, under telemetry: nothing is lost, the
//! session least of all.

use crate::est::Est;
use crate::telemetry::follow;
use countersign_tests::authority::Authority;
use countersign_tests::world::{Settings, World};
use device_client::{Builder, Device, Identity, Renewal, Version};
use std::fs;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::sleep;

const LIFETIME: Duration = Duration::from_secs(10);

#[test]
fn twelve_certificates_of_ten_seconds_follow_each_other_without_a_loss() {
    renew(12, Version::V5);
}

#[test]
fn so_do_three_where_mqtt_3_1_1_is_spoken() {
    renew(3, Version::V3_1_1);
}

#[test]
#[ignore = "long: scripts/test --long runs it"]
fn long_a_hundred_and_forty_four_certificates_of_ten_seconds_follow_each_other() {
    renew(144, Version::V5);
}

fn renew(times: u32, version: Version) {
    let world = World::start_with(&Settings {
        more: "[admin]\nsocket = 'admin.sock'".into(),
        ..Settings::default()
    });
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(run(&world, times, version));
    world.expect_health();
}

async fn run(world: &World, times: u32, version: Version) {
    let est = Est::start(&world.file("broker"), LIFETIME);
    let home = home();
    let device = renewing(world, home.path(), &est).await.version(version);
    let device = device.connect().await.unwrap();
    let collector_home = self::home();
    Authority::shared().write_device_files("collector", collector_home.path());
    let collector = builder(world, collector_home.path());
    let collector = collector.connect().await.unwrap();
    let outcome = follow(world, (device, collector), (times, LIFETIME)).await;
    println!(
        "outcome: {} certificates used of {} issued for {} requests, {} messages, {:?} between \
         two at most",
        outcome.used.len(),
        est.issued().len(),
        est.asked(),
        outcome.published,
        outcome.longest,
    );
    outcome.expect_all_once();
    // Each that counted was used; one that was asked for last may not have been.
    let issued = est.issued();
    let is_unused = |serial: &&String| !outcome.used.contains(*serial);
    let unused: Vec<_> = issued.iter().filter(is_unused).collect();
    assert!(unused.len() <= 1, "{unused:?}");
    let names = fs::read_dir(home.path()).unwrap().count();
    assert!(names <= 3, "{names} names: versions were left behind");
}

/// In memory where that can be had: a disk that others keep busy may take longer to sync than such
/// a certificate has left.
fn home() -> TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

/// One whose certificate began a day ago: it is renewed at once, by one that ends later, which is
/// told by the second.
async fn renewing(world: &World, home: &Path, est: &Est) -> Builder {
    let authority = Authority::shared();
    authority.write_device_files("renewing", home);
    let short_lived = authority.short_lived("renewing", LIFETIME);
    fs::write(home.join("cert.pem"), short_lived.pem()).unwrap();
    fs::write(home.join("key.pem"), short_lived.key_pem()).unwrap();
    sleep(Duration::from_millis(1100)).await;
    builder(world, home).renew(Renewal::by_est(est.url()).unwrap())
}

fn builder(world: &World, home: &Path) -> Builder {
    let identity = Identity::open(home).unwrap();
    Device::builder(&world.address().to_string(), identity).unwrap()
}
