//! Brakes: what slows or turns away a client that takes more than its share.
//!
//! Each keeps a bounded memory of who came too often, and forgets whom time has forgiven.

mod pace;
mod pressure;
mod rates;

pub(super) use pace::{Pace, Steps};
pub use pressure::Pressure;
pub(super) use rates::Rates;
