//! `countersign device renew`: a new certificate in the place of the one that a device has.
//!
//! Its directory is replaced as a whole, so that at any moment it holds one key and the certificate
//! for it; a key made here is of the algorithm of the old one. The old certificate is superseded
//! and counts until it expires, so that a device which has not fetched the new one works on. A
//! device that was revoked, or never had a certificate, is not renewed.

use std::path::{Path, PathBuf};

use certs::{DeviceId, Kind, Role, Serial, Subject};
use rustls_pki_types::UnixTime;

use super::device_suspend::refuse_suspended;
use super::issue::{Delivery, deliver_below};
use super::peer_issue::requested_key;
use super::refusal::noted;
use crate::authority::{Algorithm, Hierarchy, Passphrase, key_file};
use crate::error::CommandError;
use crate::files;
use crate::layout::IdentityFiles;
use crate::registry::Recorded;

/// Whose certificate to renew.
#[derive(Clone, Copy, Debug)]
pub struct RenewRequest<'a> {
    /// The directory of the authority.
    pub dir: &'a Path,
    /// What opens the key of the authority, when it is encrypted.
    pub passphrase: Option<&'a Passphrase>,
    /// The device.
    pub id: &'a DeviceId,
    /// A file with a certificate signing request, when the device has made its own key.
    pub csr: Option<&'a Path>,
    /// The directory in which the device has its own, when it is not in that of the authority.
    pub out: Option<&'a Path>,
}

/// What was renewed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeviceRenewed {
    /// The device.
    pub subject: Subject,
    /// The serial number of the new certificate.
    pub serial: Serial,
    /// Its last second.
    pub not_after: UnixTime,
    /// The certificate that was superseded by it.
    pub superseded: Serial,
    /// Where it is.
    pub files: IdentityFiles,
    /// Where its key is, when it was made here.
    pub key: Option<PathBuf>,
}

/// Renews the certificate of a device.
///
/// # Errors
/// [`CommandError::NoCertificate`] when it has none, [`CommandError::Revoked`] when it was taken
/// from it, and what else is in the way.
pub fn device_renew(
    request: &RenewRequest<'_>,
    now: UnixTime,
) -> Result<DeviceRenewed, CommandError> {
    noted((request.dir, request.id.as_str()), now, || {
        renew(request, now)
    })
}

fn renew(request: &RenewRequest<'_>, now: UnixTime) -> Result<DeviceRenewed, CommandError> {
    let mut ca = Hierarchy::open_for_devices(request.dir, request.passphrase, now)?;
    let subject = Subject {
        kind: Kind::Device,
        id: request.id.clone(),
    };
    refuse_suspended(&ca, &subject)?;
    let old = renewable(&ca, &subject, now)?;
    let delivery = if let Some(path) = request.csr {
        Delivery::to_peer(&ca, &subject, &requested_key(&ca, &subject, path)?, now)?
    } else {
        let like = Algorithm::of(&old.certificate().public_key);
        let key = key_file::generate_for(like.unwrap_or_default())?;
        Delivery::to_peer(&ca, &subject, &key, now)?.with_key(&key)
    };
    let (root, delivery) = match request.out {
        Some(out) => {
            files::make_private_dir(out)?;
            (out.to_path_buf(), delivery.below(out))
        }
        None => (ca.layout.dir().to_path_buf(), delivery),
    };
    let (new, files) = (delivery.certificate().clone(), delivery.files().clone());
    deliver_below(&mut ca, &root, vec![delivery], now)?;
    Ok(DeviceRenewed {
        subject,
        serial: new.serial,
        not_after: new.not_after,
        superseded: old.certificate().serial,
        key: request.csr.is_none().then(|| files.key.clone()),
        files,
    })
}

/// The certificate that the device has.
fn renewable(ca: &Hierarchy, subject: &Subject, now: UnixTime) -> Result<Recorded, CommandError> {
    if let Some(old) = ca.registry.current(Role::Device, subject.id.as_str())? {
        return Ok(old);
    }
    let subject = subject.clone();
    if let Some(revoked) = ca.registry.last_revocation(&subject)? {
        return Err(CommandError::Revoked { subject, revoked });
    }
    let unknown = ca.registry.devices(Some(&subject), now)?.is_empty();
    Err(if unknown {
        CommandError::NoSuchDevice(subject)
    } else {
        CommandError::NoCertificate(subject)
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use rcgen::PublicKeyData;

    use super::*;
    use crate::commands::inventory::device_show;
    use crate::testing::{certificate, day, issue, mode, revoke, up};
    use crate::{AddRequest, ExitClass, Labels, device_add};

    fn renew(dir: &Path, id: &str, out: Option<&Path>) -> Result<DeviceRenewed, CommandError> {
        let id = &DeviceId::parse(id).unwrap();
        let csr = None;
        device_renew(
            &RenewRequest {
                passphrase: None,
                dir,
                id,
                csr,
                out,
            },
            day(1),
        )
    }

    #[test]
    fn a_device_has_one_certificate_that_counts_and_the_key_for_it() {
        let temp = tempfile::tempdir().unwrap();
        up(temp.path(), 0, day(0)).unwrap();
        let first = issue(temp.path(), "dev-1", None).unwrap();
        let renewed = renew(temp.path(), "dev-1", None).unwrap();
        assert_eq!(renewed.superseded, first.serial);
        assert_eq!(renewed.files, first.files);
        let on_disk = certificate(&renewed.files.cert);
        assert_eq!(on_disk.serial, renewed.serial);
        let key = key_file::open(&renewed.files.key).unwrap();
        assert_eq!(*key.subject_public_key_info(), *on_disk.public_key);
        let shown = device_show(temp.path(), &renewed.subject, day(1)).unwrap();
        let lives: Vec<_> = shown.certificates.iter().map(|c| c.status.name()).collect();
        assert_eq!(lives, ["superseded", "issued"]);
    }

    #[test]
    fn a_device_elsewhere_gets_its_files_there() {
        let temp = tempfile::tempdir().unwrap();
        let (dir, out) = (temp.path().join("ca"), temp.path().join("out"));
        up(&dir, 0, day(0)).unwrap();
        issue(&dir, "dev-1", None).unwrap();
        let renewed = renew(&dir, "dev-1", Some(&out)).unwrap();
        assert_eq!(renewed.files.dir, out.join("dev-1"));
        assert_eq!((mode(&out), mode(&renewed.files.key)), (0o700, 0o600));
        assert_eq!(certificate(&renewed.files.cert).serial, renewed.serial);
    }

    #[test]
    fn an_output_that_leads_elsewhere_is_refused_before_anything_is_recorded() {
        let temp = tempfile::tempdir().unwrap();
        let [dir, out, outside] = ["ca", "out", "outside"].map(|name| temp.path().join(name));
        up(&dir, 0, day(0)).unwrap();
        let issued = issue(&dir, "dev-1", None).unwrap();
        fs::create_dir(&outside).unwrap();
        symlink(&outside, &out).unwrap();
        let refused = renew(&dir, "dev-1", Some(&out)).unwrap_err();
        assert_eq!(refused.exit_class(), ExitClass::Refused);
        let shown = device_show(&dir, &issued.subject, day(1)).unwrap();
        assert_eq!(shown.certificates.len(), 1);
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    }

    #[test]
    fn who_has_nothing_to_renew_is_told_why() {
        let temp = tempfile::tempdir().unwrap();
        up(temp.path(), 1, day(0)).unwrap();
        let labels = &Labels::default();
        let (dir, subject) = (temp.path(), &Subject::parse("dev-2").unwrap());
        device_add(
            &AddRequest {
                dir,
                subject,
                labels,
            },
            day(0),
        )
        .unwrap();
        revoke(dir, "dev-1", day(0)).unwrap();
        for (id, class) in [
            ("dev-1", ExitClass::Refused),
            ("dev-2", ExitClass::NotFound),
            ("dev-3", ExitClass::NotFound),
        ] {
            let refused = renew(dir, id, None).unwrap_err();
            assert_eq!(refused.exit_class(), class, "{refused}");
        }
    }
}
