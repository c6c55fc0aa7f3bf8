//! MQTT 5.0 by `rumqttc`.
//!
//! Its request channels are unbounded, and bounded from outside: by the outbox's window, the
//! receive maximum, and the number of subscriptions.

mod store;
mod translate;

use std::time::Duration;

use futures_util::FutureExt;
use rumqttc::{
    AckMode, AsyncClient, ConnAck, ConnectProperties, ConnectionError, DisconnectProperties,
    DisconnectReasonCode, Event, EventLoop, ManualAck, MqttOptions, Outgoing, Packet, PubAck,
    PubRec, PublishOptions, RetainForwardRule, StateError, SubscribeFilterInput,
    SubscribeProperties, mqttbytes,
};

use super::{
    Answer, Asker, Condition, Heard, Library, Limits, Lost, REQUEST_BATCH_MAX, Version, Welcome,
};
use crate::message::{Publish, QoS};
use crate::wire::adopt::Adopted;
use crate::wire::engine::Attempt;
use crate::wire::settings::Settings;
use crate::wire::{Leave, Receipt, Retained, SessionAfter, Subscribe, WillAfter};
use store::Store;

/// A client of a broker that speaks MQTT 5.0.
pub(crate) struct V5(EventLoop);

impl Library for V5 {
    const VERSION: Version = Version::V5;

    type Asker = AsyncClient;

    fn start(settings: &Settings, packet_id_max: u16, session: Adopted) -> (AsyncClient, Self) {
        let options = options(settings, packet_id_max, session);
        let (client, event_loop) = AsyncClient::builder(options).unbounded().build();
        (client, Self(event_loop))
    }

    fn prepare(&mut self, attempt: &Attempt) {
        let options = &mut self.0.options;
        options.set_clean_start(attempt.clean_start);
        // What the last broker put in its place ended with its connection.
        options.set_keep_alive(attempt.keep_alive_seconds());
    }

    fn own_session(&mut self) {
        self.0.options.clear_session_store();
    }

    fn silence_max(&self) -> Duration {
        let options = &self.0.options;
        let connect_time_max = options.connect_timeout();
        connect_time_max.saturating_add(options.keep_alive() * 2)
    }

    async fn poll(&mut self) -> Result<Heard, Lost> {
        match self.0.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(connack))) => Ok(Heard::Welcome(welcome(&connack))),
            Ok(Event::Incoming(Packet::Publish(packet))) => {
                let incoming = translate::incoming(packet).map(Box::new);
                Ok(incoming.map_or(Heard::Nothing, Heard::Message))
            }
            Ok(Event::Incoming(packet)) => Ok(match translate::answer(&packet) {
                Some((packet_id, result)) => Heard::Answer(packet_id, result),
                None => Heard::Nothing,
            }),
            Ok(Event::Outgoing(Outgoing::Disconnect)) => Ok(Heard::Left),
            Ok(_) => Ok(Heard::Nothing),
            Err(error) => Err(Lost {
                condition: condition(&error),
                error: translate::down(error),
            }),
        }
    }

    fn clean(&mut self) {
        self.0.clean();
    }
}

impl Asker for AsyncClient {
    type Packet = rumqttc::Publish;

    fn packet(publish: &Publish) -> rumqttc::Publish {
        translate::publish(publish)
    }

    fn len(packet: &rumqttc::Publish) -> usize {
        // The packet id is not counted before there is one.
        packet.size() + usize::from(packet.qos != rumqttc::QoS::AtMostOnce) * 2
    }

    fn publish(&self, topic: &str, mut packet: rumqttc::Publish) -> Option<Answer<()>> {
        let mut options = PublishOptions::new(packet.qos).retain(packet.retain);
        if let Some(properties) = packet.properties.take() {
            options = options.properties(properties);
        }
        let notice = self.try_publish_tracked(topic, packet.payload, options);
        let notice = notice.ok()?;
        Some(async move { translate::published(notice.wait_async().await) }.boxed())
    }

    fn subscribe(&self, request: &Subscribe, identifier: Option<u32>) -> Option<Answer<QoS>> {
        let retained = match request.retained {
            Retained::Send => RetainForwardRule::OnEverySubscribe,
            Retained::Skip => RetainForwardRule::Never,
        };
        let filter =
            SubscribeFilterInput::new(request.filter.as_str(), translate::qos(request.qos))
                .retain_forward_rule(retained);
        let properties = SubscribeProperties {
            id: identifier.and_then(|id| usize::try_from(id).ok()),
            user_properties: Vec::new(),
        };
        let notice = self.try_subscribe_many_with_properties_tracked([filter], properties);
        let notice = notice.ok()?;
        Some(async move { translate::subscribed(notice.wait_async().await) }.boxed())
    }

    // A failure means that the event loop is gone, and says so itself.

    fn unsubscribe(&self, filter: &str) {
        let _ = self.try_unsubscribe(filter);
    }

    fn acknowledge(&self, receipt: Receipt) {
        let ack = match receipt.qos {
            QoS::AtMostOnce => return,
            QoS::AtLeastOnce => ManualAck::PubAck(PubAck::new(receipt.packet_id, None)),
            QoS::ExactlyOnce => ManualAck::PubRec(PubRec::new(receipt.packet_id, None)),
        };
        let _ = self.try_manual_ack(ack);
    }

    fn leave(&self, leave: Leave) {
        let reason = match leave.will {
            WillAfter::Forgotten => DisconnectReasonCode::NormalDisconnection,
            WillAfter::Published => DisconnectReasonCode::DisconnectWithWillMessage,
        };
        let properties = DisconnectProperties {
            session_expiry_interval: match leave.session {
                SessionAfter::Kept => None,
                SessionAfter::Ended => Some(0),
            },
            reason_string: None,
            user_properties: Vec::new(),
            server_reference: None,
        };
        let _ = match leave.wait {
            Some(wait) => self.try_disconnect_with_properties_timeout(reason, properties, wait),
            None => self.try_disconnect_now_with_properties(reason, properties),
        };
    }
}

fn options(settings: &Settings, packet_id_max: u16, session: Adopted) -> MqttOptions {
    // Whereto is chosen when it connects.
    let nowhere = rumqttc::Broker::tcp("localhost", 0);
    let mut options = MqttOptions::new(settings.client_id.clone(), nowhere);
    options
        .set_connect_timeout(settings.connect_time_max)
        .set_connect_properties(connect_properties(settings))
        .set_ack_mode(AckMode::Manual)
        .set_max_request_batch(REQUEST_BATCH_MAX)
        .set_outgoing_inflight_upper_limit(packet_id_max);
    if let Some(will) = &settings.will {
        options.set_last_will(translate::will(will));
    }
    options.set_session_store(Store(session));
    // TLS is ours, so that its refusals come through as they are.
    let settings = settings.clone();
    options.set_socket_connector(move |_, _| settings.clone().connect());
    options
}

fn connect_properties(settings: &Settings) -> ConnectProperties {
    let mut properties = ConnectProperties::new();
    properties.session_expiry_interval = Some(translate::seconds(settings.session_expiry));
    properties.receive_maximum = Some(settings.receive_max);
    properties.max_packet_size = Some(settings.packet_len_max);
    properties
}

fn welcome(connack: &ConnAck) -> Welcome {
    let properties = connack.properties.as_ref();
    let default = Limits::default();
    let packet_len_max = properties.and_then(|p| p.max_packet_size);
    let qos_max = properties.and_then(|p| p.max_qos).and_then(QoS::from_level);
    let limits = Limits {
        packet_len_max: packet_len_max
            .and_then(|len| usize::try_from(len).ok())
            .unwrap_or(default.packet_len_max),
        qos_max: qos_max.unwrap_or(default.qos_max),
        retain: properties.and_then(|p| p.retain_available) != Some(0),
        subscription_identifiers: properties.and_then(|p| p.subscription_identifiers_available)
            != Some(0),
    };
    Welcome {
        session_present: connack.session_present,
        receive_max: properties.and_then(|it| it.receive_max).unwrap_or(u16::MAX),
        limits,
    }
}

fn condition(error: &ConnectionError) -> Condition {
    match error {
        ConnectionError::MqttState(
            StateError::OutgoingPacketTooLarge { .. }
            | StateError::InvalidState
            | StateError::Deserialization(mqttbytes::Error::OutgoingPacketTooLarge { .. }),
        ) => Condition::Spoiled,
        _ => Condition::Sound,
    }
}
