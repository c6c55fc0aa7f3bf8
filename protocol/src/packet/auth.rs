//! AUTH: a step of an extended authentication [MQTT 5.0 §3.15].

use super::{Authentication, UserProperties};
use crate::{ReasonCode, Text};

/// An AUTH packet; MQTT 5.0 only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    /// Success, continue, or re-authenticate.
    pub reason: ReasonCode,
    /// The method, which may be absent only where the reason is success.
    pub authentication: Option<Authentication>,
    /// Words for a person.
    pub reason_string: Option<Text>,
    /// In their order.
    pub user_properties: UserProperties,
}
