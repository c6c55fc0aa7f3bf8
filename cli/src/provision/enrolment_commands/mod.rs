//! `countersign token`, `pending` and `ca serve`: enrolment over the network.

pub(crate) mod pending;
pub(crate) mod serve;
pub(crate) mod token;
