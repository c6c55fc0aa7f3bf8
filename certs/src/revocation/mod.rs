//! Revocation: what authorities list, what operators add, and who is not admitted because of it
//! (RFC 5280 §5).
//!
//! A list is verified once, when it is read; whoever holds a [`RevocationList`] need not ask again,
//! and asking a [`RevocationSet`] about a certificate costs the same however long its lists are.
//! The number of a list only rises.

mod der;
mod entries;
mod invalid;
mod list;
mod list_id;
mod number;
mod revoked;
mod set;
#[cfg(test)]
mod tests;

pub use invalid::InvalidList;
pub use list::{Freshness, RevocationList};
pub use list_id::{ListId, Scope};
pub use number::ListNumber;
pub use revoked::Revoked;
pub use set::{NotNewer, Replaced, RevocationSet, Seen};
