//! What stands in the lines of a registry export, and what a device's line may say.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::label::{LABELS_MAX, check_name, check_value};
use crate::device_id::DeviceId;
use crate::explain::KeyAlgorithm;
use crate::gate::Fingerprint;
use crate::subject::{Kind, Subject};
use crate::text::as_json_text;
use crate::text::escape::escaped;
use crate::text::hex::{Hex, from_hex};

const CERTIFICATES_MAX: usize = 64;

/// The first line.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HeaderLine {
    pub(super) countersign_registry: u32,
    pub(super) number: u64,
    pub(super) trust_domain: String,
    pub(super) issuer_key_id: String,
    pub(super) created: String,
    pub(super) next_update: String,
}

/// The last line.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SignatureLine {
    pub(super) algorithm: Algorithm,
    pub(super) signature: String,
}

/// How a document is signed, by the key that its authority has.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Algorithm {
    EcdsaWithSha256,
    EcdsaWithSha384,
    Ed25519,
    #[serde(rename = "ml-dsa-44")]
    MlDsa44,
    #[serde(rename = "ml-dsa-65")]
    MlDsa65,
}

impl Algorithm {
    /// The DER of its `AlgorithmIdentifier` (RFC 5758 §3.2, RFC 8410 §3, RFC 9881 §2).
    pub(crate) fn to_der(self) -> &'static [u8] {
        match self {
            Self::EcdsaWithSha256 => b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02",
            Self::EcdsaWithSha384 => b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x03",
            Self::Ed25519 => b"\x30\x05\x06\x03\x2b\x65\x70",
            Self::MlDsa44 => b"\x30\x0b\x06\x09\x60\x86\x48\x01\x65\x03\x04\x03\x11",
            Self::MlDsa65 => b"\x30\x0b\x06\x09\x60\x86\x48\x01\x65\x03\x04\x03\x12",
        }
    }

    /// What a key signs with: P-256 with SHA-256, P-384 with SHA-384, Ed25519, ML-DSA.
    pub(crate) fn of_key(public_key: &[u8]) -> Option<Self> {
        match KeyAlgorithm::of(public_key) {
            KeyAlgorithm::P256 => Some(Self::EcdsaWithSha256),
            KeyAlgorithm::P384 => Some(Self::EcdsaWithSha384),
            KeyAlgorithm::Ed25519 => Some(Self::Ed25519),
            KeyAlgorithm::MlDsa44 => Some(Self::MlDsa44),
            KeyAlgorithm::MlDsa65 => Some(Self::MlDsa65),
            KeyAlgorithm::P521 | KeyAlgorithm::Rsa(_) | KeyAlgorithm::Other(_) => None,
        }
    }
}

/// Any line between.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DeviceLine {
    id: String,
    kind: KindText,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    attributes: BTreeMap<Box<str>, Box<str>>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    groups: BTreeSet<Box<str>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    certificates: Vec<FingerprintText>,
}

#[derive(Clone, Copy, Debug)]
struct KindText(Kind);

impl std::fmt::Display for KindText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.as_str())
    }
}

as_json_text!(
    KindText,
    |text: &str| Kind::parse(text).map(KindText),
    "\"device\" or \"app\""
);

#[derive(Clone, Copy, Debug)]
struct FingerprintText(Fingerprint);

impl std::fmt::Display for FingerprintText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(&Hex(&self.0), f)
    }
}

as_json_text!(
    FingerprintText,
    |text: &str| from_hex(text).and_then(|octets| Some(Self(octets.try_into().ok()?))),
    "a SHA-256 in hexadecimal digits"
);

/// A device or an application that its authority knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownDevice {
    /// Who it is.
    pub subject: Subject,
    /// What its operators say of it. Names are like device ids; values are text on one line, and
    /// whoever puts one into a topic looks at it first.
    pub attributes: BTreeMap<Box<str>, Box<str>>,
    /// To which groups it belongs; names like device ids.
    pub groups: BTreeSet<Box<str>>,
    /// The fingerprints of those of its certificates that count; none means that nothing is said
    /// about them.
    pub certificates: Vec<Fingerprint>,
}

impl KnownDevice {
    /// A device of which nothing is said but that it is known.
    pub fn new(subject: Subject) -> Self {
        Self {
            subject,
            attributes: BTreeMap::new(),
            groups: BTreeSet::new(),
            certificates: Vec::new(),
        }
    }

    pub(super) fn to_line(&self) -> Result<DeviceLine, String> {
        self.check()?;
        Ok(DeviceLine {
            id: self.subject.id.as_str().to_owned(),
            kind: KindText(self.subject.kind),
            attributes: self.attributes.clone(),
            groups: self.groups.clone(),
            certificates: self
                .certificates
                .iter()
                .copied()
                .map(FingerprintText)
                .collect(),
        })
    }

    pub(super) fn from_line(line: DeviceLine) -> Result<Self, String> {
        let id = DeviceId::parse(&line.id).map_err(|why| why.to_string())?;
        let device = Self {
            subject: Subject {
                kind: line.kind.0,
                id,
            },
            attributes: line.attributes,
            groups: line.groups,
            certificates: line.certificates.into_iter().map(|text| text.0).collect(),
        };
        device.check()?;
        Ok(device)
    }

    fn check(&self) -> Result<(), String> {
        for (what, len, max) in [
            ("attributes", self.attributes.len(), LABELS_MAX),
            ("groups", self.groups.len(), LABELS_MAX),
            ("certificates", self.certificates.len(), CERTIFICATES_MAX),
        ] {
            if len > max {
                return Err(format!("{len} {what}, at most {max} are permitted"));
            }
        }
        for name in self.attributes.keys().chain(&self.groups) {
            check_name(name).map_err(|_| format!("\"{}\" is no name", escaped(name)))?;
        }
        for (name, value) in &self.attributes {
            check_value(value).map_err(|why| format!("{name}: {why}"))?;
        }
        Ok(())
    }
}
