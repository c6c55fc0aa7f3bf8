//! An authority between the root and devices, which signs certificates and revocation lists.
//!
//! Its devices show their chain or, as some do, nothing but their own certificate.

use super::ca::{Ca, DAY, key};
use super::{client_params, list};
use crate::identity::Identity;
use rcgen::SerialNumber;
use rustls::pki_types::CertificateDer;
use std::time::SystemTime;

/// An issuing authority.
pub struct Issuing {
    ca: Ca,
    root: CertificateDer<'static>,
}

/// What a device shows in its handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// Its certificate and that of its issuer.
    Chain,
    /// Its certificate alone.
    Leaf,
}

impl Issuing {
    pub(super) fn new(ca: Ca, root: &CertificateDer<'static>) -> Self {
        let root = root.clone();
        Self { ca, root }
    }

    /// Another one below it.
    #[must_use]
    pub fn issuing(&self, name: &str) -> Self {
        Self::new(Ca::below(&self.ca, name), &self.root)
    }

    /// Its certificate as PEM.
    pub fn pem(&self) -> &str {
        &self.ca.pem
    }

    /// A device of this id.
    pub fn device(&self, id: &str, shown: Shown) -> Identity {
        let key = key();
        let leaf = client_params(id, "device").signed_by(&key, &self.ca.issuer);
        let leaf = leaf.unwrap();
        let (mut chain, mut pem) = (vec![leaf.der().clone()], leaf.pem());
        if shown == Shown::Chain {
            chain.push(self.ca.certificate.clone());
            pem += &self.ca.pem;
        }
        Identity::new(chain, pem, key, &self.root)
    }

    /// A list of its own with this number that revokes these, as PEM.
    pub fn revocation_list(&self, number: u64, revoked: &[&Identity]) -> String {
        let serials = revoked.iter().map(|it| it.serial()).collect();
        list(&self.ca, (number, serials), SystemTime::now() + DAY)
    }

    pub(super) fn serial(&self) -> SerialNumber {
        let certificate = certs::Certificate::read(&self.ca.certificate).unwrap();
        SerialNumber::from_slice(certificate.serial.as_octets())
    }
}
