//! The certificates in a file: several in PEM, or one in DER.

use crate::failure::{FAILED, Failure};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// A bundle of a hundred anchors has a tenth of it.
const FILE_LEN_MAX: u64 = 4 * 1024 * 1024;

/// Reads the certificates in `path`, in their order.
pub(super) fn read(path: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let mut octets = Vec::new();
    let opened = File::open(path);
    let read = opened.and_then(|file| file.take(FILE_LEN_MAX + 1).read_to_end(&mut octets));
    read.map_err(|error| Failure::cannot_read(path, &error))?;
    let words = |what: &str| Failure::new(FAILED, format!("{}: {what}", path.display()));
    if u64::try_from(octets.len()).is_ok_and(|len| len > FILE_LEN_MAX) {
        return Err(words("larger than 4 MiB"));
    }
    parse(&octets).ok_or_else(|| words("no certificate in PEM or DER is in it"))
}

/// What is not PEM is taken for DER: whether it is, says who reads it.
fn parse(octets: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    /// A sequence (X.690 §8.9).
    const SEQUENCE: u8 = 0x30;
    if octets.first() == Some(&SEQUENCE) {
        return Some(vec![octets.to_vec().into()]);
    }
    let found = CertificateDer::pem_slice_iter(octets).collect::<Result<Vec<_>, _>>();
    found.ok().filter(|found| !found.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";

    #[test]
    fn certificates_are_read_in_pem_and_in_der_and_nothing_else_is() {
        let count = |octets: &[u8]| parse(octets).map(|found| found.len());
        assert_eq!(count(&[0x30, 0]), Some(1));
        assert_eq!(count(format!("words\n{ONE}{ONE}").as_bytes()), Some(2));
        let key = ONE.replace("CERTIFICATE", "PRIVATE KEY");
        assert_eq!(count(format!("{key}{ONE}").as_bytes()), Some(1));
        for nothing in ["", "words", &key, &ONE.replace("MAA=", "!!")] {
            assert_eq!(count(nothing.as_bytes()), None, "{nothing}");
        }
    }
}
