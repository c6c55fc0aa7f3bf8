//! Judging anew: what was permitted or believed is looked at again when that may have changed.

mod losses;
mod policy;
mod trust;

pub use losses::{Loss, Losses};
pub(in crate::engine) use policy::{PolicyVersion, Rejudging};
