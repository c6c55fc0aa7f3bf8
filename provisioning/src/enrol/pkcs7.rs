//! Certificates in PKCS #7, as EST hands them out: signed data that nobody signs (RFC 5652 §5.1,
//! RFC 7030 §4.1.3).
//!
//! The shape is fixed, and nothing in it is a secret.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::CertificateDer;
use yasna::models::ObjectIdentifier;
use yasna::{Tag, construct_der};

/// pkcs-7 1 (data) and 2 (signedData).
const DATA: [u64; 7] = [1, 2, 840, 113_549, 1, 7, 1];
const SIGNED_DATA: [u64; 7] = [1, 2, 840, 113_549, 1, 7, 2];

/// OpenSSL reads no longer lines.
const LINE_LEN: usize = 64;

/// The certificates, and nothing else.
pub(super) fn certs_only(certificates: &[CertificateDer<'_>]) -> Vec<u8> {
    let oid = |parts: [u64; 7]| ObjectIdentifier::from_slice(&parts);
    construct_der(|writer| {
        writer.write_sequence(|content_info| {
            content_info.next().write_oid(&oid(SIGNED_DATA));
            content_info.next().write_tagged(Tag::context(0), |writer| {
                writer.write_sequence(|signed_data| {
                    signed_data.next().write_u8(1);
                    // No digest algorithms.
                    signed_data.next().write_set(|_| ());
                    signed_data.next().write_sequence(|content| {
                        content.next().write_oid(&oid(DATA));
                    });
                    let set = signed_data.next();
                    set.write_tagged_implicit(Tag::context(0), |writer| {
                        writer.write_set_of(|set| {
                            for certificate in certificates {
                                set.next().write_der(certificate);
                            }
                        });
                    });
                    // Nobody signs.
                    signed_data.next().write_set(|_| ());
                });
            });
        });
    })
}

/// The attributes of a request that we like best: a P-256 key, a signature with SHA-256 (RFC 7030
/// §4.5.2). Nothing else is taken from a request.
pub(super) fn csr_attributes() -> Vec<u8> {
    let oid = |parts: &[u64]| ObjectIdentifier::from_slice(parts);
    construct_der(|writer| {
        writer.write_sequence(|attributes| {
            attributes.next().write_sequence(|attribute| {
                // id-ecPublicKey, on secp256r1 (RFC 5480).
                attribute.next().write_oid(&oid(&[1, 2, 840, 10_045, 2, 1]));
                attribute.next().write_set_of(|values| {
                    values.next().write_oid(&oid(&[1, 2, 840, 10_045, 3, 1, 7]));
                });
            });
            // ecdsa-with-SHA256.
            let signature = oid(&[1, 2, 840, 10_045, 4, 3, 2]);
            attributes.next().write_oid(&signature);
        });
    })
}

/// Octets in base64, in lines that every program reads (RFC 8951 §3 has readers skip their ends).
pub(super) fn base64_lines(octets: &[u8]) -> String {
    let text = STANDARD.encode(octets);
    let mut lines = String::with_capacity(text.len() + text.len() / LINE_LEN + 1);
    for (place, digit) in text.chars().enumerate() {
        if place > 0 && place % LINE_LEN == 0 {
            lines.push('\n');
        }
        lines.push(digit);
    }
    lines.push('\n');
    lines
}

#[cfg(test)]
mod tests {
    use rustls_pki_types::pem::PemObject;

    use super::*;
    use crate::testing::{day, up};

    #[test]
    fn rfc_5652_the_shape_is_that_of_signed_data_without_signers() {
        let made = certs_only(&[CertificateDer::from(vec![0x30, 0])]);
        let expected = [
            &[0x30, 0x27, 6, 9][..],
            b"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02",
            &[0xa0, 0x1a, 0x30, 0x18, 2, 1, 1, 0x31, 0, 0x30, 0x0b, 6, 9],
            b"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01",
            &[0xa0, 2, 0x30, 0, 0x31, 0],
        ];
        assert_eq!(made, expected.concat());
    }

    #[test]
    fn lines_are_as_long_as_openssl_reads_them() {
        let text = base64_lines(&[0; 100]);
        assert!(text.lines().all(|line| line.len() <= 64));
        assert_eq!(text.lines().count(), 3);
        assert_eq!(STANDARD.decode(text.replace('\n', "")).unwrap(), [0; 100]);
    }

    #[test]
    #[ignore = "needs openssl; scripts/test runs it"]
    fn openssl_reads_the_certificates() {
        let temp = tempfile::tempdir().unwrap();
        let layout = up(temp.path(), 1, day(0)).unwrap().layout;
        let certificate = |path| CertificateDer::from_pem_file(path).unwrap();
        let both = [
            certificate(layout.ca_pem()),
            certificate(layout.device_ca_pem()),
        ];
        let file = temp.path().join("made.p7");
        std::fs::write(&file, certs_only(&both)).unwrap();
        let read = std::process::Command::new("openssl")
            .args(["pkcs7", "-inform", "DER", "-print_certs", "-noout", "-in"])
            .arg(file)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&read.stdout).into_owned();
        for name in ["root 1", "device CA 1"] {
            let subject = format!("subject=CN = Countersign DEV ONLY {name}");
            assert!(text.contains(&subject), "{text}");
        }
    }
}
