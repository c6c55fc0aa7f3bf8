//! The authorities themselves: made, looked at, checked; what was done with them, and what opens
//! their keys.

mod audit;
mod doctor;
#[cfg(test)]
mod encrypted;
mod init;
mod passphrase;
mod status;
mod verify;

pub use audit::{audit_show, audit_verify};
pub use doctor::{Check, Diagnosis, Verdict, ca_doctor};
pub(super) use init::open_or_make;
pub use init::{CaInitialized, InitRequest, ca_init};
pub use passphrase::{key_kept, read_passphrase};
pub use status::{AuthorityStatus, CaStatus, ListStatus, NextStep, ca_status};
pub use verify::{Finding, Verification, ca_verify};
