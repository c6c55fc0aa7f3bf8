//! `countersign ca doctor|backup|restore`: keeping an authority well.

pub(crate) mod backup;
pub(crate) mod doctor;
pub(crate) mod restore;
