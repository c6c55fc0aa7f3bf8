//! What must be: clients as they are to be served, and what is known of all that they say.

pub(crate) mod client;
pub(crate) mod session;
pub(crate) mod truth;
