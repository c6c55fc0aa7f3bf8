//! `countersign device remove`: a device that is gone is taken out of the inventory.
//!
//! What was issued to it stays on record, and its revocation on the list; so a device that holds a
//! certificate that counts is not removed.

use std::path::Path;

use certs::Subject;
use rustls_pki_types::UnixTime;

use crate::error::CommandError;
use crate::layout::Layout;
use crate::registry::Registry;

/// Takes a device out of the inventory, with all that was said of it.
///
/// # Errors
/// [`CommandError::NoSuchDevice`], [`CommandError::Registry`] when it holds a certificate that
/// counts or waits for one, and what else is in the way.
pub fn device_remove(dir: &Path, subject: &Subject, now: UnixTime) -> Result<(), CommandError> {
    let mut registry = Registry::open_in(&Layout::new(dir))?;
    if registry.remove_device(subject, now)? {
        Ok(())
    } else {
        Err(CommandError::NoSuchDevice(subject.clone()))
    }
}
