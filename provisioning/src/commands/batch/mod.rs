//! Batches: certificates for a whole list of devices, exactly once, whatever happens between.
//!
//! A batch is on record before its first certificate is, so that it can be taken up by its name
//! after any interruption. Commands that are given meanwhile wait for one chunk, not for the batch.

mod check;
mod deliver;
mod issue;
mod payload;
mod status;
mod work;

pub use check::{Checked, batch_check};
pub use deliver::{BatchDelivered, DeliverRequest, NotDelivered, Package, batch_deliver};
pub use issue::{BatchRequest, ResumeRequest, batch_issue, batch_resume};
pub use status::{BatchStatus, batch_status};
pub use work::BatchDone;

#[cfg(test)]
mod deliver_tests;
#[cfg(test)]
mod tests;
