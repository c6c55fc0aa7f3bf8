//! The extensions of a certificate (RFC 5280 §4.2): which must be there, which must be critical,
//! and which contradict each other.

use x509_parser::certificate::TbsCertificate;
use x509_parser::extensions::{AuthorityKeyIdentifier, KeyUsage, ParsedExtension, X509Extension};
use x509_parser::oid_registry::asn1_rs::Oid;
use x509_parser::oid_registry::{
    OID_KEY_TYPE_EC_PUBLIC_KEY, OID_SIG_ED25519, OID_X509_EXT_AUTHORITY_KEY_IDENTIFIER,
    OID_X509_EXT_SUBJECT_KEY_IDENTIFIER,
};

use super::Found;
use crate::authority::signature::MlDsa;

pub(super) fn check(tbs: &TbsCertificate<'_>, found: &mut Found) {
    let mut seen: Vec<&Oid<'_>> = Vec::new();
    for extension in tbs.iter_extensions() {
        if seen.contains(&&extension.oid) {
            let what = format!("the extension {} stands there twice", extension.oid);
            found.add("extension-twice", "RFC 5280 §4.2", what);
            continue;
        }
        seen.push(&extension.oid);
        check_form(extension, found);
        check_critical(extension, found);
        check_content(extension, found);
    }
    check_key_ids(tbs, found);
    check_key_usage(tbs, found);
    check_authority(tbs, found);
}

/// Whether it says of itself that it may issue certificates.
pub(super) fn is_authority(tbs: &TbsCertificate<'_>) -> bool {
    basic_constraints(tbs).is_some_and(|(ca, _)| ca)
}

/// Whether it is an authority, and how long a path below it may be.
fn basic_constraints(tbs: &TbsCertificate<'_>) -> Option<(bool, Option<u32>)> {
    tbs.iter_extensions()
        .find_map(|it| match it.parsed_extension() {
            ParsedExtension::BasicConstraints(it) => Some((it.ca, it.path_len_constraint)),
            _ => None,
        })
}

fn key_usage(tbs: &TbsCertificate<'_>) -> Option<KeyUsage> {
    tbs.iter_extensions()
        .find_map(|it| match it.parsed_extension() {
            ParsedExtension::KeyUsage(usage) => Some(*usage),
            _ => None,
        })
}

fn check_form(extension: &X509Extension<'_>, found: &mut Found) {
    let oid = &extension.oid;
    match extension.parsed_extension() {
        ParsedExtension::ParseError { .. } => {
            found.add(
                "extension-form",
                "RFC 5280 §4.2",
                format!("the extension {oid} is broken"),
            );
        }
        ParsedExtension::UnsupportedExtension { .. } if extension.critical => {
            let what = format!("the critical extension {oid} is one that RFC 5280 does not define");
            found.add("extension-unknown", "RFC 5280 §4.2", what);
        }
        _ => {}
    }
}

/// Extensions that are to be critical, and those that are not to be.
fn check_critical(extension: &X509Extension<'_>, found: &mut Found) {
    let (name, clause, critical) = match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(_) => ("authority key identifier", "1.1", false),
        ParsedExtension::SubjectKeyIdentifier(_) => ("subject key identifier", "1.2", false),
        ParsedExtension::KeyUsage(_) => ("key usage", "1.3", true),
        ParsedExtension::BasicConstraints(it) if it.ca => ("basic constraints", "1.9", true),
        ParsedExtension::NameConstraints(_) => ("name constraints", "1.10", true),
        ParsedExtension::PolicyConstraints(_) => ("policy constraints", "1.11", true),
        ParsedExtension::CRLDistributionPoints(_) => ("distribution points", "1.13", false),
        ParsedExtension::InhibitAnyPolicy(_) => ("inhibit anyPolicy", "1.14", true),
        ParsedExtension::AuthorityInfoAccess(_) => ("authority information access", "2.1", false),
        ParsedExtension::SubjectInfoAccess(_) => ("subject information access", "2.2", false),
        _ => return,
    };
    if extension.critical != critical {
        let is = if critical { "is not" } else { "is" };
        let clause = format!("RFC 5280 §4.2.{clause}");
        found.add(
            "critical",
            &clause,
            format!("the extension {name} {is} critical"),
        );
    }
}

fn check_content(extension: &X509Extension<'_>, found: &mut Found) {
    match extension.parsed_extension() {
        ParsedExtension::ExtendedKeyUsage(usage) if usage.any && extension.critical => {
            let what = "it is for any purpose, and critical, which means nothing";
            found.add("extended-key-usage", "RFC 5280 §4.2.1.12", what);
        }
        ParsedExtension::CRLDistributionPoints(points) => {
            let says_where = points
                .iter()
                .all(|it| it.distribution_point.is_some() || it.crl_issuer.is_some());
            if points.is_empty() || !says_where {
                let what = "a distribution point does not say where the list is";
                found.add("distribution-points", "RFC 5280 §4.2.1.13", what);
            }
        }
        ParsedExtension::CertificatePolicies(policies) => {
            let ids: Vec<_> = policies.iter().map(|it| &it.policy_id).collect();
            let is_twice = |(at, id): (usize, &&Oid<'_>)| ids.iter().take(at).any(|it| it == id);
            if ids.iter().enumerate().any(is_twice) {
                let what = "a certificate policy stands there twice";
                found.add("policies", "RFC 5280 §4.2.1.4", what);
            }
        }
        ParsedExtension::AuthorityKeyIdentifier(id) => check_issuer_key_id(id, found),
        _ => {}
    }
}

fn check_issuer_key_id(id: &AuthorityKeyIdentifier<'_>, found: &mut Found) {
    if id.authority_cert_issuer.is_some() != id.authority_cert_serial.is_some() {
        let what = "of its issuer's certificate, name and serial number do not stand together";
        found.add("authority-key-id", "RFC 5280 §4.2.1.1", what);
    }
}

/// A self-signed certificate need not say which key signed it.
fn check_key_ids(tbs: &TbsCertificate<'_>, found: &mut Found) {
    let has = |oid: Oid<'_>| tbs.iter_extensions().any(|it| it.oid == oid);
    let names_key = tbs.iter_extensions().any(|it| match it.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(id) => id.key_identifier.is_some(),
        ParsedExtension::ParseError { .. } => it.oid == OID_X509_EXT_AUTHORITY_KEY_IDENTIFIER,
        _ => false,
    });
    let is_self_issued = tbs.issuer.as_raw() == tbs.subject.as_raw();
    found.add_broken(&[
        (
            names_key || is_self_issued,
            "authority-key-id",
            "RFC 5280 §4.2.1.1",
            "it does not say which key signed it",
        ),
        (
            has(OID_X509_EXT_SUBJECT_KEY_IDENTIFIER) || !is_authority(tbs),
            "subject-key-id",
            "RFC 5280 §4.2.1.2",
            "it is an authority's, and has no subject key identifier",
        ),
    ]);
}

fn check_key_usage(tbs: &TbsCertificate<'_>, found: &mut Found) {
    let Some(usage) = key_usage(tbs) else { return };
    let algorithm = &tbs.subject_pki.algorithm.algorithm;
    let is_ml_dsa = MlDsa::of(&tbs.subject_pki.algorithm).is_some();
    let signs_only = (*algorithm == OID_SIG_ED25519 || is_ml_dsa)
        && (usage.key_agreement() || usage.encipher_only() || usage.decipher_only());
    let encrypts = usage.key_encipherment() || usage.data_encipherment();
    let is_elliptic = [OID_KEY_TYPE_EC_PUBLIC_KEY, OID_SIG_ED25519].contains(algorithm);
    let encrypts_nothing = is_elliptic || is_ml_dsa;
    found.add_broken(&[
        (
            usage.flags != 0,
            "key-usage",
            "RFC 5280 §4.2.1.3",
            "the key usage has no bit set",
        ),
        (
            usage.key_agreement() || !(usage.encipher_only() || usage.decipher_only()),
            "key-usage",
            "RFC 5280 §4.2.1.3",
            "encipherOnly or decipherOnly stands without keyAgreement",
        ),
        (
            !(encrypts && encrypts_nothing || signs_only),
            "key-usage-algorithm",
            "RFC 5480 §3, RFC 8410 §5, RFC 9881 §5",
            "the key usage is one that a key of this algorithm cannot have",
        ),
    ]);
}

fn check_authority(tbs: &TbsCertificate<'_>, found: &mut Found) {
    let (is_authority, path_len) = basic_constraints(tbs).unwrap_or_default();
    let signs = key_usage(tbs).is_some_and(|usage| usage.key_cert_sign());
    let constrains = tbs
        .iter_extensions()
        .any(|it| matches!(it.parsed_extension(), ParsedExtension::NameConstraints(_)));
    found.add_broken(&[
        (
            is_authority || !signs,
            "key-usage",
            "RFC 5280 §4.2.1.9",
            "its key may sign certificates, and it is not an authority's",
        ),
        (
            signs || !is_authority,
            "key-usage",
            "RFC 5280 §4.2.1.3",
            "it is an authority's, and its key may not sign certificates",
        ),
        (
            is_authority || path_len.is_none(),
            "basic-constraints",
            "RFC 5280 §4.2.1.9",
            "it limits the path below it, and is not an authority's",
        ),
        (
            is_authority || !constrains,
            "name-constraints",
            "RFC 5280 §4.2.1.10",
            "it constrains names, and is not an authority's",
        ),
    ]);
}
