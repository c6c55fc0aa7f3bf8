//! What the extensions of a certificate say (RFC 5280 §4.2).
//!
//! Each extension stands there once and is whole, or the certificate is refused: a broken key usage
//! must not read like a missing one.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use x509_parser::certificate::TbsCertificate;
use x509_parser::extensions::{
    CRLDistributionPoint, DistributionPointName, ExtendedKeyUsage, GeneralName, KeyUsage,
    ParsedExtension,
};
use x509_parser::oid_registry::asn1_rs::Oid;

use crate::refusal::Refusal;

const EXTENSIONS_MAX: usize = 32;
const ALTERNATIVE_NAMES_MAX: usize = 64;
const DISTRIBUTION_POINTS_MAX: usize = 16;
/// Key identifiers are SHA-1 or SHA-256 digests, whole or cut short (RFC 7093).
const KEY_ID_LEN_MAX: usize = 64;

/// What the extensions of a certificate say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Extensions {
    /// Alternative names that are URIs, as they stand there.
    pub uri_names: Vec<Box<str>>,
    /// Alternative names that are DNS names, as they stand there.
    pub dns_names: Vec<Box<str>>,
    /// Alternative names that are addresses.
    pub ip_names: Vec<IpAddr>,
    /// How many alternative names there are of other sorts.
    pub other_names: usize,
    /// What the key may be used for; empty when there is no such extension.
    pub extended_key_usage: Vec<Purpose>,
    /// How the key may be used; empty when there is no such extension.
    pub key_usage: Vec<Usage>,
    /// Whether the holder may issue certificates.
    pub basic_constraints: BasicConstraints,
    /// The authority key identifier: which key of the issuer signed this.
    pub issuer_key_id: Option<Box<[u8]>>,
    /// The subject key identifier.
    pub key_id: Option<Box<[u8]>>,
    /// Where the revocation list is on which it would be (RFC 5280 §4.2.1.13), as URIs. Points
    /// for some reasons only, or with lists of others, are left out.
    pub revocation_list_uris: Vec<Box<str>>,
}

impl Extensions {
    pub(crate) fn read(tbs: &TbsCertificate<'_>) -> Result<Self, Refusal> {
        let mut read = Self::default();
        if tbs.extensions().len() > EXTENSIONS_MAX {
            return Err(Refusal::Malformed("it has more than 32 extensions"));
        }
        let mut seen: Vec<&Oid<'_>> = Vec::new();
        for extension in tbs.extensions() {
            if seen.contains(&&extension.oid) {
                return Err(Refusal::Malformed("an extension stands there twice"));
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
            ParsedExtension::CRLDistributionPoints(points) => self.add_points(points)?,
            ParsedExtension::SubjectKeyIdentifier(id) => self.key_id = Some(key_id(id.0)?),
            ParsedExtension::ParseError { .. } => {
                return Err(Refusal::Malformed("an extension is broken"));
            }
            // Nothing that we go by; the path verification refuses critical ones it does not know.
            _ => {}
        }
        Ok(())
    }

    fn add_points(&mut self, points: &[CRLDistributionPoint<'_>]) -> Result<(), Refusal> {
        let whole =
            |it: &&CRLDistributionPoint<'_>| it.reasons.is_none() && it.crl_issuer.is_none();
        let named = points.iter().filter(whole);
        for name in named.filter_map(|it| it.distribution_point.as_ref()) {
            let DistributionPointName::FullName(forms) = name else {
                continue;
            };
            let uris = forms.iter().filter_map(|form| match form {
                GeneralName::URI(uri) => Some((*uri).into()),
                _ => None,
            });
            self.revocation_list_uris.extend(uris);
        }
        if self.revocation_list_uris.len() > DISTRIBUTION_POINTS_MAX {
            return Err(Refusal::Malformed(
                "it has more than 16 distribution points",
            ));
        }
        Ok(())
    }

    fn add_names(&mut self, names: &[GeneralName<'_>]) -> Result<(), Refusal> {
        if names.len() > ALTERNATIVE_NAMES_MAX {
            return Err(Refusal::Malformed("it has more than 64 alternative names"));
        }
        for name in names {
            match name {
                GeneralName::URI(uri) => self.uri_names.push((*uri).into()),
                GeneralName::DNSName(dns) => self.dns_names.push((*dns).into()),
                GeneralName::IPAddress(octets) => self.ip_names.push(address(octets)?),
                GeneralName::Invalid(..) => {
                    return Err(Refusal::Malformed("an alternative name is broken"));
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

/// Whether the holder of a certificate may issue certificates (RFC 5280 §4.2.1.9).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BasicConstraints {
    /// It may not: the extension says so, or is missing.
    #[default]
    EndEntity,
    /// It may, with at most `path_len` further authorities below it.
    Authority {
        /// `None` is without limit.
        path_len: Option<u32>,
    },
}

/// A purpose of extended key usage (RFC 5280 §4.2.1.12).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A TLS server.
    ServerAuth,
    /// A TLS client.
    ClientAuth,
    /// `anyExtendedKeyUsage`: whatever the issuer forgot to think of.
    Any,
    /// Another one, by its object identifier.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DigitalSignature => "digitalSignature",
            Self::ContentCommitment => "contentCommitment",
            Self::KeyEncipherment => "keyEncipherment",
            Self::DataEncipherment => "dataEncipherment",
            Self::KeyAgreement => "keyAgreement",
            Self::KeyCertSign => "keyCertSign",
            Self::CrlSign => "cRLSign",
            Self::EncipherOnly => "encipherOnly",
            Self::DecipherOnly => "decipherOnly",
        })
    }
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
        Err(Refusal::Malformed("its extended key usage is empty"))
    } else {
        Ok(purposes)
    }
}

fn key_id(octets: &[u8]) -> Result<Box<[u8]>, Refusal> {
    if octets.is_empty() || octets.len() > KEY_ID_LEN_MAX {
        return Err(Refusal::Malformed("a key identifier has an odd length"));
    }
    Ok(octets.into())
}

fn address(octets: &[u8]) -> Result<IpAddr, Refusal> {
    if let Ok(v4) = <[u8; 4]>::try_from(octets) {
        return Ok(Ipv4Addr::from(v4).into());
    }
    let v6 =
        <[u8; 16]>::try_from(octets).map_err(|_| Refusal::Malformed("an address is broken"))?;
    Ok(Ipv6Addr::from(v6).into())
}
