//! Our own profiles: what a certificate of each role says besides what any certificate must.

use x509_parser::certificate::X509Certificate;
use x509_parser::oid_registry::{
    OID_SIG_ECDSA_WITH_SHA256, OID_SIG_ECDSA_WITH_SHA384, OID_SIG_ED25519,
};

use super::Found;
use crate::authority::signature::MlDsa;
use crate::certificate::{Certificate, CommonName};
use crate::explain::KeyAlgorithm;
use crate::holder::AuthorityName;
use crate::profile::{InvalidProfile, Profile, Role};
use crate::subject::parse_spiffe_uri;

/// Compares the certificate with the profile of `role`.
///
/// What cannot be read at all was found before, but for what only we refuse.
pub(super) fn check(
    der: &[u8],
    (x509, role): (&X509Certificate<'_>, Role),
    found: &mut Found,
) -> Result<(), InvalidProfile> {
    let profile = Profile::of(role)?;
    let clause = format!("profile {}", role.as_str());
    let certificate = match Certificate::read(der) {
        Ok(certificate) => certificate,
        Err(_) if !found.0.is_empty() => return Ok(()),
        Err(why) => {
            found.add("readable", &clause, why.to_string());
            return Ok(());
        }
    };
    let longest = profile.lifetime().as_secs() / 86_400;
    let too_long = format!("it is valid for longer than {longest} days");
    let names = wrong_names(&certificate, role);
    let extensions = &certificate.extensions;
    found.add_broken(&[
        (
            names.is_none(),
            "profile-names",
            &clause,
            names.unwrap_or_default(),
        ),
        (
            profile.permits_key_usage(&certificate),
            "profile-key-usage",
            &clause,
            "its key usage is another one",
        ),
        (
            profile.permits_purposes(&certificate),
            "profile-extended-key-usage",
            &clause,
            "its extended key usage is another one",
        ),
        (
            profile.permits_path(&certificate),
            "profile-basic-constraints",
            &clause,
            "its basic constraints are other ones",
        ),
        (
            profile.permits_length(&certificate),
            "profile-validity",
            &clause,
            &too_long,
        ),
        (
            extensions.key_id.is_some()
                && (role != Role::Root || extensions.issuer_key_id.is_some()),
            "profile-key-ids",
            &clause,
            "it has not both key identifiers",
        ),
        (
            certificate.serial.is_full_length(),
            "profile-serial",
            &clause,
            "its serial number was not drawn from 20 random octets",
        ),
    ]);
    check_algorithms(x509, &clause, found);
    Ok(())
}

fn check_algorithms(x509: &X509Certificate<'_>, clause: &str, found: &mut Found) {
    found.add_broken(&[
        (
            has_our_key(x509),
            "profile-key",
            clause,
            "its key is not P-256, P-384, Ed25519, ML-DSA-44 or ML-DSA-65",
        ),
        (
            has_our_signature(x509),
            "profile-signature",
            clause,
            "it is not signed with ECDSA over SHA-256 or SHA-384, Ed25519, ML-DSA-44 or ML-DSA-65",
        ),
    ]);
}

/// What is wrong with whom it names, if anything is.
pub(crate) fn wrong_names(certificate: &Certificate, role: Role) -> Option<&'static str> {
    let extensions = &certificate.extensions;
    let common_name = match &certificate.common_name {
        CommonName::One(name) => Some(&**name),
        CommonName::Absent | CommonName::Several | CommonName::Unreadable => None,
    };
    let (dns, ips, uris) = (
        &extensions.dns_names,
        &extensions.ip_names,
        &extensions.uri_names,
    );
    match role {
        Role::Root | Role::DeviceCa | Role::ServerCa => {
            let organization = certificate.organizations.first().map(AsRef::as_ref);
            let fits = |common_name| {
                let name = AuthorityName {
                    organization,
                    common_name,
                };
                name.check().is_ok()
            };
            let alternative = dns.len() + ips.len() + uris.len() + extensions.other_names;
            if !common_name.is_some_and(fits) {
                Some("an authority has one common name")
            } else if alternative > 0 {
                Some("an authority has no alternative names")
            } else {
                None
            }
        }
        Role::Broker => {
            let is_named = |name: &str| {
                dns.iter().any(|dns| **dns == *name) || ips.iter().any(|ip| ip.to_string() == name)
            };
            if dns.is_empty() && ips.is_empty() {
                Some("a broker is reached under DNS names and addresses, and it has none")
            } else if !uris.is_empty() || extensions.other_names > 0 {
                Some("a broker has DNS names and addresses only")
            } else if !common_name.is_none_or(is_named) {
                Some("the common name of a broker is one of its names")
            } else {
                None
            }
        }
        Role::Device | Role::App => wrong_peer(certificate, (role, common_name)),
    }
}

fn wrong_peer(
    certificate: &Certificate,
    (role, common_name): (Role, Option<&str>),
) -> Option<&'static str> {
    let extensions = &certificate.extensions;
    let others = extensions.dns_names.len() + extensions.ip_names.len() + extensions.other_names;
    let [uri] = &*extensions.uri_names else {
        return Some("it has exactly one URI, spiffe://TRUST-DOMAIN/device/ID or …/app/ID");
    };
    let Ok((_, subject)) = parse_spiffe_uri(uri) else {
        return Some("its URI is not spiffe://TRUST-DOMAIN/device/ID or …/app/ID");
    };
    if Role::from(subject.kind) != role {
        Some("its URI names a device where an application should be, or the reverse")
    } else if common_name != Some(subject.id.as_str()) {
        Some("its common name is not the id in its URI")
    } else if others > 0 {
        Some("it has other alternative names than its URI")
    } else {
        None
    }
}

fn has_our_key(x509: &X509Certificate<'_>) -> bool {
    let algorithm = KeyAlgorithm::of(x509.tbs_certificate.subject_pki.raw);
    [
        KeyAlgorithm::P256,
        KeyAlgorithm::P384,
        KeyAlgorithm::Ed25519,
        KeyAlgorithm::MlDsa44,
        KeyAlgorithm::MlDsa65,
    ]
    .contains(&algorithm)
}

fn has_our_signature(x509: &X509Certificate<'_>) -> bool {
    let algorithm = &x509.signature_algorithm;
    let ours = [
        OID_SIG_ECDSA_WITH_SHA256,
        OID_SIG_ECDSA_WITH_SHA384,
        OID_SIG_ED25519,
    ];
    ours.contains(&algorithm.algorithm) || MlDsa::of(algorithm).is_some()
}
