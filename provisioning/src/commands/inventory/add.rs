//! `countersign device add`: a device is known before it has a certificate.
//!
//! Given again it keeps what is there; its id is taken from then on, in whatever case.

use std::path::Path;

use certs::Subject;
use rustls_pki_types::UnixTime;

use crate::error::CommandError;
use crate::layout::Layout;
use crate::registry::{Labels, Registry};

/// Whom to take in.
#[derive(Clone, Copy, Debug)]
pub struct AddRequest<'a> {
    /// The directory of the authority.
    pub dir: &'a Path,
    /// The device or application.
    pub subject: &'a Subject,
    /// What is said of it.
    pub labels: &'a Labels,
}

/// Who was taken in.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeviceAdded {
    /// The device or application.
    pub subject: Subject,
    /// Whether it was not there before.
    pub added: bool,
}

/// Takes a device into the inventory.
///
/// # Errors
/// [`CommandError::Registry`] when its id is another one's, and what else is in the way.
pub fn device_add(request: &AddRequest<'_>, now: UnixTime) -> Result<DeviceAdded, CommandError> {
    request.labels.check()?;
    let mut registry = Registry::open_in(&Layout::new(request.dir))?;
    let added = registry.add_device(request.subject, request.labels, now)?;
    Ok(DeviceAdded {
        subject: request.subject.clone(),
        added,
    })
}
