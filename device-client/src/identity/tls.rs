//! TLS 1.3 with the certificate of one identity, and no trust but that in its `ca.pem`.
//!
//! The cryptography is named here and never taken from what the process happened to install. Each
//! identity has a configuration of its own: a session ticket is never used under another
//! certificate than the one it was given for.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, HandshakeKind, InconsistentKeys, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tracing::debug;

use super::key::TokenSigner;
use super::{Identity, IdentityError, Key, Parts, PemFile};
use crate::error::ConnectError;

/// A connection over which MQTT may be spoken.
pub(crate) type TlsStream = tokio_rustls::client::TlsStream<TcpStream>;

/// HTTP/1.1, as an enrolment server speaks it.
const ALPN_HTTP: &[u8] = b"http/1.1";

/// Registered with IANA for MQTT; a broker on a shared port knows us by it.
const ALPN: &[u8] = b"mqtt";

impl Identity {
    /// Connects to `address` and proves our identity, if what answers proves to be `name`.
    ///
    /// That the broker accepts our certificate is not known yet: in TLS 1.3 a refusal comes with
    /// the first thing read. Where a session was resumed, the broker can only close; the next
    /// attempt then shows the certificate again, and is told why.
    pub(crate) async fn connect(
        &self,
        (host, port): (&str, u16),
        name: ServerName<'static>,
    ) -> io::Result<TlsStream> {
        if self.has_expired() {
            return Err(io::Error::other(ConnectError::CertificateExpired));
        }
        debug!("connecting");
        let tcp = TcpStream::connect((host, port)).await?;
        // Acknowledgements are small, and somebody waits for each.
        tcp.set_nodelay(true)?;
        let holder = &self.holder;
        let config = if holder.is_resumption_in_doubt.load(Ordering::Relaxed) {
            &holder.tls_anew
        } else {
            &holder.tls
        };
        let stream = TlsConnector::from(Arc::clone(config)).connect(name, tcp);
        let stream = stream.await?;
        if stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed) {
            holder.is_resumption_in_doubt.store(true, Ordering::Relaxed);
        }
        Ok(stream)
    }

    /// TLS with an enrolment server. What it makes of a certificate that has expired is for it to
    /// say.
    pub(crate) fn https(&self) -> Arc<ClientConfig> {
        let mut config = (*self.holder.tls_anew).clone();
        config.alpn_protocols = vec![ALPN_HTTP.into()];
        Arc::new(config)
    }

    /// The broker has let us in with this certificate.
    pub(crate) fn note_welcome(&self) {
        let in_doubt = &self.holder.is_resumption_in_doubt;
        in_doubt.store(false, Ordering::Relaxed);
    }
}

/// TLS with an enrolment server, of a device that has no certificate yet.
pub(crate) fn https_of_nobody(authorities: &PemFile) -> Result<ClientConfig, IdentityError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|source| authorities.unusable(source))?
        .with_root_certificates(roots(authorities)?)
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN_HTTP.into()];
    config.resumption = Resumption::disabled();
    Ok(config)
}

pub(super) fn client_config(
    parts: &Parts,
    chain: Vec<CertificateDer<'static>>,
) -> Result<ClientConfig, IdentityError> {
    // Its key exchanges begin with X25519MLKEM768.
    let provider = Arc::new(aws_lc_rs::default_provider());
    let key = certified_key(parts, chain, &provider)?;
    let roots = roots(&parts.authorities)?;
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|source| parts.chain.unusable(source))?
        .with_root_certificates(roots)
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(key)));
    config.alpn_protocols = vec![ALPN.into()];
    Ok(config)
}

/// The same, for connections that begin anew and are not to be resumed.
pub(super) fn without_resumption(config: &ClientConfig) -> ClientConfig {
    let mut config = config.clone();
    config.resumption = Resumption::disabled();
    config
}

fn certified_key(
    parts: &Parts,
    chain: Vec<CertificateDer<'static>>,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, IdentityError> {
    let certified = match &parts.key {
        Key::File(file) => CertifiedKey::from_der(chain, file.private_key()?, provider),
        Key::Token(key) => {
            let signer = Arc::new(TokenSigner(Arc::clone(key)));
            let certified = CertifiedKey::new(chain, signer);
            certified.keys_match().map(|()| certified)
        }
    };
    let path = || parts.key.place().to_path_buf();
    certified.map_err(|error| match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            let (key, certificate) = (path(), parts.chain.path.clone());
            IdentityError::KeyMismatch { key, certificate }
        }
        source => IdentityError::Unusable {
            path: path(),
            source,
        },
    })
}

fn roots(authorities: &PemFile) -> Result<RootCertStore, IdentityError> {
    let mut roots = RootCertStore::empty();
    for authority in authorities.certificates()? {
        let added = roots.add(authority);
        added.map_err(|source| authorities.unusable(source))?;
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::tests::TestCa;

    #[test]
    fn the_hybrid_key_exchange_is_offered_first() {
        let identity = TestCa::new().device("dev-1").identity().unwrap();
        let config = &identity.holder.tls;
        let first = config.crypto_provider().kx_groups.first().unwrap().name();
        assert_eq!(first, rustls::NamedGroup::X25519MLKEM768);
        assert_eq!(config.alpn_protocols, [ALPN]);
    }
}
