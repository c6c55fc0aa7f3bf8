//! Messages going out: nothing that was accepted is lost without a word.

use std::time::Duration;

use device_client::{Device, DisconnectError, Presence, Publish, PublishError, QoS, Receipt};

use crate::broker::{Broker, CONNACK, CONNACK_SESSION_PRESENT, Connection};

async fn queue(device: &Device, topic: &str, qos: QoS) -> Receipt {
    device
        .queue(Publish::new(topic, "").qos(qos))
        .await
        .unwrap()
}

/// The connection is lost, and another begins with this CONNACK.
async fn reconnect(broker: &Broker, connection: Connection, connack: &[u8]) -> Connection {
    drop(connection);
    broker.accept_with(connack).await
}

#[tokio::test]
async fn a_device_is_there_with_each_connection_and_gone_when_it_leaves() {
    let broker = Broker::start().await;
    let presence = Presence::at("devices/dev-1/presence");
    let builder = broker.device().presence(presence).unwrap();
    let connecting = tokio::spawn(builder.connect());
    let (mut connection, connect) = broker.accept().await;
    // A will that is retained, at QoS 1.
    assert_eq!(connect.body[7] & 0b0011_1100, 0b0010_1100);
    assert!(connect.contains(b"devices/dev-1/presence\x00\x07offline"));
    connection.write(CONNACK).await;
    let device = connecting.await.unwrap().unwrap();
    for answer in [CONNACK_SESSION_PRESENT, CONNACK] {
        let here = connection.read().await;
        assert_eq!((here.head, here.topic()), (0x31, "devices/dev-1/presence"));
        assert!(here.contains(b"online"));
        connection.end().await;
        connection = broker.accept_with(answer).await;
    }
    assert!(connection.read().await.contains(b"online"));
    let left = tokio::spawn(async move { device.disconnect(Duration::from_secs(5)).await });
    // Disconnect with will message (MQTT 5.0 §3.14.2.1).
    let goodbye = connection.read().await;
    assert_eq!((goodbye.head, goodbye.body[0]), (0xE0, 0x04));
    connection.end().await;
    left.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_publish_is_done_when_it_is_acknowledged() {
    let broker = Broker::start().await;
    let (device, mut connection) = broker.connected(broker.device()).await;

    queue(&device, "a", QoS::AtMostOnce).await.await.unwrap();
    assert_eq!(connection.read().await.head, 0x30);

    let receipt = queue(&device, "b", QoS::AtLeastOnce).await;
    let publish = connection.read().await;
    assert_eq!(publish.head, 0x32);
    let [high, low] = publish.publish_id();
    connection.write(&[0x40, 2, high, low]).await;
    receipt.await.unwrap();

    let receipt = queue(&device, "c", QoS::ExactlyOnce).await;
    let publish = connection.read().await;
    assert_eq!(publish.head, 0x34);
    let [high, low] = publish.publish_id();
    connection.write(&[0x50, 2, high, low]).await;
    assert_eq!(connection.read().await.head, 0x62);
    connection.write(&[0x70, 2, high, low]).await;
    receipt.await.unwrap();
}

#[tokio::test]
async fn all_that_is_said_about_a_message_is_on_the_wire() {
    let broker = Broker::start().await;
    let (device, mut connection) = broker.connected(broker.device()).await;
    let publish = Publish::new("a", "{}")
        .retained()
        .text()
        .content_type("json")
        .response_topic("b")
        .correlation_data("id")
        .expiry(Duration::from_millis(1500))
        .user_property("k", "v")
        .user_property("k", "w");
    device.publish_with(publish).await.unwrap();
    let packet = connection.read().await;
    assert_eq!(packet.head, 0x31);
    for property in [
        &b"\x01\x01"[..],
        b"\x02\x00\x00\x00\x02",
        b"\x03\x00\x04json",
        b"\x08\x00\x01b",
        b"\x09\x00\x02id",
        b"\x26\x00\x01k\x00\x01v\x26\x00\x01k\x00\x01w",
    ] {
        assert!(
            packet.contains(property),
            "{property:x?} in {:x?}",
            packet.body
        );
    }
}

#[tokio::test]
async fn a_refusal_is_told_with_its_reason() {
    let broker = Broker::start().await;
    let (device, mut connection) = broker.connected(broker.device()).await;
    for (qos, head) in [(QoS::AtLeastOnce, 0x40), (QoS::ExactlyOnce, 0x50)] {
        let receipt = queue(&device, "a", qos).await;
        let [high, low] = connection.read().await.publish_id();
        connection.write(&[head, 3, high, low, 0x87]).await;
        assert!(matches!(receipt.await, Err(PublishError::NotAuthorized)));
        let receipt = queue(&device, "a", qos).await;
        let [high, low] = connection.read().await.publish_id();
        connection.write(&[head, 3, high, low, 0x97]).await;
        assert_eq!(
            receipt.await.unwrap_err().to_string(),
            "the broker refuses the message: quota exceeded (0x97)"
        );
    }
}

#[tokio::test]
async fn what_was_not_acknowledged_comes_again_in_order_when_the_broker_forgot_the_session() {
    let broker = Broker::start().await;
    let (device, mut connection) = broker.connected(broker.device()).await;
    let mut receipts = Vec::new();
    for topic in ["a", "b", "c", "d"] {
        receipts.push(queue(&device, topic, QoS::AtLeastOnce).await);
        connection.read().await;
    }
    let mut connection = reconnect(&broker, connection, CONNACK).await;
    receipts.push(queue(&device, "e", QoS::AtLeastOnce).await);
    for expected in ["a", "b", "c", "d", "e"] {
        let publish = connection.read().await;
        assert_eq!((publish.head, publish.topic()), (0x32, expected));
        let [high, low] = publish.publish_id();
        connection.write(&[0x40, 2, high, low]).await;
    }
    for receipt in receipts {
        receipt.await.unwrap();
    }
}

#[tokio::test]
async fn what_was_not_acknowledged_comes_again_as_a_duplicate_in_the_same_session() {
    let broker = Broker::start().await;
    let (device, mut connection) = broker.connected(broker.device()).await;
    let receipt = queue(&device, "a", QoS::ExactlyOnce).await;
    let first = connection.read().await;
    let mut connection = reconnect(&broker, connection, CONNACK_SESSION_PRESENT).await;
    let second = connection.read().await;
    assert_eq!(second.head, 0x34 | 0b1000, "DUP [MQTT-3.3.1-1]");
    assert_eq!(second.body, first.body);
    let [high, low] = second.publish_id();
    connection.write(&[0x50, 2, high, low]).await;
    assert_eq!(connection.read().await.head, 0x62);
    let mut connection = reconnect(&broker, connection, CONNACK_SESSION_PRESENT).await;
    let release = connection.read().await;
    assert_eq!((release.head, &release.body[..2]), (0x62, &[high, low][..]));
    connection.write(&[0x70, 2, high, low]).await;
    receipt.await.unwrap();
}

#[tokio::test]
async fn more_messages_than_the_window_all_arrive_over_flapping_connections() {
    const MESSAGES: usize = 200;
    let broker = Broker::start().await;
    let (device, mut connection) = broker.connected(broker.device()).await;
    let publishing = tokio::spawn(async move {
        let mut receipts = Vec::new();
        for number in 0..MESSAGES {
            receipts.push(queue(&device, &format!("{number}"), QoS::AtLeastOnce).await);
        }
        for receipt in receipts {
            receipt.await.unwrap();
        }
    });
    let mut acknowledged = std::collections::BTreeSet::new();
    for round in 0.. {
        for _ in 0..10 {
            let publish = connection.read().await;
            let [high, low] = publish.publish_id();
            connection.write(&[0x40, 2, high, low]).await;
            acknowledged.insert(publish.topic().parse::<usize>().unwrap());
            if acknowledged.len() == MESSAGES {
                publishing.await.unwrap();
                return;
            }
        }
        let kept = [CONNACK, CONNACK_SESSION_PRESENT][round % 2];
        connection = reconnect(&broker, connection, kept).await;
    }
}

#[tokio::test]
async fn what_the_broker_said_it_cannot_take_is_not_sent() {
    let broker = Broker::start().await;
    // Maximum packet size 20, maximum QoS 1, no retained messages.
    let connack = [0x20, 12, 0, 0, 9, 0x27, 0, 0, 0, 20, 0x24, 1, 0x25, 0];
    let connecting = broker.device().connect();
    let (device, mut connection) = tokio::join!(connecting, broker.accept_with(&connack));
    let device = device.unwrap();

    // Two octets of header, three of topic, two of packet id, one of properties.
    let fits = || Publish::new("a", vec![0; 12]).qos(QoS::AtLeastOnce);
    let receipt = device.queue(fits()).await.unwrap();
    let [high, low] = connection.read().await.publish_id();
    connection.write(&[0x40, 2, high, low]).await;
    receipt.await.unwrap();
    let too_large = Publish::new("a", vec![0; 13]).qos(QoS::AtLeastOnce);
    let refused = device.publish_with(too_large).await;
    assert!(
        matches!(
            refused,
            Err(PublishError::TooLarge {
                len: 21,
                len_max: 20
            })
        ),
        "{refused:?}"
    );

    let refused = device.publish("a", "", QoS::ExactlyOnce).await.unwrap_err();
    assert!(
        refused.to_string().contains("QoS not supported"),
        "{refused}"
    );
    let refused = device.publish_with(fits().retained()).await.unwrap_err();
    assert!(
        refused.to_string().contains("retain not supported"),
        "{refused}"
    );
    connection.expect_silence().await;
}

#[tokio::test]
async fn a_message_under_way_that_the_next_broker_cannot_take_is_refused_and_the_rest_goes_on() {
    let broker = Broker::start().await;
    let (device, mut connection) = broker.connected(broker.device()).await;
    let large = device
        .queue(Publish::new("large", vec![0; 99]).qos(QoS::AtLeastOnce))
        .await
        .unwrap();
    let small = queue(&device, "small", QoS::AtLeastOnce).await;
    connection.read().await;
    connection.read().await;
    // Maximum packet size 20, and the session is there.
    let narrow = [0x20, 8, 1, 0, 5, 0x27, 0, 0, 0, 20];
    let mut connection = reconnect(&broker, connection, &narrow).await;
    connection.expect_closed().await;
    let mut connection = reconnect(&broker, connection, &narrow).await;
    let small_again = loop {
        let packet = connection.read().await;
        match packet.head {
            0x62 => {
                let id = &packet.body[..2];
                connection.write(&[0x70, 3, id[0], id[1], 0x92]).await;
            }
            _ => break packet,
        }
    };
    assert_eq!(small_again.topic(), "small");
    let [high, low] = small_again.publish_id();
    connection.write(&[0x40, 2, high, low]).await;
    small.await.unwrap();
    assert!(matches!(large.await, Err(PublishError::TooLarge { .. })));
}

#[tokio::test]
async fn leaving_says_goodbye_after_the_last_acknowledgement_and_ends_the_session() {
    let broker = Broker::start().await;
    let (device, mut connection) = broker.connected(broker.device()).await;
    let receipt = queue(&device, "a", QoS::AtLeastOnce).await;
    let [high, low] = connection.read().await.publish_id();
    let leaving = tokio::spawn(async move { device.disconnect(Duration::from_secs(9)).await });
    connection.expect_silence().await;
    connection.write(&[0x40, 2, high, low]).await;
    let goodbye = connection.read().await;
    // Session expiry interval 0.
    assert_eq!(
        (goodbye.head, &goodbye.body[..]),
        (0xE0, &[0, 5, 0x11, 0, 0, 0, 0][..])
    );
    receipt.await.unwrap();
    leaving.await.unwrap().unwrap();
    connection.expect_closed().await;
}

#[tokio::test]
async fn leaving_in_a_hurry_says_goodbye_and_what_was_left_behind() {
    let broker = Broker::start().await;
    let (device, mut connection) = broker.connected(broker.device()).await;
    let receipt = queue(&device, "a", QoS::AtLeastOnce).await;
    connection.read().await;
    let left = device.disconnect(Duration::from_millis(1)).await;
    assert!(
        matches!(left, Err(DisconnectError::Unacknowledged { messages: 1 })),
        "{left:?}"
    );
    assert_eq!(connection.read().await.head, 0xE0);
    assert!(matches!(receipt.await, Err(PublishError::Disconnected)));
}

#[tokio::test]
async fn a_dropped_device_goes_without_goodbye_so_that_its_will_is_published() {
    let broker = Broker::start().await;
    let (device, mut connection) = broker.connected(broker.device()).await;
    drop(device);
    connection.expect_closed_without_a_word().await;
}

#[tokio::test]
async fn a_broker_that_does_not_answer_a_ping_is_left() {
    let broker = Broker::start().await;
    let builder = broker.device().keep_alive(Duration::from_secs(1));
    let (_device, mut connection) = broker.connected(builder).await;
    assert_eq!(connection.read().await.head, 0xC0);
    connection.expect_closed().await;
    let _again = broker.accept_with(CONNACK).await;
}
