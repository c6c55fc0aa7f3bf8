//! What is logged of a device: which it is and where it connects, and nothing that is secret.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use device_client::{Publish, QoS};
use tracing_subscriber::fmt::MakeWriter;

use crate::broker::{Broker, CONNACK};

/// All that is logged in this process.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Lines {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn a_line_names_the_device_and_its_broker_and_no_payload() {
    let lines = Lines::default();
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter("device_client=trace")
        .with_ansi(false)
        .with_writer(lines.clone());
    // For the whole process: where only one thread subscribes, tracing asks the first thread that
    // comes to a line whether anybody reads it, and that may be a thread of another test.
    tracing::subscriber::set_global_default(subscriber.finish()).unwrap();
    let broker = Broker::start().await;
    let builder = broker.device().client_id("dev-1/logged");
    let (device, mut connection) = broker.connected(builder).await;
    let secret = Publish::new("a", "topmost secret").qos(QoS::AtLeastOnce);
    let receipt = device.queue(secret.clone()).await.unwrap();
    connection.read().await;
    connection.end().await;
    let mut connection = broker.accept_with(CONNACK).await;
    let [high, low] = connection.read().await.publish_id();
    connection.write(&[0x40, 2, high, low]).await;
    receipt.await.unwrap();
    device.disconnect(Duration::from_secs(1)).await.unwrap();
    let text = lines.text();
    let of_device = r#"device{id="dev-1" client="dev-1/logged"}"#;
    let at_broker = format!("attempt{{broker=mqtts://{}}}", broker.url());
    for (parts, times) in [
        ([of_device, at_broker.as_str()], 2),
        ([of_device, "not connected"], 1),
        ([of_device, "disconnected"], 1),
    ] {
        let is_it = |line: &&str| parts.iter().all(|part| line.contains(part));
        assert_eq!(
            text.lines().filter(is_it).count(),
            times,
            "{parts:?}: {text}"
        );
    }
    assert!(!text.contains("topmost secret"), "{text}");
}
