//! What a device applies for, and whether it was given that.
//!
//! Nothing in a new certificate is taken on trust because the server that sent it was: its key must
//! be ours, its path must lead to an authority known before, and it must name the same device.

mod key;

use std::path::Path;
use std::sync::Arc;

use certs::{Certificate, CommonName, KeyAlgorithm, Subject, TrustDomain, parse_spiffe_uri};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_ECDSA_P256_SHA256,
    PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_ML_DSA_44, PKCS_ML_DSA_65, PublicKeyData, SanType,
    SignatureAlgorithm,
};
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;

use self::key::RequestKey;
use super::error::{EnrolError, Unfit};
use super::trust::{self, Trust, TrustBundleError};
use super::{RenewalKey, RenewalTrust};
use crate::identity::{AUTHORITIES, Identity, IdentityError, Key, Parts, PemFile};

/// A chain is not followed further.
const CHAIN_LEN_MAX: usize = 5;

/// A key, and a request for a certificate of it.
pub(super) struct Application {
    key: RequestKey,
    /// PKCS #10 in DER.
    pub(super) request: Vec<u8>,
}

/// What is to be replaced.
pub(super) struct Present {
    pub(super) parts: Parts,
    chain: Vec<CertificateDer<'static>>,
    leaf: Certificate,
    trust: Trust,
    /// The certificates of authorities that were served, whoever they are.
    served: Vec<CertificateDer<'static>>,
}

/// A certificate that was accepted, with its chain.
pub(super) struct Granted {
    pub(super) chain_pem: String,
    pub(super) identity: Identity,
    /// Whom it trusts, in PEM.
    pub(super) authorities: Vec<u8>,
    /// The same that trusts nobody who is not served any more.
    pub(super) narrow: Option<Box<Granted>>,
}

impl Present {
    pub(super) fn read(parts: Parts) -> Result<Self, IdentityError> {
        let chain = parts.chain.certificates()?;
        let leaf = parts.read_leaf(&chain)?;
        Ok(Self {
            trust: Trust::kept(&parts.authorities),
            served: Vec::new(),
            parts,
            chain,
            leaf,
        })
    }

    /// There is a trust bundle to follow.
    pub(super) fn follow(&mut self, bundle: &Path) -> Result<(), TrustBundleError> {
        let domain = names(&self.leaf).map(|(domain, _)| domain);
        let domain = domain.map_err(|why| TrustBundleError::Present(why.to_string()))?;
        self.trust = Trust::by_bundle(&self.parts.authorities, bundle, &domain)?;
        Ok(())
    }

    /// The enrolment server has proved itself, and told of these authorities.
    pub(super) fn learn(
        &mut self,
        served: Vec<CertificateDer<'static>>,
        choice: RenewalTrust,
    ) -> Result<(), IdentityError> {
        if choice == RenewalTrust::Followed {
            self.trust = Trust::following(&self.parts.authorities, &served)?;
        }
        self.served = served;
        Ok(())
    }

    /// The names that the next certificate bears too.
    fn params(&self) -> Result<CertificateParams, rcgen::Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name = name(&self.leaf);
        let extensions = &self.leaf.extensions;
        for uri in &extensions.uri_names {
            params
                .subject_alt_names
                .push(SanType::URI((**uri).try_into()?));
        }
        for dns in &extensions.dns_names {
            params
                .subject_alt_names
                .push(SanType::DnsName((**dns).try_into()?));
        }
        let addresses = extensions.ip_names.iter().copied();
        params
            .subject_alt_names
            .extend(addresses.map(SanType::IpAddress));
        Ok(params)
    }

    fn issuers(&self) -> &[CertificateDer<'static>] {
        self.chain.get(1..).unwrap_or_default()
    }
}

fn name(leaf: &Certificate) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    if let [organization] = &*leaf.organizations {
        name.push(DnType::OrganizationName, &**organization);
    }
    if let [unit] = &*leaf.organizational_units {
        name.push(DnType::OrganizationalUnitName, &**unit);
    }
    if let CommonName::One(common_name) = &leaf.common_name {
        name.push(DnType::CommonName, &**common_name);
    }
    name
}

impl Application {
    /// By the holder of `present`, for another certificate with the same names. A key in a token
    /// stays: another could not be taken away with the certificate if that came to nothing.
    pub(super) fn renewal(present: &Present, key: RenewalKey) -> Result<Self, EnrolError> {
        let key = match (&present.parts.key, key) {
            (Key::Token(key), RenewalKey::New | RenewalKey::Same) => RequestKey::in_token(key),
            (Key::File(_), RenewalKey::New) => {
                KeyPair::generate_for(like(&present.leaf)).map(RequestKey::OnDevice)
            }
            (Key::File(file), RenewalKey::Same) => {
                KeyPair::try_from(&file.private_key()?).map(RequestKey::OnDevice)
            }
        };
        let make = || Self::new(key?, &present.params()?);
        make().map_err(|error| failed(&error))
    }

    /// By a device that has no certificate yet. What else the certificate says is for the server to
    /// decide.
    pub(super) fn newcomer(key_pem: &str, id: &str) -> Result<Self, EnrolError> {
        let make = || {
            let mut params = CertificateParams::default();
            params.distinguished_name = DistinguishedName::new();
            params.distinguished_name.push(DnType::CommonName, id);
            Self::new(RequestKey::OnDevice(KeyPair::from_pem(key_pem)?), &params)
        };
        make().map_err(|error| failed(&error))
    }

    /// A key (P-256), in PEM.
    pub(super) fn new_key() -> Result<String, EnrolError> {
        let key = KeyPair::generate().map_err(|error| failed(&error))?;
        Ok(key.serialize_pem())
    }

    fn new(key: RequestKey, params: &CertificateParams) -> Result<Self, rcgen::Error> {
        let request = params.serialize_request(&key)?.der().to_vec();
        Ok(Self { key, request })
    }

    pub(super) fn key(&self) -> Key {
        self.key.to_key()
    }

    /// Judges what came in answer to a renewal.
    pub(super) fn judge(
        &self,
        answer: &[CertificateDer<'static>],
        present: &Present,
    ) -> Result<Granted, EnrolError> {
        let answer = [answer, &present.served].concat();
        let anchors = [
            authorities(&present.trust.wide)?,
            present.issuers().to_vec(),
        ];
        let (chain_pem, leaf) = self.path(&answer, &anchors.concat())?;
        if names(&leaf)? != names(&present.leaf)? {
            return Err(EnrolError::Unfit(Unfit::OtherDevice));
        }
        if leaf.not_after <= present.leaf.not_after {
            return Err(EnrolError::Unfit(Unfit::EndsTooSoon));
        }
        let narrow = match &present.trust.narrow {
            Some(narrow) => self.grant_next(&chain_pem, narrow, &answer).ok(),
            None => None,
        };
        let granted = self.grant(chain_pem, &present.trust.wide.text)?;
        Ok(Granted {
            narrow: narrow.map(Box::new),
            ..granted
        })
    }

    /// Grants it if it could be renewed by what is known then: whom it trusts, and its issuers.
    fn grant_next(
        &self,
        chain_pem: &str,
        trusted: &PemFile,
        answer: &[CertificateDer<'static>],
    ) -> Result<Granted, EnrolError> {
        let chain = PemFile::new("the answer", chain_pem.as_bytes()).certificates()?;
        let issuers = chain.get(1..).unwrap_or_default();
        self.path(answer, &[&authorities(trusted)?, issuers].concat())?;
        self.grant(chain_pem.to_owned(), &trusted.text)
    }

    /// Judges what came in answer to a newcomer of this id.
    pub(super) fn judge_first(
        &self,
        answer: &[CertificateDer<'static>],
        (id, known): (&str, &[u8]),
    ) -> Result<Granted, EnrolError> {
        let anchors = authorities(&PemFile::new(AUTHORITIES, known))?;
        let (chain_pem, leaf) = self.path(answer, &anchors)?;
        if names(&leaf)?.1.id.as_str() != id {
            return Err(EnrolError::Unfit(Unfit::OtherDevice));
        }
        self.grant(chain_pem, known)
    }

    /// The certificate of our key with its issuers, if it leads to one of these.
    fn path(
        &self,
        answer: &[CertificateDer<'static>],
        anchors: &[CertificateDer<'static>],
    ) -> Result<(String, Certificate), EnrolError> {
        let key = self.key.subject_public_key_info();
        let ours = answer.iter().find_map(|der| {
            let read = Certificate::read(der).ok()?;
            (*read.public_key == *key).then_some((der, read))
        });
        let (ours, leaf) = ours.ok_or(EnrolError::Unfit(Unfit::OtherKey))?;
        verify(ours, answer, anchors)?;
        let known = [answer, anchors].concat();
        let chain = chain(ours, &leaf, &known);
        Ok((trust::encode(chain), leaf))
    }

    fn grant(&self, chain_pem: String, authorities: &[u8]) -> Result<Granted, EnrolError> {
        let parts = Parts {
            chain: PemFile::new("the answer", chain_pem.as_bytes()),
            key: self.key(),
            authorities: PemFile::new(AUTHORITIES, authorities),
        };
        let identity = parts.identity(Some(UnixTime::now()), None);
        let identity = identity.map_err(|why| unusable(&why))?;
        Ok(Granted {
            chain_pem,
            identity,
            authorities: authorities.into(),
            narrow: None,
        })
    }
}

/// What a key is made with that takes the place of that of `leaf`.
fn like(leaf: &Certificate) -> &'static SignatureAlgorithm {
    match KeyAlgorithm::of(&leaf.public_key) {
        KeyAlgorithm::P384 => &PKCS_ECDSA_P384_SHA384,
        KeyAlgorithm::Ed25519 => &PKCS_ED25519,
        KeyAlgorithm::MlDsa44 => &PKCS_ML_DSA_44,
        KeyAlgorithm::MlDsa65 => &PKCS_ML_DSA_65,
        KeyAlgorithm::P256 | KeyAlgorithm::P521 | KeyAlgorithm::Rsa(_) | KeyAlgorithm::Other(_) => {
            &PKCS_ECDSA_P256_SHA256
        }
    }
}

fn authorities(known: &PemFile) -> Result<Vec<CertificateDer<'static>>, EnrolError> {
    Ok(known.certificates()?)
}

fn verify(
    leaf: &CertificateDer<'_>,
    others: &[CertificateDer<'_>],
    anchors: &[CertificateDer<'static>],
) -> Result<(), EnrolError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(anchors.iter().cloned());
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider).build();
    let verifier = verifier.map_err(|why| unusable(&why))?;
    match verifier.verify_client_cert(leaf, others, UnixTime::now()) {
        Ok(_) => Ok(()),
        Err(rustls::Error::InvalidCertificate(why)) => Err(EnrolError::Unfit(Unfit::NoPath(why))),
        Err(other) => Err(unusable(&other)),
    }
}

/// A certificate and those above it, up to the last that is not its own issuer.
fn chain<'a>(
    leaf: &'a CertificateDer<'static>,
    read: &Certificate,
    others: &'a [CertificateDer<'static>],
) -> Vec<&'a CertificateDer<'static>> {
    let mut chain = vec![leaf];
    let mut issuer_key_id = read.extensions.issuer_key_id.clone();
    while chain.len() < CHAIN_LEN_MAX {
        let found = others.iter().find_map(|der| {
            let above = Certificate::read(der).ok()?;
            let is_issuer = issuer_key_id.is_some() && above.extensions.key_id == issuer_key_id;
            (is_issuer && above.subject != above.issuer).then_some((der, above))
        });
        let Some((der, above)) = found else {
            break;
        };
        chain.push(der);
        issuer_key_id = above.extensions.issuer_key_id;
    }
    chain
}

fn names(leaf: &Certificate) -> Result<(TrustDomain, Subject), EnrolError> {
    match &*leaf.extensions.uri_names {
        [uri] => parse_spiffe_uri(uri).map_err(|why| unusable(&why)),
        _ => Err(EnrolError::Unfit(Unfit::OtherDevice)),
    }
}

fn unusable(why: &(dyn std::error::Error + 'static)) -> EnrolError {
    EnrolError::Unfit(Unfit::Unusable(certs::WithCauses(why).to_string()))
}

fn failed(error: &rcgen::Error) -> EnrolError {
    EnrolError::Key {
        what: error.to_string(),
    }
}

#[cfg(test)]
mod tests;
