//! `countersign device revoke`: a device's certificates, all of them, count no longer.
//!
//! The revocation is on disk before it is published, and published before anybody is told. Given
//! again, it says what was said before, and publishes what was not.

use std::path::Path;

use certs::{RevocationReason, Revoked, Serial, Subject};
use rustls_pki_types::UnixTime;

use super::crl_publish::{Published, bring_up_to_date};
use super::refusal::noted;
use super::registry_export::{Exported, renew_without};
use crate::authority::{Hierarchy, Passphrase};
use crate::error::CommandError;

/// Whom to revoke.
#[derive(Clone, Copy, Debug)]
pub struct RevokeRequest<'a> {
    /// The directory of the authority.
    pub dir: &'a Path,
    /// What opens the key of the authority, when it is encrypted.
    pub passphrase: Option<&'a Passphrase>,
    /// The device or application.
    pub subject: &'a Subject,
    /// Why.
    pub reason: RevocationReason,
}

/// Who was revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeviceRevoked {
    /// The device or application.
    pub subject: Subject,
    /// When and why; as it was said first, when it was revoked before.
    pub revoked: Revoked,
    /// Whether it was revoked before, and nothing was left to revoke.
    pub already: bool,
    /// The certificates that were revoked now.
    pub certificates: Vec<Serial>,
    /// The list on which they are.
    pub list: Published,
    /// The registry export that was made anew without the device, where one was published.
    pub export: Option<Exported>,
}

/// Revokes a device, publishes the list, and renews the registry export if there is one.
///
/// # Errors
/// [`CommandError::NoSuchDevice`] when it was never issued a certificate here, and what else is in
/// the way.
pub fn device_revoke(
    request: &RevokeRequest<'_>,
    now: UnixTime,
) -> Result<DeviceRevoked, CommandError> {
    let subject = request.subject.to_string();
    noted((request.dir, &subject), now, || revoke(request, now))
}

fn revoke(request: &RevokeRequest<'_>, now: UnixTime) -> Result<DeviceRevoked, CommandError> {
    let mut ca = Hierarchy::open_for_lists(request.dir, request.passphrase, now)?;
    let revoked = Revoked {
        at: now,
        reason: request.reason,
    };
    let found = ca.registry.revoke_device(request.subject, revoked)?;
    let found = found.ok_or_else(|| CommandError::NoSuchDevice(request.subject.clone()))?;
    Ok(DeviceRevoked {
        subject: request.subject.clone(),
        revoked: found.revoked,
        already: found.certificates.is_empty(),
        certificates: found.certificates,
        list: bring_up_to_date(&mut ca, None, now)?,
        export: renew_without(&mut ca, request.subject, now)?,
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::layout::Layout;
    use crate::testing::{certificate, day, der, issue, mode, revoke, up};
    use crate::{ExitClass, IssueRequest, Outcome, device_issue};
    use certs::{
        Admission, Authority, Certificate, IdFrom, Refusal, RevocationList, RevocationSet, admit,
    };

    fn issue_again(dir: &Path, id: &str, now: UnixTime) -> Certificate {
        let id = &certs::DeviceId::parse(id).unwrap();
        let issued = device_issue(
            &IssueRequest {
                passphrase: None,
                dir,
                id,
                csr: None,
                algorithm: crate::Algorithm::default(),
                again: true,
            },
            now,
        );
        certificate(&issued.unwrap().files.cert)
    }

    fn list(layout: &Layout) -> RevocationList {
        let issuers = [Authority::read(&der(&layout.device_ca_pem())).unwrap()];
        let octets = fs::read(layout.broker_crl()).unwrap();
        assert_eq!(octets, fs::read(layout.device_ca_crl()).unwrap());
        RevocationList::read_all(&octets, &issuers)
            .remove(0)
            .unwrap()
    }

    fn gate(leaf: &[u8], revoked: &RevocationSet, now: UnixTime) -> Result<(), Refusal> {
        let trust_domain = &certs::TrustDomain::default();
        let admission = Admission {
            trust_domain,
            id_from: &IdFrom::Uri,
            revoked,
        };
        admit(leaf, &admission, now).map(drop)
    }

    #[test]
    fn all_certificates_of_a_revoked_device_are_on_the_list_that_brokers_find() {
        let temp = tempfile::tempdir().unwrap();
        let layout = up(temp.path(), 2, day(0)).unwrap().layout;
        let files = layout.peer(&Subject::parse("dev-1").unwrap());
        let first = der(&files.cert);
        let second = issue(temp.path(), "dev-1", None).unwrap();
        let done = revoke(temp.path(), "dev-1", day(1)).unwrap();
        let mut revoked = done.certificates.clone();
        revoked.sort_unstable();
        let mut expected = [Certificate::read(&first).unwrap().serial, second.serial];
        expected.sort_unstable();
        assert_eq!(revoked, expected);
        let since = Revoked {
            at: day(1),
            reason: RevocationReason::KeyCompromise,
        };
        assert_eq!((done.revoked, done.already), (since, false));
        assert_eq!(
            (done.list.number, done.list.entries, done.list.made),
            (1, 2, true)
        );

        let mut set = RevocationSet::default();
        set.replace_list(list(&layout)).unwrap();
        for leaf in [first, der(&files.cert)] {
            assert_eq!(
                gate(&leaf, &set, day(1)),
                Err(Refusal::RevokedCertificate(since))
            );
        }
        let other = layout.peer(&Subject::parse("dev-2").unwrap());
        assert_eq!(gate(&der(&other.cert), &set, day(1)), Ok(()));
        for path in done.list.files {
            assert_eq!(mode(&path), 0o600, "{}", path.display());
        }
    }

    #[test]
    fn given_again_it_says_what_was_said_before() {
        let temp = tempfile::tempdir().unwrap();
        up(temp.path(), 1, day(0)).unwrap();
        let first = revoke(temp.path(), "dev-1", day(1)).unwrap();
        let again = revoke(temp.path(), "dev-1", day(2)).unwrap();
        assert!(again.already && again.certificates.is_empty());
        assert_eq!(again.revoked, first.revoked);
        assert_eq!(
            (again.list.number, again.list.made),
            (first.list.number, false)
        );
    }

    #[test]
    fn whoever_is_not_in_the_registry_is_not_found() {
        let temp = tempfile::tempdir().unwrap();
        up(temp.path(), 1, day(0)).unwrap();
        for id in ["dev-2", "app/dev-1", "DEV-1", "app-1"] {
            let missing = revoke(temp.path(), id, day(0)).unwrap_err();
            assert_eq!(missing.exit_class(), ExitClass::NotFound, "{id}: {missing}");
        }
        assert!(!Layout::new(temp.path()).device_ca_crl().exists());
        assert!(!revoke(temp.path(), "app/app-1", day(0)).unwrap().already);
    }

    #[test]
    fn a_revoked_device_comes_back_on_purpose_only() {
        let temp = tempfile::tempdir().unwrap();
        let layout = up(temp.path(), 1, day(0)).unwrap().layout;
        let old = der(&layout.peer(&Subject::parse("dev-1").unwrap()).cert);
        let done = revoke(temp.path(), "dev-1", day(0)).unwrap();
        let refused = issue(temp.path(), "dev-1", None).unwrap_err();
        assert_eq!(refused.exit_class(), ExitClass::Refused);
        assert!(refused.to_string().contains("--again"), "{refused}");
        let prepared = up(temp.path(), 1, day(0)).unwrap();
        assert_eq!(prepared.devices[0].outcome, Outcome::Revoked);

        let new = issue_again(temp.path(), "dev-1", day(0));
        assert!(new.not_before > done.revoked.at);
        let mut set = RevocationSet::default();
        set.revoke_subject(done.subject.clone(), done.revoked);
        let later =
            UnixTime::since_unix_epoch(std::time::Duration::from_secs(day(0).as_secs() + 1));
        let refusal = Refusal::RevokedDevice(done.revoked);
        assert_eq!(gate(&old, &set, later), Err(refusal));
        let new = der(&layout.peer(&done.subject).cert);
        assert_eq!(gate(&new, &set, later), Ok(()));
        // It is like any other now: issued once more, or kept.
        assert_eq!(
            up(temp.path(), 1, day(1)).unwrap().devices[0].outcome,
            Outcome::Kept
        );
        issue(temp.path(), "dev-1", None).unwrap();
    }

    /// The clock may stand still, or go back.
    #[test]
    fn a_device_revoked_again_is_revoked_later() {
        let temp = tempfile::tempdir().unwrap();
        up(temp.path(), 1, day(0)).unwrap();
        let first = revoke(temp.path(), "dev-1", day(1)).unwrap();
        let new = issue_again(temp.path(), "dev-1", day(1));
        let second = revoke(temp.path(), "dev-1", day(0)).unwrap();
        assert!(!second.already && second.revoked.at > first.revoked.at);
        assert!(new.not_before <= second.revoked.at);
        assert_eq!((second.list.number, second.list.entries), (2, 2));
    }

    #[test]
    fn what_was_recorded_and_not_published_is_published_by_the_next_try() {
        let temp = tempfile::tempdir().unwrap();
        let layout = up(temp.path(), 1, day(0)).unwrap().layout;
        let elsewhere = tempfile::tempdir().unwrap();
        let crl_dir = layout.broker_crl().parent().unwrap().to_owned();
        symlink(elsewhere.path(), &crl_dir).unwrap();
        let failed = revoke(temp.path(), "dev-1", day(1)).unwrap_err();
        assert!(matches!(failed, CommandError::SymbolicLink(_)), "{failed}");
        assert!(
            issue(temp.path(), "dev-1", None).is_err(),
            "it is on record"
        );
        fs::remove_file(&crl_dir).unwrap();
        let again = revoke(temp.path(), "dev-1", day(2)).unwrap();
        assert!(again.already && again.list.made);
        assert_eq!((again.revoked.at, list(&layout).len()), (day(1), 1));
        // So is a copy that got lost.
        fs::remove_file(layout.broker_crl()).unwrap();
        assert!(!revoke(temp.path(), "dev-1", day(2)).unwrap().list.made);
        assert_eq!(list(&layout).number(), again.list.number.into());
    }
}
