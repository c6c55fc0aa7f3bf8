//! `countersign ca doctor|backup|restore`: keeping an authority well.

pub(crate) mod doctor;
