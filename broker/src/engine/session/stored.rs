//! Stored: a message that waits for a session, its content in the log alone.
//!
//! So small that a million of them wait in little memory. What came by a shared filter keeps its
//! content here: another member may be given it at any time.

use super::Pending;
use crate::engine::RestoredPending;
use crate::engine::message::{Message, SubscriptionIds};
use crate::engine::record::MessageNumber;
use crate::engine::time::Time;
use protocol::packet::{QoS, SubscriptionId};
use protocol::topic::TopicFilter;
use std::sync::Arc;

/// What is known of a message that is in the log.
#[derive(Debug)]
pub(in crate::engine) struct Stored {
    number: MessageNumber,
    /// The end of all time, if it never expires.
    expires_at: Time,
    extra: Option<Box<Extra>>,
    payload_len: u32,
    manner: Manner,
}

/// What few of them have.
#[derive(Debug)]
struct Extra {
    /// All of them, where there is more than one.
    subscription_ids: SubscriptionIds,
    share: Option<Arc<TopicFilter>>,
    /// The content of what came by a shared filter.
    message: Option<Arc<Message>>,
}

/// How it is delivered: the QoS in two bits, the RETAIN flag in one, and above them the
/// subscription identifier, which has 28, where there is one.
#[derive(Clone, Copy, Debug)]
struct Manner(u32);

const NEVER: Time = Time::from_millis(u64::MAX);

impl Stored {
    /// What is kept of a message that waits and has a number.
    pub(in crate::engine) fn new(pending: Pending, number: MessageNumber) -> Self {
        let Pending {
            message,
            subscription_ids,
            share,
            qos,
            retain,
            number: _,
        } = pending;
        let only = only(&subscription_ids);
        Self {
            number,
            expires_at: message.expires_at().unwrap_or(NEVER),
            payload_len: u32::try_from(message.payload().len()).unwrap_or(u32::MAX),
            manner: Manner::new(qos, retain, only),
            extra: Extra::new(subscription_ids, share, Some(message)),
        }
    }

    /// The content of it, if it is known already.
    pub(super) fn content(&self) -> Option<&Arc<Message>> {
        self.extra.as_ref()?.message.as_ref()
    }

    /// The whole of it.
    pub(in crate::engine) fn with(self, message: Arc<Message>) -> Pending {
        let (subscription_ids, share) = match self.extra {
            Some(extra) => (extra.subscription_ids, extra.share),
            None => (SubscriptionIds::new(), None),
        };
        let only = self.manner.subscription_id();
        Pending {
            message,
            number: Some(self.number),
            subscription_ids: if subscription_ids.is_empty() {
                only.into_iter().collect()
            } else {
                subscription_ids
            },
            share,
            qos: self.manner.qos(),
            retain: self.manner.retain(),
        }
    }

    /// What the records must say of it.
    #[cfg(test)]
    pub(in crate::engine) fn as_recorded(&self) -> RestoredPending {
        let manner = self.manner;
        let extra = self.extra.as_ref();
        let many = extra.map(|extra| extra.subscription_ids.clone());
        RestoredPending {
            number: self.number,
            sent: None,
            qos: manner.qos(),
            retain: manner.retain(),
            subscription_ids: many
                .filter(|many| !many.is_empty())
                .unwrap_or_else(|| manner.subscription_id().into_iter().collect()),
            share: extra.and_then(|extra| extra.share.clone()),
            expires_at: self.expires_at(),
            payload_len: self.payload_len,
            message: None,
        }
    }

    pub(super) fn number(&self) -> MessageNumber {
        self.number
    }

    /// How many bytes its payload has.
    pub(super) fn payload_len(&self) -> usize {
        usize::try_from(self.payload_len).unwrap_or(usize::MAX)
    }

    pub(super) fn expires_at(&self) -> Option<Time> {
        (self.expires_at != NEVER).then_some(self.expires_at)
    }

    pub(super) fn share(&self) -> Option<&TopicFilter> {
        self.extra.as_ref()?.share.as_deref()
    }
}

impl From<RestoredPending> for Stored {
    fn from(restored: RestoredPending) -> Self {
        let RestoredPending {
            number,
            qos,
            retain,
            subscription_ids,
            share,
            expires_at,
            payload_len,
            message,
            sent: _,
        } = restored;
        let only = only(&subscription_ids);
        Self {
            number,
            expires_at: expires_at.unwrap_or(NEVER),
            payload_len,
            manner: Manner::new(qos, retain, only),
            extra: Extra::new(subscription_ids, share, message),
        }
    }
}

impl Extra {
    fn new(
        subscription_ids: SubscriptionIds,
        share: Option<Arc<TopicFilter>>,
        message: Option<Arc<Message>>,
    ) -> Option<Box<Self>> {
        let has_many = subscription_ids.len() > 1;
        if !has_many && share.is_none() {
            return None;
        }
        Some(Box::new(Self {
            message: message.filter(|_| share.is_some()),
            subscription_ids: if has_many {
                subscription_ids
            } else {
                SubscriptionIds::new()
            },
            share,
        }))
    }
}

impl Manner {
    fn new(qos: QoS, retain: bool, subscription_id: Option<SubscriptionId>) -> Self {
        let id = subscription_id.map_or(0, SubscriptionId::get);
        Self(id << 3 | u32::from(retain) << 2 | u32::from(qos.bits()))
    }

    fn qos(self) -> QoS {
        match self.0 & 0b11 {
            0 => QoS::AtMostOnce,
            1 => QoS::AtLeastOnce,
            _ => QoS::ExactlyOnce,
        }
    }

    fn retain(self) -> bool {
        self.0 & 0b100 != 0
    }

    fn subscription_id(self) -> Option<SubscriptionId> {
        SubscriptionId::new(self.0 >> 3)
    }
}

/// The only one of these, if it is one.
fn only(ids: &SubscriptionIds) -> Option<SubscriptionId> {
    match ids.as_slice() {
        [only] => Some(*only),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::test_world::message;
    use std::num::NonZeroU64;

    #[test]
    fn a_million_of_them_take_32_megabytes() {
        assert_eq!(size_of::<Stored>(), 32);
    }

    #[test]
    fn what_is_stored_comes_back_as_it_was() {
        let number = MessageNumber(NonZeroU64::MIN);
        let share = || Some(Arc::new(TopicFilter::parse("$share/g/a").unwrap()));
        let id = |id| SubscriptionId::new(id).unwrap();
        let expires_at = Some(Time::from_millis(5000));
        for (qos, retain, ids, share, expires_at) in [
            (QoS::AtLeastOnce, false, vec![], None, None),
            (QoS::ExactlyOnce, true, vec![id(268_435_455)], None, None),
            (QoS::AtLeastOnce, true, vec![id(1), id(2)], None, expires_at),
            (QoS::ExactlyOnce, false, vec![id(7)], share(), expires_at),
            (QoS::AtLeastOnce, true, vec![id(3), id(9)], share(), None),
        ] {
            let pending = Pending {
                message: message("dev-1", "a", "payload", expires_at),
                number: Some(number),
                subscription_ids: ids.into(),
                share,
                qos,
                retain,
            };
            let stored = Stored::new(pending.clone(), number);
            assert_eq!(stored.number(), number);
            assert_eq!(stored.payload_len(), 7);
            assert_eq!(stored.expires_at(), expires_at);
            assert_eq!(stored.share(), pending.share.as_deref());
            assert_eq!(stored.content().is_some(), pending.share.is_some());
            let whole = stored.with(Arc::clone(&pending.message));
            assert_eq!(format!("{whole:?}"), format!("{pending:?}"));
        }
    }
}
