//! Will: what a session publishes when its client goes without a word [MQTT 5.0 §3.1.2.5].
//!
//! It is published once at most: whoever publishes it takes it out.

use crate::engine::time::Time;
use bytes::Bytes;
use protocol::packet::Will;
use std::sync::Arc;

/// The will of one session.
#[derive(Clone, Debug)]
pub(in crate::engine) struct SessionWill {
    /// In memory of its own: it waits as long as its connection lasts.
    pub(in crate::engine) will: Arc<Will>,
    /// When it is published; unknown while the client is there.
    pub(in crate::engine) due: Option<Time>,
}

impl SessionWill {
    pub(in crate::engine) fn new(will: &Will) -> Self {
        let will = Will {
            payload: Bytes::copy_from_slice(&will.payload),
            forwarded: will.forwarded.detached(),
            ..will.clone()
        };
        Self {
            will: Arc::new(will),
            due: None,
        }
    }
}
