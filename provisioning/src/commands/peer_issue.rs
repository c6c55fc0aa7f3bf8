//! `countersign device issue` and `app issue`: a certificate for one device or application.
//!
//! Issued again, the holder gets a new certificate, and the old one is superseded: it still counts
//! until it expires, so that a holder who has not fetched the new one works on.

use std::fs;
use std::path::{Path, PathBuf};

use certs::{DeviceId, Kind, PublicKey, Role, Serial, Subject};
use rcgen::PublicKeyData;
use rustls_pki_types::UnixTime;

use super::issue::{Delivery, deliver};
use crate::authority::{Hierarchy, key_file};
use crate::error::CommandError;
use crate::files;
use crate::layout::IdentityFiles;

/// Who is to have a certificate.
#[derive(Clone, Copy, Debug)]
pub struct IssueRequest<'a> {
    /// The directory of the authority.
    pub dir: &'a Path,
    /// The id of the holder.
    pub id: &'a DeviceId,
    /// A file with a certificate signing request, when the holder has made its own key.
    pub csr: Option<&'a Path>,
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
    issue(request, Kind::Device, now)
}

/// Issues a certificate to an application.
///
/// # Errors
/// [`CommandError`] names what is in the way.
pub fn app_issue(request: &IssueRequest<'_>, now: UnixTime) -> Result<PeerIssued, CommandError> {
    issue(request, Kind::App, now)
}

fn issue(
    request: &IssueRequest<'_>,
    kind: Kind,
    now: UnixTime,
) -> Result<PeerIssued, CommandError> {
    let mut ca = Hierarchy::open(request.dir)?;
    let subject = Subject {
        kind,
        id: request.id.clone(),
    };
    let files = ca.layout.peer(&subject);
    let superseded = ca.registry.current(Role::from(kind), request.id.as_str())?;
    let delivery = if let Some(path) = request.csr {
        Delivery::to_peer(&ca, &subject, &requested_key(&ca, path)?, now)?
    } else {
        let key = key_file::generate()?;
        Delivery::to_peer(&ca, &subject, &key, now)?.with_key(&key)
    };
    let (serial, not_after) = (
        delivery.certificate().serial,
        delivery.certificate().not_after,
    );
    let public_key = delivery.certificate().public_key.clone();
    deliver(&mut ca, vec![delivery], now)?;
    remove_other_key(&files.key, &public_key)?;
    Ok(PeerIssued {
        subject,
        serial,
        not_after,
        superseded: superseded.map(|recorded| recorded.certificate().serial),
        key: request.csr.is_none().then(|| files.key.clone()),
        files,
    })
}

/// The key in the request `path`, unless it is one that signs certificates here: whoever holds that
/// would pass for a device and for its authority.
fn requested_key(ca: &Hierarchy, path: &Path) -> Result<PublicKey, CommandError> {
    let refused = |source| CommandError::Request {
        path: path.into(),
        source,
    };
    let key = PublicKey::from_request(&files::read(path)?).map_err(refused)?;
    if ca.is_authority_key(&key.to_der()) {
        return Err(CommandError::AuthorityKey(path.into()));
    }
    Ok(key)
}

/// A key left over next to a certificate that is not its own would only be mistaken for its key.
fn remove_other_key(path: &Path, public_key: &[u8]) -> Result<(), CommandError> {
    let left_over = files::exists(path)?
        && key_file::open(path).map_or(true, |key| key.subject_public_key_info() != public_key);
    if left_over {
        fs::remove_file(path).map_err(|source| files::failed("remove", path, source))?;
    }
    Ok(())
}
