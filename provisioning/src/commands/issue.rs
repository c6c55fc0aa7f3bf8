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
use zeroize::Zeroizing;

use crate::authority::{self, Authority, Hierarchy, Signed, key_file};
use crate::error::CommandError;
use crate::files::{self, Staging};
use crate::layout::IdentityFiles;
use crate::registry::Recorded;

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
        Ok((ca.registry.record_one(self.signed, now)?, self.key))
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
    sign_after(&ca.device_ca, holder, (key, revoked), (now, Duration::MAX))
}

/// A certificate for a device or an application, which begins to be valid after `revoked` and ends
/// `lifetime_max` from now at the latest.
pub(crate) fn sign_after(
    device_ca: &Authority,
    holder: Holder<'_>,
    (key, revoked): (&impl PublicKeyData, Option<Revoked>),
    (now, lifetime_max): (UnixTime, Duration),
) -> Result<Signed, CommandError> {
    let mut validity = device_ca.validity(holder.role(), now)?;
    let end = now.as_secs().saturating_add(lifetime_max.as_secs());
    let end = UnixTime::since_unix_epoch(Duration::from_secs(end));
    validity.not_after = validity.not_after.min(end);
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
        if delivery.signed.role != Role::Broker {
            files::refuse_unreplaceable(&delivery.files.dir)?;
        }
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
    let (issuer, trusted) = above(ca, recorded)?;
    let (chain, trusted) = (chain(recorded.pem(), issuer), trusted.as_str());
    if recorded.role() == Role::Broker {
        staging.make_dir(&files.dir)?;
        if let Some(key) = key {
            staging.write(&files.key, key)?;
        }
        staging.write(&files.cert, chain)?;
        return staging.write(&files.ca, trusted);
    }
    // The key that a device keeps there stays; one that is not its own would be mistaken for it.
    let kept = match key {
        Some(_) => None,
        None => key_of(&that_count(files)?, recorded),
    };
    let key = key.or(kept.as_ref().map(|kept| kept.as_str()));
    let contents = [
        (&*files.cert, Some(&*chain)),
        (&*files.ca, Some(trusted)),
        (&*files.key, key),
    ];
    staging.write_dir(&files.dir, &contents)
}

/// The files in the version that counts, where a device has renewed its certificate itself.
pub(super) fn that_count(files: &IdentityFiles) -> Result<IdentityFiles, CommandError> {
    Ok(IdentityFiles::below(files::that_counts(&files.dir)?))
}

/// The key that stands there, if it is that of the certificate.
fn key_of(files: &IdentityFiles, recorded: &Recorded) -> Option<Zeroizing<String>> {
    let is_its_own = has_key_of(files, recorded.certificate()).unwrap_or(false);
    let text = is_its_own.then(|| files::read_private(&files.key).ok())?;
    text.map(Zeroizing::new)
}

/// Whether the key that stands there is that of a certificate.
pub(super) fn has_key_of(
    files: &IdentityFiles,
    certificate: &Certificate,
) -> Result<bool, CommandError> {
    let key = key_file::open(&files.key)?;
    Ok(*key.subject_public_key_info() == *certificate.public_key)
}

/// Whether the files are what was delivered. The key may be missing, when the holder made its own.
pub(super) fn holds(
    ca: &Hierarchy,
    files: &IdentityFiles,
    recorded: &Recorded,
) -> Result<bool, CommandError> {
    let (issuer, trusted) = above(ca, recorded)?;
    let chain = chain(recorded.pem(), issuer);
    let found = that_count(files)?;
    for (path, expected) in [(&found.cert, &chain), (&found.ca, &trusted)] {
        let octets = files::read_if_there(path)?.unwrap_or_default();
        // A device that renews writes the same certificates, in words of its own.
        let is_same = if found == *files {
            octets == expected.as_bytes()
        } else {
            begins_as(&octets, expected)
        };
        if !is_same {
            return Ok(false);
        }
    }
    Ok(!files::exists(&found.key)? || has_key_of(&found, recorded.certificate())?)
}

/// Whether the first certificate is that of `expected`.
fn begins_as(octets: &[u8], expected: &str) -> bool {
    let found = std::str::from_utf8(octets).ok();
    let found = found.and_then(|text| authority::der(text).ok());
    found.is_some() && found == authority::der(expected).ok()
}

/// Who has signed a certificate, and what its holder trusts.
pub(super) fn above<'a>(
    ca: &'a Hierarchy,
    recorded: &Recorded,
) -> Result<(&'a Authority, String), CommandError> {
    let trusted = match recorded.role() {
        Role::Broker => ca.trusted_by_brokers(),
        Role::Root | Role::DeviceCa | Role::ServerCa | Role::Device | Role::App => {
            ca.trusted_by_peers()
        }
    };
    Ok((ca.issuer_of(recorded.certificate())?, trusted))
}

/// A certificate followed by those above it, as TLS sends them.
pub(crate) fn chain(pem: &str, issuer: &Authority) -> String {
    [pem, &issuer.path_pem()].concat()
}

#[cfg(test)]
mod tests;
