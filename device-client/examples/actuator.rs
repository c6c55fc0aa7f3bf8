//! An actuator: a valve that is told how far to open, and answers whoever asks for an answer.
//!
//! `cargo run -p countersign-device-client --example actuator -- certs/dev/devices/dev-1`

use std::error::Error;
use std::pin::pin;
use std::time::Duration;

use device_client::{Device, Encoding, Identity, Message, Publish, QoS, ReceiveError};

/// Answers that are under way are waited for, and nobody waits for long.
const GOODBYE_TIME_MAX: Duration = Duration::from_secs(5);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments
        .next()
        .ok_or("usage: actuator IDENTITY_DIRECTORY [BROKER]")?;
    let broker = arguments
        .next()
        .unwrap_or_else(|| "mqtts://localhost:8883".into());

    let identity = Identity::open(directory)?;
    let orders = format!("devices/{}/commands/opening", identity.device_id());
    let device = Device::connect(&broker, identity).await?;
    let orders = device.subscribe(orders, QoS::ExactlyOnce).await?;
    let mut orders = orders.typed::<u8>(Encoding::Json);
    // One for all turns: a signal that comes while we are busy is not missed.
    let mut stop = pin!(tokio::signal::ctrl_c());
    loop {
        tokio::select! {
            Some(order) = orders.next() => match order {
                Ok(order) => {
                    let opened = open(order.value);
                    answer(&device, &order.message, opened).await?;
                }
                // One order that cannot be read is no reason to follow none.
                Err(ReceiveError::Payload { message, source }) => {
                    eprintln!("{source}");
                    answer(&device, &message, Err("a number from 0 to 100 is needed")).await?;
                }
                Err(ended) => return Err(ended.into()),
            },
            _ = &mut stop => break,
        }
    }
    device.disconnect(GOODBYE_TIME_MAX).await?;
    Ok(())
}

/// Stands in for the hardware.
fn open(percent: u8) -> Result<u8, &'static str> {
    match percent {
        0..=100 => Ok(percent),
        _ => Err("a number from 0 to 100 is needed"),
    }
}

/// Tells what became of an order where that is asked for, under the data by which the answer is
/// known (MQTT 5.0 §4.10).
async fn answer(
    device: &Device,
    order: &Message,
    done: Result<u8, &str>,
) -> Result<(), Box<dyn Error>> {
    let Some(topic) = &order.properties.response_topic else {
        return Ok(());
    };
    let mut answer = match done {
        Ok(percent) => Publish::json(topic, &percent)?,
        Err(why) => Publish::new(topic, why.to_owned()).text(),
    };
    if let Some(data) = &order.properties.correlation_data {
        answer = answer.correlation_data(data.clone());
    }
    // Whoever asks chooses the topic: that the policy forbids it is no fault of ours.
    if let Err(error) = device.publish_with(answer.qos(QoS::AtLeastOnce)).await {
        eprintln!("no answer to {topic}: {error}");
    }
    Ok(())
}
