//! `countersign device show`: all that is on record of one device.

use std::path::Path;

use certs::Subject;
use rustls_pki_types::UnixTime;

use crate::error::CommandError;
use crate::layout::Layout;
use crate::registry::{Device, DeviceCertificate, Registry};

/// A device and its certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeviceShown {
    /// The device or application.
    pub device: Device,
    /// Every certificate that it was given, the oldest first.
    pub certificates: Vec<DeviceCertificate>,
}

/// What is on record of a device.
///
/// # Errors
/// [`CommandError::NoSuchDevice`], and what else is in the way.
pub fn device_show(
    dir: &Path,
    subject: &Subject,
    now: UnixTime,
) -> Result<DeviceShown, CommandError> {
    let registry = Registry::open_in(&Layout::new(dir))?;
    Ok(DeviceShown {
        device: find(&registry, subject, now)?,
        certificates: registry.certificates_of(subject)?,
    })
}

pub(super) fn find(
    registry: &Registry,
    subject: &Subject,
    now: UnixTime,
) -> Result<Device, CommandError> {
    let found = registry.devices(Some(subject), now)?.pop();
    found.ok_or_else(|| CommandError::NoSuchDevice(subject.clone()))
}
