//! A sensor: reports a measurement every few seconds, and is told how often.
//!
//! `cargo run -p countersign-device-client --example sensor -- certs/dev/devices/dev-1`

use std::error::Error;
use std::pin::pin;
use std::time::Duration;

use device_client::{Device, Identity, Publish, QoS, Will};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments
        .next()
        .ok_or("usage: sensor IDENTITY_DIRECTORY [BROKER]")?;
    let broker = arguments
        .next()
        .unwrap_or_else(|| "mqtts://localhost:8883".into());

    let identity = Identity::open(directory)?;
    let topic = |rest: &str| format!("devices/{}/{rest}", identity.device_id());
    let (state, temperature) = (topic("state"), topic("temperature"));
    let gone = Will::new(
        Publish::new(&state, "gone")
            .qos(QoS::AtLeastOnce)
            .retained(),
    );
    let device = Device::builder(&broker, identity.clone())?
        .will(gone)?
        .connect()
        .await?;

    device
        .publish_with(
            Publish::new(&state, "here")
                .qos(QoS::AtLeastOnce)
                .retained(),
        )
        .await?;
    let mut commands = device
        .subscribe(topic("commands/interval"), QoS::AtLeastOnce)
        .await?;
    let mut interval = Duration::from_secs(5);
    // One for all turns: a signal that comes while we are busy is not missed.
    let mut stop = pin!(tokio::signal::ctrl_c());
    loop {
        tokio::select! {
            () = tokio::time::sleep(interval) => {
                let measured = Publish::new(&temperature, measure()).qos(QoS::AtLeastOnce);
                device.publish_with(measured.content_type("text/plain")).await?;
            }
            Some(command) = commands.next() => {
                let text = String::from_utf8_lossy(&command?.payload).into_owned();
                // A command that is none changes nothing.
                if let Ok(seconds) = text.parse::<u64>() {
                    interval = Duration::from_secs(seconds.max(1));
                }
            }
            _ = &mut stop => break,
        }
    }
    device.disconnect(Duration::from_secs(5)).await?;
    Ok(())
}

/// Stands in for the hardware.
fn measure() -> String {
    "21.5".into()
}
