//! Files that trust is made of, with the care a private key asks for.

use super::TrustError;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// All certificates of a PEM file, in their order.
pub(super) fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let pem = read(path)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let certificates = certificates.map_err(|source| not_pem(path, "a certificate", source))?;
    if certificates.is_empty() {
        return Err(TrustError::NoCertificate {
            path: path.to_owned(),
        });
    }
    Ok(certificates)
}

/// The private key of a PEM file that nobody but its owner may read.
pub(super) fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, TrustError> {
    let metadata = fs::metadata(path).map_err(|source| unreadable(path, source))?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(TrustError::ExposedKey {
            path: path.to_owned(),
            mode,
        });
    }
    PrivateKeyDer::from_pem_slice(&read(path)?)
        .map_err(|source| not_pem(path, "a private key", source))
}

/// All of a file.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, TrustError> {
    fs::read(path).map_err(|source| unreadable(path, source))
}

/// That a file cannot be read.
pub(super) fn unreadable(path: &Path, source: std::io::Error) -> TrustError {
    TrustError::Unreadable {
        path: path.to_owned(),
        source,
    }
}

fn not_pem(
    path: &Path,
    expected: &'static str,
    source: rustls_pki_types::pem::Error,
) -> TrustError {
    TrustError::NotPem {
        path: path.to_owned(),
        expected,
        source,
    }
}
