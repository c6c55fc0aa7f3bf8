//! The clients that make the load: who they are and how they connect.

mod identity;
mod link;
mod socket;

pub(crate) use identity::Identities;
pub use identity::KeyExchange;
pub(super) use identity::{Identity, TlsChoice, certificates};
pub(super) use link::{Dialer, Link, connect_all};
pub(super) use socket::Volume;
