//! `countersign device issue` and `app issue`: a certificate for one device or application.
//!
//! Issued again, the holder gets a new certificate, and the old one is superseded: it still counts
//! until it expires, so that a holder who has not fetched the new one works on. A device that was
//! revoked gets another certificate only on purpose, and one that begins to be valid after its
//! revocation: brokers refuse all older ones.

use std::path::{Path, PathBuf};

use certs::{DeviceId, Kind, PublicKey, Role, Serial, Subject};
use rustls_pki_types::UnixTime;

use super::device_suspend::{refuse_revoked, refuse_suspended};
use super::issue::{Delivery, deliver};
use super::refusal::noted;
use crate::authority::{Algorithm, Hierarchy, Passphrase, key_file};
use crate::error::CommandError;
use crate::files;
use crate::layout::IdentityFiles;

/// Who is to have a certificate.
#[derive(Clone, Copy, Debug)]
pub struct IssueRequest<'a> {
    /// The directory of the authority.
    pub dir: &'a Path,
    /// What opens the key of the authority, when it is encrypted.
    pub passphrase: Option<&'a Passphrase>,
    /// The id of the holder.
    pub id: &'a DeviceId,
    /// A file with a certificate signing request, when the holder has made its own key.
    pub csr: Option<&'a Path>,
    /// Of which algorithm the key is that is made for it otherwise.
    pub algorithm: Algorithm,
    /// Whether it is to have one although it was revoked: it was replaced, or has a new key.
    pub again: bool,
}

/// What was issued.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerIssued {
    /// To whom.
    pub subject: Subject,
    /// The serial number of the certificate.
    pub serial: Serial,
    /// Its last second.
    pub not_after: UnixTime,
    /// The certificate that was superseded by it, if the holder had one.
    pub superseded: Option<Serial>,
    /// Where it is.
    pub files: IdentityFiles,
    /// Where its key is, when it was made here.
    pub key: Option<PathBuf>,
}

/// Issues a certificate to a device.
///
/// # Errors
/// [`CommandError`] names what is in the way.
pub fn device_issue(request: &IssueRequest<'_>, now: UnixTime) -> Result<PeerIssued, CommandError> {
    device_issue_by(request, now, |ca, delivery| {
        deliver(ca, vec![delivery], now)
    })
}

/// As [`device_issue`], of a certificate that `hand_out` records and brings to the device.
pub(super) fn device_issue_by(
    request: &IssueRequest<'_>,
    now: UnixTime,
    hand_out: impl FnOnce(&mut Hierarchy, Delivery) -> Result<(), CommandError>,
) -> Result<PeerIssued, CommandError> {
    issue((request, Kind::Device), now, hand_out)
}

/// Issues a certificate to an application.
///
/// # Errors
/// [`CommandError`] names what is in the way.
pub fn app_issue(request: &IssueRequest<'_>, now: UnixTime) -> Result<PeerIssued, CommandError> {
    let hand_out = |ca: &mut Hierarchy, delivery| deliver(ca, vec![delivery], now);
    issue((request, Kind::App), now, hand_out)
}

fn issue(
    (request, kind): (&IssueRequest<'_>, Kind),
    now: UnixTime,
    hand_out: impl FnOnce(&mut Hierarchy, Delivery) -> Result<(), CommandError>,
) -> Result<PeerIssued, CommandError> {
    let subject = Subject {
        kind,
        id: request.id.clone(),
    };
    noted((request.dir, &subject.to_string()), now, || {
        issue_to((request, &subject), now, hand_out)
    })
}

fn issue_to(
    (request, subject): (&IssueRequest<'_>, &Subject),
    now: UnixTime,
    hand_out: impl FnOnce(&mut Hierarchy, Delivery) -> Result<(), CommandError>,
) -> Result<PeerIssued, CommandError> {
    let mut ca = Hierarchy::open_for_devices(request.dir, request.passphrase, now)?;
    refuse_suspended(&ca, subject)?;
    if !request.again {
        refuse_revoked(&ca, subject)?;
    }
    let files = ca.layout.peer(subject);
    let role = Role::from(subject.kind);
    let superseded = ca.registry.current(role, request.id.as_str())?;
    let delivery = if let Some(path) = request.csr {
        Delivery::to_peer(&ca, subject, &requested_key(&ca, subject, path)?, now)?
    } else {
        let key = key_file::generate_for(request.algorithm)?;
        Delivery::to_peer(&ca, subject, &key, now)?.with_key(&key)
    };
    let (serial, not_after) = (
        delivery.certificate().serial,
        delivery.certificate().not_after,
    );
    hand_out(&mut ca, delivery)?;
    Ok(PeerIssued {
        subject: subject.clone(),
        serial,
        not_after,
        superseded: superseded.map(|recorded| recorded.certificate().serial),
        key: request.csr.is_none().then(|| files.key.clone()),
        files,
    })
}

/// The key in the request `path`, unless it is one that signs certificates here: whoever holds that
/// would pass for a device and for its authority.
pub(super) fn requested_key(
    ca: &Hierarchy,
    subject: &Subject,
    path: &Path,
) -> Result<PublicKey, CommandError> {
    let refused = |source| CommandError::Request {
        path: path.into(),
        source,
    };
    let request = files::read(path)?;
    let key = PublicKey::from_request_of(&request, &ca.trust_domain, subject).map_err(refused)?;
    let der = key.to_der();
    if ca.authority_keys().any(|it| *it == *der) {
        return Err(CommandError::AuthorityKey(path.into()));
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use certs::InvalidRequest;
    use rcgen::{CertificateParams, KeyPair, PublicKeyData, SigningKey};
    use tempfile::TempDir;

    use super::*;
    use crate::ExitClass;
    use crate::commands::{InitRequest, ca_init};
    use crate::registry::RegistryError;
    use crate::testing::{certificate, day, issue, mode};

    fn world() -> TempDir {
        let temp = tempfile::tempdir().unwrap();
        ca_init(&InitRequest::new(temp.path()), day(0)).unwrap();
        temp
    }

    fn request(temp: &TempDir, key: &impl SigningKey) -> PathBuf {
        let request = CertificateParams::default().serialize_request(key).unwrap();
        let path = temp.path().join("request.pem");
        fs::write(&path, request.pem().unwrap()).unwrap();
        path
    }

    #[test]
    fn a_device_gets_key_chain_and_trust() {
        let temp = world();
        let issued = issue(temp.path(), "dev-1", None).unwrap();
        assert_eq!(issued.files.dir, temp.path().join("devices/dev-1"));
        assert_eq!(issued.key.as_ref(), Some(&issued.files.key));
        assert_eq!(issued.superseded, None);
        assert_eq!(certificate(&issued.files.cert).serial, issued.serial);
        assert_eq!(certificate(&issued.files.cert).not_after, issued.not_after);
        let trusted = fs::read(&issued.files.ca).unwrap();
        assert_eq!(trusted, fs::read(temp.path().join("ca.pem")).unwrap());
        assert_eq!(mode(&issued.files.dir), 0o700);
        for file in [&issued.files.cert, &issued.files.key, &issued.files.ca] {
            assert_eq!(mode(file), 0o600);
        }
        assert_eq!(fs::read_dir(&issued.files.dir).unwrap().count(), 3);
    }

    #[test]
    fn issued_again_a_device_has_a_new_key_and_the_old_certificate_is_superseded() {
        let temp = world();
        let first = issue(temp.path(), "dev-1", None).unwrap();
        let before = certificate(&first.files.cert);
        let second = issue(temp.path(), "dev-1", None).unwrap();
        let after = certificate(&second.files.cert);
        assert_eq!(second.superseded, Some(first.serial));
        assert_ne!(before.public_key, after.public_key);
        let key = key_file::open(&second.files.key).unwrap();
        assert_eq!(*key.subject_public_key_info(), *after.public_key);
    }

    #[test]
    fn a_device_with_its_own_key_gets_no_key_from_us() {
        let temp = world();
        let key = KeyPair::generate().unwrap();
        let csr = request(&temp, &key);
        issue(temp.path(), "dev-1", None).unwrap();
        let issued = issue(temp.path(), "dev-1", Some(&csr)).unwrap();
        assert_eq!(issued.key, None);
        let certificate = certificate(&issued.files.cert);
        assert_eq!(*certificate.public_key, *key.subject_public_key_info());
        assert!(!issued.files.key.exists());
    }

    #[test]
    fn a_key_that_a_device_keeps_next_to_its_certificate_stays() {
        let temp = world();
        let issued = issue(temp.path(), "dev-1", None).unwrap();
        let key = key_file::open(&issued.files.key).unwrap();
        issue(temp.path(), "dev-1", Some(&request(&temp, &key))).unwrap();
        assert!(issued.files.key.exists());
    }

    #[test]
    fn a_request_that_proves_nothing_is_refused_in_words() {
        let temp = world();
        let csr = temp.path().join("large.csr");
        fs::write(&csr, vec![b'x'; 1 << 20]).unwrap();
        let refused = issue(temp.path(), "dev-1", Some(&csr)).unwrap_err();
        assert_eq!(refused.exit_class(), ExitClass::Refused);
        let CommandError::Request { source, .. } = &refused else {
            panic!("{refused:?}")
        };
        assert!(matches!(source, InvalidRequest::TooLong(_)), "{source}");
        let missing = issue(temp.path(), "dev-1", Some(&temp.path().join("none"))).unwrap_err();
        assert_eq!(missing.exit_class(), ExitClass::NotFound);
        assert!(!temp.path().join("devices").exists());
    }

    #[test]
    fn the_key_of_an_authority_is_not_certified_as_a_devices() {
        let temp = world();
        for authority in ["root", "device-ca", "server-ca"] {
            let path = temp.path().join(format!("ca/{authority}.key.pem"));
            let csr = request(&temp, &key_file::open(&path).unwrap());
            let refused = issue(temp.path(), "dev-1", Some(&csr)).unwrap_err();
            assert!(
                matches!(refused, CommandError::AuthorityKey(_)),
                "{authority}: {refused}"
            );
        }
    }

    #[test]
    fn an_id_belongs_to_one_holder_whatever_its_case() {
        let temp = world();
        issue(temp.path(), "dev-1", None).unwrap();
        let refused = issue(temp.path(), "Dev-1", None).unwrap_err();
        assert_eq!(refused.exit_class(), ExitClass::Refused);
        assert!(
            refused
                .to_string()
                .contains("Dev-1 is taken by the device dev-1"),
            "{refused}"
        );
        let id = &DeviceId::parse("dev-1").unwrap();
        let app = IssueRequest {
            passphrase: None,
            dir: temp.path(),
            id,
            csr: None,
            algorithm: Algorithm::default(),
            again: false,
        };
        let refused = app_issue(&app, day(0)).unwrap_err();
        let taken = RegistryError::IdTaken {
            asked: "dev-1".into(),
            holder: "the device dev-1".into(),
        };
        assert_eq!(refused.to_string(), taken.to_string());
        assert!(!temp.path().join("devices/Dev-1").exists());
        assert!(!temp.path().join("apps").exists());
    }

    #[test]
    fn an_expired_authority_signs_nothing() {
        let temp = world();
        let id = &DeviceId::parse("dev-1").unwrap();
        let request = IssueRequest {
            passphrase: None,
            dir: temp.path(),
            id,
            csr: None,
            algorithm: Algorithm::default(),
            again: false,
        };
        let refused = device_issue(&request, day(3_651)).unwrap_err();
        assert!(
            matches!(refused, CommandError::AuthorityExpired(_)),
            "{refused}"
        );
        let last = device_issue(&request, day(3_649)).unwrap();
        assert_eq!(last.not_after, day(3_650));
    }
}
