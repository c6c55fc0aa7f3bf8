//! Which list of an authority a list is: an authority may divide its revocations over several.
//!
//! Each has numbers of its own (RFC 5280 §5.2.3: "for a given CRL scope and CRL issuer"), so what
//! makes lists different, and nothing else, is in the id.

use std::fmt;

use super::der::{Broken, Der, constructed, primitive};
use super::invalid::InvalidList;
use crate::certificate::sha256;
use crate::extensions::BasicConstraints;
use crate::text::as_json_text;
use crate::text::hex::Hex;

/// About which certificates of its issuer a list speaks (RFC 5280 §5.2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// About all.
    All,
    /// About those of devices and servers (`onlyContainsUserCerts`).
    EndEntities,
    /// About those of authorities (`onlyContainsCACerts`), so not about any device.
    Authorities,
}

impl Scope {
    /// Whether it includes certificates of this kind.
    pub(super) fn includes(self, kind: BasicConstraints) -> bool {
        match (self, kind) {
            (Self::All, _)
            | (Self::EndEntities, BasicConstraints::EndEntity)
            | (Self::Authorities, BasicConstraints::Authority { .. }) => true,
            (Self::EndEntities, BasicConstraints::Authority { .. })
            | (Self::Authorities, BasicConstraints::EndEntity) => false,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::EndEntities => "end-entities",
            Self::Authorities => "authorities",
        }
    }
}

/// Which list this is: the key that signs it, its scope and, where the list is one of several, the
/// distribution point it belongs to.
///
/// As text it is made of lower-case letters, digits, `-` and `/`, fit to be kept in a file.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListId(Box<str>);

impl ListId {
    /// Takes what [`ListId::as_str`] gave, from a file of one's own.
    pub fn parse(text: &str) -> Option<Self> {
        let permitted = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-/".contains(&b);
        let good = text.contains('/') && text.bytes().all(permitted);
        good.then(|| Self(text.into()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn new(issuer_key_id: &[u8], point: &IssuingPoint) -> Self {
        let (issuer, scope) = (Hex(issuer_key_id), point.scope.as_str());
        Self(match &point.name {
            None => format!("{issuer}/{scope}").into(),
            Some(name) => format!("{issuer}/{scope}/{}", Hex(&name.sha256)).into(),
        })
    }
}

impl fmt::Display for ListId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What an issuing distribution point says (RFC 5280 §5.2.5).
pub(super) struct IssuingPoint {
    pub(super) scope: Scope,
    /// The name of its distribution point: which of several lists this is.
    pub(super) name: Option<PointName>,
}

/// The name of a distribution point (RFC 5280 §4.2.1.13).
pub(super) struct PointName {
    sha256: [u8; 32],
    /// Those of its forms that are URIs; others are not compared.
    pub(super) uris: Vec<Box<str>>,
}

impl PointName {
    fn read(content: &[u8]) -> Result<Self, Broken> {
        let mut uris = Vec::new();
        let mut name = Der::new(content);
        let full = name.optional(constructed(0))?.unwrap_or_default();
        let mut forms = Der::new(full);
        while !forms.is_empty() {
            let form = forms.any()?;
            if form.tag == primitive(6) {
                let uri = str::from_utf8(form.content).map_err(|_| Broken)?;
                uris.push(uri.into());
            }
        }
        let sha256 = sha256(content);
        Ok(Self { sha256, uris })
    }
}

impl IssuingPoint {
    /// A list without one is about all certificates of its issuer, for all reasons.
    pub(super) const WHOLE: Self = Self {
        scope: Scope::All,
        name: None,
    };

    pub(super) fn read(sequence: &[u8]) -> Result<Self, InvalidList> {
        let mut fields = Der::new(sequence);
        // "Conforming CRLs issuers MUST NOT issue CRLs where the DER encoding of the issuing
        // distribution point extension is an empty sequence."
        if fields.is_empty() {
            return Err(Broken.into());
        }
        let name = fields.optional(constructed(0))?;
        let name = name.map(PointName::read).transpose()?;
        let end_entities = fields.flag(primitive(1))?;
        let authorities = fields.flag(primitive(2))?;
        let some_reasons = fields.optional(primitive(3))?.is_some();
        let indirect = fields.flag(primitive(4))?;
        let attributes = fields.flag(primitive(5))?;
        fields.end()?;
        match (indirect, attributes, some_reasons) {
            (true, _, _) => return Err(InvalidList::Indirect),
            (false, true, _) => return Err(InvalidList::AttributeCertificates),
            (false, false, true) => return Err(InvalidList::SomeReasons),
            (false, false, false) => {}
        }
        let scope = match (end_entities, authorities) {
            (false, false) => Scope::All,
            (true, false) => Scope::EndEntities,
            (false, true) => Scope::Authorities,
            (true, true) => return Err(Broken.into()),
        };
        Ok(Self { scope, name })
    }
}

as_json_text!(ListId, ListId::parse, "the id of a revocation list");
