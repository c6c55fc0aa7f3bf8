//! The TLS library's question about a client certificate, answered by our anchors and the gate.
//!
//! A refused certificate is in nobody's hands once the handshake has failed, and an admitted one
//! need not be read twice, so the verifier notes what it found for the handshake's task.

use super::{Anchors, Live};
use certs::{Certificate, Refusal, Standing, VerifiedDevice};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, UnixTime};
use std::cell::RefCell;
use std::future::Future;
use std::sync::Arc;

/// Verifies the path of a certificate and asks the gate, so that a stranger gets an alert and no
/// ticket. The gate is asked again after the handshake, for resumption never comes here.
#[derive(Debug)]
pub(super) struct DeviceVerifier {
    anchors: Arc<Anchors>,
    names: Vec<DistinguishedName>,
    algorithms: WebPkiSupportedAlgorithms,
    standing: Arc<Live<Standing>>,
}

/// What became of the certificate of a handshake.
#[derive(Debug)]
pub(crate) enum Verdict {
    Admitted(VerifiedDevice),
    Refused {
        /// Why.
        refusal: Refusal,
        /// What it says, if it can be read.
        certificate: Option<Box<Certificate>>,
    },
}

tokio::task_local! {
    static VERDICT: RefCell<Option<Verdict>>;
}

/// Runs a handshake; what became of its certificate comes out beside its result. Nothing does
/// where a session was resumed.
pub(crate) async fn noting_verdict<T>(handshake: impl Future<Output = T>) -> (T, Option<Verdict>) {
    let handshake = async move {
        let result = handshake.await;
        (result, VERDICT.with(RefCell::take))
    };
    VERDICT.scope(RefCell::new(None), handshake).await
}

fn note(verdict: Verdict) {
    // Outside `noting_verdict` nobody asks for it.
    let _ = VERDICT.try_with(|noted| noted.replace(Some(verdict)));
}

impl DeviceVerifier {
    pub(super) fn new(
        anchors: Arc<Anchors>,
        standing: Arc<Live<Standing>>,
        algorithms: WebPkiSupportedAlgorithms,
    ) -> Self {
        Self {
            names: anchors.names(),
            anchors,
            algorithms,
            standing,
        }
    }

    fn judge(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<VerifiedDevice, Refusal> {
        let how = (self.algorithms.all, now);
        let (leaf, authorities) = self.anchors.verify(leaf, others, how)?;
        self.standing.get().admit(leaf, &authorities, now)
    }
}

impl ClientCertVerifier for DeviceVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.names
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match self.judge(leaf, others, now) {
            Ok(device) => {
                note(Verdict::Admitted(device));
                Ok(ClientCertVerified::assertion())
            }
            Err(refusal) => {
                let alert = alert_for(&refusal);
                let certificate = Certificate::read(leaf).ok().map(Box::new);
                note(Verdict::Refused {
                    refusal,
                    certificate,
                });
                Err(Error::InvalidCertificate(alert))
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// What the peer is told in a TLS alert (RFC 8446 §6.2).
fn alert_for(refusal: &Refusal) -> CertificateError {
    match refusal {
        Refusal::Expired { .. } => CertificateError::Expired,
        Refusal::NotYetValid { .. } => CertificateError::NotValidYet,
        Refusal::RevokedCertificate(_)
        | Refusal::RevokedDevice(_)
        | Refusal::RevokedAuthority(_) => CertificateError::Revoked,
        Refusal::StaleRevocationList { .. } | Refusal::NoRevocationList => {
            CertificateError::UnknownRevocationStatus
        }
        Refusal::UnknownAuthority | Refusal::IssuerIsNoAuthority => CertificateError::UnknownIssuer,
        Refusal::BadSignature => CertificateError::BadSignature,
        Refusal::Malformed(_) => CertificateError::BadEncoding,
        Refusal::NotAClientCertificate(_) | Refusal::NoDigitalSignature | Refusal::IsAuthority => {
            CertificateError::InvalidPurpose
        }
        Refusal::NoCertificate
        | Refusal::NoIssuerKeyId
        | Refusal::NoDeviceId
        | Refusal::SeveralDeviceIds(_)
        | Refusal::InvalidDeviceId { .. }
        | Refusal::UnfitName { .. }
        | Refusal::UnknownFingerprint
        | Refusal::ForeignTrustDomain(_)
        | Refusal::NameMismatch { .. }
        | Refusal::ForeignId { .. }
        | Refusal::UnknownDevice => CertificateError::ApplicationVerificationFailure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::crypto::aws_lc_rs;

    /// SECURITY.md says the same. What a newer library adds is looked at before it counts.
    #[test]
    fn peers_sign_by_the_algorithms_that_are_listed_and_by_no_others() {
        let provider = aws_lc_rs::default_provider();
        let schemes = provider.signature_verification_algorithms;
        let expected = [
            SignatureScheme::ECDSA_NISTP384_SHA384,
            SignatureScheme::ECDSA_NISTP256_SHA256,
            SignatureScheme::ECDSA_NISTP521_SHA512,
            SignatureScheme::ED25519,
            SignatureScheme::RSA_PSS_SHA512,
            SignatureScheme::RSA_PSS_SHA384,
            SignatureScheme::RSA_PSS_SHA256,
            SignatureScheme::RSA_PKCS1_SHA512,
            SignatureScheme::RSA_PKCS1_SHA384,
            SignatureScheme::RSA_PKCS1_SHA256,
            SignatureScheme::ML_DSA_44,
            SignatureScheme::ML_DSA_65,
            SignatureScheme::ML_DSA_87,
        ];
        assert_eq!(schemes.supported_schemes(), expected);
    }
}
