//! `countersign device suspend` and `device resume`: a device that is not to come in for a while.
//!
//! Its certificates are put on the revocation list with the reason certificateHold, and are left
//! out of the first complete list after it is let in again, as RFC 5280 §5.3.1 has it. Nothing is
//! issued to it meanwhile: that would not be on the list.

use std::path::Path;

use certs::{Role, Subject};
use rustls_pki_types::UnixTime;

use super::crl_publish::{Published, bring_up_to_date};
use super::refusal::noted;
use crate::authority::{Hierarchy, Passphrase};
use crate::error::CommandError;

/// Whom to suspend or to let in again.
#[derive(Clone, Copy, Debug)]
pub struct SuspendRequest<'a> {
    /// The directory of the authority.
    pub dir: &'a Path,
    /// What opens the key of the authority, when it is encrypted.
    pub passphrase: Option<&'a Passphrase>,
    /// The device or application.
    pub subject: &'a Subject,
}

/// Who is suspended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeviceSuspended {
    /// The device or application.
    pub subject: Subject,
    /// Since when.
    pub since: UnixTime,
    /// The list on which its certificates are.
    pub list: Published,
}

/// Who was let in again.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeviceResumed {
    /// The device or application.
    pub subject: Subject,
    /// Whether it was suspended.
    pub was_suspended: bool,
    /// The list without its certificates.
    pub list: Published,
}

/// Suspends a device, and publishes the list.
///
/// # Errors
/// [`CommandError::NoSuchDevice`], [`CommandError::Revoked`] when it was revoked, and what else is
/// in the way.
pub fn device_suspend(
    request: &SuspendRequest<'_>,
    now: UnixTime,
) -> Result<DeviceSuspended, CommandError> {
    let subject = request.subject;
    noted((request.dir, &subject.to_string()), now, || {
        let mut ca = Hierarchy::open_for_lists(request.dir, request.passphrase, now)?;
        refuse_revoked(&ca, subject)?;
        let since = ca.registry.suspend_device(subject, now)?;
        Ok(DeviceSuspended {
            subject: subject.clone(),
            since: since.ok_or_else(|| CommandError::NoSuchDevice(subject.clone()))?,
            list: bring_up_to_date(&mut ca, None, now)?,
        })
    })
}

/// Lets a device in again, and publishes the list.
///
/// # Errors
/// [`CommandError::NoSuchDevice`], [`CommandError::Revoked`] when it was revoked, and what else is
/// in the way.
pub fn device_resume(
    request: &SuspendRequest<'_>,
    now: UnixTime,
) -> Result<DeviceResumed, CommandError> {
    let subject = request.subject;
    noted((request.dir, &subject.to_string()), now, || {
        let mut ca = Hierarchy::open_for_lists(request.dir, request.passphrase, now)?;
        refuse_revoked(&ca, subject)?;
        let was = ca.registry.resume_device(subject, now)?;
        Ok(DeviceResumed {
            subject: subject.clone(),
            was_suspended: was.ok_or_else(|| CommandError::NoSuchDevice(subject.clone()))?,
            list: bring_up_to_date(&mut ca, None, now)?,
        })
    })
}

/// Refuses a device that was revoked and holds nothing since: a revocation does not lead back.
pub(super) fn refuse_revoked(ca: &Hierarchy, subject: &Subject) -> Result<(), CommandError> {
    let role = Role::from(subject.kind);
    if ca.registry.current(role, subject.id.as_str())?.is_some() {
        return Ok(());
    }
    match ca.registry.last_revocation(subject)? {
        Some(revoked) => Err(CommandError::Revoked {
            subject: subject.clone(),
            revoked,
        }),
        None => Ok(()),
    }
}

/// Refuses to issue to a device that is suspended.
pub(super) fn refuse_suspended(ca: &Hierarchy, subject: &Subject) -> Result<(), CommandError> {
    match ca.registry.suspended_since(subject)? {
        Some(since) => Err(CommandError::Suspended {
            subject: subject.clone(),
            since,
        }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Layout;
    use crate::testing::{day, der, issue, up};
    use crate::{DeviceState, ExitClass, RevokeRequest, device_revoke, device_show};
    use certs::{
        Admission, Authority, IdFrom, RevocationList, RevocationReason, RevocationSet, Revoked,
        admit,
    };

    fn request<'a>(dir: &'a Path, subject: &'a Subject) -> SuspendRequest<'a> {
        SuspendRequest {
            dir,
            passphrase: None,
            subject,
        }
    }

    /// What a broker says to the device that has read the lists so far and now this one.
    fn is_admitted(revoked: &mut RevocationSet, dir: &Path, now: UnixTime) -> bool {
        let layout = Layout::new(dir);
        let issuers = [Authority::read(&der(&layout.device_ca_pem())).unwrap()];
        let octets = std::fs::read(layout.device_ca_crl()).unwrap();
        for list in RevocationList::read_all(&octets, &issuers) {
            revoked.replace_list(list.unwrap()).unwrap();
        }
        let admission = Admission {
            trust_domain: &certs::TrustDomain::default(),
            id_from: &IdFrom::Uri,
            revoked,
        };
        let subject = Subject::parse("dev-1").unwrap();
        admit(&der(&layout.peer(&subject).cert), &admission, now).is_ok()
    }

    #[test]
    fn a_device_is_kept_out_until_it_is_let_in_again() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path();
        up(dir, 2, day(0)).unwrap();
        let lists = &mut RevocationSet::default();
        let subject = &Subject::parse("dev-1").unwrap();
        let suspended = device_suspend(&request(dir, subject), day(1)).unwrap();
        assert_eq!((suspended.list.number, suspended.list.entries), (1, 1));
        assert!(!is_admitted(lists, dir, day(1)));
        let again = device_suspend(&request(dir, subject), day(2)).unwrap();
        assert_eq!((again.since, again.list.made), (day(1), false));
        let shown = device_show(dir, subject, day(2)).unwrap().device;
        assert_eq!(shown.state, DeviceState::Suspended);
        let refused = issue(dir, "dev-1", None).unwrap_err();
        assert!(
            refused.to_string().contains("device resume dev-1"),
            "{refused}"
        );
        assert_eq!(refused.exit_class(), ExitClass::Refused);

        let resumed = device_resume(&request(dir, subject), day(2)).unwrap();
        assert_eq!((resumed.list.number, resumed.list.entries), (2, 0));
        assert!(resumed.was_suspended && is_admitted(lists, dir, day(2)));
        let again = device_resume(&request(dir, subject), day(2)).unwrap();
        assert!(!again.was_suspended && !again.list.made);
        let shown = device_show(dir, subject, day(2)).unwrap().device;
        assert_eq!(shown.state, DeviceState::Active);
        issue(dir, "dev-1", None).unwrap();
    }

    #[test]
    fn who_is_revoked_while_suspended_is_not_let_in_again() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path();
        up(dir, 1, day(0)).unwrap();
        let subject = &Subject::parse("dev-1").unwrap();
        device_suspend(&request(dir, subject), day(1)).unwrap();
        let reason = RevocationReason::KeyCompromise;
        let revoke = RevokeRequest {
            dir,
            passphrase: None,
            subject,
            reason,
        };
        let revoked = device_revoke(&revoke, day(2)).unwrap();
        let at = day(2);
        assert_eq!(revoked.revoked, Revoked { at, reason });
        assert_eq!(revoked.list.entries, 1);
        for refused in [
            device_resume(&request(dir, subject), day(3)).map(drop),
            device_suspend(&request(dir, subject), day(3)).map(drop),
        ] {
            assert!(matches!(refused, Err(CommandError::Revoked { .. })));
        }
        assert!(!is_admitted(&mut RevocationSet::default(), dir, day(3)));
        let nobody = &Subject::parse("dev-9").unwrap();
        let refused = device_suspend(&request(dir, nobody), day(3)).unwrap_err();
        assert_eq!(refused.exit_class(), ExitClass::NotFound);
    }
}
