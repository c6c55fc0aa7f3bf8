//! Issuing: sign, record, and only then write the files of the holder.
//!
//! A holder's files belong together. They are complete under other names and on disk before the
//! first one is renamed, and are then renamed one right after the other: key, certificate, trust.
//! Should power fail between two of these renames, the holder has a new key next to its old
//! certificate, which no peer accepts; issuing again replaces both. The other order would leave a
//! certificate whose key is lost.

use std::time::Duration;

use certs::{Certificate, Holder, Role, Subject};
use rcgen::{KeyPair, PublicKeyData};
use rustls_pki_types::{ServerName, UnixTime};

use crate::authority::{Authority, Hierarchy, Signed};
use crate::error::CommandError;
use crate::files::Staging;
use crate::layout::IdentityFiles;

/// A certificate on its way to its holder.
pub(super) struct Delivery {
    signed: Signed,
    /// The private key, when it was made here.
    key: Option<String>,
    files: IdentityFiles,
}

impl Delivery {
    /// A certificate for `subject`, whose private key stays where it is.
    pub(super) fn to_peer(
        ca: &Hierarchy,
        subject: &Subject,
        key: &impl PublicKeyData,
        now: UnixTime,
    ) -> Result<Self, CommandError> {
        let holder = Holder::Peer(&ca.trust_domain, subject);
        let mut validity = ca.device_ca.validity(holder.role(), now)?;
        if let Some(revoked) = ca.registry.last_revocation(subject)? {
            // A broker that was told of the revocation refuses what was valid at its time.
            let after = revoked.at.as_secs().saturating_add(1);
            let after = UnixTime::since_unix_epoch(Duration::from_secs(after));
            validity.not_before = validity.not_before.max(after);
        }
        let signed = ca.device_ca.sign_for(holder, key, validity)?;
        Ok(Self {
            signed,
            key: None,
            files: ca.layout.peer(subject),
        })
    }

    /// A certificate for the broker that is reached under `names`.
    pub(super) fn to_broker(
        ca: &Hierarchy,
        names: &[ServerName<'_>],
        key: &impl PublicKeyData,
        now: UnixTime,
    ) -> Result<Self, CommandError> {
        let signed = ca.server_ca.sign(Holder::Server(names), key, now)?;
        Ok(Self {
            signed,
            key: None,
            files: ca.layout.broker(),
        })
    }

    /// Delivers the private key too.
    pub(super) fn with_key(self, key: &KeyPair) -> Self {
        Self {
            key: Some(key.serialize_pem()),
            ..self
        }
    }

    /// What the holder will have. Nobody has it yet.
    pub(super) fn certificate(&self) -> &Certificate {
        &self.signed.certificate
    }
}

/// Records the certificates, all or none, and then writes the files of their holders.
pub(super) fn deliver(
    ca: &mut Hierarchy,
    deliveries: Vec<Delivery>,
    now: UnixTime,
) -> Result<(), CommandError> {
    if deliveries.is_empty() {
        return Ok(());
    }
    let mut signed = Vec::with_capacity(deliveries.len());
    let mut holders = Vec::with_capacity(deliveries.len());
    for delivery in deliveries {
        holders.push((delivery.key, delivery.files));
        signed.push(delivery.signed);
    }
    let recorded = ca.registry.record(signed, now)?;

    let mut staging = Staging::new(ca.layout.dir());
    for ((key, files), recorded) in holders.iter().zip(&recorded) {
        let (issuer, trusted) = above(ca, recorded.role());
        staging.make_dir(&files.dir)?;
        if let Some(key) = key {
            staging.write(&files.key, key)?;
        }
        staging.write(&files.cert, chain(recorded.pem(), issuer))?;
        staging.write(&files.ca, trusted)?;
    }
    staging.commit()
}

/// Who signs the certificates of `role`, and what their holders trust.
pub(super) fn above(ca: &Hierarchy, role: Role) -> (&Authority, &str) {
    match role {
        Role::Broker => (&ca.server_ca, ca.device_ca.pem()),
        Role::Root | Role::DeviceCa | Role::ServerCa | Role::Device | Role::App => {
            (&ca.device_ca, ca.root.pem())
        }
    }
}

/// A certificate followed by its issuer's, as TLS sends them.
pub(super) fn chain(pem: &str, issuer: &Authority) -> String {
    [pem, issuer.pem()].concat()
}
