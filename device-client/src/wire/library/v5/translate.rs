//! Between our words and those of `rumqttc`, both ways.
//!
//! Every match on its reasons is in full: a code it learns to read must be given its number here.

use std::time::Duration;

use rumqttc::{
    ConnectReturnCode, ConnectionError, LastWill, LastWillProperties, Packet, PubAckReason,
    PubCompReason, PubRecReason, PublishNoticeError, PublishProperties, PublishResult, StateError,
    SubAck, SubscribeNoticeError, SubscribeReasonCode, mqttbytes,
};

use crate::error::ConnectError;
use crate::message::{Message, Properties, Publish, QoS, Will};
use crate::reason_code::ReasonCode;
use crate::wire::library::{TEXT_LEN_MAX, broke_protocol, plain};
use crate::wire::{Failure, Incoming, Receipt};

pub(super) fn qos(qos: QoS) -> rumqttc::QoS {
    match qos {
        QoS::AtMostOnce => rumqttc::QoS::AtMostOnce,
        QoS::AtLeastOnce => rumqttc::QoS::AtLeastOnce,
        QoS::ExactlyOnce => rumqttc::QoS::ExactlyOnce,
    }
}

fn qos_from(qos: rumqttc::QoS) -> QoS {
    match qos {
        rumqttc::QoS::AtMostOnce => QoS::AtMostOnce,
        rumqttc::QoS::AtLeastOnce => QoS::AtLeastOnce,
        rumqttc::QoS::ExactlyOnce => QoS::ExactlyOnce,
    }
}

/// Part of a second counts as a whole one: a message must not expire before its time.
pub(crate) fn seconds(time: Duration) -> u32 {
    let whole = time.as_secs() + u64::from(time.subsec_nanos() > 0);
    u32::try_from(whole).unwrap_or(u32::MAX)
}

pub(super) fn publish(publish: &Publish) -> rumqttc::Publish {
    let properties = publish_properties(&publish.properties);
    let payload = publish.payload.clone();
    let mut packet = rumqttc::Publish::new(
        publish.topic.as_str(),
        qos(publish.qos),
        payload,
        properties,
    );
    packet.retain = publish.retain;
    packet
}

fn publish_properties(properties: &Properties) -> Option<PublishProperties> {
    if *properties == Properties::default() {
        return None;
    }
    Some(PublishProperties {
        payload_format_indicator: properties.is_text.then_some(1),
        message_expiry_interval: properties.expiry.map(seconds),
        topic_alias: None,
        response_topic: properties.response_topic.clone(),
        correlation_data: properties.correlation_data.clone(),
        user_properties: properties.user.clone(),
        subscription_identifiers: Vec::new(),
        content_type: properties.content_type.clone(),
    })
}

pub(super) fn will(will: &Will) -> LastWill {
    let Publish {
        topic,
        payload,
        qos: quality,
        retain,
        properties,
    } = &will.publish;
    let properties = LastWillProperties {
        delay_interval: Some(seconds(will.delay)),
        payload_format_indicator: properties.is_text.then_some(1),
        message_expiry_interval: properties.expiry.map(seconds),
        content_type: properties.content_type.clone(),
        response_topic: properties.response_topic.clone(),
        correlation_data: properties.correlation_data.clone(),
        user_properties: properties.user.clone(),
    };
    LastWill::new(
        topic.as_str(),
        payload.clone(),
        qos(*quality),
        *retain,
        Some(properties),
    )
}

/// A message of the broker; `None` when its topic is no text.
pub(super) fn incoming(packet: rumqttc::Publish) -> Option<Incoming> {
    let quality = qos_from(packet.qos);
    let receipt = (packet.pkid != 0).then_some(Receipt {
        packet_id: packet.pkid,
        qos: quality,
    });
    let (properties, identifiers) = packet.properties.map(properties_from).unwrap_or_default();
    let message = Message {
        topic: String::from_utf8(packet.topic.into()).ok()?,
        payload: packet.payload,
        qos: quality,
        retain: packet.retain,
        duplicate: packet.dup,
        properties,
    };
    Some(Incoming {
        message,
        identifiers,
        receipt,
    })
}

fn properties_from(properties: PublishProperties) -> (Properties, Vec<u32>) {
    let identifiers = properties.subscription_identifiers;
    let identifiers = identifiers
        .into_iter()
        .filter_map(|id| u32::try_from(id).ok())
        .collect();
    let properties = Properties {
        is_text: properties.payload_format_indicator == Some(1),
        content_type: properties.content_type,
        response_topic: properties.response_topic,
        correlation_data: properties.correlation_data,
        expiry: properties
            .message_expiry_interval
            .map(|s| Duration::from_secs(s.into())),
        user: properties.user_properties,
    };
    (properties, identifiers)
}

pub(super) fn published(result: Result<PublishResult, PublishNoticeError>) -> Result<(), Failure> {
    let code = match result {
        Ok(PublishResult::Qos0Flushed) => return Ok(()),
        Ok(PublishResult::Qos1(ack)) => puback_code(ack.reason),
        Ok(PublishResult::Qos2PubRecRejected(rec)) => pubrec_code(rec.reason),
        Ok(PublishResult::Qos2Completed(comp)) => pubcomp_code(comp.reason),
        Err(PublishNoticeError::RetainNotSupported) => ReasonCode::RETAIN_NOT_SUPPORTED.value(),
        Err(PublishNoticeError::Qos0NotFlushed) => return Err(Failure::MaybeSent),
        Err(_) => return Err(Failure::Forgotten),
    };
    // Codes below 0x80 are successes of one sort or another (MQTT 5.0 §2.4).
    if code < 0x80 {
        Ok(())
    } else {
        Err(Failure::Refused(ReasonCode::new(code)))
    }
}

/// The last word on a message, and the packet id it was under way with.
pub(super) fn answer(packet: &Packet) -> Option<(u16, Result<(), Failure>)> {
    let (packet_id, result) = match packet {
        Packet::PubAck(ack) => (ack.pkid, PublishResult::Qos1(ack.clone())),
        // Not the last word, unless it is a refusal [MQTT-4.3.3-4].
        Packet::PubRec(rec) if pubrec_code(rec.reason) < 0x80 => return None,
        Packet::PubRec(rec) => (rec.pkid, PublishResult::Qos2PubRecRejected(rec.clone())),
        Packet::PubComp(comp) => (comp.pkid, PublishResult::Qos2Completed(comp.clone())),
        _ => return None,
    };
    Some((packet_id, published(Ok(result))))
}

const fn puback_code(reason: PubAckReason) -> u8 {
    reason as u8
}

const fn pubrec_code(reason: PubRecReason) -> u8 {
    reason as u8
}

/// A broker that has forgotten the packet id has released the message before.
const fn pubcomp_code(reason: PubCompReason) -> u8 {
    match reason {
        PubCompReason::Success | PubCompReason::PacketIdentifierNotFound => 0,
    }
}

pub(super) fn subscribed(result: Result<SubAck, SubscribeNoticeError>) -> Result<QoS, Failure> {
    let ack = result.map_err(|_| Failure::Forgotten)?;
    let code = match ack.return_codes.first() {
        Some(SubscribeReasonCode::Success(qos)) => return Ok(qos_from(*qos)),
        Some(SubscribeReasonCode::Failure | SubscribeReasonCode::Unspecified) | None => 0x80,
        Some(SubscribeReasonCode::ImplementationSpecific) => 0x83,
        Some(SubscribeReasonCode::NotAuthorized) => 0x87,
        Some(SubscribeReasonCode::TopicFilterInvalid) => 0x8F,
        Some(SubscribeReasonCode::PkidInUse) => 0x91,
        Some(SubscribeReasonCode::QuotaExceeded) => 0x97,
        Some(SubscribeReasonCode::SharedSubscriptionsNotSupported) => 0x9E,
        Some(SubscribeReasonCode::SubscriptionIdNotSupported) => 0xA1,
        Some(SubscribeReasonCode::WildcardSubscriptionsNotSupported) => 0xA2,
    };
    Err(Failure::Refused(ReasonCode::new(code)))
}

/// What ended a connection, or an attempt at one.
pub(super) fn down(error: ConnectionError) -> ConnectError {
    match error {
        ConnectionError::Io(error) => ConnectError::io(error),
        ConnectionError::Timeout(_) | ConnectionError::DisconnectTimeout => ConnectError::TimedOut,
        ConnectionError::ConnectionRefused(code) => ConnectError::refused(connack_reason(code)),
        ConnectionError::MqttState(error) => state(error),
        other => broke_protocol(&other),
    }
}

fn state(error: StateError) -> ConnectError {
    match error {
        StateError::Io(error) | StateError::Deserialization(mqttbytes::Error::Io(error)) => {
            ConnectError::io(error)
        }
        StateError::ServerDisconnect {
            reason_code,
            reason_string,
        } => ConnectError::ended(
            ReasonCode::new(reason_code as u8),
            reason_string.map(|t| plain(&t, TEXT_LEN_MAX)),
        ),
        StateError::ConnFail { reason } => ConnectError::refused(connack_reason(reason)),
        StateError::ConnectionAborted => ConnectError::Closed,
        StateError::AwaitPingResp | StateError::CollisionTimeout => ConnectError::TimedOut,
        other => broke_protocol(&other),
    }
}

fn connack_reason(code: ConnectReturnCode) -> ReasonCode {
    ReasonCode::new(match code {
        ConnectReturnCode::Success => 0x00,
        ConnectReturnCode::RefusedProtocolVersion => 0x01,
        ConnectReturnCode::BadClientId => 0x02,
        ConnectReturnCode::ServiceUnavailable => 0x03,
        ConnectReturnCode::UnspecifiedError => 0x80,
        ConnectReturnCode::MalformedPacket => 0x81,
        ConnectReturnCode::ProtocolError => 0x82,
        ConnectReturnCode::ImplementationSpecificError => 0x83,
        ConnectReturnCode::UnsupportedProtocolVersion => 0x84,
        ConnectReturnCode::ClientIdentifierNotValid => 0x85,
        ConnectReturnCode::BadUserNamePassword => 0x86,
        ConnectReturnCode::NotAuthorized => 0x87,
        ConnectReturnCode::ServerUnavailable => 0x88,
        ConnectReturnCode::ServerBusy => 0x89,
        ConnectReturnCode::Banned => 0x8A,
        ConnectReturnCode::BadAuthenticationMethod => 0x8C,
        ConnectReturnCode::TopicNameInvalid => 0x90,
        ConnectReturnCode::PacketTooLarge => 0x95,
        ConnectReturnCode::QuotaExceeded => 0x97,
        ConnectReturnCode::PayloadFormatInvalid => 0x99,
        ConnectReturnCode::RetainNotSupported => 0x9A,
        ConnectReturnCode::QoSNotSupported => 0x9B,
        ConnectReturnCode::UseAnotherServer => 0x9C,
        ConnectReturnCode::ServerMoved => 0x9D,
        ConnectReturnCode::ConnectionRateExceeded => 0x9F,
    })
}
