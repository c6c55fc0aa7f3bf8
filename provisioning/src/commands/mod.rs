//! What an operator asks for: one verb, one file.
//!
//! Each command may be given again: what exists is kept, what is missing is made.

mod broker_issue;
mod ca_init;
mod issue;
mod peer_issue;
mod up_prepare;

pub use broker_issue::{BrokerIssued, broker_issue};
pub use ca_init::{CaInitialized, ca_init};
pub use peer_issue::{IssueRequest, PeerIssued, app_issue, device_issue};
pub use up_prepare::{Outcome, Prepared, PreparedPeer, UP_DEVICES_MAX, UpRequest, up_prepare};
