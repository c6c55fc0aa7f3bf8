//! What must hold whatever a peer sends. The fuzz targets run these, and so do the ordinary tests.

#![allow(dead_code, reason = "each target uses one of them")]

use std::time::Duration;

use rustls_pki_types::UnixTime;

use crate::certs::{
    Admission, Authority, Certificate, DeviceId, IdFrom, PublicKey, RegistryExport, RevocationList,
    RevocationSet, TrustDomain, admin, admit, check_issuer, parse_spiffe_uri, spiffe_uri,
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
        id_from: &IdFrom::Uri,
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

/// Each list in a file is believed or refused in words fit for a log; whatever is believed can be
/// put into a set once, and its entries are found there.
pub(crate) fn revocation_lists(octets: &[u8], issuers: &[Authority]) {
    let lists = RevocationList::read_all(octets, issuers);
    assert!(!lists.is_empty());
    for list in lists {
        match list {
            Ok(list) => {
                let mut set = RevocationSet::default();
                let key_id = list.issuer_key_id().to_vec();
                let serials: Vec<_> = list.entries().map(|(serial, _)| serial).collect();
                set.replace_list(list).unwrap();
                assert!(
                    serials
                        .into_iter()
                        .all(|s| set.find_certificate(&key_id, s).is_some())
                );
            }
            Err(invalid) => assert!(!invalid.to_string().contains(char::is_control)),
        }
    }
}

/// Whatever is understood is understood again when it is said again; whatever is not is refused in
/// words fit for a log.
pub(crate) fn admin_lines(octets: &[u8]) {
    match admin::read_request(octets) {
        Ok(request) => {
            let line = admin::write_request(&request).unwrap();
            assert_eq!(admin::read_request(&line), Ok(request));
        }
        Err(invalid) => assert!(!invalid.to_string().contains(char::is_control)),
    }
    if let Ok(answer) = admin::read_answer(octets) {
        let line = admin::write_answer(answer.clone()).unwrap();
        assert_eq!(admin::read_answer(&line), Ok(answer));
    }
}

/// An export is believed or refused in words fit for a log.
pub(crate) fn registry_export(octets: &[u8], issuers: &[Authority]) {
    match RegistryExport::read(octets, issuers) {
        Ok(export) => assert!(
            export
                .devices()
                .all(|it| export.find(&it.subject) == Some(it))
        ),
        Err(invalid) => assert!(!invalid.to_string().contains(char::is_control)),
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
