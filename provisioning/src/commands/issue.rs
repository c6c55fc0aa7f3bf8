//! Issuing: sign, record, and only then write the files of the holder.
//!
//! A holder's files belong together. The directory of a device is replaced as a whole, so that at
//! any moment its key is that of its certificate. In that of a broker other things stand too, a
//! socket among them, so its files are renamed one right after the other: key, certificate, trust.
//! Should power fail between two of these renames, the broker has a new key next to its old
//! certificate, with which it does not start; issuing again replaces both. The other order would
//! leave a certificate whose key is lost.

use std::path::Path;
use std::time::Duration;

use certs::{Certificate, Holder, Revoked, Role, Subject};
use rcgen::{KeyPair, PublicKeyData};
use rustls_pki_types::{ServerName, UnixTime};

use crate::authority::{Authority, Hierarchy, Signed, key_file};
use crate::error::CommandError;
use crate::files::{self, Staging};
use crate::layout::IdentityFiles;
use crate::registry::{Recorded, RegistryError};

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
        Ok(Self {
            signed: sign_for_peer(ca, subject, key, now)?,
            key: None,
            files: ca.layout.peer(subject),
        })
    }

    /// The files below `dir` instead of those in the directory of the authority.
    pub(super) fn below(self, dir: &Path) -> Self {
        let files = IdentityFiles::below(dir.join(&*self.signed.name));
        Self { files, ..self }
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

    /// Records it, and hands out what was recorded, with the key that was made here.
    pub(super) fn record(
        self,
        ca: &mut Hierarchy,
        now: UnixTime,
    ) -> Result<(Recorded, Option<String>), CommandError> {
        let recorded = ca.registry.record(vec![self.signed], now)?.pop();
        let nothing = CommandError::Registry(RegistryError::Damaged);
        Ok((recorded.ok_or(nothing)?, self.key))
    }

    /// Where it will be.
    pub(super) fn files(&self) -> &IdentityFiles {
        &self.files
    }

    /// What the holder will have. Nobody has it yet.
    pub(super) fn certificate(&self) -> &Certificate {
        &self.signed.certificate
    }
}

/// A certificate for `subject`, which begins to be valid after its last revocation.
pub(super) fn sign_for_peer(
    ca: &Hierarchy,
    subject: &Subject,
    key: &impl PublicKeyData,
    now: UnixTime,
) -> Result<Signed, CommandError> {
    let revoked = ca.registry.last_revocation(subject)?;
    let holder = Holder::Peer(&ca.trust_domain, subject);
    sign_after(&ca.device_ca, holder, (key, revoked), now)
}

/// A certificate for a device or an application, which begins to be valid after `revoked`.
pub(crate) fn sign_after(
    device_ca: &Authority,
    holder: Holder<'_>,
    (key, revoked): (&impl PublicKeyData, Option<Revoked>),
    now: UnixTime,
) -> Result<Signed, CommandError> {
    let mut validity = device_ca.validity(holder.role(), now)?;
    if let Some(revoked) = revoked {
        // A broker that was told of the revocation refuses what was valid at its time.
        let after = revoked.at.as_secs().saturating_add(1);
        let after = UnixTime::since_unix_epoch(Duration::from_secs(after));
        validity.not_before = validity.not_before.max(after);
    }
    device_ca.sign_for(holder, key, validity)
}

/// Records the certificates, all or none, and then writes the files of their holders.
pub(super) fn deliver(
    ca: &mut Hierarchy,
    deliveries: Vec<Delivery>,
    now: UnixTime,
) -> Result<(), CommandError> {
    let root = ca.layout.dir().to_path_buf();
    deliver_below(ca, &root, deliveries, now)
}

/// As [`deliver`], of files that all stand below `root`.
pub(super) fn deliver_below(
    ca: &mut Hierarchy,
    root: &Path,
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

    let mut staging = Staging::new(root);
    for ((key, files), recorded) in holders.iter().zip(&recorded) {
        stage(&mut staging, ca, recorded, (key.as_deref(), files))?;
    }
    staging.commit()
}

/// Writes the files of one holder.
pub(super) fn stage(
    staging: &mut Staging,
    ca: &Hierarchy,
    recorded: &Recorded,
    (key, files): (Option<&str>, &IdentityFiles),
) -> Result<(), CommandError> {
    let (issuer, trusted) = above(ca, recorded.role());
    let chain = chain(recorded.pem(), issuer);
    if recorded.role() == Role::Broker {
        staging.make_dir(&files.dir)?;
        if let Some(key) = key {
            staging.write(&files.key, key)?;
        }
        staging.write(&files.cert, chain)?;
        return staging.write(&files.ca, trusted);
    }
    let mut contents = vec![(&*files.cert, Some(&*chain)), (&*files.ca, Some(trusted))];
    // The key that a device keeps there stays; one that is not its own would be mistaken for it.
    if key.is_some() || !has_key_of(files, recorded) {
        contents.push((&files.key, key));
    }
    staging.write_dir(&files.dir, &contents)
}

/// Whether the key that stands there is that of the certificate.
fn has_key_of(files: &IdentityFiles, recorded: &Recorded) -> bool {
    key_file::open(&files.key)
        .is_ok_and(|key| *key.subject_public_key_info() == *recorded.certificate().public_key)
}

/// Whether the files are what was delivered. The key may be missing, when the holder made its own.
pub(super) fn holds(
    ca: &Hierarchy,
    files: &IdentityFiles,
    recorded: &Recorded,
) -> Result<bool, CommandError> {
    let (issuer, trusted) = above(ca, recorded.role());
    let chain = chain(recorded.pem(), issuer);
    for (path, expected) in [(&files.cert, chain.as_str()), (&files.ca, trusted)] {
        if files::read_if_there(path)?.as_deref() != Some(expected.as_bytes()) {
            return Ok(false);
        }
    }
    if !files::exists(&files.key)? {
        return Ok(true);
    }
    let key = key_file::open(&files.key)?;
    Ok(*key.subject_public_key_info() == *recorded.certificate().public_key)
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
pub(crate) fn chain(pem: &str, issuer: &Authority) -> String {
    [pem, issuer.pem()].concat()
}
