//! What one certificate says, read once from its DER (RFC 5280 §4).
//!
//! Reading judges form only, never whether the certificate may be believed; what could be read in
//! two ways (an extension twice, an unreadable name) is refused here, so that no reader below has
//! to choose.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use aws_lc_rs::digest;
use rustls_pki_types::UnixTime;
use serde::Deserialize;
use x509_parser::certificate::{TbsCertificate, X509Certificate};
use x509_parser::extensions::{ExtendedKeyUsage, GeneralName, KeyUsage, ParsedExtension};
use x509_parser::oid_registry::asn1_rs::Oid;
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;
use x509_parser::x509::X509Name;

use crate::escape::escaped;
use crate::refusal::Refusal;

/// Longer than any leaf or issuer with post-quantum keys (5.4 kB), shorter than a burden.
const CERTIFICATE_LEN_MAX: usize = 16 * 1024;
const EXTENSIONS_MAX: usize = 32;
const ALTERNATIVE_NAMES_MAX: usize = 64;
/// Key identifiers are SHA-1 or SHA-256 digests, whole or cut short (RFC 7093).
const KEY_ID_LEN_MAX: usize = 64;

/// What a certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Certificate {
    /// The subject's distinguished name for people: escaped, on one line, of bounded length.
    pub subject: Box<str>,
    /// The issuer's distinguished name, likewise for people only.
    pub issuer: Box<str>,
    /// The subject's common name.
    pub common_name: CommonName,
    /// Alternative names that are URIs, as they stand there.
    pub uri_names: Box<[Box<str>]>,
    /// Alternative names that are DNS names, as they stand there.
    pub dns_names: Box<[Box<str>]>,
    /// Alternative names that are addresses.
    pub ip_names: Box<[IpAddr]>,
    /// How many alternative names there are of other sorts.
    pub other_names: usize,
    /// The serial number, unique among the certificates of its issuer.
    pub serial: Serial,
    /// The first second of validity.
    pub not_before: UnixTime,
    /// The last second of validity.
    pub not_after: UnixTime,
    /// The SHA-256 of the DER: the fingerprint that `openssl x509 -fingerprint -sha256` shows.
    pub sha256: [u8; 32],
    /// What the key may be used for; empty when there is no such extension.
    pub extended_key_usage: Box<[Purpose]>,
    /// How the key may be used; empty when there is no such extension.
    pub key_usage: Box<[Usage]>,
    /// Whether the holder may issue certificates.
    pub basic_constraints: BasicConstraints,
    /// The authority key identifier: which key of the issuer signed this.
    pub issuer_key_id: Option<Box<[u8]>>,
    /// The subject key identifier.
    pub key_id: Option<Box<[u8]>>,
    /// The subject public key info, as it stands there.
    pub public_key: Box<[u8]>,
}

impl Certificate {
    /// Reads the certificate that is the whole of `der`.
    ///
    /// # Errors
    /// [`Refusal::Malformed`] when `der` is not one well-formed X.509 v3 certificate of bearable size.
    pub fn read(der: &[u8]) -> Result<Self, Refusal> {
        if der.len() > CERTIFICATE_LEN_MAX {
            return Err(malformed("longer than 16 KiB"));
        }
        let (rest, x509) =
            X509Certificate::from_der(der).map_err(|_| malformed("not X.509 DER"))?;
        if !rest.is_empty() {
            return Err(malformed("followed by other data"));
        }
        Self::from_parsed(&x509.tbs_certificate, sha256(der))
    }

    fn from_parsed(tbs: &TbsCertificate<'_>, sha256: [u8; 32]) -> Result<Self, Refusal> {
        let extensions = Extensions::read(tbs)?;
        Ok(Self {
            subject: name_for_people(&tbs.subject),
            issuer: name_for_people(&tbs.issuer),
            common_name: CommonName::read(&tbs.subject),
            uri_names: extensions.uri_names.into(),
            dns_names: extensions.dns_names.into(),
            ip_names: extensions.ip_names.into(),
            other_names: extensions.other_names,
            serial: Serial::read(tbs.raw_serial())?,
            not_before: unix_time(tbs.validity.not_before),
            not_after: unix_time(tbs.validity.not_after),
            sha256,
            extended_key_usage: extensions.extended_key_usage.into(),
            key_usage: extensions.key_usage.into(),
            basic_constraints: extensions.basic_constraints,
            issuer_key_id: extensions.issuer_key_id,
            key_id: extensions.key_id,
            public_key: tbs.subject_pki.raw.into(),
        })
    }
}

/// The common name of a subject. A certificate may carry none, or more than one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommonName {
    /// There is none.
    Absent,
    /// There is one, and it is text.
    One(Box<str>),
    /// There are several, so it is nobody's name.
    Several,
    /// It is written in a character set that has gone out of use (`BMPString`, `TeletexString`, …).
    Unreadable,
}

impl CommonName {
    fn read(subject: &X509Name<'_>) -> Self {
        let mut names = subject.iter_common_name();
        match (names.next(), names.next()) {
            (None, _) => Self::Absent,
            (Some(_), Some(_)) => Self::Several,
            (Some(only), None) => only
                .as_str()
                .map_or(Self::Unreadable, |n| Self::One(n.into())),
        }
    }
}

/// A serial number: 1 to 20 octets, positive (RFC 5280 §4.1.2.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Serial([u8; Self::LEN]);

impl Serial {
    const LEN: usize = 20;

    /// Makes a serial number of random octets: positive, and always of full length.
    pub fn from_random(mut octets: [u8; Self::LEN]) -> Self {
        let [first, ..] = &mut octets;
        *first = *first & 0x7f | 0x40;
        Self(octets)
    }

    /// Reads the contents of a DER integer.
    fn read(content: &[u8]) -> Result<Self, Refusal> {
        if content.first().is_none_or(|first| first & 0x80 != 0) {
            return Err(malformed("its serial number is not positive"));
        }
        Self::from_octets(content)
    }

    /// Makes a serial number of its octets, most significant first.
    ///
    /// # Errors
    /// [`Refusal::Malformed`] when it is zero or has more than 20 significant octets.
    pub fn from_octets(octets: &[u8]) -> Result<Self, Refusal> {
        let zeros = octets.iter().take_while(|octet| **octet == 0).count();
        let significant = octets.get(zeros..).unwrap_or_default();
        let mut serial = [0; Self::LEN];
        let place = Self::LEN
            .checked_sub(significant.len())
            .and_then(|start| serial.get_mut(start..));
        match place {
            Some(place) if !significant.is_empty() => place.copy_from_slice(significant),
            Some(_) => return Err(malformed("its serial number is zero")),
            None => return Err(malformed("its serial number is longer than 20 octets")),
        }
        Ok(Self(serial))
    }

    /// The octets, most significant first, without leading zeros.
    pub fn as_octets(&self) -> &[u8] {
        let zeros = self.0.iter().take_while(|octet| **octet == 0).count();
        self.0.get(zeros..).unwrap_or_default()
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_octets()
            .iter()
            .try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Serial({self})")
    }
}

/// Whether the holder of a certificate may issue certificates (RFC 5280 §4.2.1.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BasicConstraints {
    /// It may not: the extension says so, or is missing.
    EndEntity,
    /// It may, with at most `path_len` further authorities below it.
    Authority {
        /// `None` is without limit.
        path_len: Option<u32>,
    },
}

/// A purpose of extended key usage (RFC 5280 §4.2.1.12).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Purpose {
    /// A TLS server.
    ServerAuth,
    /// A TLS client.
    ClientAuth,
    /// `anyExtendedKeyUsage`: whatever the issuer forgot to think of.
    #[serde(skip)]
    Any,
    /// Another one, by its object identifier.
    #[serde(skip)]
    Other(Box<str>),
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ServerAuth => "serverAuth",
            Self::ClientAuth => "clientAuth",
            Self::Any => "anyExtendedKeyUsage",
            Self::Other(oid) => oid,
        })
    }
}

/// A bit of key usage (RFC 5280 §4.2.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Usage {
    /// Signing other things than certificates and revocation lists: a TLS handshake.
    DigitalSignature,
    /// Signing what its holder stands by later, also called `nonRepudiation`.
    ContentCommitment,
    /// Encrypting keys.
    KeyEncipherment,
    /// Encrypting data.
    DataEncipherment,
    /// Agreeing on a key.
    KeyAgreement,
    /// Signing certificates.
    KeyCertSign,
    /// Signing revocation lists.
    CrlSign,
    /// Key agreement for encryption only.
    EncipherOnly,
    /// Key agreement for decryption only.
    DecipherOnly,
}

impl Usage {
    /// All bits in the order in which they stand in the extension.
    const ALL: [Self; 9] = [
        Self::DigitalSignature,
        Self::ContentCommitment,
        Self::KeyEncipherment,
        Self::DataEncipherment,
        Self::KeyAgreement,
        Self::KeyCertSign,
        Self::CrlSign,
        Self::EncipherOnly,
        Self::DecipherOnly,
    ];

    fn read(extension: KeyUsage) -> Vec<Self> {
        let set = |bit: usize| extension.flags >> bit & 1 == 1;
        Self::ALL
            .into_iter()
            .enumerate()
            .filter(|(bit, _)| set(*bit))
            .map(|(_, u)| u)
            .collect()
    }
}

/// What the extensions of a certificate say; each may stand there once (RFC 5280 §4.2).
struct Extensions {
    uri_names: Vec<Box<str>>,
    dns_names: Vec<Box<str>>,
    ip_names: Vec<IpAddr>,
    other_names: usize,
    extended_key_usage: Vec<Purpose>,
    key_usage: Vec<Usage>,
    basic_constraints: BasicConstraints,
    issuer_key_id: Option<Box<[u8]>>,
    key_id: Option<Box<[u8]>>,
}

impl Extensions {
    fn read(tbs: &TbsCertificate<'_>) -> Result<Self, Refusal> {
        let mut read = Self {
            uri_names: Vec::new(),
            dns_names: Vec::new(),
            ip_names: Vec::new(),
            other_names: 0,
            extended_key_usage: Vec::new(),
            key_usage: Vec::new(),
            basic_constraints: BasicConstraints::EndEntity,
            issuer_key_id: None,
            key_id: None,
        };
        if tbs.extensions().len() > EXTENSIONS_MAX {
            return Err(malformed("it has more than 32 extensions"));
        }
        let mut seen: Vec<&Oid<'_>> = Vec::new();
        for extension in tbs.extensions() {
            if seen.contains(&&extension.oid) {
                return Err(malformed("an extension stands there twice"));
            }
            seen.push(&extension.oid);
            read.add(extension.parsed_extension())?;
        }
        Ok(read)
    }

    fn add(&mut self, extension: &ParsedExtension<'_>) -> Result<(), Refusal> {
        match extension {
            ParsedExtension::SubjectAlternativeName(names) => {
                self.add_names(&names.general_names)?;
            }
            ParsedExtension::ExtendedKeyUsage(usage) => self.extended_key_usage = purposes(usage)?,
            ParsedExtension::KeyUsage(usage) => self.key_usage = Usage::read(*usage),
            ParsedExtension::BasicConstraints(constraints) if constraints.ca => {
                let path_len = constraints.path_len_constraint;
                self.basic_constraints = BasicConstraints::Authority { path_len };
            }
            ParsedExtension::AuthorityKeyIdentifier(authority) => {
                self.issuer_key_id = authority
                    .key_identifier
                    .as_ref()
                    .map(|id| key_id(id.0))
                    .transpose()?;
            }
            ParsedExtension::SubjectKeyIdentifier(id) => self.key_id = Some(key_id(id.0)?),
            ParsedExtension::ParseError { .. } => return Err(malformed("an extension is broken")),
            // Nothing that we go by; the path verification refuses critical ones it does not know.
            _ => {}
        }
        Ok(())
    }

    fn add_names(&mut self, names: &[GeneralName<'_>]) -> Result<(), Refusal> {
        if names.len() > ALTERNATIVE_NAMES_MAX {
            return Err(malformed("it has more than 64 alternative names"));
        }
        for name in names {
            match name {
                GeneralName::URI(uri) => self.uri_names.push((*uri).into()),
                GeneralName::DNSName(dns) => self.dns_names.push((*dns).into()),
                GeneralName::IPAddress(octets) => self.ip_names.push(address(octets)?),
                GeneralName::Invalid(..) => {
                    return Err(malformed("an alternative name is broken"));
                }
                GeneralName::OtherName(..)
                | GeneralName::RFC822Name(_)
                | GeneralName::X400Address(_)
                | GeneralName::DirectoryName(_)
                | GeneralName::EDIPartyName(_)
                | GeneralName::RegisteredID(_) => self.other_names += 1,
            }
        }
        Ok(())
    }
}

fn purposes(usage: &ExtendedKeyUsage<'_>) -> Result<Vec<Purpose>, Refusal> {
    let known = [
        (usage.server_auth, Purpose::ServerAuth),
        (usage.client_auth, Purpose::ClientAuth),
        (usage.any, Purpose::Any),
        (usage.code_signing, Purpose::Other("codeSigning".into())),
        (
            usage.email_protection,
            Purpose::Other("emailProtection".into()),
        ),
        (usage.time_stamping, Purpose::Other("timeStamping".into())),
        (usage.ocsp_signing, Purpose::Other("OCSPSigning".into())),
    ];
    let known = known
        .into_iter()
        .filter(|(set, _)| *set)
        .map(|(_, purpose)| purpose);
    let other = usage
        .other
        .iter()
        .map(|oid| Purpose::Other(oid.to_id_string().into()));
    let purposes: Vec<_> = known.chain(other).collect();
    // SIZE (1..MAX): an empty list would otherwise read like a missing one.
    if purposes.is_empty() {
        Err(malformed("its extended key usage is empty"))
    } else {
        Ok(purposes)
    }
}

fn key_id(octets: &[u8]) -> Result<Box<[u8]>, Refusal> {
    if octets.is_empty() || octets.len() > KEY_ID_LEN_MAX {
        return Err(malformed("a key identifier has an odd length"));
    }
    Ok(octets.into())
}

fn address(octets: &[u8]) -> Result<IpAddr, Refusal> {
    if let Ok(v4) = <[u8; 4]>::try_from(octets) {
        return Ok(Ipv4Addr::from(v4).into());
    }
    let v6 = <[u8; 16]>::try_from(octets).map_err(|_| malformed("an address is broken"))?;
    Ok(Ipv6Addr::from(v6).into())
}

/// Times before 1970 are as good as 1970: nothing was valid then that is valid now.
fn unix_time(time: ASN1Time) -> UnixTime {
    let seconds = u64::try_from(time.timestamp()).unwrap_or(0);
    UnixTime::since_unix_epoch(Duration::from_secs(seconds))
}

fn name_for_people(name: &X509Name<'_>) -> Box<str> {
    let mut text = String::new();
    for attribute in name.iter_attributes() {
        if !text.is_empty() {
            text.push_str(", ");
        }
        let oid = attribute.attr_type().to_id_string();
        text.push_str(match oid.as_str() {
            "2.5.4.3" => "CN",
            "2.5.4.6" => "C",
            "2.5.4.7" => "L",
            "2.5.4.8" => "ST",
            "2.5.4.10" => "O",
            "2.5.4.11" => "OU",
            _ => &oid,
        });
        text.push('=');
        text.push_str(attribute.as_str().unwrap_or("(not text)"));
    }
    escaped(&text).into()
}

fn sha256(octets: &[u8]) -> [u8; 32] {
    let mut fingerprint = [0; 32];
    fingerprint.copy_from_slice(digest::digest(&digest::SHA256, octets).as_ref());
    fingerprint
}

fn malformed(what: &'static str) -> Refusal {
    Refusal::Malformed(what)
}
