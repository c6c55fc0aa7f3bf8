//! Between our words and those of `rumqttc-v4`, both ways.
//!
//! A reason is told in the words of MQTT 5.0 where that has the same.

use rumqttc_v4::{
    ConnectReturnCode, ConnectionError, LastWill, PublishNoticeError, PublishResult, StateError,
    SubAck, SubscribeNoticeError, SubscribeReasonCode, mqttbytes,
};

use crate::error::ConnectError;
use crate::message::{Message, Properties, Publish, QoS, Will};
use crate::reason_code::ReasonCode;
use crate::wire::library::{Condition, broke_protocol};
use crate::wire::{Failure, Incoming, Receipt};

pub(super) fn qos(qos: QoS) -> rumqttc_v4::QoS {
    match qos {
        QoS::AtMostOnce => rumqttc_v4::QoS::AtMostOnce,
        QoS::AtLeastOnce => rumqttc_v4::QoS::AtLeastOnce,
        QoS::ExactlyOnce => rumqttc_v4::QoS::ExactlyOnce,
    }
}

fn qos_from(qos: rumqttc_v4::QoS) -> QoS {
    match qos {
        rumqttc_v4::QoS::AtMostOnce => QoS::AtMostOnce,
        rumqttc_v4::QoS::AtLeastOnce => QoS::AtLeastOnce,
        rumqttc_v4::QoS::ExactlyOnce => QoS::ExactlyOnce,
    }
}

pub(super) fn publish(publish: &Publish) -> rumqttc_v4::Publish {
    let (topic, payload) = (publish.topic.as_str(), publish.payload.clone());
    let mut packet = rumqttc_v4::Publish::from_bytes(topic, qos(publish.qos), payload);
    packet.retain = publish.retain;
    packet
}

pub(super) fn will(will: &Will) -> LastWill {
    let Publish {
        topic,
        payload,
        qos: quality,
        retain,
        ..
    } = &will.publish;
    LastWill::new(topic.as_str(), payload.clone(), qos(*quality), *retain)
}

/// A message of the broker; `None` when its topic is no text.
pub(super) fn incoming(packet: rumqttc_v4::Publish) -> Option<Incoming> {
    let quality = qos_from(packet.qos);
    let receipt = (packet.pkid != 0).then_some(Receipt {
        packet_id: packet.pkid,
        qos: quality,
    });
    let message = Message {
        topic: String::from_utf8(packet.topic.into()).ok()?,
        payload: packet.payload,
        qos: quality,
        retain: packet.retain,
        duplicate: packet.dup,
        properties: Properties::default(),
    };
    Some(Incoming {
        message,
        identifiers: Vec::new(),
        receipt,
    })
}

pub(super) fn published(result: &Result<PublishResult, PublishNoticeError>) -> Result<(), Failure> {
    match result {
        Ok(
            PublishResult::Qos0Flushed | PublishResult::Qos1(_) | PublishResult::Qos2Completed(_),
        ) => Ok(()),
        Err(PublishNoticeError::Qos0NotFlushed) => Err(Failure::MaybeSent),
        Err(_) => Err(Failure::Forgotten),
    }
}

pub(super) fn subscribed(result: Result<SubAck, SubscribeNoticeError>) -> Result<QoS, Failure> {
    let refused = Err(Failure::Refused(ReasonCode::new(0x80)));
    match result {
        Ok(ack) => match ack.return_codes.first() {
            Some(SubscribeReasonCode::Success(qos)) => Ok(qos_from(*qos)),
            Some(SubscribeReasonCode::Failure) | None => refused,
        },
        Err(SubscribeNoticeError::V4SubAckFailure(_)) => refused,
        Err(_) => Err(Failure::Forgotten),
    }
}

/// What ended a connection, or an attempt at one.
pub(super) fn down(error: ConnectionError) -> ConnectError {
    match error {
        ConnectionError::NetworkTimeout
        | ConnectionError::FlushTimeout
        | ConnectionError::DisconnectTimeout => ConnectError::TimedOut,
        ConnectionError::ConnectionRefused(code) => ConnectError::refused(reason(code)),
        ConnectionError::Io(error)
        | ConnectionError::MqttState(
            StateError::Io(error) | StateError::Deserialization(mqttbytes::Error::Io(error)),
        ) => ConnectError::io(error),
        ConnectionError::MqttState(StateError::ConnectionAborted) => ConnectError::Closed,
        ConnectionError::MqttState(StateError::AwaitPingResp | StateError::CollisionTimeout) => {
            ConnectError::TimedOut
        }
        other => broke_protocol(&other),
    }
}

pub(super) fn condition(error: &ConnectionError) -> Condition {
    match error {
        ConnectionError::MqttState(
            StateError::InvalidState
            | StateError::Deserialization(mqttbytes::Error::OutgoingPacketTooLarge { .. }),
        ) => Condition::Spoiled,
        _ => Condition::Sound,
    }
}

fn reason(code: ConnectReturnCode) -> ReasonCode {
    ReasonCode::new(match code {
        ConnectReturnCode::Success => 0x00,
        ConnectReturnCode::RefusedProtocolVersion => 0x84,
        ConnectReturnCode::BadClientId => 0x85,
        ConnectReturnCode::ServiceUnavailable => 0x88,
        ConnectReturnCode::BadUserNamePassword => 0x86,
        ConnectReturnCode::NotAuthorized => 0x87,
    })
}
