//! A TLS generation: the settings, anchors and tickets of one listener, replaced only together.
//!
//! Session storage and ticketer are its own: a ticket of other anchors or another listener opens
//! nothing here. Revocation is not part of it, for revoking one device must not cost the fleet
//! its tickets; the gate looks after every handshake instead.

use super::files::{read_certificates, read_key};
use super::verifier::DeviceVerifier;
use super::{Anchors, Live, TrustError};
use crate::config::{KeyExchange, Listener, TlsVersion};
use certs::{Certificate, Refusal, Standing, VerifiedDevice};
use rustls::crypto::aws_lc_rs::{self, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::server::ServerSessionMemoryCache;
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use std::sync::Arc;

/// How many TLS 1.2 sessions are remembered for clients that take no tickets.
const SESSIONS_MAX: usize = 4096;

/// What a listener needs to shake hands and to know who is there.
#[derive(Debug)]
pub(crate) struct Generation {
    anchors: Arc<Anchors>,
    standing: Arc<Live<Standing>>,
    identity: Identity,
    tls_min: TlsVersion,
    key_exchange: Vec<KeyExchange>,
    config: Arc<ServerConfig>,
}

/// Who we are.
#[derive(Debug, PartialEq)]
struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Generation {
    /// Reads the certificate and key of a listener. Begins with the tickets that `before` has
    /// given, and where there is none, with none.
    ///
    /// # Errors
    /// If a file is not as it must be; the error names it.
    pub(crate) fn load(
        listener: &Listener,
        (anchors, standing): (Arc<Anchors>, &Arc<Live<Standing>>),
        before: Option<&Self>,
    ) -> Result<Self, TrustError> {
        let identity = Identity {
            chain: read_certificates(&listener.certificate)?,
            key: read_key(&listener.key)?,
        };
        let unusable = |source| TrustError::Unusable {
            certificate: listener.certificate.clone(),
            key: listener.key.clone(),
            source,
        };
        let provider = CryptoProvider {
            kx_groups: listener.key_exchange.iter().copied().map(group).collect(),
            ..aws_lc_rs::default_provider()
        };
        let verifier = DeviceVerifier::new(
            Arc::clone(&anchors),
            Arc::clone(standing),
            provider.signature_verification_algorithms,
        );
        let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&versions(listener.tls_min))
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
            tls_min: listener.tls_min,
            key_exchange: listener.key_exchange.clone(),
            config: Arc::new(config),
        })
    }

    /// Whether it speaks TLS as a listener is to.
    pub(crate) fn speaks_as(&self, listener: &Listener) -> bool {
        self.tls_min == listener.tls_min && self.key_exchange == listener.key_exchange
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

fn versions(oldest: TlsVersion) -> Vec<&'static SupportedProtocolVersion> {
    match oldest {
        TlsVersion::Tls12 => vec![&TLS13, &TLS12],
        TlsVersion::Tls13 => vec![&TLS13],
    }
}

fn group(key_exchange: KeyExchange) -> &'static dyn SupportedKxGroup {
    match key_exchange {
        KeyExchange::X25519MlKem768 => kx_group::X25519MLKEM768,
        KeyExchange::X25519 => kx_group::X25519,
        KeyExchange::Secp256r1 => kx_group::SECP256R1,
        KeyExchange::Secp384r1 => kx_group::SECP384R1,
    }
}
