//! The desk: the authority as enrolment sees it, one batch of requests at a time.
//!
//! Nothing but a public key is taken from a request, and nobody has a certificate before it is on
//! record. The lock on the directory is held for a batch, so that other commands get their turn.

use std::path::Path;
use std::time::Duration;

use certs::{Holder, PublicKey, Revoked, Subject};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};

use super::gate::Gate;
use crate::authority::{Hierarchy, Passphrase, key_file};
use crate::commands::{chain, sign_after};
use crate::error::CommandError;
use crate::registry::{Answer, Asked, NotEnrolled};

/// What the server's certificate is called on record, beside the broker's.
const SERVER_NAME: &str = "enrolment";

/// The authority, with the keys that issue.
pub(super) struct Desk {
    ca: Hierarchy,
}

/// Who the server is.
pub(super) struct ServerIdentity {
    pub(super) chain: Vec<CertificateDer<'static>>,
    /// In memory alone: the next start makes another one.
    pub(super) key: PrivateKeyDer<'static>,
    pub(super) certificate: certs::Certificate,
}

impl Desk {
    /// Opens the authority in `dir`, and both keys that issue.
    pub(super) fn open(
        dir: &Path,
        passphrase: Option<&Passphrase>,
        now: UnixTime,
    ) -> Result<Self, CommandError> {
        let mut ca = Hierarchy::open_for_devices(dir, passphrase, now)?;
        ca.unlock_server_ca(passphrase, now)?;
        Ok(Self { ca })
    }

    /// The gate of those who come with a certificate, which may have expired for `grace`.
    pub(super) fn gate(&self, grace: Duration) -> Result<Gate, CommandError> {
        let issuer = self.ca.device_ca.as_issuer()?;
        Ok(Gate::new(issuer, self.ca.trust_domain.clone(), grace))
    }

    /// The root and the authority of devices: what a device needs to build its chain.
    pub(super) fn ca_certificates(&self) -> Result<Vec<CertificateDer<'static>>, CommandError> {
        let read = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes());
        let both = [self.ca.root.pem(), self.ca.device_ca.pem()].map(read);
        let both: Result<Vec<_>, _> = both.into_iter().collect();
        Ok(both.map_err(|_| certs::Refusal::Malformed("not PEM"))?)
    }

    /// Does `work` while others may work on the directory.
    pub(super) fn step_aside<T>(&mut self, work: impl FnOnce() -> T) -> Result<T, CommandError> {
        self.ca.step_aside(|| Ok(work()))
    }

    /// Answers everybody who asks; those refused are noted, `notes_max` of them at most.
    pub(super) fn answer(
        &mut self,
        asked: &[Asked],
        (now, notes_max): (UnixTime, usize),
    ) -> Result<Vec<Result<Answer, NotEnrolled>>, CommandError> {
        let Hierarchy {
            registry,
            device_ca,
            trust_domain,
            ..
        } = &mut self.ca;
        let sign = |subject: &Subject, key: &PublicKey, revoked: Option<Revoked>| {
            let holder = Holder::Peer(trust_domain, subject);
            sign_after(device_ca, holder, (key, revoked), now)
        };
        Ok(registry.enrol(asked, &sign, (now, notes_max))?)
    }

    /// Notes what was refused before anybody was asked.
    pub(super) fn note_refusal(
        &mut self,
        (subject, words): (&str, &str),
        now: UnixTime,
    ) -> Result<(), CommandError> {
        Ok(self.ca.registry.note_refusal(subject, words, now)?)
    }

    /// Issues a certificate to the server itself, for a new key.
    pub(super) fn certify_server(
        &mut self,
        names: &[ServerName<'static>],
        now: UnixTime,
    ) -> Result<ServerIdentity, CommandError> {
        let key = key_file::generate()?;
        let mut signed = self.ca.server_ca.sign(Holder::Server(names), &key, now)?;
        signed.name = SERVER_NAME.into();
        let recorded = self.ca.registry.record(vec![signed], now)?;
        let recorded = recorded.into_iter().next();
        let recorded = recorded.ok_or(certs::Refusal::NoCertificate)?;
        let pem = chain(recorded.pem(), &self.ca.server_ca);
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
        let chain = chain.map_err(|_| certs::Refusal::Malformed("not PEM"))?;
        let (certificate, _) = recorded.into_parts();
        Ok(ServerIdentity {
            chain,
            key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            certificate,
        })
    }

    /// The keys that sign certificates here: whoever holds one would pass for a device and for its
    /// authority.
    pub(super) fn authority_keys(&self) -> Vec<Box<[u8]>> {
        let ca = &self.ca;
        let authorities = [
            ca.root.certificate(),
            ca.device_ca.certificate(),
            ca.server_ca.certificate(),
        ];
        authorities.map(|it| it.public_key.clone()).into()
    }
}
