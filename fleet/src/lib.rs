//! Many devices at once.
//!
//! [`load`] puts a broker under load, checks every message, and says what the load cost it.

pub mod load;
