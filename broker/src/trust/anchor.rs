//! Trust anchors: the authorities whose devices may come in, and the domain each speaks for.
//!
//! The path that was verified and the one that key identifiers describe are the same, or nobody
//! comes in: after a resumption the identifiers alone say who stands behind a chain.

use super::files::{read_certificates, unreadable};
use super::{Intermediate, TrustError, read_intermediates};
use crate::config;
use certs::{Anchor, Certificate, Fingerprints, IdFrom, Refusal};
use rustls::DistinguishedName;
use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, TrustAnchor, UnixTime};
use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use webpki::{EndEntityCert, KeyUsage, VerifiedPath};

/// A trust anchor with the certificate it was read from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Authority {
    /// For whom it speaks, and how.
    pub(crate) anchor: Arc<Anchor>,
    /// What signs revocation lists.
    pub(crate) signer: certs::Authority,
    certificate: TrustAnchor<'static>,
    /// Where it was read.
    pub(crate) path: PathBuf,
    /// Authorities below it that operators name.
    intermediates: Vec<Intermediate>,
}

/// The anchors of one listener.
#[derive(Debug, PartialEq)]
pub(crate) struct Anchors {
    certificates: Vec<TrustAnchor<'static>>,
    /// In the same order.
    key_ids: Vec<Box<[u8]>>,
    /// What devices need not show, by key.
    intermediates: Vec<(Box<[u8]>, CertificateDer<'static>)>,
}

/// Reads an anchor: every certificate of its file, for the domain named with it.
///
/// # Errors
/// What is wrong with the file.
pub(crate) fn read_anchor(config: &config::Anchor) -> Result<Vec<Authority>, TrustError> {
    let path = &config.file;
    let id_from = id_from(config)?;
    let mut authorities = Vec::new();
    for der in read_certificates(path)? {
        let no_anchor = |why| TrustError::NotAnAnchor {
            path: path.clone(),
            why,
        };
        certs::check_issuer(&der).map_err(no_anchor)?;
        let signer = certs::Authority::read(&der).map_err(no_anchor)?;
        let certificate = webpki::anchor_from_trusted_cert(&der)
            .map_err(|error| no_anchor(refusal_of(&error, None)))?;
        let anchor = Anchor {
            name: config.name.as_deref().map(Arc::from),
            key_id: signer.key_id().into(),
            trust_domain: config.trust_domain.clone(),
            id_from: id_from.clone(),
            id_prefix: config.id_prefix.as_str().into(),
        };
        authorities.push(Authority {
            anchor: Arc::new(anchor),
            certificate: certificate.to_owned(),
            signer,
            path: path.clone(),
            intermediates: Vec::new(),
        });
    }
    let signers: Vec<_> = authorities.iter().map(|it| it.signer.clone()).collect();
    if let Some(first) = authorities.first_mut() {
        // Which of the file's anchors they are below matters to nobody.
        first.intermediates = read_intermediates(&config.intermediates, &signers)?;
    }
    Ok(authorities)
}

impl Authority {
    /// Those whose revocation lists are believed because of it.
    pub(crate) fn list_signers(&self) -> impl Iterator<Item = &certs::Authority> {
        let below = self.intermediates.iter().map(|it| &it.signer);
        std::iter::once(&self.signer).chain(below)
    }

    /// Its keys and those below it, and where they were read.
    fn keys(&self) -> impl Iterator<Item = (&[u8], &Path)> {
        let below = self.intermediates.iter();
        let below = below.map(|it| (it.signer.key_id(), &*it.path));
        std::iter::once((self.signer.key_id(), &*self.path)).chain(below)
    }
}

fn id_from(config: &config::Anchor) -> Result<IdFrom, TrustError> {
    use config::IdSource;
    Ok(match (config.id_from, &config.fingerprints) {
        (IdSource::CommonName, _) => IdFrom::CommonName,
        (IdSource::DnsName, _) => IdFrom::DnsName,
        (IdSource::Fingerprint, Some(table)) => IdFrom::Fingerprint(read_fingerprints(table)?),
        (IdSource::Uri | IdSource::Fingerprint, _) => IdFrom::Uri,
    })
}

/// Reads which certificate is which device's: `"<SHA-256>" = "<device id>"`.
fn read_fingerprints(path: &Path) -> Result<Fingerprints, TrustError> {
    let bad = |what: String| TrustError::Fingerprints {
        path: path.to_owned(),
        what,
    };
    let text = std::fs::read_to_string(path).map_err(|source| unreadable(path, source))?;
    let table: toml::Table = text
        .parse()
        .map_err(|error: toml::de::Error| bad(error.message().to_owned()))?;
    let mut fingerprints = Fingerprints::default();
    for (fingerprint, id) in &table {
        let octets = Fingerprints::parse(fingerprint).ok_or_else(|| {
            bad(format!(
                "{fingerprint:?} is not a SHA-256 in hexadecimal digits"
            ))
        })?;
        let id = id
            .as_str()
            .ok_or_else(|| bad(format!("{fingerprint:?}: a device id expected")))?;
        let id = certs::DeviceId::parse(id).map_err(|error| bad(format!("{id:?}: {error}")))?;
        let inserted = fingerprints.insert(octets, id);
        inserted.map_err(|twice| bad(twice.to_string()))?;
    }
    Ok(fingerprints)
}

/// Checks that no two authorities hold one key, and that no two anchors could name one device for
/// two.
///
/// # Errors
/// The first two that do or could.
pub(crate) fn check_together(all: &[Authority]) -> Result<(), TrustError> {
    let mut seen: HashMap<&[u8], &Path> = HashMap::new();
    for (key_id, path) in all.iter().flat_map(Authority::keys) {
        if let Some(other) = seen.insert(key_id, path) {
            let (path, other) = (path.to_owned(), other.to_owned());
            return Err(TrustError::SameKeyTwice { path, other });
        }
    }
    for (place, one) in all.iter().enumerate() {
        for two in all.iter().take(place) {
            let (path, other) = (one.path.clone(), two.path.clone());
            if one.anchor.collides_with(&two.anchor) {
                return Err(TrustError::SameIds { path, other });
            }
        }
    }
    Ok(())
}

impl Anchors {
    /// Those that a listener goes by.
    pub(crate) fn new<'a>(authorities: impl Iterator<Item = &'a Authority>) -> Self {
        let (mut certificates, mut key_ids, mut intermediates) =
            (Vec::new(), Vec::new(), Vec::new());
        for authority in authorities {
            certificates.push(authority.certificate.clone());
            key_ids.push(authority.anchor.key_id.clone());
            let below = authority.intermediates.iter();
            intermediates.extend(below.map(|it| (it.signer.key_id().into(), it.der.clone())));
        }
        Self {
            certificates,
            key_ids,
            intermediates,
        }
    }

    /// The names that clients are shown, so that they can choose a certificate.
    pub(crate) fn names(&self) -> Vec<DistinguishedName> {
        self.certificates
            .iter()
            .map(|anchor| DistinguishedName::in_sequence(&anchor.subject))
            .collect()
    }

    /// Verifies the path from `leaf` to an anchor: signatures, validity, purposes, constraints.
    /// Returns what was read on it: the leaf, and the authorities between it and the anchor.
    pub(crate) fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        how: (&[&dyn SignatureVerificationAlgorithm], UnixTime),
    ) -> Result<(Certificate, Vec<Certificate>), Refusal> {
        let (algorithms, now) = how;
        let others = &*self.complete(others)?;
        let refusal = |error| self.refusal_of_path(&error, (leaf, others));
        let path = EndEntityCert::try_from(leaf).map_err(refusal)?;
        let usage = KeyUsage::client_auth();
        let path = path
            .verify_for_usage(
                algorithms,
                &self.certificates,
                others,
                now,
                usage,
                None,
                None,
            )
            .map_err(refusal)?;
        check_issuers(&path)?;
        let read = Certificate::read(leaf)?;
        let described = self.follow(&read, others)?;
        if is_described(&path, &described)? {
            Ok((read, described))
        } else {
            Err(MISLEADING)
        }
    }

    fn refusal_of_path(
        &self,
        error: &webpki::Error,
        (leaf, others): (&CertificateDer<'_>, &[CertificateDer<'_>]),
    ) -> Refusal {
        let follow = || self.follow(&Certificate::read(leaf)?, others);
        match refusal_of(error, Some(leaf)) {
            // Authorities of two installations may have one name: it is their keys that tell.
            Refusal::BadSignature if follow().is_err() => Refusal::UnknownAuthority,
            refusal => refusal,
        }
    }

    /// Follows key identifiers from a leaf to an anchor, through certificates that were shown
    /// beside it: those between the two, the issuer first. Once verified, it is the verified path.
    ///
    /// # Errors
    /// If it does not come to an anchor, or could go several ways.
    pub(crate) fn follow(
        &self,
        leaf: &Certificate,
        others: &[CertificateDer<'_>],
    ) -> Result<Vec<Certificate>, Refusal> {
        let others = self.complete(others)?;
        let mut authorities: Vec<Certificate> = Vec::new();
        for _ in 0..=others.len() {
            let last = authorities.last().unwrap_or(leaf);
            let issuer = last.extensions.issuer_key_id.as_deref();
            let issuer = issuer.ok_or(Refusal::UnknownAuthority)?;
            if self.key_ids.iter().any(|key_id| **key_id == *issuer) {
                return Ok(authorities);
            }
            let found = one_with_key(issuer, &others)?;
            authorities.push(found);
        }
        Err(Refusal::UnknownAuthority)
    }

    /// What was shown, and those intermediates whose keys were not.
    fn complete<'a>(
        &'a self,
        shown: &'a [CertificateDer<'a>],
    ) -> Result<Cow<'a, [CertificateDer<'a>]>, Refusal> {
        if self.intermediates.is_empty() {
            return Ok(Cow::Borrowed(shown));
        }
        let mut keys = Vec::new();
        for der in shown {
            keys.push(Certificate::read(der)?.extensions.key_id);
        }
        let is_missing = |key_id: &[u8]| !keys.iter().any(|it| it.as_deref() == Some(key_id));
        let known = self.intermediates.iter();
        let missing = known.filter(|(key_id, _)| is_missing(key_id));
        let missing = missing.map(|(_, der)| CertificateDer::from(&**der));
        Ok(shown.iter().cloned().chain(missing).collect())
    }
}

/// Whether a path that was verified is the one that key identifiers describe.
fn is_described(path: &VerifiedPath<'_>, described: &[Certificate]) -> Result<bool, Refusal> {
    let verified: Result<Vec<_>, _> = path
        .intermediate_certificates()
        .map(|issuer| Certificate::read(&issuer.der()))
        .collect();
    let same = verified?
        .iter()
        .map(|it| it.sha256)
        .eq(described.iter().map(|it| it.sha256));
    Ok(same)
}

const MISLEADING: Refusal =
    Refusal::Malformed("its path is not the one that its key identifiers describe");

/// The one certificate of this key.
fn one_with_key(key_id: &[u8], shown: &[CertificateDer<'_>]) -> Result<Certificate, Refusal> {
    let mut found: Option<Certificate> = None;
    for der in shown {
        let certificate = Certificate::read(der)?;
        if certificate.extensions.key_id.as_deref() != Some(key_id) {
            continue;
        }
        if found
            .as_ref()
            .is_some_and(|other| other.sha256 != certificate.sha256)
        {
            return Err(MISLEADING);
        }
        found = Some(certificate);
    }
    found.ok_or(Refusal::UnknownAuthority)
}

/// webpki asks issuers for their basic constraints, but not for keyCertSign.
fn check_issuers(path: &VerifiedPath<'_>) -> Result<(), Refusal> {
    path.intermediate_certificates()
        .try_for_each(|issuer| certs::check_issuer(&issuer.der()))
}

/// What webpki's error means to whoever issued the certificate.
fn refusal_of(error: &webpki::Error, leaf: Option<&CertificateDer<'_>>) -> Refusal {
    use webpki::Error;
    match error {
        Error::CertExpired { time, not_after } => Refusal::Expired {
            since: gap(*not_after, *time),
        },
        Error::CertNotValidYet { time, not_before } => Refusal::NotYetValid {
            until: gap(*time, *not_before),
        },
        Error::UnknownIssuer => Refusal::UnknownAuthority,
        Error::InvalidSignatureForPublicKey => Refusal::BadSignature,
        Error::RequiredEkuNotFoundContext(_) | Error::EmptyEkuExtension => {
            let leaf = leaf.and_then(|leaf| Certificate::read(leaf).ok());
            let purposes = leaf.map(|leaf| leaf.extensions.extended_key_usage);
            Refusal::NotAClientCertificate(purposes.unwrap_or_default().into())
        }
        Error::CaUsedAsEndEntity => Refusal::IsAuthority,
        Error::EndEntityUsedAsCa => Refusal::IssuerIsNoAuthority,
        Error::NameConstraintViolation => Refusal::Malformed("its name breaks a name constraint"),
        Error::PathLenConstraintViolated => {
            Refusal::Malformed("its path is longer than an issuer permits")
        }
        Error::UnsupportedSignatureAlgorithmContext(_)
        | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
            Refusal::Malformed("a signature algorithm that is not accepted here")
        }
        // webpki's errors are open-ended; those above are the ones an operator can act on.
        _ => Refusal::Malformed("its path to the trust anchor breaks a rule"),
    }
}

fn gap(from: UnixTime, to: UnixTime) -> std::time::Duration {
    std::time::Duration::from_secs(to.as_secs().saturating_sub(from.as_secs()))
}
