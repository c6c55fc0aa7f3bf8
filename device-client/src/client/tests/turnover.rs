//! How a device goes over to another identity, step by step.

use certs::Serial;

use super::script::{Asked, Broker, script};
use super::*;
use crate::renewal::{Renewing, Replacement};

/// A device, its broker, and who renews its certificate.
struct Scene {
    device: Device,
    broker: Broker,
    renewer: mpsc::Sender<Replacement>,
    ca: TestCa,
    before: Identity,
}

type Used = oneshot::Receiver<Result<(), ConnectError>>;

impl Scene {
    async fn connected() -> Self {
        let ca = TestCa::new();
        let before = ca.device("dev-1").identity().unwrap();
        let builder = Device::builder("localhost", before.clone()).unwrap();
        let (script, mut broker) = script();
        let (mut device, mut driver) = builder.split(|_| script).await.unwrap();
        let (renewer, replacements) = mpsc::channel(1);
        // The whole spread, which is ten seconds for a certificate of long.
        driver.chance = || u32::MAX;
        driver.renewal = Some((replacements, Renewing::idle()));
        tokio::spawn(driver.run());
        assert!(matches!(broker.asked().await, Asked::Connect));
        broker.say(Event::Up(Session::New));
        device.status.wait_for(Status::is_connected).await.unwrap();
        Self {
            device,
            broker,
            renewer,
            ca,
            before,
        }
    }

    /// Another identity, handed to the device.
    async fn renew(&mut self) -> Used {
        let identity = self.ca.device("dev-1").identity().unwrap();
        let serial = identity.serial();
        let (used, told) = oneshot::channel();
        let replacement = Replacement {
            identity,
            before: self.before.clone(),
            used,
        };
        self.renewer.send(replacement).await.unwrap();
        assert_eq!(self.renewed().await, serial);
        told
    }

    /// The wire is given an identity.
    async fn renewed(&mut self) -> Serial {
        match self.broker.asked().await {
            Asked::Renew(serial) => serial,
            other => panic!("{other:?}"),
        }
    }

    async fn hung_up(&mut self) {
        let asked = self.broker.asked().await;
        assert!(matches!(asked, Asked::HangUp), "{asked:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_device_goes_over_when_all_is_answered_and_sends_what_waited_once() {
    let mut scene = Scene::connected().await;
    let first = queue(&scene.device, "a", QoS::AtLeastOnce).await;
    let (ticket, _) = scene.broker.published().await;
    let used = scene.renew().await;
    tokio::time::sleep(Duration::from_secs(12)).await;
    scene.broker.say(Event::Published(ticket, Ok(())));
    first.await.unwrap();
    scene.hung_up().await;
    let second = queue(&scene.device, "b", QoS::AtLeastOnce).await;
    scene.broker.asked_nothing().await;
    let began = Instant::now();
    scene.broker.say(Event::Down(ConnectError::Closed));
    assert!(matches!(scene.broker.asked().await, Asked::Connect));
    assert_eq!(began.elapsed(), Duration::ZERO, "no backoff");
    scene.broker.say(Event::Up(Session::Resumed));
    assert!(matches!(used.await, Ok(Ok(()))));
    let (ticket, topic) = scene.broker.published().await;
    assert_eq!(topic, "b");
    scene.broker.say(Event::Published(ticket, Ok(())));
    second.await.unwrap();
    scene.broker.asked_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn new_messages_wait_while_what_is_under_way_is_awaited_but_not_for_long() {
    let mut scene = Scene::connected().await;
    let _first = queue(&scene.device, "a", QoS::AtLeastOnce).await;
    scene.broker.published().await;
    let _used = scene.renew().await;
    // By then it is drained, whatever the spread.
    tokio::time::sleep(Duration::from_millis(10_001)).await;
    let began = Instant::now();
    let _second = queue(&scene.device, "b", QoS::AtLeastOnce).await;
    assert_eq!(scene.broker.published().await.1, "b");
    assert!(
        began.elapsed() <= Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_lost_before_is_made_again_with_the_new_identity() {
    let mut scene = Scene::connected().await;
    let used = scene.renew().await;
    scene.broker.say(Event::Down(ConnectError::Closed));
    assert!(matches!(scene.broker.asked().await, Asked::Connect));
    scene.broker.say(Event::Up(Session::Resumed));
    assert!(matches!(used.await, Ok(Ok(()))));
    tokio::time::sleep(Duration::from_mins(1)).await;
    scene.broker.asked_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_was_under_way_is_not_taken_for_one_with_the_new_identity() {
    let mut scene = Scene::connected().await;
    scene.broker.say(Event::Down(ConnectError::Closed));
    assert!(matches!(scene.broker.asked().await, Asked::Connect));
    let mut used = scene.renew().await;
    scene.broker.say(Event::Up(Session::Resumed));
    scene.hung_up().await;
    assert!(used.try_recv().is_err(), "used before it was");
    scene.broker.say(Event::Down(ConnectError::Closed));
    assert!(matches!(scene.broker.asked().await, Asked::Connect));
    scene.broker.say(Event::Up(Session::Resumed));
    assert!(matches!(used.await, Ok(Ok(()))));
}

#[tokio::test(start_paused = true)]
async fn an_identity_that_is_refused_is_given_up_for_the_one_before() {
    let mut scene = Scene::connected().await;
    let used = scene.renew().await;
    scene.hung_up().await;
    scene.broker.say(Event::Down(ConnectError::Closed));
    assert!(matches!(scene.broker.asked().await, Asked::Connect));
    scene
        .broker
        .say(Event::Down(ConnectError::UnknownAuthority));
    let before = scene.before.serial();
    assert_eq!(scene.renewed().await, before);
    assert!(matches!(
        used.await,
        Ok(Err(ConnectError::UnknownAuthority))
    ));
    assert!(matches!(scene.broker.asked().await, Asked::Connect));
    scene.broker.say(Event::Up(Session::Resumed));
    scene.broker.asked_nothing().await;
    assert!(scene.device.status().is_connected());
}

#[tokio::test(start_paused = true)]
async fn one_whose_certificate_is_renewed_waits_for_the_next_when_it_has_expired() {
    let mut scene = Scene::connected().await;
    for _ in 0..10 {
        scene
            .broker
            .say(Event::Down(ConnectError::CertificateExpired));
        assert!(matches!(scene.broker.asked().await, Asked::Connect));
    }
    scene
        .broker
        .say(Event::Down(ConnectError::CertificateExpired));
    let began = Instant::now();
    let _used = scene.renew().await;
    let Link::Waiting { until, .. } = scene.device.status().link else {
        panic!("{:?}", scene.device.status());
    };
    assert!(matches!(scene.broker.asked().await, Asked::Connect));
    assert!(
        began.elapsed() <= Duration::from_secs(10),
        "it waits no longer"
    );
    assert_eq!(until, Instant::now().into_std(), "as it was told");
}

#[tokio::test(start_paused = true)]
async fn one_who_leaves_does_not_go_over() {
    let mut scene = Scene::connected().await;
    let _receipt = queue(&scene.device, "a", QoS::AtLeastOnce).await;
    let (ticket, _) = scene.broker.published().await;
    let _used = scene.renew().await;
    let leaving = scene.device.clone();
    let leaving = tokio::spawn(async move { leaving.disconnect(Duration::from_mins(1)).await });
    tokio::time::sleep(Duration::from_secs(12)).await;
    scene.broker.say(Event::Published(ticket, Ok(())));
    assert!(matches!(scene.broker.asked().await, Asked::Close(_)));
    scene.broker.say(Event::Closed);
    leaving.await.unwrap().unwrap();
}
