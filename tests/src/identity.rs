//! Somebody who can connect: a certificate with its chain, its key, and TLS as the two of them.
//!
//! The key is written nowhere but where a test asks for it.

use crate::mqtt::hex;
use rcgen::{KeyPair, SerialNumber};
use rustls::client::WantsClientCert;
use rustls::crypto::aws_lc_rs as provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{
    ALL_VERSIONS, ClientConfig, ConfigBuilder, RootCertStore, SupportedProtocolVersion as Version,
};
use std::fs;
use std::path::Path;
use std::sync::Arc;

/// A certificate with its chain and its key.
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    pem: String,
    key: KeyPair,
    roots: Vec<CertificateDer<'static>>,
    client_config: Arc<ClientConfig>,
}

impl Identity {
    /// From its parts; it trusts a broker below `root`.
    pub(crate) fn new(
        chain: Vec<CertificateDer<'static>>,
        pem: String,
        key: KeyPair,
        root: &CertificateDer<'static>,
    ) -> Self {
        Self::trusting(chain, pem, key, vec![root.clone()])
    }

    fn trusting(
        chain: Vec<CertificateDer<'static>>,
        pem: String,
        key: KeyPair,
        roots: Vec<CertificateDer<'static>>,
    ) -> Self {
        let client_config = Arc::new(client_config(&chain, &key, &roots, ALL_VERSIONS));
        Self {
            chain,
            pem,
            key,
            roots,
            client_config,
        }
    }

    /// From the files `cert.pem`, `key.pem` and `ca.pem` of a directory; it trusts a broker below
    /// any of the roots that stand there.
    pub fn open(directory: &Path) -> Self {
        let read = |name: &str| {
            let certificates = CertificateDer::pem_file_iter(directory.join(name)).unwrap();
            certificates.map(Result::unwrap).collect::<Vec<_>>()
        };
        let pem = fs::read_to_string(directory.join("cert.pem")).unwrap();
        let key = fs::read_to_string(directory.join("key.pem")).unwrap();
        let key = KeyPair::from_pem(&key).unwrap();
        Self::trusting(read("cert.pem"), pem, key, read("ca.pem"))
    }

    /// The same, trusting a broker below another root.
    #[must_use]
    pub fn towards(self, root: &CertificateDer<'static>) -> Self {
        Self::new(self.chain, self.pem, self.key, root)
    }

    /// The same certificate, but for the last bit of its signature.
    pub(crate) fn with_a_bad_signature(self) -> Self {
        let mut chain = self.chain;
        let mut leaf = chain[0].to_vec();
        *leaf.last_mut().unwrap() ^= 1;
        chain[0] = leaf.into();
        Self::trusting(chain, self.pem, self.key, self.roots)
    }

    /// TLS as this identity; sessions are resumed where the broker offers it.
    pub fn client_config(&self) -> Arc<ClientConfig> {
        self.client_config.clone()
    }

    /// TLS as this identity in these versions only, with no session remembered.
    pub fn client_config_in(&self, versions: &[&'static Version]) -> Arc<ClientConfig> {
        Arc::new(client_config(&self.chain, &self.key, &self.roots, versions))
    }

    /// The certificate and its chain.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// The key.
    pub fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    /// The serial number of the certificate.
    pub fn serial(&self) -> SerialNumber {
        let certificate = certs::Certificate::read(&self.chain[0]).unwrap();
        SerialNumber::from_slice(certificate.serial.as_octets())
    }

    /// The SHA-256 of the certificate, in lower-case hex.
    pub fn fingerprint(&self) -> String {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &self.chain[0]);
        hex(digest.as_ref()).replace(' ', "")
    }
}

/// A client that trusts brokers below one of `trusted`.
pub(crate) fn client_builder(
    trusted: &[CertificateDer<'static>],
    versions: &[&'static Version],
) -> ConfigBuilder<ClientConfig, WantsClientCert> {
    let mut roots = RootCertStore::empty();
    for root in trusted {
        roots.add(root.clone()).unwrap();
    }
    ClientConfig::builder_with_provider(Arc::new(provider::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
}

fn client_config(
    chain: &[CertificateDer<'static>],
    key: &KeyPair,
    roots: &[CertificateDer<'static>],
    versions: &[&'static Version],
) -> ClientConfig {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    client_builder(roots, versions)
        .with_client_auth_cert(chain.to_vec(), key)
        .unwrap()
}
