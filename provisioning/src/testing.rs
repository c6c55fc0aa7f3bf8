//! What the tests of commands share: a directory, a time, and a look at what is on disk.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use certs::{Certificate, DeviceId, RevocationReason, Subject};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, UnixTime};

use crate::{
    CommandError, DeviceRevoked, IssueRequest, PeerIssued, Prepared, RevokeRequest, UpRequest,
    device_issue, device_revoke, up_prepare,
};

/// The day on which the authorities of the tests are made.
pub(crate) fn day(days: u64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(1_800_000_000 + days * 86_400))
}

/// So long before now.
pub(crate) fn ago(time: Duration) -> UnixTime {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap();
    UnixTime::since_unix_epoch(now.checked_sub(time).unwrap())
}

pub(crate) fn up(dir: &Path, devices: u32, now: UnixTime) -> Result<Prepared, CommandError> {
    up_prepare(
        &UpRequest {
            dir,
            devices,
            server_names: &[],
            trust_domain: None,
        },
        now,
    )
}

pub(crate) fn issue(dir: &Path, id: &str, csr: Option<&Path>) -> Result<PeerIssued, CommandError> {
    let id = &DeviceId::parse(id).unwrap();
    device_issue(
        &IssueRequest {
            passphrase: None,
            dir,
            id,
            csr,
            algorithm: crate::Algorithm::default(),
            again: false,
        },
        day(0),
    )
}

pub(crate) fn revoke(dir: &Path, id: &str, now: UnixTime) -> Result<DeviceRevoked, CommandError> {
    let subject = &Subject::parse(id).unwrap();
    device_revoke(
        &RevokeRequest {
            passphrase: None,
            dir,
            subject,
            reason: RevocationReason::KeyCompromise,
        },
        now,
    )
}

/// The first certificate in a file.
pub(crate) fn certificate(path: &Path) -> Certificate {
    crate::authority::read_pem(&fs::read_to_string(path).unwrap()).unwrap()
}

/// The same in DER.
pub(crate) fn der(path: &Path) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(path).unwrap()
}

pub(crate) fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}
