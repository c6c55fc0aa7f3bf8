//! Judging anew: what was permitted or believed is looked at again when that may have changed.

mod policy;
mod trust;

pub use policy::Cut;
pub(in crate::engine) use policy::{PolicyVersion, Rejudging};
