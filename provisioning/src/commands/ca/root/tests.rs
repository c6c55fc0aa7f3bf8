//! What a root that is kept apart signs, and what it refuses.

use std::fs;
use std::path::{Path, PathBuf};

use certs::{RevocationReason, Role, Serial, TrustDomain, authority_request};
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256};
use rustls_pki_types::UnixTime;
use tempfile::TempDir;

use super::{OfflineRootError, RootInitRequest, RootListRequest, RootSignRequest};
use crate::testing::{certificate, day};
use crate::{
    Certified, CommandError, ExitClass, InitRequest, Passphrase, ToCertify, audit_verify, ca_init,
    ca_status, root_init, root_list, root_revoke, root_sign, root_status,
};

fn request(dir: &Path) -> RootInitRequest<'_> {
    RootInitRequest {
        dir,
        trust_domain: None,
        organization: None,
        passphrase: None,
        token: None,
    }
}

/// A root of `fleet.example`.
fn world() -> (TempDir, PathBuf) {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("root");
    let request = RootInitRequest {
        trust_domain: Some(&ours()),
        ..request(&dir)
    };
    assert!(root_init(&request, day(0)).unwrap().made);
    (temp, dir)
}

fn ours() -> TrustDomain {
    TrustDomain::parse("fleet.example").unwrap()
}

/// The request of a key for an authority of this role.
fn asks(role: Role, key: &KeyPair) -> String {
    let params = authority_request(&ours(), role).unwrap();
    params.serialize_request(key).unwrap().pem().unwrap()
}

fn file(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.parent().unwrap().join(name);
    fs::write(&path, text).unwrap();
    path
}

fn sign_if(
    dir: &Path,
    requests: &[PathBuf],
    confirm: impl FnOnce(&[ToCertify]) -> bool,
) -> Result<Certified, CommandError> {
    let request = RootSignRequest {
        dir,
        passphrase: None,
        requests,
        out: dir.parent().unwrap(),
    };
    root_sign(&request, confirm, day(1))
}

fn sign(dir: &Path, requests: &[PathBuf]) -> Result<Certified, CommandError> {
    sign_if(dir, requests, |_| true)
}

/// The refusals that the audit chain tells of.
fn refusals(dir: &Path) -> usize {
    let entries = crate::audit_show(dir, usize::MAX).unwrap();
    let refused = |it: &&crate::AuditEntry| it.event == crate::Event::Refused;
    entries.iter().filter(refused).count()
}

#[test]
fn a_root_alone_is_made_once_and_vouches_for_what_was_done() {
    let (_temp, dir) = world();
    let again = root_init(&request(&dir), day(3)).unwrap();
    assert!(!again.made);
    assert_eq!(&*again.name, "Countersign DEV ONLY root 1");
    assert_eq!(again.fingerprint, certificate(&again.cert).sha256);
    let other = TrustDomain::parse("other.example").unwrap();
    for asked in [
        RootInitRequest {
            trust_domain: Some(&other),
            ..request(&dir)
        },
        RootInitRequest {
            organization: Some("Acme"),
            ..request(&dir)
        },
    ] {
        let refused = root_init(&asked, day(0)).unwrap_err();
        assert_eq!(refused.exit_class(), ExitClass::Usage, "{refused}");
    }
    let requests = [file(
        &dir,
        "a",
        &asks(Role::DeviceCa, &KeyPair::generate().unwrap()),
    )];
    sign(&dir, &requests).unwrap();
    let end = audit_verify(&dir).unwrap();
    assert_eq!((end.entries, end.signed), (3, 3));
}

#[test]
fn a_root_of_an_organization_is_encrypted_and_gives_its_name_to_those_below() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("root");
    let passphrase = Passphrase::new("correct horse battery".to_owned());
    let made = RootInitRequest {
        trust_domain: Some(&ours()),
        organization: Some("Acme"),
        passphrase: passphrase.as_ref(),
        ..request(&dir)
    };
    root_init(&made, day(0)).unwrap();
    let requests = [file(
        &dir,
        "a",
        &asks(Role::ServerCa, &KeyPair::generate().unwrap()),
    )];
    let without = sign(&dir, &requests).unwrap_err();
    assert!(matches!(without, CommandError::Encrypted(_)), "{without}");
    let request = RootSignRequest {
        dir: &dir,
        passphrase: passphrase.as_ref(),
        requests: &requests,
        out: &temp.path().join("signed.pem"),
    };
    let signed = root_sign(&request, |_| true, day(1)).unwrap();
    let found = certificate(&signed.out);
    assert_eq!(&*found.subject, "O=Acme, CN=Acme server CA 1");
    assert_eq!(&*found.issuer, "O=Acme, CN=Acme root 1");
}

#[test]
fn a_key_is_certified_once_and_every_key_under_a_name_of_its_own() {
    let (_temp, dir) = world();
    let keys: Vec<_> = (0..3).map(|_| KeyPair::generate().unwrap()).collect();
    let both = asks(Role::DeviceCa, &keys[0]) + &asks(Role::ServerCa, &keys[1]);
    let first = [file(&dir, "first", &both)];
    let signed = sign(&dir, &first).unwrap();
    let names = |it: &Certified| -> Vec<_> {
        it.authorities
            .iter()
            .map(|it| it.name.to_string())
            .collect()
    };
    let expected = [
        "Countersign DEV ONLY device CA 1",
        "Countersign DEV ONLY server CA 1",
    ];
    assert_eq!(names(&signed), expected);
    let octets = fs::read(&signed.out).unwrap();
    // What is signed already needs nobody's word and no key.
    fs::remove_file(dir.join("ca/root.key.pem")).unwrap();
    let again = sign_if(&dir, &first, |_| panic!("nothing is new")).unwrap();
    assert_eq!(
        (names(&again), fs::read(&again.out).unwrap()),
        (names(&signed), octets)
    );
    let later = [file(&dir, "later", &asks(Role::DeviceCa, &keys[2]))];
    assert!(sign(&dir, &later).is_err());

    let (_temp, dir) = world();
    let twice = asks(Role::DeviceCa, &keys[0]) + &asks(Role::DeviceCa, &keys[0]);
    let more = [
        file(&dir, "twice", &twice),
        file(&dir, "more", &asks(Role::DeviceCa, &keys[2])),
    ];
    let signed = sign(&dir, &more).unwrap();
    let expected = [
        "Countersign DEV ONLY device CA 1",
        "Countersign DEV ONLY device CA 2",
    ];
    assert_eq!(names(&signed), expected);
    assert_eq!(root_status(&dir, day(1)).unwrap().certified.len(), 2);
}

#[test]
fn nothing_is_signed_that_nobody_confirmed() {
    let (_temp, dir) = world();
    let key = KeyPair::generate().unwrap();
    let requests = [file(&dir, "a", &asks(Role::DeviceCa, &key))];
    let mut shown = Vec::new();
    let refused = sign_if(&dir, &requests, |all| {
        shown = all.to_vec();
        false
    });
    assert_eq!(refused.unwrap_err().exit_class(), ExitClass::Usage);
    let public = rcgen::PublicKeyData::subject_public_key_info(&key);
    assert_eq!(shown[0].key, certs::sha256(&public));
    assert!(root_status(&dir, day(1)).unwrap().certified.is_empty());
}

#[test]
fn a_hostile_request_is_refused_whole_and_noted() {
    let (_temp, dir) = world();
    let (key, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let good = asks(Role::DeviceCa, &key);
    let plain = |key: &KeyPair| {
        let request = CertificateParams::default().serialize_request(key).unwrap();
        request.pem().unwrap()
    };
    let theirs = authority_request(
        &TrustDomain::parse("other.example").unwrap(),
        Role::DeviceCa,
    );
    let theirs = theirs
        .unwrap()
        .serialize_request(&other)
        .unwrap()
        .pem()
        .unwrap();
    let mut forged = authority_request(&ours(), Role::DeviceCa).unwrap();
    forged.subject_alt_names = vec![rcgen::SanType::URI(
        "spiffe://fleet.example/authority/root".try_into().unwrap(),
    )];
    let forged = forged.serialize_request(&other).unwrap().pem().unwrap();
    let mut unsigned = pem::parse(&good).unwrap().into_contents();
    *unsigned.last_mut().unwrap() ^= 1;
    let unsigned = pem::encode(&pem::Pem::new("CERTIFICATE REQUEST", unsigned));
    let rsa = KeyPair::generate_for(&PKCS_RSA_SHA256).map(|key| asks(Role::DeviceCa, &key));
    for (text, words) in [
        (plain(&other), "not the request of a device CA"),
        (theirs, "another trust domain"),
        (forged, "not the request of a device CA"),
        (unsigned, "not signed by its own key"),
        (rsa.unwrap(), "RSA keys are not certified"),
        (asks(Role::ServerCa, &key), "the key in"),
        ("nothing".to_owned(), "not a certificate signing request"),
        (String::new(), "not a certificate signing request"),
    ] {
        let before = refusals(&dir);
        let requests = [file(&dir, "good", &good), file(&dir, "bad", &text)];
        let refused = sign_if(&dir, &requests, |_| panic!("asked for {words}")).unwrap_err();
        assert_eq!(refused.exit_class(), ExitClass::Refused, "{words}");
        let told = certs::WithCauses(&refused).to_string();
        assert!(told.contains(words), "{told}");
        assert_eq!(refusals(&dir), before + 1, "{words}");
    }
    assert!(root_status(&dir, day(1)).unwrap().certified.is_empty());
    let large = [file(&dir, "large", &good.repeat(200))];
    assert_eq!(
        sign(&dir, &large).unwrap_err().exit_class(),
        ExitClass::Usage
    );
}

#[test]
fn the_key_of_the_root_or_of_another_role_is_not_certified() {
    let (_temp, dir) = world();
    let root = KeyPair::from_pem(&fs::read_to_string(dir.join("ca/root.key.pem")).unwrap());
    let root = [file(
        &dir,
        "root.csr",
        &asks(Role::DeviceCa, &root.unwrap()),
    )];
    let refused = sign(&dir, &root).unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("that of Countersign DEV ONLY root 1"),
        "{refused}"
    );
    let key = KeyPair::generate().unwrap();
    sign(&dir, &[file(&dir, "a", &asks(Role::DeviceCa, &key))]).unwrap();
    let refused = sign(&dir, &[file(&dir, "b", &asks(Role::ServerCa, &key))]).unwrap_err();
    assert!(refused.to_string().contains("device CA 1"), "{refused}");
}

fn list(dir: &Path, now: UnixTime) -> crate::RootListed {
    let request = RootListRequest {
        dir,
        passphrase: None,
        days: None,
        out: &dir.parent().unwrap().join("root.crl"),
    };
    root_list(&request, now).unwrap()
}

#[test]
fn who_was_revoked_stands_on_every_list_from_there_and_gets_no_certificate_again() {
    let (_temp, dir) = world();
    let requests = [file(
        &dir,
        "a",
        &asks(Role::DeviceCa, &KeyPair::generate().unwrap()),
    )];
    let serial = sign(&dir, &requests).unwrap().authorities[0]
        .certified
        .unwrap();
    let empty = list(&dir, day(1));
    assert_eq!((empty.number, empty.entries), (1, 0));
    let reason = RevocationReason::CaCompromise;
    let first = root_revoke(&dir, serial, reason, day(2)).unwrap();
    let again = root_revoke(&dir, serial, RevocationReason::Superseded, day(9)).unwrap();
    assert_eq!(again, first);
    let listed = list(&dir, day(2));
    assert_eq!((listed.number, listed.entries), (2, 1));
    let status = root_status(&dir, day(2)).unwrap();
    assert_eq!(status.certified[0].revoked, Some(first.revoked));
    assert_eq!(status.list.map(|it| it.number), Some(2));
    let refused = sign(&dir, &requests).unwrap_err();
    assert!(refused.to_string().contains("was revoked"), "{refused}");
    let unknown = Serial::from_random([7; 20]);
    let refused = root_revoke(&dir, unknown, reason, day(2)).unwrap_err();
    assert_eq!(refused.exit_class(), ExitClass::NotFound);
    audit_verify(&dir).unwrap();
}

#[test]
fn a_root_and_those_that_issue_are_not_mistaken_for_each_other() {
    let (temp, dir) = world();
    for refused in [
        ca_status(&dir, day(0)).map(drop),
        ca_init(&InitRequest::new(&dir), day(0)).map(drop),
    ] {
        let refused = refused.unwrap_err();
        let alone = OfflineRootError::RootAlone(dir.clone()).to_string();
        assert_eq!(refused.to_string(), alone);
    }
    let full = temp.path().join("full");
    ca_init(&InitRequest::new(&full), day(0)).unwrap();
    for refused in [
        root_init(&request(&full), day(0)).map(drop),
        root_status(&full, day(0)).map(drop),
        sign(&full, &[]).map(drop),
    ] {
        let refused = refused.unwrap_err();
        assert!(
            refused.to_string().contains("a directory of its own"),
            "{refused}"
        );
    }
    let nobody = root_status(&temp.path().join("none"), day(0)).unwrap_err();
    assert_eq!(nobody.exit_class(), ExitClass::NotFound);
}
