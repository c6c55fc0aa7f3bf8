//! Certificates: an authority of the test, a broker's and a device's.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use device_client::Identity;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, CertifiedIssuer,
    DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType,
    SigningKey as _,
};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::{ServerConfig, SupportedProtocolVersion};
use time::OffsetDateTime;

/// Who signs both for brokers and devices.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "Test CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { issuer }
    }

    /// A device of this authority, that trusts brokers of `trusted`.
    pub(crate) fn device_trusting(&self, id: &str, trusted: &Self) -> Identity {
        let key = KeyPair::generate().unwrap();
        let params = device_params(id);
        let chain = params.signed_by(&key, &self.issuer).unwrap().pem();
        let (key, authorities) = (key.serialize_pem(), trusted.pem());
        Identity::from_pem(chain.as_bytes(), key.as_bytes(), authorities.as_bytes()).unwrap()
    }

    pub(crate) fn device(&self, id: &str) -> Identity {
        self.device_trusting(id, self)
    }

    /// The files of a device whose certificate is good for so long.
    pub(crate) fn write_device(&self, id: &str, lifetime: Duration, directory: &Path) {
        let key = KeyPair::generate().unwrap();
        let mut params = device_params(id);
        good_for(&mut params, lifetime);
        let chain = params.signed_by(&key, &self.issuer).unwrap().pem();
        fs::write(directory.join("cert.pem"), chain).unwrap();
        fs::write(directory.join("ca.pem"), self.pem()).unwrap();
        let path = directory.join("key.pem");
        fs::write(&path, key.serialize_pem()).unwrap();
        fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
    }

    /// What is asked for, good for so long. Its names are taken from `id`.
    pub(crate) fn certify(
        &self,
        id: &str,
        request: &[u8],
        lifetime: Duration,
    ) -> CertificateDer<'static> {
        let request = CertificateSigningRequestParams::from_der(&request.into());
        let mut request = request.unwrap();
        request.params = device_params(id);
        good_for(&mut request.params, lifetime);
        request.signed_by(&self.issuer).unwrap().der().clone()
    }

    pub(crate) fn pem(&self) -> String {
        self.issuer.pem()
    }

    pub(crate) fn sign(&self, octets: &[u8]) -> Vec<u8> {
        self.issuer.key().sign(octets).unwrap()
    }

    pub(crate) fn der(&self) -> CertificateDer<'static> {
        self.issuer.der().clone()
    }

    /// The certificate and key of a broker of this name.
    pub(crate) fn broker(&self, name: &str) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.der().clone(), key.into())
    }
}

pub(crate) fn roots(authorities: &[&Authority]) -> Arc<rustls::RootCertStore> {
    let mut roots = rustls::RootCertStore::empty();
    for authority in authorities {
        roots.add(authority.der()).unwrap();
    }
    Arc::new(roots)
}

/// TLS of a server of this authority, called `localhost`, that judges devices by `verifier`.
pub(crate) fn server_config(
    authority: &Authority,
    verifier: Arc<dyn ClientCertVerifier>,
    (version, protocol): (&'static SupportedProtocolVersion, &[u8]),
) -> ServerConfig {
    let (certificate, key) = authority.broker("localhost");
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![certificate], key)
        .unwrap();
    config.alpn_protocols = vec![protocol.into()];
    config
}

/// What is in a directory.
pub(crate) fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn device_params(id: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, id);
    let uri = format!("spiffe://test/device/{id}");
    params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}

/// From a minute ago, as authorities do it.
fn good_for(params: &mut CertificateParams, lifetime: Duration) {
    let now = OffsetDateTime::now_utc();
    params.not_before = now - Duration::from_mins(1);
    params.not_after = now + lifetime;
}
