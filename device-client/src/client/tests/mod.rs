//! A device against a wire that does what the test says, in time that passes when nothing else
//! happens.

mod script;
mod turnover;

use futures_util::StreamExt;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::*;
use crate::identity::tests::TestCa;
use crate::payload::Encoding;
use crate::reason_code::ReasonCode;
use crate::wire::{Event, Failure, Session, SessionAfter};
use script::{Asked, Broker, script};

fn builder() -> Builder {
    let identity = TestCa::new().device("dev-1").identity().unwrap();
    Device::builder("localhost", identity).unwrap()
}

/// A device that is on its way.
fn connecting(builder: Builder) -> (JoinHandle<Result<Device, ConnectError>>, Broker) {
    let (script, broker) = script();
    let device = tokio::spawn(builder.connect_over(|_| script));
    (device, broker)
}

/// A device that is connected.
async fn connected(builder: Builder, session: Session) -> (Device, Broker) {
    let (device, mut broker) = connecting(builder);
    assert!(matches!(broker.asked().await, Asked::Connect));
    broker.say(Event::Up(session));
    (device.await.unwrap().unwrap(), broker)
}

async fn subscribed(device: &Device, broker: &mut Broker, filter: &'static str) -> Subscription {
    let device = device.clone();
    let subscription =
        tokio::spawn(async move { device.subscribe(filter, QoS::AtLeastOnce).await });
    let (ticket, _) = broker.subscribed().await;
    broker.say(Event::Subscribed(ticket, Ok(QoS::AtLeastOnce)));
    subscription.await.unwrap().unwrap()
}

async fn queue(device: &Device, topic: &str, qos: QoS) -> Receipt {
    device
        .queue(Publish::new(topic, "").qos(qos))
        .await
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_publish_is_answered_as_the_broker_answers() {
    let (device, mut broker) = connected(builder(), Session::New).await;
    let cases = [
        (Ok(()), "Ok(())"),
        (
            Err(Failure::Refused(ReasonCode::NOT_AUTHORIZED)),
            "Err(NotAuthorized)",
        ),
        (
            Err(Failure::Refused(ReasonCode::QUOTA_EXCEEDED)),
            "Err(Refused { reason: quota exceeded (0x97) })",
        ),
    ];
    for (answer, expected) in cases {
        let receipt = queue(&device, "a", QoS::AtLeastOnce).await;
        let (ticket, _) = broker.published().await;
        assert_eq!(device.status().unacknowledged, 1);
        broker.say(Event::Published(ticket, answer));
        assert_eq!(format!("{:?}", receipt.await), expected);
        assert_eq!(device.status().unacknowledged, 0);
    }
    broker.send("a", 0);
    broker.asked_nothing().await;
    let status = device.status();
    let counted = (status.published, status.failed, status.received);
    assert_eq!(counted, (1, 2, 1));
}

#[tokio::test(start_paused = true)]
async fn what_was_not_acknowledged_is_sent_again_in_order_when_the_session_is_lost() {
    for session in [Session::New, Session::Adopted] {
        let (device, mut broker) = connected(builder(), Session::New).await;
        let mut receipts = Vec::new();
        for topic in ["a", "b", "c"] {
            receipts.push(queue(&device, topic, QoS::AtLeastOnce).await);
        }
        broker.published().await;
        let (b, _) = broker.published().await;
        broker.published().await;
        broker.say(Event::Published(b, Ok(())));
        broker.reconnect(session).await;
        for expected in ["a", "c"] {
            let (ticket, topic) = broker.published().await;
            assert_eq!(topic, expected, "{session:?}");
            broker.say(Event::Published(ticket, Ok(())));
        }
        for receipt in receipts {
            receipt.await.unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_resumed_session_remembers_is_not_handed_over_twice() {
    let (device, mut broker) = connected(builder(), Session::New).await;
    let receipt = queue(&device, "a", QoS::ExactlyOnce).await;
    let (ticket, _) = broker.published().await;
    broker.reconnect(Session::Resumed).await;
    broker.asked_nothing().await;
    broker.say(Event::Published(ticket, Ok(())));
    receipt.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_single_message_that_was_forgotten_is_handed_over_again() {
    let (device, mut broker) = connected(builder(), Session::New).await;
    let receipt = queue(&device, "a", QoS::AtLeastOnce).await;
    let (first, _) = broker.published().await;
    broker.say(Event::Published(first, Err(Failure::Forgotten)));
    let (second, _) = broker.published().await;
    assert_eq!((second.id, second.turn), (first.id, first.turn + 1));
    broker.say(Event::Published(second, Ok(())));
    receipt.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_message_of_qos_0_cut_off_on_its_way_is_reported_and_not_sent_twice() {
    let (device, mut broker) = connected(builder(), Session::New).await;
    let receipt = queue(&device, "a", QoS::AtMostOnce).await;
    let (ticket, _) = broker.published().await;
    broker.say(Event::Published(ticket, Err(Failure::MaybeSent)));
    broker.reconnect(Session::New).await;
    assert!(matches!(receipt.await, Err(PublishError::ConnectionLost)));
    broker.asked_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn a_message_accepted_without_a_connection_waits_for_one() {
    let (device, mut broker) = connected(builder(), Session::New).await;
    broker.lose(&device).await;
    let receipt = queue(&device, "a", QoS::AtMostOnce).await;
    assert!(matches!(broker.asked().await, Asked::Connect));
    broker.say(Event::Up(Session::Resumed));
    let (ticket, _) = broker.published().await;
    broker.say(Event::Published(ticket, Ok(())));
    receipt.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_full_outbox_holds_the_publisher_until_there_is_room() {
    let (device, mut broker) = connected(builder().outbox_len_max(1), Session::New).await;
    let first = queue(&device, "a", QoS::AtLeastOnce).await;
    let (ticket, _) = broker.published().await;
    let second = tokio::spawn(async move { drop(queue(&device, "b", QoS::AtLeastOnce).await) });
    broker.asked_nothing().await;
    assert!(!second.is_finished());
    broker.say(Event::Published(ticket, Ok(())));
    first.await.unwrap();
    assert_eq!(broker.published().await.1, "b");
}

#[tokio::test(start_paused = true)]
async fn a_lasting_refusal_ends_the_first_connection_at_once() {
    let (device, mut broker) = connecting(builder());
    assert!(matches!(broker.asked().await, Asked::Connect));
    let began = Instant::now();
    broker.say(Event::Down(ConnectError::CertificateRevoked));
    let error = device.await.unwrap().unwrap_err();
    assert!(matches!(error, ConnectError::CertificateRevoked), "{error}");
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn the_first_connection_is_tried_again_until_its_time_is_over() {
    let (device, mut broker) = connecting(builder().connect_within(Duration::from_secs(30)));
    let began = Instant::now();
    let refusing = tokio::spawn(async move {
        let mut attempts = 0;
        while let Some(Asked::Connect) = broker.asked.recv().await {
            attempts += 1;
            broker.say(Event::Down(ConnectError::Closed));
        }
        attempts
    });
    let error = device.await.unwrap().unwrap_err();
    assert!(matches!(error, ConnectError::Closed), "{error}");
    assert!(
        began.elapsed() <= Duration::from_secs(30),
        "{:?}",
        began.elapsed()
    );
    assert!(refusing.await.unwrap() > 1);
}

#[tokio::test(start_paused = true)]
async fn a_lasting_refusal_later_is_told_to_everybody_who_waits() {
    let (device, mut broker) = connected(builder(), Session::New).await;
    let mut subscription = subscribed(&device, &mut broker, "a").await;
    let receipt = queue(&device, "a", QoS::AtLeastOnce).await;
    broker.say(Event::Down(ConnectError::CertificateExpired));
    assert!(matches!(
        receipt.await,
        Err(PublishError::Stopped(ConnectError::CertificateExpired))
    ));
    let last = subscription.next().await;
    assert!(matches!(
        last,
        Some(Err(SubscribeError::Stopped(
            ConnectError::CertificateExpired
        )))
    ));
    assert!(subscription.next().await.is_none());
    let refused = device.publish("a", "", QoS::AtMostOnce).await;
    assert!(matches!(
        refused,
        Err(PublishError::Stopped(ConnectError::CertificateExpired))
    ));
    let left = device.disconnect(Duration::ZERO).await;
    assert!(matches!(
        left,
        Err(DisconnectError::Stopped(ConnectError::CertificateExpired))
    ));
    assert!(matches!(device.status().link, Link::Stopped { .. }));
}

#[tokio::test(start_paused = true)]
async fn leaving_waits_for_acknowledgements_and_accepts_nothing_more() {
    let (device, mut broker) = connected(builder(), Session::New).await;
    let receipt = queue(&device, "a", QoS::AtLeastOnce).await;
    let (ticket, _) = broker.published().await;
    let leaving = device.clone();
    let leaving = tokio::spawn(async move { leaving.disconnect(Duration::from_secs(9)).await });
    broker.asked_nothing().await;
    let refused = device.publish("b", "", QoS::AtMostOnce).await;
    assert!(matches!(refused, Err(PublishError::Disconnected)));
    broker.say(Event::Published(ticket, Ok(())));
    let Asked::Close(leave) = broker.asked().await else {
        panic!("not closed")
    };
    assert_eq!(leave.session, SessionAfter::Ended);
    broker.say(Event::Closed);
    leaving.await.unwrap().unwrap();
    receipt.await.unwrap();
    assert!(matches!(device.status().link, Link::Disconnected));
}

#[tokio::test(start_paused = true)]
async fn leaving_at_the_deadline_says_how_many_were_not_acknowledged() {
    let (device, mut broker) = connected(builder(), Session::New).await;
    let receipt = queue(&device, "a", QoS::AtLeastOnce).await;
    broker.published().await;
    let began = Instant::now();
    let left = device.disconnect(Duration::from_secs(9)).await;
    assert!(
        matches!(left, Err(DisconnectError::Unacknowledged { messages: 1 })),
        "{left:?}"
    );
    // The broker does not even take our goodbye.
    assert!(
        began.elapsed() < Duration::from_secs(12),
        "{:?}",
        began.elapsed()
    );
    assert!(matches!(receipt.await, Err(PublishError::Disconnected)));
}

#[tokio::test(start_paused = true)]
async fn a_session_to_be_resumed_is_left_behind() {
    let (device, mut broker) = connected(builder().resume_session(), Session::New).await;
    let leaving = tokio::spawn(async move { device.disconnect(Duration::ZERO).await });
    let Asked::Close(leave) = broker.asked().await else {
        panic!("not closed")
    };
    assert_eq!(leave.session, SessionAfter::Kept);
    broker.say(Event::Closed);
    leaving.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_message_is_acknowledged_when_it_is_taken() {
    let (device, mut broker) = connected(builder(), Session::New).await;
    let mut subscription = subscribed(&device, &mut broker, "a").await;
    broker.send("a", 7);
    broker.asked_nothing().await;
    assert_eq!(subscription.next().await.unwrap().unwrap().topic, "a");
    assert!(matches!(broker.asked().await, Asked::Acknowledge(7)));
}

#[tokio::test(start_paused = true)]
async fn a_message_for_two_subscriptions_is_acknowledged_when_both_have_taken_it() {
    let (device, mut broker) = connected(builder(), Session::New).await;
    let mut one = subscribed(&device, &mut broker, "a").await;
    let mut other = subscribed(&device, &mut broker, "+").await;
    broker.send("a", 7);
    one.next().await.unwrap().unwrap();
    broker.asked_nothing().await;
    other.next().await.unwrap().unwrap();
    assert!(matches!(broker.asked().await, Asked::Acknowledge(7)));
}

#[tokio::test(start_paused = true)]
async fn a_subscription_is_made_again_only_when_the_broker_forgot_it() {
    let (device, mut broker) = connected(builder(), Session::New).await;
    let _subscription = subscribed(&device, &mut broker, "a").await;
    broker.reconnect(Session::Resumed).await;
    broker.asked_nothing().await;
    broker.reconnect(Session::New).await;
    assert_eq!(broker.subscribed().await.1, "a");
}

#[tokio::test(start_paused = true)]
async fn a_subscription_asked_for_without_a_connection_is_made_with_the_next() {
    let (device, mut broker) = connected(builder(), Session::New).await;
    broker.lose(&device).await;
    let subscription = tokio::spawn(async move { device.subscribe("a", QoS::AtMostOnce).await });
    assert!(matches!(broker.asked().await, Asked::Connect));
    broker.say(Event::Up(Session::Resumed));
    let (ticket, _) = broker.subscribed().await;
    broker.say(Event::Subscribed(ticket, Ok(QoS::AtMostOnce)));
    assert_eq!(
        subscription.await.unwrap().unwrap().granted_qos(),
        QoS::AtMostOnce
    );
}

#[tokio::test(start_paused = true)]
async fn messages_of_an_earlier_life_wait_for_their_subscription() {
    let (device, mut broker) = connected(builder().resume_session(), Session::Adopted).await;
    broker.send("a", 7);
    broker.send("other", 8);
    broker.asked_nothing().await;
    let mut subscription = subscribed(&device, &mut broker, "a").await;
    assert_eq!(subscription.next().await.unwrap().unwrap().topic, "a");
    assert!(matches!(broker.asked().await, Asked::Acknowledge(7)));
    // Nobody subscribes to the other: in the end it is given up and counted.
    assert!(matches!(broker.asked().await, Asked::Acknowledge(8)));
    assert_eq!(device.status().unclaimed, 1);
}

#[tokio::test(start_paused = true)]
async fn a_subscription_to_values_goes_on_after_what_is_none() {
    let (device, mut broker) = connected(builder(), Session::New).await;
    let mut numbers = subscribed(&device, &mut broker, "a")
        .await
        .typed::<u8>(Encoding::Json);
    for (number, payload) in [(1, &b"7"[..]), (2, b"seven"), (3, b"8")] {
        broker.send_payload(("a", payload), number);
    }
    let first = numbers.next().await.unwrap().unwrap();
    assert_eq!((first.value, &*first.message.payload), (7, &b"7"[..]));
    // As a stream it is the same.
    match StreamExt::next(&mut numbers).await {
        Some(Err(ReceiveError::Payload { message, .. })) => assert_eq!(message.payload, "seven"),
        other => panic!("{other:?}"),
    }
    let third = StreamExt::next(&mut numbers).await;
    assert_eq!(third.unwrap().unwrap().value, 8);
    for number in 1..=3 {
        assert!(matches!(broker.asked().await, Asked::Acknowledge(id) if id == number));
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_subscription_is_given_up_with_the_next_message() {
    let (device, mut broker) = connected(builder(), Session::New).await;
    drop(subscribed(&device, &mut broker, "a").await);
    broker.send("a", 7);
    assert!(matches!(broker.asked().await, Asked::Unsubscribe(filter) if filter == "a"));
    assert!(matches!(broker.asked().await, Asked::Acknowledge(7)));
}

#[tokio::test(start_paused = true)]
async fn when_the_last_handle_is_dropped_the_wire_is_too() {
    let (device, mut broker) = connected(builder(), Session::New).await;
    let subscription = subscribed(&device, &mut broker, "a").await;
    drop(device);
    broker.asked_nothing().await;
    drop(subscription);
    assert!(broker.asked.recv().await.is_none());
}
