//! A TLS generation: the settings, anchors and tickets of one listener, replaced only together.
//!
//! Session storage and ticketer are its own: a ticket of other anchors or another listener opens
//! nothing here. Revocation is not part of it, for revoking one device must not cost the fleet
//! its tickets; the gate looks after every handshake instead.

use super::key_file::{read_certificates, read_key};
use super::verifier::DeviceVerifier;
use super::{Anchors, Live, TrustError};
use certs::{Certificate, Refusal, Standing, VerifiedDevice};
use rustls::crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs};
use rustls::server::ServerSessionMemoryCache;
use rustls::{ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::{CertificateDer, UnixTime};
use std::path::Path;
use std::sync::Arc;

/// How many TLS 1.2 sessions are remembered for clients that take no tickets.
const SESSIONS_MAX: usize = 4096;

/// What a listener needs to shake hands and to know who is there.
#[derive(Debug)]
pub(crate) struct Generation {
    anchors: Arc<Anchors>,
    standing: Arc<Live<Standing>>,
    config: Arc<ServerConfig>,
}

/// What TLS is to be like.
#[derive(Clone, Debug)]
pub(crate) struct TlsSettings<'a> {
    pub(crate) certificate: &'a Path,
    pub(crate) key: &'a Path,
    pub(crate) versions: &'a [&'static SupportedProtocolVersion],
    pub(crate) key_exchange: &'a [&'static dyn SupportedKxGroup],
}

impl Generation {
    /// Reads our own certificate and key, and begins with no tickets given.
    ///
    /// # Errors
    /// If a file is not as it must be; the error names it.
    pub(crate) fn load(
        settings: &TlsSettings<'_>,
        anchors: Anchors,
        standing: Arc<Live<Standing>>,
    ) -> Result<Self, TrustError> {
        let chain = read_certificates(settings.certificate)?;
        let key = read_key(settings.key)?;
        let unusable = |source| TrustError::Unusable {
            certificate: settings.certificate.to_owned(),
            key: settings.key.to_owned(),
            source,
        };
        let anchors = Arc::new(anchors);
        let provider = CryptoProvider {
            kx_groups: settings.key_exchange.to_vec(),
            ..aws_lc_rs::default_provider()
        };
        let verifier = DeviceVerifier::new(
            Arc::clone(&anchors),
            Arc::clone(&standing),
            provider.signature_verification_algorithms,
        );
        let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(settings.versions)
            .map_err(unusable)?
            .with_client_cert_verifier(Arc::new(verifier))
            .with_single_cert(chain, key)
            .map_err(unusable)?;
        config.alpn_protocols = vec![b"mqtt".to_vec()];
        config.ticketer = aws_lc_rs::Ticketer::new().map_err(unusable)?;
        // One for each connection: whoever comes back once needs one.
        config.send_tls13_tickets = 1;
        config.session_storage = ServerSessionMemoryCache::new(SESSIONS_MAX);
        Ok(Self {
            anchors,
            standing,
            config: Arc::new(config),
        })
    }

    /// The TLS library's view.
    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    /// The identity gate, asked after every handshake, resumed or not: who is behind this chain?
    ///
    /// # Errors
    /// Why nobody is admitted.
    pub(crate) fn admit(
        &self,
        chain: Option<&[CertificateDer<'_>]>,
        now: UnixTime,
    ) -> Result<VerifiedDevice, Refusal> {
        let (leaf, others) = chain
            .and_then(<[_]>::split_first)
            .ok_or(Refusal::NoCertificate)?;
        let leaf = Certificate::read(leaf)?;
        let authorities = self.anchors.follow(&leaf, others)?;
        self.standing.get().admit(leaf, &authorities, now)
    }

    /// As [`Self::admit`], of a device that the verifier has admitted in this very handshake.
    ///
    /// # Errors
    /// Why it is no longer admitted.
    pub(crate) fn admit_again(
        &self,
        device: VerifiedDevice,
        now: UnixTime,
    ) -> Result<VerifiedDevice, Refusal> {
        self.standing.get().judge_newcomer(&device, now)?;
        Ok(device)
    }
}
