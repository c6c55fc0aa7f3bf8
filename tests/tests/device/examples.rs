//! The examples of the library do what they say they do.

use countersign_tests::authority::Authority;
use countersign_tests::raw::PATIENCE;
use countersign_tests::world::{World, program};
use device_client::{Device, Identity, Message, Publish, QoS, Subscription};
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsStr;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

/// An example that runs; it ends with the test.
pub(crate) struct Example(Child);

impl Example {
    pub(crate) fn start(name: &str, arguments: &[&dyn AsRef<OsStr>]) -> Self {
        let mut command = Command::new(program("examples").join(name));
        command.args(arguments).stdin(Stdio::piped());
        Self(command.spawn().unwrap())
    }

    /// Asks it to end as somebody at a terminal would, and has it end well.
    pub(crate) async fn interrupt(self) {
        kill_process(Pid::from_child(&self.0), Signal::INT).unwrap();
        self.expect_good_end().await;
    }

    async fn expect_good_end(mut self) {
        let ended = async {
            loop {
                if let Some(status) = self.0.try_wait().unwrap() {
                    return status;
                }
                sleep(Duration::from_millis(5)).await;
            }
        };
        let status = timeout(PATIENCE, ended).await.expect("it goes on");
        assert!(status.success(), "{status}");
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A broker, the files of a device, and another device that hears what it says.
struct Scene {
    world: World,
    home: TempDir,
    observer: Device,
}

impl Scene {
    async fn new(id: &str) -> Self {
        let (world, home) = (World::start(), tempfile::tempdir().unwrap());
        write_device(id, &home.path().join(id));
        let observer_home = tempfile::tempdir().unwrap();
        write_device("observer", observer_home.path());
        let identity = Identity::open(observer_home.path()).unwrap();
        let url = world.address().to_string();
        let observer = Device::connect(&url, identity).await.unwrap();
        Self {
            world,
            home,
            observer,
        }
    }

    async fn hear(&self, filter: &str) -> Subscription {
        let subscription = self.observer.subscribe(filter, QoS::AtLeastOnce);
        subscription.await.unwrap()
    }
}

fn write_device(id: &str, directory: &Path) {
    std::fs::create_dir_all(directory).unwrap();
    Authority::shared().write_device_files(id, directory);
}

async fn next(subscription: &mut Subscription) -> Message {
    let next = timeout(PATIENCE, subscription.next()).await;
    next.expect("nothing came").unwrap().unwrap()
}

#[tokio::test]
#[ignore = "needs the examples; scripts/test runs it"]
async fn the_sensor_measures_as_often_as_it_is_told() {
    let scene = Scene::new("sensor").await;
    let mut said = scene.hear("devices/sensor/+").await;
    let (home, url) = (scene.home.path().join("sensor"), scene.world.address());
    let sensor = Example::start("sensor", &[&home, &url.to_string()]);
    assert_eq!(next(&mut said).await.payload, "here");
    // It may not have subscribed yet, and a word of this kind is kept for it.
    let often = Publish::new("devices/sensor/commands/interval", "1").retained();
    scene
        .observer
        .publish_with(often.qos(QoS::AtLeastOnce))
        .await
        .unwrap();
    let measured = next(&mut said).await;
    assert_eq!(measured.topic, "devices/sensor/temperature");
    assert_eq!(measured.payload, "21.5");
    sensor.interrupt().await;
    scene.world.expect_health();
}

#[tokio::test]
#[ignore = "needs the examples; scripts/test runs it"]
async fn the_actuator_follows_orders_and_answers() {
    let scene = Scene::new("valve").await;
    let (home, url) = (scene.home.path().join("valve"), scene.world.address());
    let actuator = Example::start("actuator", &[&home, &url.to_string()]);
    let requester = scene
        .observer
        .requester("devices/observer/answers")
        .await
        .unwrap();
    for (order, expected) in [("40", "40"), ("101", "a number from 0 to 100 is needed")] {
        // It is asked until it has subscribed.
        let answer = async {
            loop {
                let order = Publish::new("devices/valve/commands/opening", order);
                let order = order.qos(QoS::AtLeastOnce);
                if let Ok(answer) = requester.request(order, Duration::from_secs(1)).await {
                    return answer;
                }
            }
        };
        let answer = timeout(PATIENCE, answer).await.expect("no answer");
        assert_eq!(answer.payload, expected);
    }
    actuator.interrupt().await;
    scene.world.expect_health();
}

#[tokio::test]
#[ignore = "needs the examples; scripts/test runs it"]
async fn the_gateway_speaks_for_each_device_and_leaves_when_nothing_more_is_said() {
    let scene = Scene::new("first").await;
    write_device("second", &scene.home.path().join("second"));
    let outboxes = tempfile::tempdir().unwrap();
    let mut reports = scene.hear("devices/+/report").await;
    let url = scene.world.address().to_string();
    let mut gateway = Example::start("gateway", &[&scene.home.path(), &outboxes.path(), &url]);
    let mut lines = gateway.0.stdin.take().unwrap();
    for (line, topic, text) in [
        ("first 20 degrees", "devices/first/report", "20 degrees"),
        ("stranger hello\nsecond", "devices/second/report", ""),
    ] {
        writeln!(lines, "{line}").unwrap();
        let report = next(&mut reports).await;
        assert_eq!((&*report.topic, &*report.payload), (topic, text.as_bytes()));
    }
    drop(lines);
    gateway.expect_good_end().await;
    scene.world.expect_health();
}
