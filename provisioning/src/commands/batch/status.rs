//! `countersign batch status`: how far batches have come.

use std::path::{Path, PathBuf};

use certs::DeviceId;
use rustls_pki_types::UnixTime;

use crate::error::CommandError;
use crate::layout::Layout;
use crate::registry::{Batch, BatchFormat, BatchStanding, Registry};

/// A batch and how far it has come.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatchStatus {
    /// Its name.
    pub name: DeviceId,
    /// In which form devices get what was made for them.
    pub format: BatchFormat,
    /// Where.
    pub output: PathBuf,
    /// When it was begun.
    pub created: UnixTime,
    /// When nothing was left to do.
    pub finished: Option<UnixTime>,
    /// How many rows have come how far.
    pub standing: BatchStanding,
}

impl BatchStatus {
    pub(super) fn of(batch: &Batch, standing: BatchStanding) -> Self {
        Self {
            name: batch.name.clone(),
            format: batch.format,
            output: batch.output.clone(),
            created: batch.created,
            finished: batch.finished,
            standing,
        }
    }
}

/// How far all batches have come, or the one called `name`.
///
/// # Errors
/// [`CommandError::NoSuchBatch`], and what else is in the way.
pub fn batch_status(dir: &Path, name: Option<&DeviceId>) -> Result<Vec<BatchStatus>, CommandError> {
    let registry = Registry::open_in(&Layout::new(dir))?;
    let batches = match name {
        None => registry.batches()?,
        Some(name) => {
            let found = registry.batch(name)?;
            vec![found.ok_or_else(|| CommandError::NoSuchBatch(name.clone()))?]
        }
    };
    let standing = |batch: Batch| {
        let standing = registry.standing(&batch.name)?;
        Ok(BatchStatus::of(&batch, standing))
    };
    batches.into_iter().map(standing).collect()
}
