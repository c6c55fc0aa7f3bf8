//! The fields of a certificate that are no extensions (RFC 5280 §4.1).

use x509_parser::certificate::{TbsCertificate, X509Certificate};
use x509_parser::oid_registry::OID_KEY_TYPE_EC_PUBLIC_KEY;
use x509_parser::time::ASN1Time;
use x509_parser::x509::{SubjectPublicKeyInfo, X509Version};

use super::Found;

/// The last year of two digits (RFC 5280 §4.1.2.5.1).
const UTC_TIME_YEAR_MAX: i32 = 2049;
const SERIAL_LEN_MAX: usize = 20;

/// Signatures over MD5 (RSA) and SHA-1 (RSA twice, DSA, ECDSA).
const BROKEN_HASHES: [&str; 5] = [
    "1.2.840.113549.1.1.4",
    "1.2.840.113549.1.1.5",
    "1.3.14.3.2.29",
    "1.2.840.10040.4.3",
    "1.2.840.10045.4.1",
];

pub(super) fn check(x509: &X509Certificate<'_>, found: &mut Found) {
    let tbs = &x509.tbs_certificate;
    let serial = tbs.raw_serial();
    let is_negative = serial.first().is_some_and(|first| first & 0x80 != 0);
    let is_zero = serial.iter().all(|octet| *octet == 0);
    found.add_broken(&[
        (
            tbs.version == X509Version::V3 || tbs.extensions().is_empty(),
            "version",
            "RFC 5280 §4.1.2.1",
            "it has extensions and is not of version 3",
        ),
        (
            !is_negative && !is_zero,
            "serial",
            "RFC 5280 §4.1.2.2",
            "the serial number is not positive",
        ),
        (
            serial.len() <= SERIAL_LEN_MAX,
            "serial-length",
            "RFC 5280 §4.1.2.2",
            "the serial number is longer than 20 octets",
        ),
        (
            tbs.signature == x509.signature_algorithm,
            "signature-algorithm",
            "RFC 5280 §4.1.1.2",
            "the signature algorithm inside differs from the one outside",
        ),
        (
            tbs.issuer_uid.is_none() && tbs.subject_uid.is_none(),
            "unique-ids",
            "RFC 5280 §4.1.2.8",
            "it has unique identifiers, which authorities must not make",
        ),
    ]);
    check_signature(x509, found);
    check_validity(tbs, found);
    check_key(&tbs.subject_pki, found);
}

/// Nobody goes by the signature of a certificate that signed itself.
fn check_signature(x509: &X509Certificate<'_>, found: &mut Found) {
    let tbs = &x509.tbs_certificate;
    let algorithm = x509.signature_algorithm.algorithm.to_id_string();
    let is_self_issued = tbs.issuer.as_raw() == tbs.subject.as_raw();
    if !is_self_issued && BROKEN_HASHES.contains(&algorithm.as_str()) {
        let what = "it is signed over an MD5 or SHA-1 hash, for which forgeries are made";
        found.add("signature-hash", "RFC 6151 §2, RFC 6194 §3", what);
    }
}

fn check_validity(tbs: &TbsCertificate<'_>, found: &mut Found) {
    let (from, to) = (tbs.validity.not_before, tbs.validity.not_after);
    let early = |time: ASN1Time| time.to_datetime().year() <= UTC_TIME_YEAR_MAX;
    let wrong = |time: ASN1Time| time.is_generalizedtime() && early(time);
    found.add_broken(&[
        (
            from <= to,
            "validity-order",
            "RFC 5280 §4.1.2.5",
            "it ends before it begins",
        ),
        (
            !wrong(from) && !wrong(to),
            "validity-form",
            "RFC 5280 §4.1.2.5",
            "a date through 2049 is written as a GeneralizedTime",
        ),
    ]);
}

fn check_key(key: &SubjectPublicKeyInfo<'_>, found: &mut Found) {
    if key.algorithm.algorithm != OID_KEY_TYPE_EC_PUBLIC_KEY {
        return;
    }
    let parameters = key.algorithm.parameters.as_ref();
    let is_named = parameters.is_some_and(|any| any.as_oid().is_ok());
    let is_point = matches!(key.subject_public_key.data.first(), Some(2..=4));
    found.add_broken(&[
        (
            is_named,
            "public-key",
            "RFC 5480 §2.1.1",
            "its curve is not a named one",
        ),
        (
            is_point,
            "public-key",
            "RFC 5480 §2.2",
            "its public key is not a point of a curve",
        ),
    ]);
}
