//! Settings that are one of a few names, an address, a path or a trust domain.
//!
//! A name that is none of them is answered with all that are.

use super::section::Value;
use crate::engine::policy::{List, parsed};
use certs::TrustDomain;
use serde::{Deserialize, Deserializer};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// Values that are written by name.
pub(super) trait Named: Copy + PartialEq + 'static {
    /// All of them.
    const NAMES: &'static [(&'static str, Self)];

    fn name(self) -> Option<&'static str> {
        Self::NAMES
            .iter()
            .find(|(_, value)| *value == self)
            .map(|(name, _)| *name)
    }
}

/// One of the values that have a name.
#[derive(Clone, Copy, Debug)]
pub(super) struct OneOf<T>(pub(super) T);

impl<T: Named> FromStr for OneOf<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = T::NAMES.iter().find(|(name, _)| *name == text);
        found.map(|(_, value)| Self(*value)).ok_or_else(|| {
            let names: Vec<String> = T::NAMES
                .iter()
                .map(|(name, _)| format!("{name:?}"))
                .collect();
            format!("{text:?} is none of {}", names.join(", "))
        })
    }
}

impl<'de, T: Named> Deserialize<'de> for OneOf<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parsed(deserializer)
    }
}

impl<T: Named> Value for OneOf<T> {
    fn written(&self) -> Option<String> {
        self.0.name().map(quoted)
    }
}

impl<T: Named> Value for List<OneOf<T>> {
    fn written(&self) -> Option<String> {
        let names: Option<Vec<String>> = self.0.iter().map(|one| one.get_ref().written()).collect();
        names.map(|names| format!("[{}]", names.join(", ")))
    }
}

/// An address and port to listen on.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Address(pub(super) SocketAddr);

impl TryFrom<String> for Address {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let expected = "is not an address with a port, as in \"127.0.0.1:8883\" or \"[::1]:8883\"";
        text.parse()
            .map(Self)
            .map_err(|_| format!("{text:?} {expected}"))
    }
}

impl Value for Address {
    fn written(&self) -> Option<String> {
        Some(quoted(&self.0.to_string()))
    }
}

/// A file, named from the folder of the configuration file.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct FilePath(pub(super) PathBuf);

impl TryFrom<String> for FilePath {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        text.parse()
    }
}

impl FromStr for FilePath {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        if text.is_empty() {
            return Err("an empty path; write the name of a file");
        }
        Ok(Self(text.into()))
    }
}

/// The name of a trust domain.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Domain(pub(super) TrustDomain);

impl TryFrom<String> for Domain {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        TrustDomain::parse(&text)
            .map(Self)
            .map_err(|error| format!("{text:?}: {error}"))
    }
}

/// A setting that has no default.
impl<T> Value for Option<T> {
    fn written(&self) -> Option<String> {
        None
    }
}

impl Value for bool {
    fn written(&self) -> Option<String> {
        Some(self.to_string())
    }
}

/// A string that may be empty.
impl Value for String {
    fn written(&self) -> Option<String> {
        Some(quoted(self))
    }
}

/// `text` as a string of TOML.
pub(super) fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
