//! The Countersign broker: MQTT over mutual TLS in which the certificate is the identity.
//!
//! Bytes come in through `net`, a `shard` decides with its `engine`, persists to its `storage`,
//! and speaks. `trust` says who may come in, [`config`] what is set, and [`server`] builds all of
//! it in order. There is no setting that lets a device in without a certificate.

pub mod audit;
pub mod config;
pub mod engine;
mod memory;
mod net;
mod operate;
pub mod refusals;
pub mod server;
pub mod shard;
pub mod storage;
mod storing;
mod trust;

pub use operate::AdminError;
pub use server::{Plan, Running, start};
pub use storing::{OpenDisk, OpenError};
