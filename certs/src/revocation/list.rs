//! One revocation list (RFC 5280 §5.1), read and verified.
//!
//! Nothing is read of what is revoked before the signature is verified, and a [`RevocationList`] is
//! made nowhere else.

use std::time::Duration;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateRevocationListDer, UnixTime};

use super::der::{BIT_STRING, Der, INTEGER, SEQUENCE, constructed, primitive};
use super::entries::{self, Entries};
use super::invalid::InvalidList;
use super::list_id::{IssuingPoint, ListId, Scope};
use super::number::ListNumber;
use super::revoked::Revoked;
use crate::authority::{Authority, BadSignature};
use crate::certificate::{Certificate, sha256};
use crate::serial::Serial;
use crate::text::hex::Hex;

/// A million entries with reasons have 53 MB.
const LIST_LEN_MAX: usize = 64 * 1024 * 1024;

/// A revocation list that was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevocationList {
    id: ListId,
    issuer_key_id: Box<[u8]>,
    scope: Scope,
    /// The URIs of its distribution point, if it has one by name.
    point: Option<Vec<Box<str>>>,
    number: ListNumber,
    this_update: UnixTime,
    next_update: UnixTime,
    sha256: [u8; 32],
    entries: Entries,
}

/// Whether a list speaks of the present.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Freshness {
    /// It does.
    Fresh,
    /// It was made in the future: a clock is wrong, its or ours.
    NotYet {
        /// How long it will take.
        until: Duration,
    },
    /// Its successor should have come.
    Stale {
        /// For how long.
        since: Duration,
    },
}

impl RevocationList {
    /// Reads the list or lists in a file, in PEM or DER; each is verified against the one of
    /// `issuers` whose key it names.
    ///
    /// Each list has a result of its own, so that all that is wrong with a file can be named.
    pub fn read_all(octets: &[u8], issuers: &[Authority]) -> Vec<Result<Self, InvalidList>> {
        if is_der(octets) {
            return vec![Self::read(octets, issuers)];
        }
        let lists: Vec<_> = CertificateRevocationListDer::pem_slice_iter(octets)
            .map(|der| Self::read(&der.map_err(|_| InvalidList::Malformed)?, issuers))
            .collect();
        if lists.is_empty() {
            vec![Err(InvalidList::None)]
        } else {
            lists
        }
    }

    /// Reads and verifies the list that is the whole of `der` (RFC 5280 §6.3.3 (c), (f), (g)).
    ///
    /// It is taken whenever it was made: those on a list out of date are revoked none the less. Ask
    /// [`RevocationList::freshness`] whether there should be a newer one.
    ///
    /// # Errors
    /// [`InvalidList`] says why it is not believed.
    pub fn read(der: &[u8], issuers: &[Authority]) -> Result<Self, InvalidList> {
        if der.len() > LIST_LEN_MAX {
            return Err(InvalidList::TooLong(der.len()));
        }
        let signed = Signed::read(der)?;
        let tbs = ToBeSigned::read(&signed)?;
        let extensions = Extensions::read(tbs.extensions)?;
        let key_id = extensions.issuer_key_id;
        let issuer = issuers.iter().find(|issuer| issuer.key_id() == key_id);
        let issuer =
            issuer.ok_or_else(|| InvalidList::UnknownIssuer(Hex(key_id).to_string().into()))?;
        if !issuer.has_name(tbs.issuer) {
            return Err(InvalidList::OtherIssuer);
        }
        if !issuer.may_sign_lists() {
            return Err(InvalidList::IssuerSignsNoLists);
        }
        signed.verify(issuer)?;
        Ok(Self {
            id: ListId::new(key_id, &extensions.point),
            issuer_key_id: key_id.into(),
            scope: extensions.point.scope,
            point: extensions.point.name.map(|name| name.uris),
            number: extensions.number,
            this_update: tbs.this_update,
            next_update: tbs.next_update,
            sha256: sha256(signed.tbs_whole),
            entries: tbs
                .entries
                .map_or_else(|| Ok(Entries::new()), entries::read)?,
        })
    }

    /// Which list of which authority this is.
    pub fn id(&self) -> &ListId {
        &self.id
    }

    /// The identifier of the key that signed it, and that of the certificates it is about.
    pub fn issuer_key_id(&self) -> &[u8] {
        &self.issuer_key_id
    }

    /// About which certificates of its issuer it speaks.
    pub fn scope(&self) -> Scope {
        self.scope
    }

    /// Whether it belongs to a distribution point by name, so that it is about those certificates
    /// only that name the same one. Whoever is on it is revoked none the less; but that somebody is
    /// *not* on it says nothing about those others.
    pub fn is_partial(&self) -> bool {
        self.point.is_some()
    }

    /// Whether a certificate of its issuer would be on it, were it revoked (RFC 5280 §6.3.3 (b)
    /// (2)). Names of distribution points are compared as URIs only.
    pub fn covers(&self, certificate: &Certificate) -> bool {
        let extensions = &certificate.extensions;
        let names_point = |uris: &Vec<Box<str>>| {
            let named = &extensions.revocation_list_uris;
            uris.iter().any(|uri| named.contains(uri))
        };
        self.scope.includes(extensions.basic_constraints)
            && self.point.as_ref().is_none_or(names_point)
    }

    /// Its number.
    pub fn number(&self) -> ListNumber {
        self.number
    }

    /// When it was made.
    pub fn this_update(&self) -> UnixTime {
        self.this_update
    }

    /// By when there will be a newer one.
    pub fn next_update(&self) -> UnixTime {
        self.next_update
    }

    /// The SHA-256 of what is signed in it. The signature is not part of it, for there may be many
    /// of the same octets.
    pub fn sha256(&self) -> &[u8; 32] {
        &self.sha256
    }

    /// Whether it speaks of the present.
    pub fn freshness(&self, now: UnixTime) -> Freshness {
        let gap = |from: UnixTime, to: UnixTime| {
            Duration::from_secs(to.as_secs().saturating_sub(from.as_secs()))
        };
        if now < self.this_update {
            Freshness::NotYet {
                until: gap(now, self.this_update),
            }
        } else if now > self.next_update {
            Freshness::Stale {
                since: gap(self.next_update, now),
            }
        } else {
            Freshness::Fresh
        }
    }

    /// How many certificates are on it.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none on it.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Since when and why the certificate with `serial` is on it.
    pub fn find(&self, serial: Serial) -> Option<Revoked> {
        self.entries.get(&serial).copied()
    }

    /// All that are on it, in no order.
    pub fn entries(&self) -> impl Iterator<Item = (Serial, Revoked)> {
        self.entries
            .iter()
            .map(|(serial, revoked)| (*serial, *revoked))
    }
}

/// A sequence with a length of more than 127, as no text begins.
fn is_der(octets: &[u8]) -> bool {
    matches!(octets, [SEQUENCE, 0x80..=0xff, ..])
}

/// `CertificateList` (RFC 5280 §5.1).
struct Signed<'a> {
    tbs: &'a [u8],
    tbs_whole: &'a [u8],
    algorithm: &'a [u8],
    signature: &'a [u8],
}

impl<'a> Signed<'a> {
    fn read(der: &'a [u8]) -> Result<Self, InvalidList> {
        let mut outer = Der::new(der);
        let mut fields = Der::new(outer.content(SEQUENCE)?);
        outer.end()?;
        let tbs = fields.value(SEQUENCE)?;
        let algorithm = fields.value(SEQUENCE)?.whole;
        let signature = fields.value(BIT_STRING)?;
        fields.end()?;
        // No signature has bits to spare; how many there are is not signed.
        if signature.content.first() != Some(&0) {
            return Err(InvalidList::Malformed);
        }
        Ok(Self {
            tbs: tbs.content,
            tbs_whole: tbs.whole,
            algorithm,
            signature: signature.whole,
        })
    }

    fn verify(&self, issuer: &Authority) -> Result<(), InvalidList> {
        let verified = issuer.verify(self.tbs_whole, self.algorithm, self.signature);
        verified.map_err(|bad| match bad {
            BadSignature::Algorithm => InvalidList::Algorithm,
            BadSignature::Wrong => InvalidList::BadSignature,
        })
    }
}

/// `TBSCertList`.
struct ToBeSigned<'a> {
    issuer: &'a [u8],
    this_update: UnixTime,
    next_update: UnixTime,
    entries: Option<&'a [u8]>,
    extensions: &'a [u8],
}

impl<'a> ToBeSigned<'a> {
    fn read(signed: &Signed<'a>) -> Result<Self, InvalidList> {
        let mut fields = Der::new(signed.tbs);
        match fields.optional(INTEGER)? {
            Some([1]) => {}
            None if fields.peek() == Some(SEQUENCE) => return Err(InvalidList::Version1),
            None | Some(_) => return Err(InvalidList::Malformed),
        }
        // "This field MUST contain the same algorithm identifier" (§5.1.2.2).
        if fields.value(SEQUENCE)?.whole != signed.algorithm {
            return Err(InvalidList::Malformed);
        }
        let issuer = fields.value(SEQUENCE)?.whole;
        let this_update = fields.time()?;
        if matches!(fields.peek(), None | Some(SEQUENCE | 0xa0)) {
            return Err(InvalidList::NoNextUpdate);
        }
        let next_update = fields.time()?;
        if next_update <= this_update {
            return Err(InvalidList::DatesReversed);
        }
        let entries = fields.optional(SEQUENCE)?;
        let Some(explicit) = fields.optional(constructed(0))? else {
            fields.end()?;
            return Err(InvalidList::NoIssuerKeyId);
        };
        fields.end()?;
        let mut explicit = Der::new(explicit);
        let extensions = explicit.content(SEQUENCE)?;
        explicit.end()?;
        Ok(Self {
            issuer,
            this_update,
            next_update,
            entries,
            extensions,
        })
    }
}

/// What the extensions of a list say (RFC 5280 §5.2).
struct Extensions<'a> {
    issuer_key_id: &'a [u8],
    number: ListNumber,
    point: IssuingPoint,
}

const AUTHORITY_KEY_IDENTIFIER: &[u8] = &[0x55, 0x1d, 0x23];
const CRL_NUMBER: &[u8] = &[0x55, 0x1d, 0x14];
const DELTA_CRL_INDICATOR: &[u8] = &[0x55, 0x1d, 0x1b];
const ISSUING_DISTRIBUTION_POINT: &[u8] = &[0x55, 0x1d, 0x1c];

impl<'a> Extensions<'a> {
    fn read(content: &'a [u8]) -> Result<Self, InvalidList> {
        let (mut issuer_key_id, mut number) = (None, None);
        let mut point = IssuingPoint::WHOLE;
        for extension in entries::extensions(content)? {
            match extension.oid {
                AUTHORITY_KEY_IDENTIFIER => {
                    let mut fields = Der::new(whole(extension.value, SEQUENCE)?);
                    issuer_key_id = fields.optional(primitive(0))?;
                }
                CRL_NUMBER => number = Some(ListNumber::read(whole(extension.value, INTEGER)?)?),
                DELTA_CRL_INDICATOR => return Err(InvalidList::Delta),
                ISSUING_DISTRIBUTION_POINT => {
                    point = IssuingPoint::read(whole(extension.value, SEQUENCE)?)?;
                }
                oid if extension.critical => return Err(entries::unknown(oid)),
                _ => {}
            }
        }
        let issuer_key_id = issuer_key_id.filter(|key_id| !key_id.is_empty());
        Ok(Self {
            issuer_key_id: issuer_key_id.ok_or(InvalidList::NoIssuerKeyId)?,
            number: number.ok_or(InvalidList::NoNumber)?,
            point,
        })
    }
}

/// The content of the one value in `octets`, which has `tag`.
fn whole(octets: &[u8], tag: u8) -> Result<&[u8], InvalidList> {
    let mut der = Der::new(octets);
    let content = der.content(tag)?;
    der.end()?;
    Ok(content)
}
