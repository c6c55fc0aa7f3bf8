//! What keeps a registry well: whether it is whole, a copy of one moment, and two made one again.

mod health;
mod merge;
mod snapshot;

pub(crate) use self::health::Ending;
pub(crate) use self::merge::Merged;
