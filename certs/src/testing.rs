//! An authority for tests, which signs whatever it is asked to.
//!
//! Its leaves are good device certificates but for the one change a test makes.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, SerialNumber,
};
use rustls_pki_types::UnixTime;
use time::OffsetDateTime;

/// When the leaves of the test authority begin to be valid; they are for [`LIFETIME`] seconds.
pub(crate) const NOT_BEFORE: u64 = 1_800_000_000;
pub(crate) const LIFETIME: u64 = 90 * 86_400;

pub(crate) fn at(seconds: u64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(seconds))
}

/// A good certificate of the device `dev-1` in the trust domain `fleet.example`, but for `change`.
pub(crate) fn leaf(change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "dev-1");
    params.subject_alt_names = vec![uri("spiffe://fleet.example/device/dev-1")];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.is_ca = IsCa::ExplicitNoCa;
    params.use_authority_key_identifier_extension = true;
    params.serial_number = Some(SerialNumber::from(vec![7; 20]));
    params.not_before = date(NOT_BEFORE);
    params.not_after = date(NOT_BEFORE + LIFETIME);
    change(&mut params);
    sign(&params)
}

pub(crate) fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

pub(crate) fn date(seconds: u64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(seconds.try_into().unwrap()).unwrap()
}

fn sign(params: &CertificateParams) -> Vec<u8> {
    let mut authority = CertificateParams::default();
    authority
        .distinguished_name
        .push(DnType::CommonName, "Test authority 1");
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let issuer = Issuer::new(authority, KeyPair::generate().unwrap());
    params
        .signed_by(&KeyPair::generate().unwrap(), &issuer)
        .unwrap()
        .der()
        .to_vec()
}

/// An authority that another one has issued, in PEM.
pub(crate) fn authority_below_another() -> String {
    let named = |name: &str| {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.use_authority_key_identifier_extension = true;
        params
    };
    let issuer = Issuer::new(named("above"), KeyPair::generate().unwrap());
    let made = named("below").signed_by(&KeyPair::generate().unwrap(), &issuer);
    made.unwrap().pem()
}
