//! Whom a certificate speaks for: a device or an application of one trust domain.
//!
//! A subject is written in exactly one way, `spiffe://<trust domain>/<device|app>/<id>`, and only
//! that way is read: no two texts name one subject, and no text names two.

use std::fmt;
use std::sync::Arc;

use thiserror::Error;

use crate::device_id::{DeviceId, InvalidDeviceId};
use crate::text::as_json_text;

const SCHEME: &str = "spiffe://";

/// The longest trust domain name (SPIFFE-ID §2.3).
const TRUST_DOMAIN_LEN_MAX: usize = 255;

/// Someone who may hold a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subject {
    /// What sort of peer this is.
    pub kind: Kind,
    /// Its id, unique among all kinds.
    pub id: DeviceId,
}

impl Subject {
    /// Reads what [`fmt::Display`] writes: `<id>` for a device, `app/<id>` for an application.
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, id) = match text.strip_prefix("app/") {
            Some(id) => (Kind::App, id),
            None => (Kind::Device, text),
        };
        Some(Self {
            kind,
            id: DeviceId::parse(id).ok()?,
        })
    }
}

/// What sort of peer a certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A device of the fleet.
    Device,
    /// An application that reads what devices say and commands them.
    App,
}

impl Kind {
    /// The first path segment of the subject's URI.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::App => "app",
        }
    }

    /// Reads what [`Kind::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "device" => Some(Self::Device),
            "app" => Some(Self::App),
            _ => None,
        }
    }
}

/// The name space of an authority, for instance `fleet.example`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TrustDomain(Arc<str>);

impl TrustDomain {
    /// Makes a trust domain of `text`: lower-case letters, digits, `.`, `-`, `_` (SPIFFE-ID §2.1).
    ///
    /// # Errors
    /// [`InvalidSpiffeId::TrustDomain`] when `text` is empty, too long or has another character.
    pub fn parse(text: &str) -> Result<Self, InvalidSpiffeId> {
        let permitted = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-_".contains(&b);
        if text.is_empty() || text.len() > TRUST_DOMAIN_LEN_MAX || !text.bytes().all(permitted) {
            return Err(InvalidSpiffeId::TrustDomain);
        }
        Ok(Self(text.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The URI that stands for `subject` in the certificates of `trust_domain`.
pub fn spiffe_uri(trust_domain: &TrustDomain, subject: &Subject) -> String {
    format!(
        "{SCHEME}{trust_domain}/{}/{}",
        subject.kind.as_str(),
        subject.id
    )
}

/// Reads exactly what [`spiffe_uri`] writes: no escapes, port, query, fragment or further segment.
///
/// # Errors
/// [`InvalidSpiffeId`] says which part of `uri` is not as it must be.
pub fn parse_spiffe_uri(uri: &str) -> Result<(TrustDomain, Subject), InvalidSpiffeId> {
    let rest = uri.strip_prefix(SCHEME).ok_or(InvalidSpiffeId::Scheme)?;
    let (trust_domain, path) = rest.split_once('/').ok_or(InvalidSpiffeId::Path)?;
    let (kind, id) = path.split_once('/').ok_or(InvalidSpiffeId::Path)?;
    let trust_domain = TrustDomain::parse(trust_domain)?;
    let kind = Kind::parse(kind).ok_or(InvalidSpiffeId::Path)?;
    let id = DeviceId::parse(id)?;
    Ok((trust_domain, Subject { kind, id }))
}

/// Why a URI names no subject of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum InvalidSpiffeId {
    /// It is a URI of something else.
    #[error("it does not begin with {SCHEME:?}")]
    Scheme,
    /// The trust domain is not one.
    #[error(
        "a trust domain has 1 to {TRUST_DOMAIN_LEN_MAX} lower-case letters, digits, '.', '-' or '_'"
    )]
    TrustDomain,
    /// The path has other segments than a kind and an id.
    #[error("its path is not \"/device/<id>\" or \"/app/<id>\"")]
    Path,
    /// The last segment is not a device id.
    #[error(transparent)]
    Id(#[from] InvalidDeviceId),
}

/// The name space of an authority that was not given another.
impl Default for TrustDomain {
    fn default() -> Self {
        Self("countersign.local".into())
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Device => write!(f, "{}", self.id),
            Kind::App => write!(f, "app/{}", self.id),
        }
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

as_json_text!(
    Subject,
    Subject::parse,
    "a device id, or app/ and the id of an application"
);

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(kind: Kind, id: &str) -> Subject {
        Subject {
            kind,
            id: DeviceId::parse(id).unwrap(),
        }
    }

    #[test]
    fn the_default_trust_domain_is_one() {
        let domain = TrustDomain::default();
        assert_eq!(TrustDomain::parse(domain.as_str()), Ok(domain));
    }

    #[test]
    fn a_subject_is_read_as_it_was_written() {
        let domain = TrustDomain::parse("fleet.example").unwrap();
        for (subject, uri, text) in [
            (
                subject(Kind::Device, "dev-1"),
                "spiffe://fleet.example/device/dev-1",
                "dev-1",
            ),
            (
                subject(Kind::App, "app-1"),
                "spiffe://fleet.example/app/app-1",
                "app/app-1",
            ),
        ] {
            assert_eq!(spiffe_uri(&domain, &subject), uri);
            assert_eq!(subject.to_string(), text);
            assert_eq!(parse_spiffe_uri(uri), Ok((domain.clone(), subject)));
        }
    }

    #[test]
    fn a_uri_written_in_any_other_way_names_nobody() {
        use InvalidSpiffeId::{Id, Path, Scheme, TrustDomain};
        let slash = Id(InvalidDeviceId::Character('/'));
        let cases: &[(&str, InvalidSpiffeId)] = &[
            ("", Scheme),
            ("https://fleet/device/dev-1", Scheme),
            ("SPIFFE://fleet/device/dev-1", Scheme),
            (" spiffe://fleet/device/dev-1", Scheme),
            ("spiffe://fleet", Path),
            ("spiffe://fleet/", Path),
            ("spiffe://fleet/device", Path),
            ("spiffe://fleet/dev-1", Path),
            ("spiffe:///device/dev-1", TrustDomain),
            ("spiffe://Fleet/device/dev-1", TrustDomain),
            ("spiffe://fleet:8883/device/dev-1", TrustDomain),
            ("spiffe://user@fleet/device/dev-1", TrustDomain),
            ("spiffe://fl%65et/device/dev-1", TrustDomain),
            ("spiffe://fleet/Device/dev-1", Path),
            ("spiffe://fleet//dev-1", Path),
            ("spiffe://fleet/workload/dev-1", Path),
            ("spiffe://fleet/device/", Id(InvalidDeviceId::Empty)),
            ("spiffe://fleet/device/dev-1/", slash),
            (
                "spiffe://fleet/device/../app/app-1",
                Id(InvalidDeviceId::FirstCharacter('.')),
            ),
            ("spiffe://fleet/device/dev-1/x", slash),
            (
                "spiffe://fleet/device/dev%2d1",
                Id(InvalidDeviceId::Character('%')),
            ),
            (
                "spiffe://fleet/device/dev-1?x=1",
                Id(InvalidDeviceId::Character('?')),
            ),
            (
                "spiffe://fleet/device/dev-1#x",
                Id(InvalidDeviceId::Character('#')),
            ),
            (
                "spiffe://fleet/device/dev-1 ",
                Id(InvalidDeviceId::Character(' ')),
            ),
        ];
        for (uri, why) in cases {
            assert_eq!(parse_spiffe_uri(uri), Err(*why), "{uri:?}");
        }
        let long = format!("spiffe://{}/device/dev-1", "f".repeat(256));
        assert_eq!(parse_spiffe_uri(&long), Err(TrustDomain));
    }

    #[test]
    fn a_subject_is_read_as_it_is_shown() {
        for (kind, text) in [
            (Kind::Device, "dev-1"),
            (Kind::Device, "app"),
            (Kind::App, "app/a"),
        ] {
            let subject = Subject::parse(text).unwrap();
            assert_eq!((subject.kind, subject.to_string().as_str()), (kind, text));
            let json = serde_json::to_string(&subject).unwrap();
            assert_eq!(serde_json::from_str::<Subject>(&json).unwrap(), subject);
        }
        for text in ["", "app/", "device/a", "app/a/b", "a b"] {
            assert_eq!(Subject::parse(text), None, "{text:?}");
        }
    }
}
