//! What keeps a registry well: whether it is whole, who vouches for it, a copy of one moment, and
//! two made one again.

mod checkpoints;
mod health;
mod merge;
mod snapshot;

pub(crate) use self::checkpoints::Signer;
pub(super) use self::checkpoints::{BEGUN, vouch};
pub(crate) use self::health::Ending;
pub(crate) use self::merge::Merged;
