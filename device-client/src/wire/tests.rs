//! What a broker cannot be made to do: an engine that dies, and a connection that ends between two
//! steps of ours.

use std::time::Duration;

use rumqttc::{AsyncClient, MqttOptions};

use super::engine::{Order, carry_out};
use super::overheard::Overheard;
use super::*;
use crate::client::BrokerAddress;
use crate::identity::tests::TestCa;

#[test]
fn an_acknowledgement_is_passed_on_only_with_the_connection_of_its_message() {
    for (connected, expected) in [(Some(2), 1), (Some(3), 0), (None, 0)] {
        let options = MqttOptions::new("id", "localhost");
        let (client, event_loop) = AsyncClient::builder(options).unbounded().build();
        let receipt = Receipt {
            packet_id: 7,
            qos: QoS::AtLeastOnce,
        };
        carry_out(Order::Acknowledge(2, receipt), &client, connected);
        let passed_on = event_loop.diagnostics().queues.control_requests_rx_len;
        assert_eq!(passed_on, expected, "{connected:?}");
    }
}

#[tokio::test]
async fn an_engine_that_dies_is_a_lost_connection_and_another_takes_its_place() {
    let address: BrokerAddress = "localhost:1".parse().unwrap();
    let name = address.server_name().unwrap();
    let mut wire = OverLibrary::<V5>::new(Settings {
        version: Version::V5,
        whereto: Whereto::default(),
        identity: Bearer::new(TestCa::new().device("dev-1").identity().unwrap()),
        client_id: "dev-1".into(),
        keep_alive: Duration::from_secs(30),
        session_expiry: Duration::ZERO,
        first_session: FirstSession::New,
        will: None,
        connect_time_max: Duration::from_secs(10),
        receive_max: 1,
        in_flight_max: 1,
        packet_len_max: 1024,
        ledger: None,
        farewell: Farewell::default(),
        overheard: Overheard::default(),
    });
    let ticket = Ticket { id: 1, turn: 1 };
    let publish = Publish::new("a", "").qos(QoS::AtLeastOnce);
    wire.publish(ticket, &publish).unwrap();
    wire.kill_engine();

    let mut events = [wire.next().await, wire.next().await];
    events.sort_by_key(|event| matches!(event, Event::Down(_)));
    assert!(matches!(events[0], Event::Published(t, Err(Failure::Forgotten)) if t == ticket));
    assert!(
        matches!(events[1], Event::Down(ConnectError::Protocol { .. })),
        "{events:?}"
    );

    // Nobody listens there: that it is said at all is the work of another engine.
    wire.connect(&Broker { address, name });
    let event = wire.next().await;
    assert!(
        matches!(event, Event::Down(ConnectError::Unreachable { .. })),
        "{event:?}"
    );
}
