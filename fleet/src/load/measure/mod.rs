//! What is measured, and how it is said.

mod figures;
mod histogram;
mod meter;
mod process;
mod report;
mod system_calls;

pub use figures::{Figure, Figures};
pub use report::Report;

pub(crate) use meter::float;
pub(crate) use process::Usage;

pub(super) use histogram::Histogram;
pub(super) use meter::Meter;
use system_calls::SystemCallCount;
