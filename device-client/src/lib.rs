//! Speaks for one device.
