//! A wire that does what the test says, and notes what it is asked.

use certs::Serial;

use super::*;
use crate::message::Message;
use crate::wire::{self, Event, Incoming, Leave, Session, Ticket, Wire};

/// What a wire was asked to do.
#[derive(Debug)]
pub(super) enum Asked {
    Connect,
    Publish(Ticket, String),
    Subscribe(Ticket, String),
    Unsubscribe(String),
    Acknowledge(u16),
    Renew(Serial),
    HangUp,
    Close(Leave),
}

pub(super) struct Script {
    events: mpsc::UnboundedReceiver<Event>,
    asked: mpsc::UnboundedSender<Asked>,
}

impl Script {
    fn note(&self, asked: Asked) {
        let _ = self.asked.send(asked);
    }
}

impl Wire for Script {
    fn connect(&mut self, _broker: &wire::Broker) {
        self.note(Asked::Connect);
    }

    fn publish(&mut self, ticket: Ticket, publish: &Publish) -> Result<(), wire::Unsendable> {
        self.note(Asked::Publish(ticket, publish.topic.clone()));
        Ok(())
    }

    fn subscribe(&mut self, ticket: Ticket, request: &Subscribe) {
        self.note(Asked::Subscribe(ticket, request.filter.clone()));
    }

    fn unsubscribe(&mut self, filter: &str) {
        self.note(Asked::Unsubscribe(filter.into()));
    }

    fn acknowledge(&mut self, receipt: wire::Receipt) {
        self.note(Asked::Acknowledge(receipt.packet_id));
    }

    fn renew(&mut self, identity: Identity) {
        self.note(Asked::Renew(identity.serial()));
    }

    fn hang_up(&mut self) {
        self.note(Asked::HangUp);
    }

    fn close(&mut self, leave: Leave) {
        self.note(Asked::Close(leave));
    }

    async fn next(&mut self) -> Event {
        match self.events.recv().await {
            Some(event) => event,
            None => std::future::pending().await,
        }
    }
}

/// The broker's side of a wire.
pub(super) struct Broker {
    events: mpsc::UnboundedSender<Event>,
    pub(super) asked: mpsc::UnboundedReceiver<Asked>,
}

impl Broker {
    pub(super) fn say(&self, event: Event) {
        self.events.send(event).unwrap();
    }

    pub(super) async fn asked(&mut self) -> Asked {
        self.asked.recv().await.expect("the device has ended")
    }

    pub(super) async fn published(&mut self) -> (Ticket, String) {
        match self.asked().await {
            Asked::Publish(ticket, topic) => (ticket, topic),
            other => panic!("{other:?}"),
        }
    }

    pub(super) async fn subscribed(&mut self) -> (Ticket, String) {
        match self.asked().await {
            Asked::Subscribe(ticket, filter) => (ticket, filter),
            other => panic!("{other:?}"),
        }
    }

    /// The wire is asked for nothing for a while.
    pub(super) async fn asked_nothing(&mut self) {
        let asked = tokio::time::timeout(Duration::from_millis(1), self.asked()).await;
        assert!(asked.is_err(), "{asked:?}");
    }

    /// The connection is lost, and the device knows.
    pub(super) async fn lose(&self, device: &Device) {
        self.say(Event::Down(ConnectError::Closed));
        let mut status = device.status.clone();
        status
            .wait_for(|status| !status.is_connected())
            .await
            .unwrap();
    }

    /// The connection is lost and comes back.
    pub(super) async fn reconnect(&mut self, session: Session) {
        self.say(Event::Down(ConnectError::Closed));
        assert!(matches!(self.asked().await, Asked::Connect));
        self.say(Event::Up(session));
    }

    pub(super) fn send(&self, topic: &str, packet_id: u16) {
        self.send_payload((topic, b""), packet_id);
    }

    pub(super) fn send_payload(&self, (topic, payload): (&str, &'static [u8]), packet_id: u16) {
        let receipt = wire::Receipt {
            packet_id,
            qos: QoS::AtLeastOnce,
        };
        let (topic, payload) = (topic.into(), Bytes::from_static(payload));
        let qos = QoS::AtLeastOnce;
        let (retain, duplicate, properties) = Default::default();
        let message = Message {
            topic,
            payload,
            qos,
            retain,
            duplicate,
            properties,
        };
        let receipt = (packet_id != 0).then_some(receipt);
        self.say(Event::Message(Incoming {
            message,
            identifiers: vec![],
            receipt,
        }));
    }
}

/// A wire, and the broker's side of it.
pub(super) fn script() -> (Script, Broker) {
    let (events, script_events) = mpsc::unbounded_channel();
    let (script_asked, asked) = mpsc::unbounded_channel();
    let script = Script {
        events: script_events,
        asked: script_asked,
    };
    (script, Broker { events, asked })
}
