//! Trust anchors: the authorities whose devices may come in, and the domain each speaks for.

use super::TrustError;
use super::key_file::read_certificates;
use crate::config::Anchor;
use certs::{Certificate, Refusal, TrustDomain};
use rustls::DistinguishedName;
use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, TrustAnchor, UnixTime};
use std::path::{Path, PathBuf};
use webpki::{EndEntityCert, KeyUsage, VerifiedPath};

/// The anchors of one listener.
#[derive(Debug)]
pub(crate) struct Anchors {
    /// In the order of `domains`.
    anchors: Vec<TrustAnchor<'static>>,
    domains: Vec<Domain>,
}

/// For whom an anchor speaks, and how its issues are known.
#[derive(Debug)]
struct Domain {
    name: TrustDomain,
    key_id: Box<[u8]>,
    file: PathBuf,
}

impl Anchors {
    /// Reads the anchors: every certificate of each file, for the domain named with it.
    ///
    /// # Errors
    /// All that is wrong with the files.
    pub(crate) fn load(files: &[Anchor]) -> Result<Self, Vec<TrustError>> {
        let mut loaded = Self {
            anchors: Vec::new(),
            domains: Vec::new(),
        };
        let mut errors = Vec::new();
        for Anchor { file, trust_domain } in files {
            if let Err(error) = loaded.add(file, trust_domain) {
                errors.push(error);
            }
        }
        if errors.is_empty() {
            Ok(loaded)
        } else {
            Err(errors)
        }
    }

    fn add(&mut self, path: &Path, trust_domain: &TrustDomain) -> Result<(), TrustError> {
        for der in read_certificates(path)? {
            let no_anchor = |why| TrustError::NotAnAnchor {
                path: path.to_owned(),
                why,
            };
            certs::check_issuer(&der).map_err(no_anchor)?;
            let certificate = Certificate::read(&der).map_err(no_anchor)?;
            let key_id = certificate
                .extensions
                .key_id
                .ok_or_else(|| no_anchor(Refusal::Malformed("it has no subject key identifier")))?;
            if let Some(other) = self.domains.iter().find(|domain| domain.key_id == key_id) {
                let (path, other) = (path.to_owned(), other.file.clone());
                return Err(TrustError::SameKeyTwice { path, other });
            }
            let anchor = webpki::anchor_from_trusted_cert(&der)
                .map_err(|error| no_anchor(refusal_of(&error, None)))?;
            self.anchors.push(anchor.to_owned());
            let (name, file) = (trust_domain.clone(), path.to_owned());
            self.domains.push(Domain { name, key_id, file });
        }
        Ok(())
    }

    /// The names that clients are shown, so that they can choose a certificate.
    pub(crate) fn names(&self) -> Vec<DistinguishedName> {
        self.anchors
            .iter()
            .map(|anchor| DistinguishedName::in_sequence(&anchor.subject))
            .collect()
    }

    /// Verifies the path from `leaf` to an anchor: signatures, validity, purposes, constraints.
    /// Returns the domain that the anchor speaks for.
    pub(crate) fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        how: (&[&dyn SignatureVerificationAlgorithm], UnixTime),
    ) -> Result<&TrustDomain, Refusal> {
        let (algorithms, now) = how;
        let refusal = |error| self.refusal_of_path(&error, (leaf, others));
        let path = EndEntityCert::try_from(leaf).map_err(refusal)?;
        let usage = KeyUsage::client_auth();
        let path = path
            .verify_for_usage(algorithms, &self.anchors, others, now, usage, None, None)
            .map_err(refusal)?;
        check_issuers(&path)?;
        let anchor = self
            .anchors
            .iter()
            .position(|anchor| std::ptr::eq(anchor, path.anchor()));
        let domain = anchor.and_then(|index| self.domains.get(index));
        domain
            .map(|domain| &domain.name)
            .ok_or(Refusal::UnknownAuthority)
    }

    fn refusal_of_path(
        &self,
        error: &webpki::Error,
        (leaf, others): (&CertificateDer<'_>, &[CertificateDer<'_>]),
    ) -> Refusal {
        let domain = || self.domain_of(&Certificate::read(leaf)?, others);
        match refusal_of(error, Some(leaf)) {
            // Authorities of two installations may have one name: it is their keys that tell.
            Refusal::BadSignature if domain().is_err() => Refusal::UnknownAuthority,
            refusal => refusal,
        }
    }

    /// The domain for which a chain speaks that was verified against these very anchors before.
    pub(crate) fn domain_of(
        &self,
        leaf: &Certificate,
        others: &[CertificateDer<'_>],
    ) -> Result<&TrustDomain, Refusal> {
        if let Some(domain) = self.domain_of_issuer(leaf) {
            return Ok(domain);
        }
        for der in others {
            if let Some(domain) = self.domain_of_issuer(&Certificate::read(der)?) {
                return Ok(domain);
            }
        }
        Err(Refusal::UnknownAuthority)
    }

    fn domain_of_issuer(&self, certificate: &Certificate) -> Option<&TrustDomain> {
        let issuer = certificate.extensions.issuer_key_id.as_ref()?;
        let mut domains = self.domains.iter();
        let domain = domains.find(|domain| domain.key_id == *issuer)?;
        Some(&domain.name)
    }
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
