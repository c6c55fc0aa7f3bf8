//! The life of authorities and what they issue, with a broker that runs and devices that are there.
//!
//! What an operator types is called here as it stands in the library; what a broker is told goes
//! over its admin socket.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
#![allow(clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod house;
mod issuing;
mod offline_root;
mod root;
