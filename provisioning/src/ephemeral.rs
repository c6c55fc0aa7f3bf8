//! Authorities that live in this process alone: for tests and simulated fleets.
//!
//! They sign by the same profiles as those of a directory, and what they sign is recorded nowhere:
//! keys and certificates end with the process. Nothing but a broker made for a test should trust
//! them.

use crate::authority::{Authority, Signed, key_file};
use crate::error::CommandError;
use certs::{AuthorityName, Holder, Serial, Subject, TrustDomain, Validity};
use rcgen::KeyPair;
use rustls_pki_types::{ServerName, UnixTime};
use std::fmt;

/// A root, an authority for devices and one for brokers.
pub struct EphemeralCa {
    trust_domain: TrustDomain,
    root: Authority,
    device_ca: Authority,
    server_ca: Authority,
}

/// A certificate and the key to it, as text.
#[derive(Clone)]
pub struct EphemeralIdentity {
    /// The certificate and its issuer's, in PEM: what would be `cert.pem`.
    pub chain: String,
    /// The private key, in PEM: what would be `key.pem`.
    pub key: String,
    /// The certificate's serial number.
    pub serial: Serial,
    /// Its last second.
    pub not_after: UnixTime,
}

impl EphemeralCa {
    /// New authorities of a trust domain.
    ///
    /// # Errors
    /// If there is no randomness, or nothing to sign with.
    pub fn new(trust_domain: TrustDomain, now: UnixTime) -> Result<Self, CommandError> {
        let name = |common_name| AuthorityName {
            organization: None,
            common_name,
        };
        let root = name("Countersign TEST ONLY root");
        let (root, _) = Authority::new_root(root, key_file::generate()?, now)?;
        let below = |holder: Holder<'_>| {
            let key = key_file::generate()?;
            let signed = root.sign(holder, &key, now)?;
            Authority::of_signed(signed, key)
        };
        Ok(Self {
            device_ca: below(Holder::DeviceCa(name("Countersign TEST ONLY device CA")))?,
            server_ca: below(Holder::ServerCa(name("Countersign TEST ONLY server CA")))?,
            trust_domain,
            root,
        })
    }

    /// The trust domain of its devices.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// What devices trust brokers by, in PEM: what would be a device's `ca.pem`.
    pub fn root_pem(&self) -> &str {
        self.root.pem()
    }

    /// What a broker trusts devices by, in PEM: the anchor of its configuration.
    pub fn device_ca_pem(&self) -> &str {
        self.device_ca.pem()
    }

    /// Issues a certificate to a device or an application, by its profile.
    ///
    /// # Errors
    /// If nothing can be signed.
    pub fn issue(
        &self,
        subject: &Subject,
        now: UnixTime,
    ) -> Result<EphemeralIdentity, CommandError> {
        let validity = self.device_ca.validity(subject.kind.into(), now)?;
        self.issue_for(subject, validity)
    }

    /// The same for a validity of one's own: one that ends soon, is over, or has not begun.
    ///
    /// # Errors
    /// As [`Self::issue`], and for a validity outside the authority's.
    pub fn issue_for(
        &self,
        subject: &Subject,
        validity: Validity,
    ) -> Result<EphemeralIdentity, CommandError> {
        let holder = Holder::Peer(&self.trust_domain, subject);
        with_key(&self.device_ca, |key| {
            self.device_ca.sign_for(holder, key, validity)
        })
    }

    /// Issues a certificate to a broker that is reached under these names.
    ///
    /// # Errors
    /// As [`Self::issue`].
    pub fn issue_broker(
        &self,
        names: &[ServerName<'_>],
        now: UnixTime,
    ) -> Result<EphemeralIdentity, CommandError> {
        with_key(&self.server_ca, |key| {
            self.server_ca.sign(Holder::Server(names), key, now)
        })
    }
}

fn with_key(
    issuer: &Authority,
    sign: impl FnOnce(&KeyPair) -> Result<Signed, CommandError>,
) -> Result<EphemeralIdentity, CommandError> {
    let key = key_file::generate()?;
    let signed = sign(&key)?;
    Ok(EphemeralIdentity {
        chain: [signed.pem.as_str(), issuer.pem()].concat(),
        key: key.serialize_pem(),
        serial: signed.certificate.serial,
        not_after: signed.certificate.not_after,
    })
}

impl fmt::Debug for EphemeralCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let domain = self.trust_domain.as_str();
        f.debug_tuple("EphemeralCa").field(&domain).finish()
    }
}

impl fmt::Debug for EphemeralIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("EphemeralIdentity")
            .field(&self.serial)
            .finish()
    }
}
