//! `countersign device list`: the devices that are known, all or some.
//!
//! A filter only leaves out; what is removed is listed only when it is asked for.

use std::path::Path;
use std::time::Duration;

use rustls_pki_types::UnixTime;

use crate::error::CommandError;
use crate::layout::Layout;
use crate::registry::{Device, DeviceState, Registry};

/// Which devices to list; one that is asked for nothing leaves out only what is removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Those that stand so.
    pub state: Option<DeviceState>,
    /// Those whose certificate counts, and ends within this time.
    pub expiring: Option<Duration>,
    /// Those that are in all of these groups.
    pub groups: Vec<Box<str>>,
    /// Those that have all of these tags.
    pub tags: Vec<Box<str>>,
    /// Those of which all this is said.
    pub attributes: Vec<(Box<str>, Box<str>)>,
    /// Those that hold a certificate of the device CA with this number that has not expired.
    pub device_ca: Option<u32>,
}

/// The devices and applications that pass the filter, in the order of their ids' octets.
///
/// # Errors
/// [`CommandError`] names what is in the way.
pub fn device_list(
    dir: &Path,
    filter: &Filter,
    now: UnixTime,
) -> Result<Vec<Device>, CommandError> {
    let registry = Registry::open_in(&Layout::new(dir))?;
    let mut devices = registry.devices(None, now)?;
    devices.retain(|device| filter.passes(device, now));
    Ok(devices)
}

impl Filter {
    fn passes(&self, device: &Device, now: UnixTime) -> bool {
        let labels = &device.labels;
        let stands = match self.state {
            Some(state) => device.state == state,
            None => device.state != DeviceState::Removed,
        };
        stands
            && self
                .expiring
                .is_none_or(|within| is_expiring(device, within, now))
            && self
                .device_ca
                .is_none_or(|number| is_below(device, number, now))
            && self
                .groups
                .iter()
                .all(|group| labels.groups.contains(group))
            && self.tags.iter().all(|tag| labels.tags.contains(tag))
            && self
                .attributes
                .iter()
                .all(|(name, value)| labels.attributes.get(name) == Some(value))
    }
}

fn is_below(device: &Device, number: u32, now: UnixTime) -> bool {
    let certificate = device.certificate.as_ref();
    certificate.is_some_and(|it| it.device_ca == number && it.not_after >= now)
}

fn is_expiring(device: &Device, within: Duration, now: UnixTime) -> bool {
    let end = now.as_secs().saturating_add(within.as_secs());
    let certificate = device.certificate.as_ref();
    device.state == DeviceState::Active
        && certificate.is_some_and(|certificate| certificate.not_after.as_secs() <= end)
}
