//! An outbox on disk: what was accepted is sent by the next run, and what was under way goes on
//! where it stood.

use std::path::Path;
use std::time::Duration;

use device_client::{
    Builder, ConnectError, Device, OutboxError, Publish, PublishError, QoS, WhenFull,
};

use crate::broker::{Broker, CONNACK, CONNACK_SESSION_PRESENT, Connection, Packet};

struct Home {
    broker: Broker,
    directory: tempfile::TempDir,
}

impl Home {
    async fn new() -> Self {
        Self {
            broker: Broker::start().await,
            directory: tempfile::tempdir().unwrap(),
        }
    }

    fn outbox(&self) -> &Path {
        self.directory.path()
    }

    fn builder(&self) -> Builder {
        self.broker.device().outbox(self.outbox())
    }

    /// A run of the device that is connected, after what is under way anyhow.
    async fn run(&self, connack: &[u8]) -> (Device, Connection) {
        let (device, connection) = tokio::join!(self.builder().connect(), self.accept(connack));
        (device.unwrap(), connection)
    }

    /// The next connection that is not the last breath of an earlier run.
    async fn accept(&self, connack: &[u8]) -> Connection {
        loop {
            if let Ok(mut connection) = self.broker.try_accept().await {
                assert_eq!(connection.read().await.head, 0x10);
                connection.write(connack).await;
                return connection;
            }
        }
    }
}

/// Ends a run of the device: its outbox can be opened again.
async fn end(device: Device, connection: Connection) {
    drop(connection);
    let _ = device.disconnect(Duration::ZERO).await;
}

/// The connection is lost, and the device knows.
async fn lose(device: &Device, connection: Connection) {
    drop(connection);
    let mut device = device.clone();
    while device.status().is_connected() {
        device.status_changed().await;
    }
}

/// The next packet that is not the release of a packet id nobody knows.
async fn read(connection: &mut Connection, known: &[u8]) -> Packet {
    loop {
        let packet = connection.read().await;
        let id = packet.body.get(1).copied().unwrap_or(0);
        if packet.head != 0x62 || known.contains(&id) {
            return packet;
        }
        connection.write(&[0x70, 3, 0, id, 0x92]).await;
    }
}

async fn queue(device: &Device, topic: &str, qos: QoS) {
    let publish = Publish::new(topic, "").qos(qos);
    drop(device.queue(publish).await.unwrap());
}

#[tokio::test]
async fn what_was_accepted_without_a_connection_is_sent_in_order_by_the_next_run() {
    let home = Home::new().await;
    let (device, connection) = home.run(CONNACK).await;
    lose(&device, connection).await;
    for topic in ["a", "b", "c"] {
        queue(&device, topic, QoS::AtLeastOnce).await;
    }
    let _ = device.disconnect(Duration::ZERO).await;

    let (device, mut connection) = home.run(CONNACK).await;
    queue(&device, "d", QoS::AtLeastOnce).await;
    for expected in ["a", "b", "c", "d"] {
        let publish = connection.read().await;
        assert_eq!((publish.head & !0b1000, publish.topic()), (0x32, expected));
        let [high, low] = publish.publish_id();
        connection.write(&[0x40, 2, high, low]).await;
    }
    device.disconnect(Duration::from_secs(9)).await.unwrap();

    let (_device, mut connection) = home.run(CONNACK).await;
    connection.expect_silence().await;
}

#[tokio::test]
async fn a_message_of_qos_2_goes_on_where_it_stood_through_three_runs() {
    let home = Home::new().await;
    let (device, mut connection) = home.run(CONNACK).await;
    queue(&device, "a", QoS::ExactlyOnce).await;
    let first = connection.read().await;
    end(device, connection).await;

    let (device, mut connection) = home.run(CONNACK_SESSION_PRESENT).await;
    let second = read(&mut connection, &[]).await;
    assert_eq!(second.head, 0x34 | 0b1000, "DUP [MQTT-3.3.1-1]");
    assert_eq!(second.body, first.body);
    let [high, low] = second.publish_id();
    connection.write(&[0x50, 2, high, low]).await;
    assert_eq!(read(&mut connection, &[low]).await.head, 0x62);
    end(device, connection).await;

    let (device, mut connection) = home.run(CONNACK_SESSION_PRESENT).await;
    let release = read(&mut connection, &[low]).await;
    assert_eq!((release.head, &release.body[..2]), (0x62, &[high, low][..]));
    connection.write(&[0x70, 2, high, low]).await;
    device.disconnect(Duration::from_secs(9)).await.unwrap();

    let (device, mut connection) = home.run(CONNACK_SESSION_PRESENT).await;
    queue(&device, "b", QoS::ExactlyOnce).await;
    assert_eq!(read(&mut connection, &[]).await.topic(), "b");
}

#[tokio::test]
async fn what_was_under_way_is_sent_anew_when_the_broker_forgot_the_session() {
    let home = Home::new().await;
    let (device, mut connection) = home.run(CONNACK).await;
    for (topic, qos) in [("a", QoS::ExactlyOnce), ("b", QoS::AtLeastOnce)] {
        queue(&device, topic, qos).await;
        connection.read().await;
    }
    end(device, connection).await;

    let (device, mut connection) = home.run(CONNACK).await;
    for (head, topic) in [(0x34, "a"), (0x32, "b")] {
        let publish = connection.read().await;
        assert_eq!((publish.head, publish.topic()), (head, topic), "and no DUP");
    }
    assert_eq!(device.status().unacknowledged, 2);
}

#[tokio::test]
async fn the_order_is_kept_between_what_was_sent_and_what_was_not() {
    let home = Home::new().await;
    let (device, mut connection) = home.run(CONNACK).await;
    for topic in ["a", "b", "c"] {
        let qos = if topic == "b" {
            QoS::ExactlyOnce
        } else {
            QoS::AtLeastOnce
        };
        queue(&device, topic, qos).await;
        connection.read().await;
    }
    drop(connection);
    queue(&device, "d", QoS::AtLeastOnce).await;
    let _ = device.disconnect(Duration::ZERO).await;

    let (_device, mut connection) = home.run(CONNACK_SESSION_PRESENT).await;
    for expected in ["a", "b", "c", "d"] {
        assert_eq!(read(&mut connection, &[]).await.topic(), expected);
    }
}

#[tokio::test]
async fn an_outbox_that_another_device_holds_is_refused_by_name() {
    let home = Home::new().await;
    let (_device, _connection) = home.run(CONNACK).await;
    let second = home.builder().connect().await;
    let in_use = matches!(second, Err(ConnectError::Outbox(OutboxError::InUse { .. })));
    assert!(in_use, "{second:?}");
}

#[tokio::test]
async fn a_full_outbox_does_as_it_was_told_and_counts() {
    let broker = Broker::start().await;
    let cases = [
        (WhenFull::Refuse, "Err(OutboxFull)", (1, 0), ["a", "b"]),
        (WhenFull::DropNewest, "Ok(Err(Dropped))", (0, 1), ["a", "b"]),
        (WhenFull::DropOldest, "Ok(pending)", (0, 1), ["b", "c"]),
    ];
    for (when_full, expected, counted, left) in cases {
        let builder = broker
            .device()
            .outbox_len_max(2)
            .when_outbox_full(when_full);
        let (device, connection) = broker.connected(builder).await;
        lose(&device, connection).await;
        let mut receipts = Vec::new();
        for topic in ["a", "b"] {
            let publish = Publish::new(topic, "").qos(QoS::AtLeastOnce);
            receipts.push(device.queue(publish).await.unwrap());
        }
        let publish = Publish::new("c", "").qos(QoS::AtLeastOnce);
        let third = match device.queue(publish).await {
            Err(error) => format!("Err({error:?})"),
            Ok(receipt) => {
                let at_once = tokio::time::timeout(Duration::from_millis(20), receipt).await;
                at_once.map_or("Ok(pending)".into(), |result| format!("Ok({result:?})"))
            }
        };
        assert_eq!(third, expected);
        if when_full == WhenFull::DropOldest {
            let oldest = receipts.remove(0).await;
            assert!(matches!(oldest, Err(PublishError::Dropped)), "{oldest:?}");
        }
        let counts = device.status().outbox;
        assert_eq!((counts.refused, counts.dropped), counted, "{when_full:?}");
        let mut connection = broker.accept_with(CONNACK).await;
        for topic in left {
            assert_eq!(connection.read().await.topic(), topic);
        }
    }
}

#[tokio::test]
async fn a_message_whose_time_is_over_is_not_sent() {
    let broker = Broker::start().await;
    let (device, connection) = broker.connected(broker.device()).await;
    lose(&device, connection).await;
    let message = |topic: &str| Publish::new(topic, "").qos(QoS::AtLeastOnce);
    let short = message("a").expiry(Duration::from_millis(30));
    let short = device.queue(short).await.unwrap();
    let long = device
        .queue(message("b").expiry(Duration::from_mins(1)))
        .await;
    assert!(matches!(short.await, Err(PublishError::Expired)));
    let mut connection = broker.accept_with(CONNACK).await;
    assert_eq!(connection.read().await.topic(), "b");
    assert_eq!(device.status().outbox.expired, 1);
    drop(long);
}

#[tokio::test]
async fn a_message_too_large_for_the_outbox_is_refused_with_its_size() {
    let broker = Broker::start().await;
    let builder = broker.device().outbox_bytes_max(64 * 1024);
    let (device, _connection) = broker.connected(builder).await;
    let refused = device.publish("a", vec![0; 70_000], QoS::AtLeastOnce).await;
    let is_so = matches!(
        refused,
        Err(PublishError::TooLargeForOutbox {
            len: 70_000..,
            len_max: 65_536
        })
    );
    assert!(is_so, "{refused:?}");
}

#[tokio::test]
async fn one_run_goes_on_in_order_however_often_its_connection_is_lost() {
    let home = Home::new().await;
    let (device, mut connection) = home.run(CONNACK).await;
    let topics = ["a", "b", "c", "d", "e"];
    for topic in topics {
        queue(&device, topic, QoS::ExactlyOnce).await;
        assert_eq!(connection.read().await.topic(), topic);
    }
    // Each connection is lost when part of what waits has been sent again.
    for sent_again in [1, 3, 2] {
        lose(&device, connection).await;
        connection = home.accept(CONNACK_SESSION_PRESENT).await;
        for topic in &topics[..sent_again] {
            assert_eq!(connection.read().await.topic(), *topic);
        }
    }
    queue(&device, "f", QoS::AtLeastOnce).await;
    lose(&device, connection).await;
    connection = home.accept(CONNACK_SESSION_PRESENT).await;
    for topic in topics.into_iter().chain(["f"]) {
        assert_eq!(connection.read().await.topic(), topic);
    }
}
