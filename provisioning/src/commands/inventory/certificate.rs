//! `countersign cert explain`: what the registry knows of one certificate.

use std::path::Path;

use certs::Subject;

use crate::error::CommandError;
use crate::layout::Layout;
use crate::registry::{KnownCertificate, Registry};

/// Which certificate is asked for.
#[derive(Clone, Copy, Debug)]
pub enum WhichCertificate<'a> {
    /// The one that a device or an application should use, or else the last that it had.
    Of(&'a Subject),
    /// The one of which this is the SHA-256.
    Sha256(&'a [u8; 32]),
}

/// What is on record of a certificate; `None` when it was not issued here.
///
/// # Errors
/// [`CommandError`] names what is in the way.
pub fn certificate_find(
    dir: &Path,
    which: WhichCertificate<'_>,
) -> Result<Option<KnownCertificate>, CommandError> {
    let registry = Registry::open_in(&Layout::new(dir))?;
    Ok(match which {
        WhichCertificate::Of(subject) => registry.last_certificate(subject)?,
        WhichCertificate::Sha256(sha256) => registry.certificate_with(sha256)?,
    })
}

#[cfg(test)]
mod tests {
    use certs::{RevocationReason, Role, Status};

    use super::*;
    use crate::testing::{certificate, day, issue, revoke, up};
    use crate::{SuspendRequest, device_suspend};

    #[test]
    fn a_certificate_is_found_by_its_holder_and_by_its_fingerprint_with_its_state() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path();
        up(dir, 2, day(0)).unwrap();
        let subject = Subject::parse("dev-1").unwrap();
        let path = Layout::new(dir).peer(&subject).cert;
        let first = certificate(&path).sha256;
        issue(dir, "dev-1", None).unwrap();
        let second = certificate(&path).sha256;
        let by_hash = |sha256| certificate_find(dir, WhichCertificate::Sha256(sha256)).unwrap();
        let status = |sha256| by_hash(sha256).unwrap().status;
        assert_eq!(status(&first), Status::Superseded);
        assert_eq!(status(&second), Status::Issued);
        let of = certificate_find(dir, WhichCertificate::Of(&subject)).unwrap();
        assert_eq!(of, by_hash(&second));

        let request = SuspendRequest {
            dir,
            passphrase: None,
            subject: &subject,
        };
        device_suspend(&request, day(1)).unwrap();
        assert_eq!(by_hash(&second).unwrap().suspended, Some(day(1)));
        revoke(dir, "dev-1", day(2)).unwrap();
        let revoked = by_hash(&first).unwrap();
        let why = RevocationReason::KeyCompromise;
        assert_eq!(revoked.status, Status::Revoked(why));
        assert_eq!(revoked.revoked.unwrap().at, day(2));
        assert_eq!(revoked.suspended, None);

        let root = certificate(&Layout::new(dir).ca_pem()).sha256;
        assert_eq!(by_hash(&root).unwrap().role, Role::Root);
        assert_eq!(by_hash(&[7; 32]), None);
        let nobody = Subject::parse("app/dev-2").unwrap();
        let nobody = certificate_find(dir, WhichCertificate::Of(&nobody)).unwrap();
        assert_eq!(nobody, None);
    }
}
