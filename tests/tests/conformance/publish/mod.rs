//! §3.3 PUBLISH: topic, properties, alias, expiry, retained messages.
//!
//! What one client says reaches another as it was said.

mod alias;
mod expiry;
mod properties;
mod retain;
mod topic;
