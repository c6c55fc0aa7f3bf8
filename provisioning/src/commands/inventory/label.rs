//! `countersign device label`: attributes, groups and tags of a device change.
//!
//! All of a change is made or none. A broker sees it with the next export of the registry.

use std::path::Path;

use certs::Subject;
use rustls_pki_types::UnixTime;

use super::show::find;
use crate::error::CommandError;
use crate::layout::Layout;
use crate::registry::{Device, LabelChange, Registry};

/// What to say of whom.
#[derive(Clone, Copy, Debug)]
pub struct LabelRequest<'a> {
    /// The directory of the authority.
    pub dir: &'a Path,
    /// The device or application.
    pub subject: &'a Subject,
    /// What changes.
    pub change: &'a LabelChange,
}

/// Changes what is said of a device, and returns how it is now.
///
/// # Errors
/// [`CommandError::NoSuchDevice`], and what else is in the way.
pub fn device_label(request: &LabelRequest<'_>, now: UnixTime) -> Result<Device, CommandError> {
    request.change.set.check()?;
    let mut registry = Registry::open_in(&Layout::new(request.dir))?;
    if !registry.label_device(request.subject, request.change)? {
        return Err(CommandError::NoSuchDevice(request.subject.clone()));
    }
    find(&registry, request.subject, now)
}
