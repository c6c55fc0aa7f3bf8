//! How a test of one's own begins: a broker, ten devices with a certificate each, and one that is
//! revoked. `cargo run -p countersign-fleet --example ten_devices`

use device_client::QoS;
use fleet::TestBroker;
use std::error::Error;
use std::time::Instant;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let begun = Instant::now();
    let broker = TestBroker::start().await?;
    println!(
        "a broker with its own CA listens after {:?}",
        begun.elapsed()
    );

    let dashboard = broker.app("dashboard").await?;
    let mut readings = dashboard.subscribe("devices/+/t", QoS::AtLeastOnce).await?;
    let mut sensors = Vec::new();
    for n in 1..=10 {
        let id = format!("sensor-{n}");
        let sensor = broker.device(&id).await?;
        let topic = format!("devices/{id}/t");
        sensor
            .publish(topic, n.to_string(), QoS::AtLeastOnce)
            .await?;
        sensors.push(sensor);
        let reading = readings.next().await.ok_or("the dashboard has left")??;
        assert_eq!(*reading.payload, *n.to_string().as_bytes());
    }
    println!("ten devices were heard after {:?}", begun.elapsed());

    let receipt = broker.revoke("sensor-1").await?;
    let (closed, milliseconds) = (receipt.sessions_closed, receipt.milliseconds);
    println!("sensor-1 is revoked: {closed} session closed in {milliseconds} ms");
    assert!(broker.device("sensor-1").await.is_err());
    Ok(())
}
