//! The greenhouse against a real broker: each test has one of its own, with its own authority.

use device_client::QoS;
use fleet::TestBroker;
use greenhouse::Greenhouse;
use std::error::Error;

#[tokio::test]
async fn a_window_opens_when_it_is_too_warm() -> Result<(), Box<dyn Error>> {
    let broker = TestBroker::start().await?;
    let gardener = broker.app("gardener").await?;
    let mut heard = gardener.subscribe("devices/+/+", QoS::AtLeastOnce).await?;
    let greenhouse = Greenhouse::new("north", broker.device("north").await?);
    greenhouse.feel(21.5).await?;
    greenhouse.feel(31.0).await?;
    for (topic, words) in [
        ("devices/north/temperature", "21.5"),
        ("devices/north/temperature", "31"),
        ("devices/north/window", "open"),
    ] {
        let message = heard.next().await.ok_or("the gardener has left")??;
        assert_eq!(
            (&*message.topic, &*message.payload),
            (topic, words.as_bytes())
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_stolen_greenhouse_says_nothing_more() -> Result<(), Box<dyn Error>> {
    let broker = TestBroker::start().await?;
    let greenhouse = Greenhouse::new("south", broker.device("south").await?);
    greenhouse.feel(20.0).await?;
    assert_eq!(broker.revoke("south").await?.sessions_closed, 1);
    assert!(greenhouse.feel(20.0).await.is_err());
    assert!(broker.device("south").await.is_err());
    Ok(())
}
