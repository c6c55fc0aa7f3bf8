//! Private keys that stay in a token (PKCS #11), found by URI (RFC 7512).
//!
//! A token signs and never shows its key. A PIN comes from a file or from a person: it stands in no
//! URI, no argument and no log.

mod algorithm;
mod error;
mod key;
mod module;
mod pin;
mod uri;

pub use algorithm::Algorithm;
pub use error::TokenError;
pub use key::TokenKey;
pub use pin::Pin;
pub use uri::{InvalidUri, KeyUri};
