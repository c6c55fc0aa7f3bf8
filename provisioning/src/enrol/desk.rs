//! The desk: the authority as enrolment sees it, one batch of requests at a time.
//!
//! Nothing but a public key is taken from a request, and nobody has a certificate before it is on
//! record. The lock on the directory is held for a batch, so that other commands get their turn.

use std::path::Path;
use std::time::Duration;

use certs::{Certificate, Holder, PublicKey, Revoked, Role, Serial, Subject};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};

use super::gate::{Authorities, Gate};
use crate::authority::{Authority, Hierarchy, Passphrase, der, key_file};
use crate::commands::{chain, sign_after};
use crate::error::CommandError;
use crate::registry::{Answer, Asked, AuthorityStage, NotEnrolled};

/// What the server's certificate is called on record, beside the broker's.
const SERVER_NAME: &str = "enrolment";

/// The authority, with the keys that issue.
pub(super) struct Desk {
    ca: Hierarchy,
    /// What opens the keys of those who issue next.
    passphrase: Option<Passphrase>,
    /// Where each authority was in its life when it was looked at last.
    stages: Vec<(Serial, AuthorityStage)>,
    /// How long a device's certificate is valid at most, where that is less than its profile says.
    pub(super) lifetime_max: Option<Duration>,
}

/// Who the server is.
pub(super) struct ServerIdentity {
    pub(super) chain: Vec<CertificateDer<'static>>,
    /// In memory alone: the next start makes another one.
    pub(super) key: PrivateKeyDer<'static>,
    pub(super) certificate: Certificate,
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
        Ok(Self {
            stages: ca.registry.stages()?,
            passphrase: passphrase.cloned(),
            lifetime_max: None,
            ca,
        })
    }

    /// Goes by those who issue now, if another command has brought one to another stage since;
    /// says whether one did.
    pub(super) fn follow(&mut self, now: UnixTime) -> Result<bool, CommandError> {
        let stages = self.ca.registry.stages()?;
        if stages == self.stages {
            return Ok(false);
        }
        self.ca.reload()?;
        let passphrase = self.passphrase.as_ref();
        self.ca.unlock_device_ca(passphrase, now)?;
        self.ca.unlock_server_ca(passphrase, now)?;
        self.stages = stages;
        Ok(true)
    }

    /// Whether the authority for servers has issued this certificate.
    pub(super) fn is_issuer_of(&self, certificate: &Certificate) -> bool {
        let issuer = self.ca.issuer_of(certificate);
        issuer.is_ok_and(|it| it.id() == self.ca.server_ca.id())
    }

    /// The gate of those who come with a certificate, which may have expired for `grace`.
    pub(super) fn gate(&self, grace: Duration) -> Result<Gate, CommandError> {
        let trust_domain = self.ca.trust_domain.clone();
        Ok(Gate::new(self.authorities()?, trust_domain, grace))
    }

    /// The authorities as those meet them who come in.
    pub(super) fn authorities(&self) -> Result<Authorities, CommandError> {
        let roots = self.ca.of_role(Role::Root).into_iter();
        let roots = roots.filter(|it| it.stage().is_trusted());
        let certificates = roots.chain(self.ca.device_cas()).map(|it| der(it.pem()));
        let issuers = self.ca.device_cas().map(Authority::as_issuer);
        Ok(Authorities {
            issuers: issuers.collect::<Result<_, _>>()?,
            certificates: certificates.collect::<Result<_, _>>()?,
            keys: self.ca.authority_keys().map(Into::into).collect(),
        })
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
        let lifetime_max = self.lifetime_max.unwrap_or(Duration::MAX);
        let Hierarchy {
            registry,
            device_ca,
            trust_domain,
            ..
        } = &mut self.ca;
        let sign = |subject: &Subject, key: &PublicKey, revoked: Option<Revoked>| {
            let holder = Holder::Peer(trust_domain, subject);
            sign_after(device_ca, holder, (key, revoked), (now, lifetime_max))
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
        let recorded = self.ca.registry.record_one(signed, now)?;
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
}
