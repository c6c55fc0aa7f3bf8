//! A certificate authority with its key, and what all certificates of ours have in common.
//!
//! Every certificate has twenty random octets of serial, a key of its own and both key ids.

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType, DnValue, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SerialNumber,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

pub(super) const DAY: Duration = Duration::from_hours(24);

/// One CA.
pub(super) struct Ca {
    /// Signs.
    pub(super) issuer: Issuer<'static, KeyPair>,
    /// Its certificate.
    pub(super) certificate: CertificateDer<'static>,
    /// The same as PEM.
    pub(super) pem: String,
}

impl Ca {
    pub(super) fn root(name: &str) -> Self {
        let (params, key) = (ca_params(name), key());
        let certificate = params.self_signed(&key).unwrap();
        Self::new(&certificate, Issuer::new(params, key))
    }

    pub(super) fn below(root: &Self, name: &str) -> Self {
        let (params, key) = (ca_params(name), key());
        let certificate = params.signed_by(&key, &root.issuer).unwrap();
        Self::new(&certificate, Issuer::new(params, key))
    }

    fn new(certificate: &Certificate, issuer: Issuer<'static, KeyPair>) -> Self {
        Self {
            issuer,
            certificate: certificate.der().clone(),
            pem: certificate.pem(),
        }
    }

    pub(super) fn read(dir: &Path, name: &str) -> Self {
        let pem = fs::read_to_string(dir.join(format!("{name}.pem"))).unwrap();
        let key = fs::read_to_string(dir.join(format!("{name}.key"))).unwrap();
        let key = KeyPair::from_pem(&key).unwrap();
        let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        Self {
            issuer: Issuer::from_ca_cert_pem(&pem, key).unwrap(),
            certificate,
            pem,
        }
    }

    pub(super) fn write(&self, dir: &Path, name: &str) {
        fs::write(dir.join(format!("{name}.pem")), &self.pem).unwrap();
        write_key(
            &dir.join(format!("{name}.key")),
            &self.issuer.key().serialize_pem(),
        );
    }
}

fn ca_params(common_name: &str) -> CertificateParams {
    let mut params = leaf_params(common_name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_after = (SystemTime::now() + 365 * DAY).into();
    params
}

pub(super) fn leaf_params(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = name(common_name);
    params.not_before = (SystemTime::now() - DAY).into();
    params.not_after = (SystemTime::now() + 30 * DAY).into();
    params.serial_number = Some(serial());
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    params
}

pub(super) fn name(common_name: impl Into<DnValue>) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

pub(super) fn key() -> KeyPair {
    KeyPair::generate().unwrap()
}

/// Twenty random octets, positive.
fn serial() -> SerialNumber {
    let mut octets = [0; 20];
    aws_lc_rs::rand::fill(&mut octets).unwrap();
    octets[0] = octets[0] & 0x7f | 0x40;
    SerialNumber::from_slice(&octets)
}

/// For its owner alone, as a broker demands.
pub(super) fn write_key(path: &Path, pem: &str) {
    fs::write(path, pem).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
}
