//! TLS of the enrolment server: its own certificate, and that of a device which has one.
//!
//! A device need not show a certificate; one that is shown is admitted by the gate or the handshake
//! fails. No session is resumed: the gate is asked in every handshake.

use std::sync::{Arc, PoisonError, RwLock};

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, aws_lc_rs};
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, ServerConfig,
    SignatureScheme,
};
use rustls_pki_types::{CertificateDer, UnixTime};

use super::desk::ServerIdentity;
use super::gate::Gate;
use crate::error::CommandError;

/// How the server speaks TLS now; replaced when its certificate is renewed.
#[derive(Debug)]
pub(super) struct Tls {
    gate: Arc<Gate>,
    config: RwLock<Arc<ServerConfig>>,
}

impl Tls {
    pub(super) fn new(gate: Arc<Gate>, identity: ServerIdentity) -> Result<Self, CommandError> {
        let config = config(&gate, identity)?;
        Ok(Self {
            gate,
            config: RwLock::new(config),
        })
    }

    /// Goes by a new certificate from the next handshake on.
    pub(super) fn replace(&self, identity: ServerIdentity) -> Result<(), CommandError> {
        let config = config(&self.gate, identity)?;
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }

    pub(super) fn config(&self) -> Arc<ServerConfig> {
        let config = self.config.read();
        Arc::clone(&config.unwrap_or_else(PoisonError::into_inner))
    }
}

fn config(gate: &Arc<Gate>, identity: ServerIdentity) -> Result<Arc<ServerConfig>, CommandError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = Verifier {
        gate: Arc::clone(gate),
        algorithms: provider.signature_verification_algorithms,
    };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(CommandError::Tls)?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_single_cert(identity.chain, identity.key)
        .map_err(CommandError::Tls)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// The TLS library's question about a client certificate, answered by the gate.
#[derive(Debug)]
struct Verifier {
    gate: Arc<Gate>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for Verifier {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        _others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match self.gate.admit(leaf, now) {
            Ok(_) => Ok(ClientCertVerified::assertion()),
            Err(certs::Refusal::Expired { .. }) => Err(CertificateError::Expired.into()),
            Err(certs::Refusal::NotYetValid { .. }) => Err(CertificateError::NotValidYet.into()),
            Err(certs::Refusal::UnknownAuthority) => Err(CertificateError::UnknownIssuer.into()),
            Err(_) => Err(CertificateError::ApplicationVerificationFailure.into()),
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
