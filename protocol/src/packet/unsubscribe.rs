//! UNSUBSCRIBE: a client wants no more of some filters [MQTT 5.0 §3.10].

use super::{PacketId, UserProperties};
use crate::ProtocolError;
use crate::topic::TopicFilter;
use crate::wire::{PropertyId, Reader, Writer};

/// An UNSUBSCRIBE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsubscribe {
    /// What the UNSUBACK refers to.
    pub packet_id: PacketId,
    /// At least one [MQTT-3.10.3-2].
    pub filters: Vec<TopicFilter>,
    /// In their order.
    pub user_properties: UserProperties,
}

impl Unsubscribe {
    pub(crate) fn read(body: &mut Reader<'_>) -> Result<Self, ProtocolError> {
        let packet_id = body.packet_id()?;
        let mut user_properties = UserProperties::new();
        let mut properties = body.properties()?;
        while let Some(id) = properties.next()? {
            match id {
                PropertyId::UserProperty => properties.user(&mut user_properties)?,
                _ => return Err(id.not_allowed()),
            }
        }
        let mut filters = Vec::new();
        while !body.is_empty() {
            filters.push(body.topic_filter()?);
        }
        if filters.is_empty() {
            return Err(ProtocolError::NoTopicFilter);
        }
        Ok(Self {
            packet_id,
            filters,
            user_properties,
        })
    }

    pub(crate) fn write(&self, body: &mut Writer<'_>) {
        body.packet_id(self.packet_id);
        body.properties(|block| block.user_properties(&self.user_properties));
        for filter in &self.filters {
            body.text(filter.as_str());
        }
    }
}
