//! The inventory: which devices there are, and what is said of them.
//!
//! No key is needed for any of it, and nothing of it is waited for while certificates are issued.

mod add;
mod certificate;
mod label;
mod list;
mod remove;
mod show;

pub use add::{AddRequest, DeviceAdded, device_add};
pub use certificate::{WhichCertificate, certificate_find};
pub use label::{LabelRequest, device_label};
pub use list::{Filter, device_list};
pub use remove::device_remove;
pub use show::{DeviceShown, device_show};

#[cfg(test)]
mod tests;
