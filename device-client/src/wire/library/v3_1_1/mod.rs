//! MQTT 3.1.1 by `rumqttc-v4`.
//!
//! Of what this version cannot say nothing comes here: it is refused before.

mod store;
mod translate;

use std::time::Duration;

use futures_util::FutureExt;
use rumqttc_v4::{
    AckMode, AsyncClient, Event, EventLoop, ManualAck, MqttOptions, NetworkOptions, Outgoing,
    Packet, PubAck, PubRec, PublishOptions,
};

use super::{
    Answer, Asker, Heard, Library, Limits, Lost, PACKET_LEN_MAX, REQUEST_BATCH_MAX, Version,
    Welcome,
};
use crate::message::{Publish, QoS};
use crate::wire::adopt::Adopted;
use crate::wire::engine::Attempt;
use crate::wire::settings::Settings;
use crate::wire::{Leave, Receipt, Subscribe};
use store::Store;

/// A client of a broker that speaks MQTT 3.1.1.
pub(crate) struct V3_1_1(EventLoop);

impl Library for V3_1_1 {
    const VERSION: Version = Version::V3_1_1;

    type Asker = AsyncClient;

    fn start(settings: &Settings, packet_id_max: u16, session: Adopted) -> (AsyncClient, Self) {
        let options = options(settings, packet_id_max, session);
        let (client, mut event_loop) = AsyncClient::builder(options).unbounded().build();
        // It knows whole seconds; our own part of an attempt keeps to its time.
        let seconds = settings.connect_time_max.as_secs().saturating_add(1);
        let mut network = NetworkOptions::new();
        network.set_connection_timeout(seconds);
        event_loop.set_network_options(network);
        (client, Self(event_loop))
    }

    fn prepare(&mut self, attempt: &Attempt) {
        let options = &mut self.0.mqtt_options;
        // Without a client id there is no session that could be kept [MQTT-3.1.3-7].
        let _ = options.try_set_clean_session(attempt.clean_start);
        options.set_keep_alive(attempt.keep_alive_seconds());
    }

    fn own_session(&mut self) {
        self.0.mqtt_options.clear_session_store();
    }

    fn silence_max(&self) -> Duration {
        let seconds = self.0.network_options.connection_timeout();
        let keep_alive = self.0.mqtt_options.keep_alive();
        Duration::from_secs(seconds).saturating_add(keep_alive * 2)
    }

    async fn poll(&mut self) -> Result<Heard, Lost> {
        match self.0.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(connack))) => Ok(Heard::Welcome(Welcome {
                session_present: connack.session_present,
                receive_max: u16::MAX,
                limits: Limits {
                    subscription_identifiers: false,
                    ..Limits::default()
                },
            })),
            Ok(Event::Incoming(Packet::Publish(packet))) => {
                let incoming = translate::incoming(packet).map(Box::new);
                Ok(incoming.map_or(Heard::Nothing, Heard::Message))
            }
            Ok(Event::Incoming(Packet::PubAck(ack))) => Ok(Heard::Answer(ack.pkid, Ok(()))),
            Ok(Event::Incoming(Packet::PubComp(comp))) => Ok(Heard::Answer(comp.pkid, Ok(()))),
            Ok(Event::Outgoing(Outgoing::Disconnect)) => Ok(Heard::Left),
            Ok(_) => Ok(Heard::Nothing),
            Err(error) => Err(Lost {
                condition: translate::condition(&error),
                error: translate::down(error),
            }),
        }
    }

    fn clean(&mut self) {
        self.0.clean();
    }
}

impl Asker for AsyncClient {
    type Packet = rumqttc_v4::Publish;

    fn packet(publish: &Publish) -> rumqttc_v4::Publish {
        translate::publish(publish)
    }

    fn len(packet: &rumqttc_v4::Publish) -> usize {
        // The packet id is not counted before there is one.
        packet.size() + usize::from(packet.qos != rumqttc_v4::QoS::AtMostOnce) * 2
    }

    fn publish(&self, topic: &str, packet: rumqttc_v4::Publish) -> Option<Answer<()>> {
        let options = PublishOptions::new(packet.qos).retain(packet.retain);
        let notice = self.try_publish_tracked(topic, packet.payload, options);
        let notice = notice.ok()?;
        Some(async move { translate::published(&notice.wait_async().await) }.boxed())
    }

    fn subscribe(&self, request: &Subscribe, _: Option<u32>) -> Option<Answer<QoS>> {
        let qos = translate::qos(request.qos);
        let notice = self.try_subscribe_tracked(request.filter.as_str(), qos);
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
            QoS::AtLeastOnce => ManualAck::PubAck(PubAck::new(receipt.packet_id)),
            QoS::ExactlyOnce => ManualAck::PubRec(PubRec::new(receipt.packet_id)),
        };
        let _ = self.try_manual_ack(ack);
    }

    /// What becomes of the session and of the will cannot be said: the one stays, the other is
    /// forgotten.
    fn leave(&self, leave: Leave) {
        let _ = match leave.wait {
            Some(wait) => self.try_disconnect_with_timeout(wait),
            None => self.try_disconnect_now(),
        };
    }
}

fn options(settings: &Settings, packet_id_max: u16, session: Adopted) -> MqttOptions {
    // Whereto is chosen when it connects.
    let nowhere = rumqttc_v4::Broker::tcp("localhost", 0);
    let mut options = MqttOptions::new(settings.client_id.clone(), nowhere);
    let packet_len_max = usize::try_from(settings.packet_len_max).unwrap_or(PACKET_LEN_MAX);
    options
        .set_max_packet_size(packet_len_max, PACKET_LEN_MAX)
        .set_ack_mode(AckMode::Manual)
        .set_max_request_batch(REQUEST_BATCH_MAX)
        .set_inflight(packet_id_max);
    if let Some(will) = &settings.will {
        options.set_last_will(translate::will(will));
    }
    if !settings.is_session_brief() {
        options.set_session_store(Store(session));
    }
    // TLS is ours, so that its refusals come through as they are.
    let settings = settings.clone();
    options.set_socket_connector(move |_, _| settings.clone().connect_in_time());
    options
}
