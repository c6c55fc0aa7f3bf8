//! The entries of a revocation list (RFC 5280 §5.3): who is on it, since when and why.
//!
//! Whoever stands in a list is revoked, whatever reason is given: a hold is a revocation for as
//! long as it stands there, and `removeFromCRL` means nothing outside a delta CRL (§5.3.1).

use std::collections::HashMap;

use super::der::{
    BOOLEAN, Broken, Der, ENUMERATED, INTEGER, OBJECT_IDENTIFIER, OCTET_STRING, SEQUENCE,
};
use super::invalid::InvalidList;
use super::revoked::Revoked;
use crate::serial::Serial;
use crate::status::RevocationReason;

pub(super) type Entries = HashMap<Serial, Revoked>;

/// An entry with a reason and a serial number of 20 octets has 53; without a reason, 39.
const ENTRY_LEN: usize = 39;

/// Reads the content of `revokedCertificates`.
pub(super) fn read(content: &[u8]) -> Result<Entries, InvalidList> {
    let mut entries = HashMap::with_capacity(content.len() / ENTRY_LEN);
    let mut sequence = Der::new(content);
    // "When there are no revoked certificates, the revoked certificates list MUST be absent."
    if sequence.is_empty() {
        return Err(InvalidList::Malformed);
    }
    while !sequence.is_empty() {
        let mut entry = Der::new(sequence.content(SEQUENCE)?);
        let number = entry.content(INTEGER)?;
        let at = entry.time()?;
        let reason = entry.optional(SEQUENCE)?.map_or(Ok(None), reason)?;
        entry.end()?;
        let reason = reason.unwrap_or(RevocationReason::Unspecified);
        // A number that is no serial number (negative, zero, too long) is that of no certificate
        // that could be admitted: such an entry says nothing to us, and the others still do.
        match Serial::read(number) {
            Ok(serial) => drop(entries.entry(serial).or_insert(Revoked { at, reason })),
            Err(_) if number.is_empty() => return Err(InvalidList::Malformed),
            Err(_) => {}
        }
    }
    Ok(entries)
}

/// The reason among the extensions of an entry.
fn reason(extensions: &[u8]) -> Result<Option<RevocationReason>, InvalidList> {
    let mut reason = None;
    for extension in self::extensions(extensions)? {
        match extension.oid {
            REASON_CODE => {
                let code = match Der::new(extension.value).content(ENUMERATED)? {
                    [code] => *code,
                    _ => return Err(InvalidList::Malformed),
                };
                reason = RevocationReason::from_code(code);
            }
            CERTIFICATE_ISSUER => return Err(InvalidList::Indirect),
            _ if extension.critical => return Err(unknown(extension.oid)),
            // The invalidity date (§5.3.2) only says since when a key may have been lost.
            _ => {}
        }
    }
    Ok(reason)
}

const REASON_CODE: &[u8] = &[0x55, 0x1d, 0x15];
const CERTIFICATE_ISSUER: &[u8] = &[0x55, 0x1d, 0x1d];

/// An extension (RFC 5280 §4.1.2.9).
pub(super) struct Extension<'a> {
    pub(super) oid: &'a [u8],
    pub(super) critical: bool,
    /// What stands in its octet string.
    pub(super) value: &'a [u8],
}

/// Reads extensions, of which there is at least one and none twice.
pub(super) fn extensions(content: &[u8]) -> Result<Vec<Extension<'_>>, Broken> {
    const EXTENSIONS_MAX: usize = 32;
    let mut found: Vec<Extension<'_>> = Vec::new();
    let mut sequence = Der::new(content);
    while !sequence.is_empty() {
        let mut fields = Der::new(sequence.content(SEQUENCE)?);
        let oid = fields.content(OBJECT_IDENTIFIER)?;
        let critical = fields.flag(BOOLEAN)?;
        let value = fields.content(OCTET_STRING)?;
        fields.end()?;
        if found.len() == EXTENSIONS_MAX || found.iter().any(|other| other.oid == oid) {
            return Err(Broken);
        }
        found.push(Extension {
            oid,
            critical,
            value,
        });
    }
    if found.is_empty() {
        Err(Broken)
    } else {
        Ok(found)
    }
}

pub(super) fn unknown(oid: &[u8]) -> InvalidList {
    let oid = x509_parser::oid_registry::asn1_rs::Oid::new(oid.into());
    InvalidList::CriticalExtension(oid.to_id_string().into())
}
