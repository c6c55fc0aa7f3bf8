//! A device that publishes without end, to be killed: it says what it has accepted, and nothing
//! else of it outlives it but its outbox.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
#![allow(clippy::panic, clippy::indexing_slicing, reason = "tests")]

use device_client::{Backoff, Device, Identity, Publish, QoS};
use std::io::{Write, stderr, stdout};
use std::path::PathBuf;
use std::time::Duration;

/// `publishing-device URL IDENTITY OUTBOX LIFE`: publishes at QoS 1 and 2 in turn, and prints
/// `QOS LIFE NUMBER` for each message that was accepted. With `drain` for LIFE it waits until all
/// of its earlier lives is acknowledged, publishes `end`, and ends itself.
#[tokio::main(flavor = "current_thread")]
async fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [url, identity, outbox, life] = <[String; 4]>::try_from(args).expect("four arguments");
    let log = tracing_subscriber::fmt().with_writer(stderr);
    log.with_ansi(false).with_target(false).init();
    let backoff = Backoff {
        base: Duration::from_millis(10),
        cap: Duration::from_millis(100),
    };
    let builder = Device::builder(&url, Identity::open(identity).unwrap()).unwrap();
    let builder = builder.outbox(PathBuf::from(outbox)).outbox_len_max(100);
    let builder = builder
        .session_expiry(Duration::from_hours(24))
        .backoff(backoff);
    let device = builder
        .connect_within(Duration::MAX)
        .connect()
        .await
        .unwrap();
    if life == "drain" {
        return drain(&device).await;
    }
    for number in 0_u64.. {
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let name = format!("{} {life} {number}", qos.level());
            let publish = Publish::new("kept", name.clone()).qos(qos);
            drop(device.queue(publish).await.unwrap());
            println!("{name}");
            stdout().flush().unwrap();
        }
    }
}

async fn drain(device: &Device) {
    while device.status().unacknowledged > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    device
        .publish("kept", "end", QoS::ExactlyOnce)
        .await
        .unwrap();
    device.disconnect(Duration::from_secs(20)).await.unwrap();
}
