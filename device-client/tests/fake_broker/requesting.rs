//! Requests and the answers that belong to them.

use std::sync::Arc;
use std::time::Duration;

use device_client::{Publish, RequestError, Requester};

use crate::broker::{Broker, Connection, Packet};

const WITHIN: Duration = Duration::from_secs(20);

/// A requester whose answers come to the topic `r`.
async fn requester(broker: &Broker) -> (Arc<Requester>, Connection) {
    let (device, mut connection) = broker.connected(broker.device()).await;
    let asking = tokio::spawn(async move { device.requester("r").await.unwrap() });
    let subscribe = connection.read().await;
    let id = &subscribe.body[..2];
    connection.write(&[0x90, 4, id[0], id[1], 0, 1]).await;
    (Arc::new(asking.await.unwrap()), connection)
}

fn ask(requester: &Arc<Requester>, topic: &str, within: Duration) -> Asking {
    let (requester, request) = (Arc::clone(requester), Publish::new(topic, ""));
    tokio::spawn(async move {
        let answer = requester.request(request, within).await?;
        Ok(String::from_utf8(answer.payload.into()).unwrap())
    })
}

type Asking = tokio::task::JoinHandle<Result<String, RequestError>>;

/// The correlation data of a request.
fn correlation(request: &Packet) -> [u8; 16] {
    let property = |at: &usize| request.body[*at..].starts_with(&[0x09, 0, 16]);
    let begin = (0..request.body.len()).find(property).unwrap() + 3;
    request.body[begin..begin + 16].try_into().unwrap()
}

/// A PUBLISH at QoS 0 to `r` with this correlation data and payload.
fn answer(data: [u8; 16], payload: u8) -> Vec<u8> {
    [
        &[0x30, 24, 0, 1, b'r', 19, 0x09, 0, 16][..],
        &data,
        &[payload],
    ]
    .concat()
}

#[tokio::test]
async fn each_answer_goes_to_its_own_request_in_whatever_order_they_come() {
    let broker = Broker::start().await;
    let (requester, mut connection) = requester(&broker).await;
    let one = ask(&requester, "q", WITHIN);
    let request = connection.read().await;
    assert!(request.contains(b"\x08\x00\x01r"), "its response topic");
    let first = correlation(&request);
    let other = ask(&requester, "q", WITHIN);
    let second = correlation(&connection.read().await);
    for (data, payload) in [
        ([9; 16], b'x'),
        (second, b'2'),
        (first, b'1'),
        (first, b'y'),
    ] {
        connection.write(&answer(data, payload)).await;
    }
    assert_eq!(one.await.unwrap().unwrap(), "1");
    assert_eq!(other.await.unwrap().unwrap(), "2");
}

#[tokio::test]
async fn a_request_without_an_answer_ends_when_its_time_is_over() {
    let broker = Broker::start().await;
    let (requester, mut connection) = requester(&broker).await;
    let asked = ask(&requester, "q", Duration::from_millis(30))
        .await
        .unwrap();
    assert!(
        matches!(asked, Err(RequestError::TimedOut { .. })),
        "{asked:?}"
    );
    let late = correlation(&connection.read().await);
    let asked = ask(&requester, "q", WITHIN);
    let request = correlation(&connection.read().await);
    for (data, payload) in [(late, b'1'), (request, b'2')] {
        connection.write(&answer(data, payload)).await;
    }
    assert_eq!(asked.await.unwrap().unwrap(), "2");
}
