//! `countersign ca audit`: what was done here, and whether all of it still stands there.
//!
//! No key is needed, and nothing is changed by looking.

use std::path::Path;

use crate::error::CommandError;
use crate::layout::Layout;
use crate::registry::{AuditEntry, ChainEnd, Registry};

/// Checks that no entry was changed or left out, and says where the chain ends: to keep that
/// elsewhere shows later that nothing was cut off.
///
/// # Errors
/// [`CommandError::Registry`] when the chain is broken, and what else is in the way.
pub fn audit_verify(dir: &Path) -> Result<ChainEnd, CommandError> {
    Ok(Registry::open_in(&Layout::new(dir))?.verify_audit()?)
}

/// The last `most` entries, in their order.
///
/// # Errors
/// [`CommandError`] names what is in the way.
pub fn audit_show(dir: &Path, most: usize) -> Result<Vec<AuditEntry>, CommandError> {
    Ok(Registry::open_in(&Layout::new(dir))?.audit_entries(most)?)
}
