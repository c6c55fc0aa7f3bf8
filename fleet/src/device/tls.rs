//! What a device brings for TLS: its key and certificate, and whom it trusts.
//!
//! Thousands are held at once: all share one provider and one verifier, and each keeps the tickets
//! of one broker only.

use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, aws_lc_rs::kx_group};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::error::Error;
use std::sync::Arc;

/// What all devices have in common.
#[derive(Clone, Debug)]
pub(crate) struct Tls {
    provider: Arc<CryptoProvider>,
    verifier: Arc<WebPkiServerVerifier>,
}

/// Why there is nothing to bring: the file or the library says it.
pub(crate) type Unusable = Box<dyn Error + Send + Sync>;

impl Tls {
    /// For devices that trust these authorities, in PEM.
    pub(crate) fn new(roots: &[u8]) -> Result<Self, Unusable> {
        // Small devices have no hybrid key exchange.
        let provider = Arc::new(CryptoProvider {
            kx_groups: vec![kx_group::X25519],
            ..aws_lc_rs::default_provider()
        });
        let mut store = RootCertStore::empty();
        for root in CertificateDer::pem_slice_iter(roots) {
            store.add(root?)?;
        }
        let builder =
            WebPkiServerVerifier::builder_with_provider(Arc::new(store), Arc::clone(&provider));
        let verifier = builder.build()?;
        Ok(Self { provider, verifier })
    }

    /// For a device with this certificate, its issuer's and this key, in PEM.
    pub(crate) fn device(&self, chain: &[u8], key: &[u8]) -> Result<Arc<ClientConfig>, Unusable> {
        let chain = CertificateDer::pem_slice_iter(chain).collect::<Result<Vec<_>, _>>()?;
        let key = PrivateKeyDer::from_pem_slice(key)?;
        let builder = ClientConfig::builder_with_provider(Arc::clone(&self.provider));
        let mut tls = builder
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_webpki_verifier(Arc::clone(&self.verifier))
            .with_client_auth_cert(chain, key)?;
        tls.resumption = Resumption::in_memory_sessions(1);
        Ok(Arc::new(tls))
    }
}
