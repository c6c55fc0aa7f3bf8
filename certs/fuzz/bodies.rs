//! What must hold whatever a peer sends. The fuzz targets run these, and so do the ordinary tests.

#![allow(dead_code, reason = "each target uses one of them")]

use std::time::Duration;

use rustls_pki_types::UnixTime;

use crate::certs::{
    Admission, Certificate, DeviceId, PublicKey, RevocationSet, TrustDomain, admit, check_issuer,
    parse_spiffe_uri, spiffe_uri,
};

/// Reading a certificate ends in words fit for a log; the gate opens only to the one name in it.
pub(crate) fn certificate(octets: &[u8]) {
    let Ok(certificate) = Certificate::read(octets) else {
        return;
    };
    for name in [&certificate.subject, &certificate.issuer] {
        assert!(
            name.len() < 300 && !name.contains(char::is_control),
            "{name:?}"
        );
    }
    let _ = check_issuer(octets);
    let trust_domain = TrustDomain::default();
    let admission = Admission {
        trust_domain: &trust_domain,
        revoked: &RevocationSet::default(),
    };
    let now = UnixTime::since_unix_epoch(Duration::from_hours(500_000));
    match admit(octets, &admission, now) {
        Ok(device) => {
            let uri = spiffe_uri(&trust_domain, device.subject());
            assert_eq!(certificate.extensions.uri_names, [uri.into()]);
            assert!(certificate.not_before <= now && now <= certificate.not_after);
        }
        Err(refusal) => assert!(!refusal.to_string().contains(char::is_control)),
    }
}

/// A request yields a key of a length we know, or nothing.
pub(crate) fn request(octets: &[u8]) {
    if let Ok(key) = PublicKey::from_request(octets) {
        assert!([44, 91, 120].contains(&key.to_der().len()));
    }
}

/// An id has no character that means something elsewhere, and a URI names in one way or not at all.
pub(crate) fn names(octets: &[u8]) {
    let text = String::from_utf8_lossy(octets);
    if let Ok(id) = DeviceId::parse(&text) {
        assert_eq!(id.as_str(), text);
        assert!((1..=64).contains(&text.len()));
        assert!(
            text.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        );
        assert!(text.starts_with(|c: char| c.is_ascii_alphanumeric()));
    }
    if let Ok((trust_domain, subject)) = parse_spiffe_uri(&text) {
        assert_eq!(spiffe_uri(&trust_domain, &subject), text);
    }
}
