//! The TLS library's question about a client certificate, answered by our anchors and the gate.
//!
//! A refused certificate is in nobody's hands once the handshake has failed, so the verifier
//! notes it for the handshake's task.

use super::Anchors;
use certs::{Admission, Certificate, Refusal, RevocationSet};
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
    revoked: Arc<RevocationSet>,
}

/// A certificate that was refused.
#[derive(Debug)]
pub(crate) struct Noted {
    /// Why.
    pub(crate) refusal: Refusal,
    /// What it says, if it can be read.
    pub(crate) certificate: Option<Box<Certificate>>,
}

tokio::task_local! {
    static NOTED: RefCell<Option<Noted>>;
}

/// Runs a handshake; a certificate that is refused in it comes out beside its result.
pub(crate) async fn noting_refusals<T>(handshake: impl Future<Output = T>) -> (T, Option<Noted>) {
    let handshake = async move {
        let result = handshake.await;
        (result, NOTED.with(RefCell::take))
    };
    NOTED.scope(RefCell::new(None), handshake).await
}

impl DeviceVerifier {
    pub(super) fn new(
        anchors: Arc<Anchors>,
        revoked: Arc<RevocationSet>,
        algorithms: WebPkiSupportedAlgorithms,
    ) -> Self {
        Self {
            names: anchors.names(),
            anchors,
            algorithms,
            revoked,
        }
    }

    fn judge(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Refusal> {
        let trust_domain = self
            .anchors
            .verify(leaf, others, (self.algorithms.all, now))?;
        certs::admit(
            leaf,
            &Admission {
                trust_domain,
                revoked: &self.revoked,
            },
            now,
        )
        .map(drop)
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
            Ok(()) => Ok(ClientCertVerified::assertion()),
            Err(refusal) => {
                let alert = alert_for(&refusal);
                let certificate = Certificate::read(leaf).ok().map(Box::new);
                // Outside `noting_refusals` nobody asks for it.
                let _ = NOTED.try_with(|noted| {
                    noted.replace(Some(Noted {
                        refusal,
                        certificate,
                    }))
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
        Refusal::RevokedCertificate | Refusal::RevokedDevice => CertificateError::Revoked,
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
        | Refusal::ForeignTrustDomain(_)
        | Refusal::NameMismatch { .. }
        | Refusal::UnknownDevice => CertificateError::ApplicationVerificationFailure,
    }
}
