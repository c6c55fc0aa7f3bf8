//! Messages coming in: each once, and acknowledged when it is taken.

use std::time::Duration;

use device_client::{Device, Message, QoS, Retained, SubscribeError, Subscription};

use tokio::time::timeout;

use crate::broker::{Broker, CONNACK, CONNACK_SESSION_PRESENT, Connection, PATIENCE, publish};

/// A subscription that was granted, and the SUBSCRIBE it was made with.
async fn subscribed(
    device: &Device,
    connection: &mut Connection,
    filter: &'static str,
) -> (Subscription, Vec<u8>) {
    let grant = async {
        let subscribe = connection.read().await;
        assert_eq!(subscribe.head, 0x82);
        connection
            .write(&[0x90, 4, subscribe.body[0], subscribe.body[1], 0, 1])
            .await;
        subscribe.body
    };
    let (subscription, subscribe) = tokio::join!(device.subscribe(filter, QoS::AtLeastOnce), grant);
    (subscription.unwrap(), subscribe)
}

async fn next(subscription: &mut Subscription) -> Message {
    let next = timeout(PATIENCE, subscription.next());
    next.await.expect("nothing came").unwrap().unwrap()
}

#[tokio::test]
async fn a_subscription_names_itself_and_is_granted() {
    let broker = Broker::start().await;
    let (device, mut connection) = broker.connected(broker.device()).await;
    let (one, subscribe) = subscribed(&device, &mut connection, "a/#").await;
    // Identifier 1, the filter, QoS 1 with retained messages.
    assert_eq!(subscribe[2..], *b"\x02\x0B\x01\x00\x03a/#\x01");
    assert_eq!(one.granted_qos(), QoS::AtLeastOnce);
    let (_, subscribe) = subscribed(&device, &mut connection, "b").await;
    assert_eq!(subscribe[2..5], *b"\x02\x0B\x02");
}

#[tokio::test]
async fn retained_messages_can_be_left_where_they_are() {
    let broker = Broker::start().await;
    let (device, mut connection) = broker.connected(broker.device()).await;
    let answer = async {
        let subscribe = connection.read().await.body;
        assert_eq!(subscribe.last(), Some(&0x20), "retain handling 2");
        connection
            .write(&[0x90, 4, subscribe[0], subscribe[1], 0, 0])
            .await;
    };
    let subscribing = device.subscribe_with("a", QoS::AtMostOnce, Retained::Skip);
    tokio::join!(subscribing, answer).0.unwrap();
}

#[tokio::test]
async fn a_broker_without_subscription_identifiers_is_not_sent_any() {
    let broker = Broker::start().await;
    let connack = [0x20, 5, 0, 0, 2, 0x29, 0];
    let (device, mut connection) =
        tokio::join!(broker.device().connect(), broker.accept_with(&connack));
    let (_, subscribe) = subscribed(&device.unwrap(), &mut connection, "a").await;
    assert_eq!(subscribe[2..], *b"\x00\x00\x01a\x01");
}

#[tokio::test]
async fn a_refused_subscription_is_told_with_its_reason() {
    let broker = Broker::start().await;
    let (device, mut connection) = broker.connected(broker.device()).await;
    for (code, expected) in [
        (
            0x87,
            "the policy of the broker does not let the device subscribe to this filter",
        ),
        (
            0x97,
            "the broker refuses the subscription: quota exceeded (0x97)",
        ),
        (
            0xA2,
            "the broker refuses the subscription: wildcard subscriptions not supported (0xA2)",
        ),
    ] {
        let refuse = async {
            let subscribe = connection.read().await.body;
            connection
                .write(&[0x90, 4, subscribe[0], subscribe[1], 0, code])
                .await;
        };
        let (refused, ()) = tokio::join!(device.subscribe("#", QoS::AtMostOnce), refuse);
        assert_eq!(refused.unwrap_err().to_string(), expected);
    }
}

#[tokio::test]
async fn messages_come_with_all_that_is_said_about_them() {
    let broker = Broker::start().await;
    let (device, mut connection) = broker.connected(broker.device()).await;
    let (mut subscription, _) = subscribed(&device, &mut connection, "a").await;
    let mut packet = b"\x31\x00\x00\x01a\x1C\x01\x01\x02\x00\x00\x00\x07\x03\x00\x01j\x08\x00\x01b\
        \x09\x00\x01c\x0B\x01\x26\x00\x01k\x00\x01v{}"
        .to_vec();
    packet[1] = u8::try_from(packet.len() - 2).unwrap();
    connection.write(&packet).await;
    let message = next(&mut subscription).await;
    assert_eq!(
        (message.topic.as_str(), &message.payload[..]),
        ("a", &b"{}"[..])
    );
    assert!(message.retain && !message.duplicate && message.properties.is_text);
    let properties = message.properties;
    assert_eq!(properties.expiry, Some(Duration::from_secs(7)));
    assert_eq!(properties.content_type.as_deref(), Some("j"));
    assert_eq!(properties.response_topic.as_deref(), Some("b"));
    assert_eq!(properties.correlation_data.as_deref(), Some(&b"c"[..]));
    assert_eq!(properties.user, [("k".into(), "v".into())]);
}

#[tokio::test]
async fn a_message_is_acknowledged_when_it_is_taken_and_not_before() {
    let broker = Broker::start().await;
    let (device, mut connection) = broker.connected(broker.device()).await;
    let (mut subscription, _) = subscribed(&device, &mut connection, "a").await;
    connection.write(&publish(0b0010, b'a', 7)).await;
    connection.write(&publish(0b0100, b'a', 8)).await;
    connection.expect_silence().await;
    next(&mut subscription).await;
    let acknowledgement = connection.read().await;
    assert_eq!(
        (acknowledgement.head, &acknowledgement.body[..2]),
        (0x40, &[0, 7][..])
    );
    next(&mut subscription).await;
    let received = connection.read().await;
    assert_eq!((received.head, &received.body[..2]), (0x50, &[0, 8][..]));
    connection.write(&[0x62, 2, 0, 8]).await;
    assert_eq!(connection.read().await.head, 0x70);
}

#[tokio::test]
async fn a_message_sent_again_in_the_same_session_comes_once() {
    for flags in [0b0010, 0b0100] {
        let broker = Broker::start().await;
        let (device, mut connection) = broker.connected(broker.device()).await;
        let (mut subscription, _) = subscribed(&device, &mut connection, "a").await;
        connection.write(&publish(flags, b'a', 7)).await;
        connection.expect_silence().await;
        drop(connection);
        let mut connection = broker.accept_with(CONNACK_SESSION_PRESENT).await;
        connection.write(&publish(flags | 0b1000, b'a', 7)).await;
        connection.write(&publish(flags, b'a', 9)).await;
        connection.expect_silence().await;
        for id in [7, 9] {
            next(&mut subscription).await;
            assert_eq!(connection.read().await.body[..2], [0, id]);
        }
    }
}

#[tokio::test]
async fn a_message_whose_acknowledgement_was_lost_is_acknowledged_again_and_comes_once() {
    for (flags, acknowledgement) in [(0b0010, 0x40), (0b0100, 0x50)] {
        let broker = Broker::start().await;
        let (device, mut connection) = broker.connected(broker.device()).await;
        let (mut subscription, _) = subscribed(&device, &mut connection, "a").await;
        connection.write(&publish(flags, b'a', 7)).await;
        next(&mut subscription).await;
        assert_eq!(connection.read().await.head, acknowledgement);
        drop(connection);
        let mut connection = broker.accept_with(CONNACK_SESSION_PRESENT).await;
        connection.write(&publish(flags | 0b1000, b'a', 7)).await;
        let again = connection.read().await;
        assert_eq!(
            (again.head, &again.body[..2]),
            (acknowledgement, &[0, 7][..])
        );
        connection.write(&publish(0, b'a', 0)).await;
        assert_eq!(next(&mut subscription).await.qos, QoS::AtMostOnce);
    }
}

#[tokio::test]
async fn a_message_of_a_session_that_is_gone_is_acknowledged_to_nobody() {
    let broker = Broker::start().await;
    let (device, mut connection) = broker.connected(broker.device()).await;
    let (mut subscription, _) = subscribed(&device, &mut connection, "a").await;
    connection.write(&publish(0b0010, b'a', 7)).await;
    connection.expect_silence().await;
    drop(connection);
    let mut connection = broker.accept_with(CONNACK).await;
    assert_eq!(connection.read().await.head, 0x82);
    next(&mut subscription).await;
    connection.expect_silence().await;
}

#[tokio::test]
async fn a_subscription_that_the_broker_forgot_is_made_again() {
    let broker = Broker::start().await;
    let (device, mut connection) = broker.connected(broker.device()).await;
    let (mut subscription, _) = subscribed(&device, &mut connection, "a").await;
    drop(connection);
    let mut connection = broker.accept_with(CONNACK).await;
    let again = connection.read().await;
    assert_eq!(
        (again.head, &again.body[2..]),
        (0x82, &b"\x02\x0B\x01\x00\x01a\x01"[..])
    );
    connection.write(&publish(0, b'a', 0)).await;
    next(&mut subscription).await;

    connection
        .write(&[0x90, 4, again.body[0], again.body[1], 0, 0x87])
        .await;
    let ended = subscription.next().await.unwrap();
    assert!(
        matches!(ended, Err(SubscribeError::NotAuthorized)),
        "{ended:?}"
    );
}

#[tokio::test]
async fn a_subscription_given_up_is_not_kept_at_the_broker() {
    let broker = Broker::start().await;
    let (device, mut connection) = broker.connected(broker.device()).await;
    let (mut subscription, _) = subscribed(&device, &mut connection, "a").await;
    subscription.unsubscribe().await;
    let unsubscribe = connection.read().await;
    assert_eq!(
        (unsubscribe.head, &unsubscribe.body[3..]),
        (0xA2, &b"\x00\x01a"[..])
    );
    assert!(subscription.next().await.is_none());
}

#[tokio::test]
async fn messages_that_nobody_reads_are_dropped_at_qos_0_and_counted() {
    let broker = Broker::start().await;
    let (device, mut connection) = broker.connected(broker.device().queue_len_max(2)).await;
    let (mut subscription, _) = subscribed(&device, &mut connection, "a").await;
    for _ in 0..5 {
        connection.write(&publish(0, b'a', 0)).await;
    }
    // A message of QoS 1 still has its place, and shows that the others have been dealt with.
    connection.write(&publish(0b0010, b'a', 7)).await;
    for qos in [QoS::AtMostOnce, QoS::AtMostOnce, QoS::AtLeastOnce] {
        assert_eq!(next(&mut subscription).await.qos, qos);
    }
    assert_eq!(connection.read().await.head, 0x40);
    assert_eq!(device.status().dropped, 3);
}
