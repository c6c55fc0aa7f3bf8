//! Whom a certificate names, by the rule of the anchor behind it.
//!
//! An id is taken as it stands there or refused: nothing is trimmed, folded or decoded, and where
//! two could be read there is none.

use std::collections::HashMap;
use std::fmt;

use thiserror::Error;

use crate::certificate::{Certificate, CommonName};
use crate::device_id::{DeviceId, InvalidDeviceId};
use crate::refusal::Refusal;
use crate::subject::{Kind, Subject, TrustDomain, parse_spiffe_uri};
use crate::text::escape::escaped;
use crate::text::hex::from_hex;

/// How an id is read from the certificates of an anchor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum IdFrom {
    /// From the one URI, `spiffe://<trust domain>/<device|app>/<id>`, in the trust domain of the
    /// anchor. A common name may be absent, but may not say otherwise.
    #[default]
    Uri,
    /// From the one common name. Alternative names are not looked at.
    CommonName,
    /// From the one DNS name among the alternative names, in lower case and without a wildcard.
    /// The common name is not looked at.
    DnsName,
    /// From nothing in it: a table says whose it is.
    Fingerprint(Fingerprints),
}

/// The SHA-256 of a certificate's DER.
pub type Fingerprint = [u8; 32];

/// Whose certificate is whose, by fingerprint. A device may have several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fingerprints(HashMap<Fingerprint, DeviceId>);

/// One fingerprint cannot be that of two devices.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the same fingerprint stands there for {0} and for {1}")]
pub struct FingerprintTwice(pub DeviceId, pub DeviceId);

impl Fingerprints {
    /// Reads a fingerprint as `openssl x509 -fingerprint -sha256` writes it, or without colons.
    pub fn parse(text: &str) -> Option<Fingerprint> {
        from_hex(text)?.try_into().ok()
    }

    /// Adds a certificate of the device `id`.
    ///
    /// # Errors
    /// [`FingerprintTwice`] when it stands there as another device's.
    pub fn insert(
        &mut self,
        fingerprint: Fingerprint,
        id: DeviceId,
    ) -> Result<(), FingerprintTwice> {
        match self.0.get(&fingerprint) {
            Some(other) if *other != id => Err(FingerprintTwice(other.clone(), id)),
            Some(_) => Ok(()),
            None => {
                self.0.insert(fingerprint, id);
                Ok(())
            }
        }
    }

    /// The devices in the table, once for each of their certificates, in no order.
    pub fn ids(&self) -> impl Iterator<Item = &DeviceId> {
        self.0.values()
    }
}

impl IdFrom {
    pub(super) fn subject_of(
        &self,
        certificate: &Certificate,
        ours: &TrustDomain,
    ) -> Result<Subject, Refusal> {
        let id = match self {
            Self::Uri => return by_uri(certificate, ours),
            Self::CommonName => by_common_name(certificate).map_err(unfit(NamePlace::CommonName)),
            Self::DnsName => by_dns_name(certificate).map_err(unfit(NamePlace::DnsName)),
            Self::Fingerprint(table) => {
                let id = table.0.get(&certificate.sha256).cloned();
                id.ok_or(Refusal::UnknownFingerprint)
            }
        }?;
        Ok(Subject {
            kind: Kind::Device,
            id,
        })
    }
}

/// The URI decides. A common name may be absent, but may not say otherwise: other tools go by it.
fn by_uri(certificate: &Certificate, ours: &TrustDomain) -> Result<Subject, Refusal> {
    let uri = match certificate.extensions.uri_names.as_slice() {
        [] => return Err(Refusal::NoDeviceId),
        [only] => only,
        several => return Err(Refusal::SeveralDeviceIds(several.len())),
    };
    let (trust_domain, subject) =
        parse_spiffe_uri(uri).map_err(|why| Refusal::InvalidDeviceId {
            uri: escaped(uri).into(),
            why,
        })?;
    if trust_domain != *ours {
        return Err(Refusal::ForeignTrustDomain(trust_domain.as_str().into()));
    }
    let common_name = match &certificate.common_name {
        CommonName::Absent => return Ok(subject),
        CommonName::One(name) if **name == *subject.id.as_str() => return Ok(subject),
        CommonName::One(name) => escaped(name),
        CommonName::Several => "(several)".to_owned(),
        CommonName::Unreadable => "(not text)".to_owned(),
    };
    let id = subject.id.as_str().into();
    Err(Refusal::NameMismatch {
        id,
        common_name: common_name.into(),
    })
}

fn by_common_name(certificate: &Certificate) -> Result<DeviceId, UnfitId> {
    match &certificate.common_name {
        CommonName::Absent => Err(UnfitId::Missing),
        CommonName::One(name) => parse(name),
        CommonName::Several => Err(UnfitId::Several),
        CommonName::Unreadable => Err(UnfitId::NotText),
    }
}

/// DNS names are equal in whatever case (RFC 5280 §7.2), and device ids are not: only lower case
/// is one way to write them. Empty labels and the trailing dot are ways to write another name.
fn by_dns_name(certificate: &Certificate) -> Result<DeviceId, UnfitId> {
    let name = match certificate.extensions.dns_names.as_slice() {
        [] => return Err(UnfitId::Missing),
        [only] => only,
        _ => return Err(UnfitId::Several),
    };
    let id = parse(name)?;
    let one_way = name.split('.').all(|label| !label.is_empty())
        && !name.bytes().any(|octet| octet.is_ascii_uppercase());
    if one_way {
        Ok(id)
    } else {
        Err(UnfitId::NotCanonical(name.clone()))
    }
}

fn parse(name: &str) -> Result<DeviceId, UnfitId> {
    DeviceId::parse(name).map_err(|why| UnfitId::NoDeviceId {
        name: escaped(name).into(),
        why,
    })
}

fn unfit(place: NamePlace) -> impl FnOnce(UnfitId) -> Refusal {
    move |why| Refusal::UnfitName { place, why }
}

/// Where in a certificate an anchor's devices have their id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamePlace {
    /// In the common name.
    CommonName,
    /// In a DNS name among the alternative names.
    DnsName,
}

impl fmt::Display for NamePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CommonName => "common name",
            Self::DnsName => "DNS alternative name",
        })
    }
}

/// Why a name is not one device id.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum UnfitId {
    /// There is none.
    #[error("is missing")]
    Missing,
    /// There are several: two names are none.
    #[error("is there more than once")]
    Several,
    /// It is written in a character set that has gone out of use.
    #[error("is not text")]
    NotText,
    /// It is not a device id.
    #[error("\"{name}\" is no device id: {why}")]
    NoDeviceId {
        /// The name, escaped.
        name: Box<str>,
        /// What is wrong with it.
        why: InvalidDeviceId,
    },
    /// It is one of several ways to write a DNS name.
    #[error("\"{0}\" is not in lower case, or has an empty label")]
    NotCanonical(Box<str>),
}
