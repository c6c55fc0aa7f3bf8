//! A device that speaks MQTT 3.1.1, to a broker that does.

use std::time::Duration;

use device_client::{
    Builder, ConnectError, Device, Presence, Publish, PublishError, QoS, Retained, SubscribeError,
    Version, Will,
};
use tokio::time::timeout;

use crate::broker::{Broker, Connection, PATIENCE, Packet};

const CONNACK: &[u8] = &[0x20, 2, 0, 0];
const CONNACK_SESSION_PRESENT: &[u8] = &[0x20, 2, 1, 0];

const CLEAN_SESSION: u8 = 0b10;

fn older(broker: &Broker) -> Builder {
    broker.device().version(Version::V3_1_1)
}

/// The next connection, accepted with this CONNACK, and its flags.
async fn accept(broker: &Broker, connack: &[u8]) -> (Connection, u8) {
    let (mut connection, connect) = broker.accept().await;
    assert_eq!(&connect.body[..7], b"\x00\x04MQTT\x04");
    connection.write(connack).await;
    (connection, connect.body[7])
}

/// The connection by which an earlier session is forgotten.
async fn forget(broker: &Broker) {
    let (mut connection, flags) = accept(broker, CONNACK).await;
    assert_eq!(flags, CLEAN_SESSION, "and neither a will");
    assert_eq!(connection.read().await.head, 0xE0);
    connection.expect_closed().await;
}

async fn connected(broker: &Broker, builder: Builder) -> (Device, Connection) {
    let connecting = tokio::spawn(builder.connect());
    forget(broker).await;
    let (connection, flags) = accept(broker, CONNACK).await;
    assert_eq!(flags & CLEAN_SESSION, 0);
    (connecting.await.unwrap().unwrap(), connection)
}

async fn acknowledge(connection: &mut Connection, publish: &Packet) {
    let [high, low] = publish.publish_id();
    connection.write(&[0x40, 2, high, low]).await;
}

#[tokio::test]
async fn an_earlier_session_is_ended_before_and_the_last_one_afterwards() {
    let broker = Broker::start().await;
    let will = Will::new(Publish::new("w", "gone").qos(QoS::AtLeastOnce).retained());
    let (device, connection) = {
        let builder = older(&broker).will(will).unwrap();
        let connecting = tokio::spawn(builder.connect());
        forget(&broker).await;
        let (mut connection, connect) = broker.accept().await;
        assert_eq!(connect.body[7], 0b0010_1100, "a will, retained, of QoS 1");
        assert!(
            connect
                .body
                .ends_with(b"\x00\x05dev-1\x00\x01w\x00\x04gone")
        );
        connection.write(CONNACK).await;
        (connecting.await.unwrap().unwrap(), connection)
    };
    let leaving = tokio::spawn(async move { device.disconnect(PATIENCE).await });
    let mut connection = connection;
    assert_eq!(connection.read().await.head, 0xE0);
    drop(connection);
    forget(&broker).await;
    leaving.await.unwrap().unwrap();
}

#[tokio::test]
async fn messages_go_out_at_every_quality_of_service() {
    let broker = Broker::start().await;
    let (device, mut connection) = connected(&broker, older(&broker)).await;
    for (qos, head) in [
        (QoS::AtMostOnce, 0x30),
        (QoS::AtLeastOnce, 0x32),
        (QoS::ExactlyOnce, 0x34),
    ] {
        let receipt = device.queue(Publish::new("a", "b").qos(qos)).await.unwrap();
        let publish = connection.read().await;
        assert_eq!(publish.head, head);
        assert!(publish.body.starts_with(b"\x00\x01a") && publish.body.ends_with(b"b"));
        match qos {
            QoS::AtMostOnce => {}
            QoS::AtLeastOnce => acknowledge(&mut connection, &publish).await,
            QoS::ExactlyOnce => {
                let [high, low] = publish.publish_id();
                connection.write(&[0x50, 2, high, low]).await;
                assert_eq!(connection.read().await.head, 0x62);
                connection.write(&[0x70, 2, high, low]).await;
            }
        }
        receipt.await.unwrap();
    }
}

#[tokio::test]
async fn a_subscription_is_granted_or_refused_and_what_comes_is_acknowledged_when_taken() {
    let broker = Broker::start().await;
    let (device, mut connection) = connected(&broker, older(&broker)).await;
    let subscribe = |filter: &'static str| {
        let device = device.clone();
        tokio::spawn(async move { device.subscribe(filter, QoS::ExactlyOnce).await })
    };
    let refused = subscribe("no");
    let packet = connection.read().await;
    assert_eq!(
        (packet.head, &packet.body[2..]),
        (0x82, &b"\x00\x02no\x02"[..])
    );
    let [high, low] = [packet.body[0], packet.body[1]];
    connection.write(&[0x90, 3, high, low, 0x80]).await;
    let error = refused.await.unwrap().unwrap_err();
    assert!(matches!(error, SubscribeError::Refused { .. }), "{error:?}");

    let granted = subscribe("t");
    let packet = connection.read().await;
    let [high, low] = [packet.body[0], packet.body[1]];
    connection.write(&[0x90, 3, high, low, 1]).await;
    let mut subscription = granted.await.unwrap().unwrap();
    assert_eq!(subscription.granted_qos(), QoS::AtLeastOnce);
    connection.write(b"\x32\x06\x00\x01t\x00\x07x").await;
    connection.expect_silence().await;
    let message = subscription.next().await.unwrap().unwrap();
    assert_eq!((&*message.topic, &*message.payload), ("t", &b"x"[..]));
    assert_eq!(connection.read().await.body, [0, 7]);
}

#[tokio::test]
async fn the_session_goes_on_with_the_next_connection() {
    let broker = Broker::start().await;
    let (device, mut connection) = connected(&broker, older(&broker)).await;
    let publish = Publish::new("a", "").qos(QoS::AtLeastOnce);
    let receipt = device.queue(publish).await.unwrap();
    let first = connection.read().await;
    drop(connection);
    let (mut connection, flags) = accept(&broker, CONNACK_SESSION_PRESENT).await;
    assert_eq!(flags & CLEAN_SESSION, 0);
    let again = connection.read().await;
    assert_eq!((again.head, again.body), (0x3A, first.body.clone()));
    acknowledge(&mut connection, &first).await;
    receipt.await.unwrap();
}

#[tokio::test]
async fn a_session_that_is_lost_is_made_again_and_nothing_of_it_missing() {
    let broker = Broker::start().await;
    let (device, mut connection) = connected(&broker, older(&broker)).await;
    let publish = Publish::new("a", "").qos(QoS::AtLeastOnce);
    let receipt = device.queue(publish).await.unwrap();
    connection.read().await;
    drop(connection);
    let (mut connection, _) = accept(&broker, CONNACK).await;
    let again = connection.read().await;
    assert_eq!(again.head, 0x32, "to a session that knows nothing of it");
    acknowledge(&mut connection, &again).await;
    receipt.await.unwrap();
}

#[tokio::test]
async fn without_a_session_there_is_one_clean_connection_after_the_other() {
    let broker = Broker::start().await;
    let builder = older(&broker).session_expiry(Duration::ZERO);
    let connecting = tokio::spawn(builder.connect());
    let (connection, flags) = accept(&broker, CONNACK).await;
    assert_eq!(flags & CLEAN_SESSION, CLEAN_SESSION);
    let _device = connecting.await.unwrap().unwrap();
    drop(connection);
    let (_connection, flags) = accept(&broker, CONNACK).await;
    assert_eq!(flags & CLEAN_SESSION, CLEAN_SESSION);
}

#[tokio::test]
async fn an_outbox_on_disk_sends_in_the_next_run_what_was_under_way() {
    let broker = Broker::start().await;
    let directory = tempfile::tempdir().unwrap();
    let outbox = directory.path().join("outbox");
    let builder = older(&broker).outbox(&outbox);
    let connecting = tokio::spawn(builder.clone().connect());
    let (mut connection, flags) = accept(&broker, CONNACK).await;
    assert_eq!(flags & CLEAN_SESSION, 0);
    let device = connecting.await.unwrap().unwrap();
    let publish = Publish::new("a", "b").qos(QoS::ExactlyOnce);
    drop(device.queue(publish).await.unwrap());
    let first = connection.read().await;
    let [high, low] = first.publish_id();
    // It is written down that it was received before it is released.
    connection.write(&[0x50, 2, high, low]).await;
    assert_eq!(connection.read().await.head, 0x62);
    drop(device);
    connection.expect_closed().await;

    let connecting = tokio::spawn(builder.connect());
    let (mut connection, _) = accept(&broker, CONNACK_SESSION_PRESENT).await;
    loop {
        let release = connection.read().await;
        assert_eq!(release.head, 0x62, "nothing is published again");
        let id = [release.body[0], release.body[1]];
        connection.write(&[0x70, 2, id[0], id[1]]).await;
        if id == [high, low] {
            break;
        }
    }
    let device = connecting.await.unwrap().unwrap();
    let settled = async {
        while device.status().unacknowledged > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, settled).await.unwrap();
}

#[tokio::test]
async fn what_the_older_version_cannot_say_is_refused_by_name() {
    let broker = Broker::start().await;
    let (device, mut connection) = connected(&broker, older(&broker)).await;
    let publish = || Publish::new("a", "");
    for (publish, expected) in [
        (publish().response_topic("r"), "a response topic"),
        (publish().correlation_data("c"), "correlation data"),
        (
            publish().user_property("k", "v"),
            "a property of the application",
        ),
    ] {
        let error = device.publish_with(publish).await.unwrap_err();
        let is_named = matches!(error, PublishError::NeedsMqtt5 { what } if what == expected);
        assert!(is_named, "{error:?}");
    }
    let skipping = device.subscribe_with("a", QoS::AtMostOnce, Retained::Skip);
    let error = skipping.await.unwrap_err();
    assert!(
        matches!(error, SubscribeError::NeedsMqtt5 { .. }),
        "{error:?}"
    );
    let error = device.requester("a").await.unwrap_err();
    assert!(
        matches!(error, SubscribeError::NeedsMqtt5 { .. }),
        "{error:?}"
    );
    connection.expect_silence().await;

    let delayed = Will::new(publish()).delay(Duration::from_secs(1));
    let propertied = Will::new(publish().response_topic("r"));
    let presence = Presence::at("p");
    for builder in [
        older(&broker).will(delayed),
        older(&broker).will(propertied),
        older(&broker).presence(presence),
    ] {
        let error = builder.unwrap().connect().await.unwrap_err();
        assert!(
            matches!(error, ConnectError::NeedsMqtt5 { .. }),
            "{error:?}"
        );
        assert!(error.is_lasting());
    }
}

#[tokio::test]
async fn a_refusal_has_the_same_name_as_in_the_newer_version() {
    for (code, expected) in [
        (1, "Refused { reason: unsupported protocol version (0x84) }"),
        (2, "ClientIdRefused"),
        (4, "Refused { reason: bad user name or password (0x86) }"),
        (5, "NotAuthorized"),
    ] {
        let broker = Broker::start().await;
        let connecting = tokio::spawn(older(&broker).connect());
        let (_connection, _) = accept(&broker, &[0x20, 2, 0, code]).await;
        let error = connecting.await.unwrap().unwrap_err();
        assert_eq!(format!("{error:?}"), expected);
    }
    let broker = Broker::start().await;
    let connecting = tokio::spawn(older(&broker).connect());
    let (connection, _) = accept(&broker, &[0x20, 2, 0, 3]).await;
    drop(connection);
    forget(&broker).await;
    let (_connection, _) = accept(&broker, CONNACK).await;
    connecting.await.unwrap().unwrap();
}

/// A device that takes two at once and has subscribed to `t`.
async fn subscribed(broker: &Broker) -> (device_client::Subscription, Connection) {
    let builder = older(broker).receive_max(2).queue_len_max(1);
    let (device, mut connection) = connected(broker, builder).await;
    let subscribing = tokio::spawn(async move { device.subscribe("t", QoS::AtLeastOnce).await });
    let packet = connection.read().await;
    let [high, low] = [packet.body[0], packet.body[1]];
    connection.write(&[0x90, 3, high, low, 1]).await;
    (subscribing.await.unwrap().unwrap(), connection)
}

/// A message at `t` whose payload is its packet id.
fn message(id: u16) -> Vec<u8> {
    let id = id.to_be_bytes();
    [&b"\x32\x07\x00\x01t"[..], &id, &id].concat()
}

#[tokio::test]
async fn a_broker_that_sends_more_than_is_taken_is_held_back_and_nothing_dropped() {
    let broker = Broker::start().await;
    let (mut subscription, mut connection) = subscribed(&broker).await;
    for id in 1..=100 {
        connection.write(&message(id)).await;
    }
    for id in 1..=100_u16 {
        let message = subscription.next().await.unwrap().unwrap();
        assert_eq!(*message.payload, id.to_be_bytes());
        assert_eq!(connection.read().await.body, id.to_be_bytes());
    }
}

#[tokio::test]
async fn a_broker_that_sends_far_more_than_is_taken_is_left_and_sends_it_again() {
    let broker = Broker::start().await;
    let (mut subscription, mut connection) = subscribed(&broker).await;
    for id in 1..=1100 {
        connection.write_if_open(&message(id)).await;
    }
    connection.expect_closed().await;
    let (mut connection, flags) = accept(&broker, CONNACK_SESSION_PRESENT).await;
    assert_eq!(flags & CLEAN_SESSION, 0);
    for id in 1..=10_u16 {
        let again = [&[0x3A][..], &message(id)[1..]].concat();
        connection.write(&again).await;
        let message = subscription.next().await.unwrap().unwrap();
        assert_eq!(*message.payload, id.to_be_bytes());
        assert_eq!(connection.read().await.body, id.to_be_bytes());
    }
}
