//! Brokers that send a device to another (MQTT 5.0 §4.11): whom it follows, and whom it does not.

use std::time::Duration;

use device_client::{Builder, ConnectError, Device, Link, ServerReferences};

use crate::broker::{Broker, CONNACK, Connection};

const USE_ANOTHER: u8 = 0x9C;
const MOVED: u8 = 0x9D;

/// A CONNACK or DISCONNECT with this reason and server reference.
fn sends_away(head: &[u8], reason: u8, reference: &str) -> Vec<u8> {
    let text = reference.as_bytes();
    let len = u8::try_from(text.len()).unwrap();
    let body = [
        head.get(1..).unwrap(),
        &[reason, len + 3, 0x1C, 0, len],
        text,
    ]
    .concat();
    let body_len = u8::try_from(body.len()).unwrap();
    [&head[..1], &[body_len], &body].concat()
}

fn connack(reason: u8, reference: &str) -> Vec<u8> {
    sends_away(&[0x20, 0], reason, reference)
}

fn disconnect(reason: u8, reference: &str) -> Vec<u8> {
    sends_away(&[0xE0], reason, reference)
}

/// Brokers of one authority, and a device that lists the first of them.
async fn scene<const N: usize>() -> ([Broker; N], Builder) {
    let first = Broker::start().await;
    let mut brokers = vec![first];
    while brokers.len() < N {
        let another = brokers[0].sibling().await;
        brokers.push(another);
    }
    let builder = brokers[0].device();
    let brokers = brokers.try_into().unwrap_or_else(|_| unreachable!());
    (brokers, builder)
}

async fn cause(device: &mut Device) -> ConnectError {
    loop {
        match device.status_changed().await.expect("it has ended").link {
            Link::Waiting { cause, .. } | Link::Stopped { cause } => return cause,
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_connack_that_names_a_listed_broker_is_followed_past_others() {
    for reason in [USE_ANOTHER, MOVED] {
        let ([a, b, c], builder) = scene().await;
        let builder = builder.or_at(&b.url()).unwrap().or_at(&c.url()).unwrap();
        let connecting = tokio::spawn(builder.connect());
        let away = connack(reason, &format!("elsewhere.example {}", c.url()));
        a.accept_with(&away).await.expect_closed().await;
        let _connection = c.accept_with(CONNACK).await;
        connecting.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_disconnect_that_names_a_broker_is_followed_and_the_session_goes_on_there() {
    let ([a, b], builder) = scene().await;
    let builder = builder.server_references(ServerReferences::Any);
    let (mut device, mut connection) = a.connected(builder).await;
    connection.write(&disconnect(USE_ANOTHER, &b.url())).await;
    let said = cause(&mut device).await;
    let (_connection, connect) = b.accept().await;
    assert_eq!(connect.body[7] & 0b10, 0, "no clean start");
    let ConnectError::SentAway { reason, reference } = said else {
        panic!("{said:?}");
    };
    assert_eq!((reason.value(), reference), (USE_ANOTHER, Some(b.url())));
}

#[tokio::test]
async fn a_broker_that_is_not_listed_is_not_followed_unless_any_may_be() {
    let ([a, b], builder) = scene().await;
    for references in [ServerReferences::Listed, ServerReferences::Ignored] {
        let builder = builder.clone().server_references(references);
        let connecting = tokio::spawn(builder.connect());
        let away = connack(USE_ANOTHER, &b.url());
        a.accept_with(&away).await.expect_closed().await;
        let error = connecting.await.unwrap().unwrap_err();
        assert!(error.to_string().ends_with(&b.url()), "{error}");
    }
    let connecting = tokio::spawn(builder.server_references(ServerReferences::Any).connect());
    let away = connack(USE_ANOTHER, &b.url());
    a.accept_with(&away).await.expect_closed().await;
    let _connection = b.accept_with(CONNACK).await;
    connecting.await.unwrap().unwrap();
}

#[tokio::test]
async fn whoever_is_followed_must_prove_itself_as_any_broker() {
    let ([a, b], builder) = scene().await;
    let stranger = Broker::start().await;
    let builder = builder.server_references(ServerReferences::Any);
    let unnamed = format!("127.0.0.1:{}", b.address().port());
    for (broker, named) in [(&stranger, stranger.url()), (&b, unnamed)] {
        let connecting = tokio::spawn(builder.clone().connect());
        let away = connack(USE_ANOTHER, &named);
        a.accept_with(&away).await.expect_closed().await;
        assert!(broker.try_accept().await.is_err());
        let error = connecting.await.unwrap().unwrap_err();
        let is_distrusted = matches!(error, ConnectError::BrokerNotTrusted { .. });
        assert!(is_distrusted, "{error:?}");
    }
}

#[tokio::test]
async fn nobody_is_followed_to_where_there_is_no_tls() {
    let ([a, b], builder) = scene().await;
    let builder = builder.server_references(ServerReferences::Any);
    for scheme in ["mqtt", "tcp", "ws", "http"] {
        let connecting = tokio::spawn(builder.clone().connect());
        let away = connack(USE_ANOTHER, &format!("{scheme}://{}", b.url()));
        a.accept_with(&away).await.expect_closed().await;
        let error = connecting.await.unwrap().unwrap_err();
        assert!(matches!(error, ConnectError::SentAway { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn a_broker_that_has_moved_is_not_asked_again_while_the_other_serves() {
    let ([a, b], builder) = scene().await;
    let builder = builder.server_references(ServerReferences::Any);
    let (_device, mut connection) = a.connected(builder).await;
    connection.write(&disconnect(MOVED, &b.url())).await;
    for _ in 0..2 {
        // It lasts longer than the backoff, and is lost.
        let connection = b.accept_with(CONNACK).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        drop(connection);
    }
    let _connection: Connection = b.accept_with(CONNACK).await;
}

#[tokio::test]
async fn one_that_is_only_used_for_now_is_left_for_those_that_are_listed_when_it_fails() {
    let ([a, b], builder) = scene().await;
    let builder = builder.server_references(ServerReferences::Any);
    let (_device, mut connection) = a.connected(builder).await;
    connection.write(&disconnect(USE_ANOTHER, &b.url())).await;
    drop(b.accept_tcp().await);
    let _connection = a.accept_with(CONNACK).await;
}

#[tokio::test]
async fn brokers_that_send_a_device_to_each_other_do_not_end_it() {
    let ([a, b], builder) = scene().await;
    let builder = builder.or_at(&b.url()).unwrap();
    let connecting = tokio::spawn(builder.connect());
    let (to_a, to_b) = (
        connack(USE_ANOTHER, &a.url()),
        connack(USE_ANOTHER, &b.url()),
    );
    for _ in 0..10 {
        tokio::select! {
            mut connection = a.accept_with(&to_b) => connection.expect_closed().await,
            mut connection = b.accept_with(&to_a) => connection.expect_closed().await,
        }
    }
    let _connection = tokio::select! {
        connection = a.accept_with(CONNACK) => connection,
        connection = b.accept_with(CONNACK) => connection,
    };
    connecting.await.unwrap().unwrap();
}

#[tokio::test]
async fn where_a_broker_sends_us_is_not_read_from_a_connack_that_is_too_long() {
    let ([a, b], builder) = scene().await;
    let connecting = tokio::spawn(builder.server_references(ServerReferences::Any).connect());
    // A reason string of 5,000 octets, and then the reference.
    let reference = b.url();
    let reason_string = [&[0x1F, 0x13, 0x88][..], &[b'x'; 5000]].concat();
    let len = u8::try_from(reference.len()).unwrap();
    let properties = [&reason_string[..], &[0x1C, 0, len], reference.as_bytes()].concat();
    let varint = |len: usize| {
        let low = u8::try_from(len & 0x7F).unwrap() | 0x80;
        [low, u8::try_from(len >> 7).unwrap()]
    };
    let body = [
        &[0, USE_ANOTHER][..],
        &varint(properties.len()),
        &properties,
    ]
    .concat();
    let packet = [&[0x20][..], &varint(body.len()), &body].concat();
    a.accept_with(&packet).await.expect_closed().await;
    let error = connecting.await.unwrap().unwrap_err();
    let ConnectError::SentAway { reference, .. } = error else {
        panic!("{error:?}");
    };
    assert_eq!(reference, None);
}
