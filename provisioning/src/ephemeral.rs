//! Authorities that live in this process alone: for tests and simulated fleets.
//!
//! They sign by the same profiles as those of a directory, and what they sign is recorded nowhere:
//! keys and certificates end with the process. Nothing but a broker made for a test should trust
//! them.

use crate::authority::{Authority, Signed, key_file};
use crate::commands::RotationStage;
use crate::error::CommandError;
use certs::{AuthorityName, Holder, Role, Serial, Subject, TrustDomain, Validity};
use rcgen::KeyPair;
use rustls_pki_types::{ServerName, UnixTime};
use std::fmt;

/// A root, an authority for devices and one for brokers.
pub struct EphemeralCa {
    trust_domain: TrustDomain,
    root: Authority,
    device_ca: Line,
    server_ca: Line,
}

/// Authorities of one role, each of which follows the one before.
struct Line {
    active: Authority,
    /// What `active` has followed, until it is retired.
    before: Option<Authority>,
    next: Option<Authority>,
    is_next_trusted: bool,
    /// Of `active`.
    number: u32,
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
        let root = name("Countersign TEST ONLY root");
        let (root, _) = Authority::new_root(root, key_file::generate()?, now)?;
        Ok(Self {
            device_ca: Line::new(authority_below(&root, (Role::DeviceCa, 1), now)?),
            server_ca: Line::new(authority_below(&root, (Role::ServerCa, 1), now)?),
            trust_domain,
            root,
        })
    }

    /// Brings new authorities for devices and for brokers to a stage, as `ca rotate` does with
    /// those of a directory; the root stays. A stage that was left out is done with the next one.
    ///
    /// Whoever retires must know that nobody needs the ones before: there is no record here that
    /// could say so.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn rotate(&mut self, stage: RotationStage, now: UnixTime) -> Result<(), CommandError> {
        self.device_ca
            .advance(stage, (&self.root, Role::DeviceCa), now)?;
        self.server_ca
            .advance(stage, (&self.root, Role::ServerCa), now)
    }

    /// The trust domain of its devices.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// What devices trust brokers by, in PEM: what would be a device's `ca.pem`.
    pub fn root_pem(&self) -> &str {
        self.root.pem()
    }

    /// What a broker trusts devices by, in PEM: the anchors of its configuration.
    pub fn device_ca_pem(&self) -> String {
        self.device_ca.trusted().map(Authority::pem).collect()
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
        let validity = self.device_ca.active.validity(subject.kind.into(), now)?;
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
        let issuer = &self.device_ca.active;
        with_key(issuer, |key| issuer.sign_for(holder, key, validity))
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
        let issuer = &self.server_ca.active;
        with_key(issuer, |key| issuer.sign(Holder::Server(names), key, now))
    }
}

impl Line {
    fn new(active: Authority) -> Self {
        Self {
            active,
            before: None,
            next: None,
            is_next_trusted: false,
            number: 1,
        }
    }

    fn advance(
        &mut self,
        stage: RotationStage,
        (root, role): (&Authority, Role),
        now: UnixTime,
    ) -> Result<(), CommandError> {
        match stage {
            RotationStage::Prepare | RotationStage::Publish | RotationStage::Switch => {
                let next = match self.next.take() {
                    Some(next) => next,
                    None => authority_below(root, (role, self.number + 1), now)?,
                };
                if stage == RotationStage::Switch {
                    self.before = Some(std::mem::replace(&mut self.active, next));
                    self.number += 1;
                } else {
                    self.next = Some(next);
                }
                self.is_next_trusted = stage == RotationStage::Publish;
            }
            RotationStage::Retire => self.before = None,
        }
        Ok(())
    }

    fn trusted(&self) -> impl Iterator<Item = &Authority> {
        let next = self.next.iter().filter(|_| self.is_next_trusted);
        let active = std::iter::once(&self.active);
        self.before.iter().chain(active).chain(next)
    }
}

/// Every key has a name of its own: a name with two keys breaks revocation.
fn authority_below(
    root: &Authority,
    (role, number): (Role, u32),
    now: UnixTime,
) -> Result<Authority, CommandError> {
    let key = key_file::generate()?;
    let words = format!("Countersign TEST ONLY {} {number}", role.as_str());
    let holder = match role {
        Role::ServerCa => Holder::ServerCa(name(&words)),
        Role::Root | Role::DeviceCa | Role::Broker | Role::Device | Role::App => {
            Holder::DeviceCa(name(&words))
        }
    };
    let signed = root.sign(holder, &key, now)?;
    Authority::of_signed(signed, key)
}

fn name(common_name: &str) -> AuthorityName<'_> {
    AuthorityName {
        organization: None,
        common_name,
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
