//! `countersign ca status`: the authorities of a directory, how their keys are kept, how old the
//! revocation list is, and what should be done next.
//!
//! No key is opened, and nothing is changed.

use std::path::{Path, PathBuf};

use certs::{Certificate, Freshness, Role, Serial, TrustDomain};
use rustls_pki_types::UnixTime;

use crate::authority::{Algorithm, Hierarchy, KeyKept};
use crate::commands::crl_publish::newest_file;
use crate::commands::up_prepare::is_near_its_end;
use crate::error::CommandError;

/// The authorities of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CaStatus {
    /// For whom they speak.
    pub trust_domain: TrustDomain,
    /// The root, and below it those who issue.
    pub authorities: Vec<AuthorityStatus>,
    /// The revocation list that was published last, if there is one.
    pub list: Option<ListStatus>,
    /// What should be done next.
    pub next: NextStep,
}

/// One authority.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuthorityStatus {
    /// What it is.
    pub role: Role,
    /// Its name.
    pub subject: Box<str>,
    /// The serial number of its certificate.
    pub serial: Serial,
    /// The last second of its certificate.
    pub not_after: UnixTime,
    /// With what it signs, when that is known here.
    pub algorithm: Option<Algorithm>,
    /// How its key is kept.
    pub key: KeyKept,
    /// Where its key is, unless it is elsewhere.
    pub key_file: PathBuf,
}

/// The revocation list that was published last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListStatus {
    /// Its number.
    pub number: u64,
    /// How many certificates are on it.
    pub entries: usize,
    /// When it was made.
    pub this_update: UnixTime,
    /// By when there must be a newer one.
    pub next_update: UnixTime,
    /// Whether it speaks of the present.
    pub freshness: Freshness,
}

/// What should be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextStep {
    /// An authority is in the last third of its life, or beyond it.
    Replace(Role),
    /// There is no list, or it is past half of its life.
    Publish,
    /// All is well: go on issuing.
    Issue,
}

/// Says how the authorities in `dir` stand.
///
/// # Errors
/// [`CommandError`] names what is in the way, such as a key that others may read.
pub fn ca_status(dir: &Path, now: UnixTime) -> Result<CaStatus, CommandError> {
    let ca = Hierarchy::open(dir)?;
    let authorities = [
        (Role::Root, ca.root.certificate()),
        (Role::DeviceCa, ca.device_ca.certificate()),
        (Role::ServerCa, ca.server_ca.certificate()),
    ];
    let list = newest_file(&ca)?.map(|(list, _)| ListStatus {
        number: list.number().to_u64().unwrap_or(u64::MAX),
        entries: list.len(),
        this_update: list.this_update(),
        next_update: list.next_update(),
        freshness: list.freshness(now),
    });
    let old = authorities
        .iter()
        .find(|(_, certificate)| is_near_its_end(certificate, now));
    let next = match (old, &list) {
        (Some((role, _)), _) => NextStep::Replace(*role),
        (None, Some(list)) if !list.is_past_half_its_life(now) => NextStep::Issue,
        (None, Some(_) | None) => NextStep::Publish,
    };
    let status = |(role, certificate)| AuthorityStatus::of(&ca, role, certificate);
    Ok(CaStatus {
        authorities: authorities
            .map(status)
            .into_iter()
            .collect::<Result<_, _>>()?,
        trust_domain: ca.trust_domain.clone(),
        list,
        next,
    })
}

impl AuthorityStatus {
    fn of(ca: &Hierarchy, role: Role, certificate: &Certificate) -> Result<Self, CommandError> {
        let key_file = ca.layout.authority_key(role);
        Ok(Self {
            role,
            subject: certificate.subject.clone(),
            serial: certificate.serial,
            not_after: certificate.not_after,
            algorithm: Algorithm::of(&certificate.public_key),
            key: KeyKept::at(&key_file)?,
            key_file,
        })
    }
}

impl ListStatus {
    /// Whether a new one should be signed.
    pub fn is_past_half_its_life(&self, now: UnixTime) -> bool {
        let seconds = |from: UnixTime, to: UnixTime| to.as_secs().saturating_sub(from.as_secs());
        seconds(self.this_update, now) >= seconds(self.this_update, self.next_update) / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{day, issue};
    use crate::{InitRequest, PublishRequest, ca_init, crl_publish};

    #[test]
    fn what_is_there_and_what_to_do_next_is_said() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path();
        ca_init(&InitRequest::new(dir), day(0)).unwrap();
        let status = ca_status(dir, day(0)).unwrap();
        assert_eq!((status.list, status.next), (None, NextStep::Publish));
        let stand: Vec<_> = status
            .authorities
            .iter()
            .map(|it| (it.role, it.algorithm.unwrap(), it.key))
            .collect();
        let expected = [
            (Role::Root, Algorithm::P384, KeyKept::Unencrypted),
            (Role::DeviceCa, Algorithm::P256, KeyKept::Unencrypted),
            (Role::ServerCa, Algorithm::P256, KeyKept::Unencrypted),
        ];
        assert_eq!(stand, expected);

        let request = PublishRequest {
            passphrase: None,
            force: true,
            dir,
            days: Some(8),
        };
        crl_publish(&request, day(1)).unwrap();
        for (at, next) in [
            (4, NextStep::Issue),
            (5, NextStep::Publish),
            (3_000, NextStep::Replace(Role::DeviceCa)),
        ] {
            let status = ca_status(dir, day(at)).unwrap();
            assert_eq!(status.next, next, "day {at}");
            assert_eq!(status.list.unwrap().number, 1);
        }
        // A root may be kept elsewhere: devices are issued to without it.
        std::fs::remove_file(&status.authorities[0].key_file).unwrap();
        let status = ca_status(dir, day(1)).unwrap();
        assert_eq!(status.authorities[0].key, KeyKept::Elsewhere);
        issue(dir, "dev-1", None).unwrap();
    }
}
