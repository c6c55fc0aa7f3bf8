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
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use std::path::Path;
use std::sync::Arc;

/// How many TLS 1.2 sessions are remembered for clients that take no tickets.
const SESSIONS_MAX: usize = 4096;

/// What a listener needs to shake hands and to know who is there.
#[derive(Debug)]
pub(crate) struct Generation {
    anchors: Arc<Anchors>,
    standing: Arc<Live<Standing>>,
    identity: Identity,
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

/// Who we are.
#[derive(Debug, PartialEq)]
struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Generation {
    /// Reads our own certificate and key. Begins with the tickets that `before` has given, and
    /// where there is none, with none.
    ///
    /// # Errors
    /// If a file is not as it must be; the error names it.
    pub(crate) fn load(
        settings: &TlsSettings<'_>,
        (anchors, standing): (Arc<Anchors>, &Arc<Live<Standing>>),
        before: Option<&Self>,
    ) -> Result<Self, TrustError> {
        let identity = Identity {
            chain: read_certificates(settings.certificate)?,
            key: read_key(settings.key)?,
        };
        let unusable = |source| TrustError::Unusable {
            certificate: settings.certificate.to_owned(),
            key: settings.key.to_owned(),
            source,
        };
        let provider = CryptoProvider {
            kx_groups: settings.key_exchange.to_vec(),
            ..aws_lc_rs::default_provider()
        };
        let verifier = DeviceVerifier::new(
            Arc::clone(&anchors),
            Arc::clone(standing),
            provider.signature_verification_algorithms,
        );
        let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(settings.versions)
            .map_err(unusable)?
            .with_client_cert_verifier(Arc::new(verifier))
            .with_single_cert(identity.chain.clone(), identity.key.clone_key())
            .map_err(unusable)?;
        config.alpn_protocols = vec![b"mqtt".to_vec()];
        // One for each connection: whoever comes back once needs one.
        config.send_tls13_tickets = 1;
        if let Some(before) = before {
            config.ticketer = Arc::clone(&before.config.ticketer);
            config.session_storage = Arc::clone(&before.config.session_storage);
        } else {
            config.ticketer = aws_lc_rs::Ticketer::new().map_err(unusable)?;
            config.session_storage = ServerSessionMemoryCache::new(SESSIONS_MAX);
        }
        Ok(Self {
            anchors,
            standing: Arc::clone(standing),
            identity,
            config: Arc::new(config),
        })
    }

    /// The anchors it goes by.
    pub(crate) fn anchors(&self) -> &Arc<Anchors> {
        &self.anchors
    }

    /// Whether we are the same in `other`.
    pub(crate) fn has_identity_of(&self, other: &Self) -> bool {
        self.identity == other.identity
    }

    /// The last second of our own certificate.
    pub(crate) fn not_after(&self) -> Option<UnixTime> {
        let leaf = self.identity.chain.first()?;
        Some(Certificate::read(leaf).ok()?.not_after)
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
