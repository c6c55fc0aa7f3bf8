//! What is asked for, and which answers are taken for an answer to it.

use certs::PublicKey;
use rcgen::CertificateSigningRequestParams;
use time::{Duration, OffsetDateTime};

use super::*;
use crate::identity::tests::{Files, TestCa, device_params, uri};

fn present(files: &Files) -> Present {
    let parts = Parts {
        chain: PemFile::new("cert.pem", files.chain.as_bytes()),
        key: files.key(),
        authorities: PemFile::new("ca.pem", files.authorities.as_bytes()),
    };
    Present::read(parts).unwrap()
}

/// The present certificate ends in an hour.
fn files(ca: &TestCa) -> Files {
    let mut params = device_params("dev-1");
    params.not_after = OffsetDateTime::now_utc() + Duration::hours(1);
    ca.issue(&params)
}

/// What an authority makes of a request, if it wants it this way.
fn certify(
    ca: &TestCa,
    request: &[u8],
    change: impl FnOnce(&mut CertificateParams),
) -> CertificateDer<'static> {
    let mut request = CertificateSigningRequestParams::from_der(&request.into()).unwrap();
    request.params = device_params("dev-1");
    request.params.not_after = OffsetDateTime::now_utc() + Duration::hours(2);
    change(&mut request.params);
    request.signed_by(ca.issuer()).unwrap().der().clone()
}

#[test]
fn a_renewal_asks_for_the_names_that_the_device_has_with_another_key_or_the_same() {
    let ca = TestCa::new();
    let present = present(&files(&ca));
    let (domain, subject) = parse_spiffe_uri("spiffe://test/device/dev-1").unwrap();
    for (choice, is_same) in [(RenewalKey::New, false), (RenewalKey::Same, true)] {
        let application = Application::renewal(&present, choice).unwrap();
        let asked = PublicKey::from_request_of(&application.request, &domain, &subject).unwrap();
        assert_eq!(*asked.to_der() == *present.leaf.public_key, is_same);
        let request = CertificateSigningRequestParams::from_der(&(&*application.request).into());
        let params = request.unwrap().params;
        assert_eq!(params.distinguished_name, name(&present.leaf));
        assert_eq!(
            params.subject_alt_names,
            [uri("spiffe://test/device/dev-1")]
        );
    }
}

#[test]
fn what_was_asked_for_is_granted_with_the_issuers_above_it() {
    let ca = TestCa::new();
    let present = present(&files(&ca));
    let application = Application::renewal(&present, RenewalKey::New).unwrap();
    let leaf = certify(&ca, &application.request, |_| {});
    let granted = application
        .judge(std::slice::from_ref(&leaf), &present)
        .unwrap();
    assert_eq!(granted.identity.device_id(), "dev-1");
    let read = PemFile::new("", granted.chain_pem.as_bytes())
        .certificates()
        .unwrap();
    assert_eq!(read, [leaf]);
}

#[test]
fn an_intermediate_comes_from_the_answer_or_from_what_was_there() {
    let root = TestCa::new();
    let device_ca = root.below("Device CA");
    let mut files = files(&device_ca);
    let leaf_only = files.chain.clone();
    files.authorities = root.pem();
    files.chain = leaf_only.clone() + &device_ca.pem();
    let with_issuer = present(&files);
    files.chain = leaf_only;
    let without = present(&files);
    let application = Application::renewal(&with_issuer, RenewalKey::New).unwrap();
    let leaf = certify(&device_ca, &application.request, |params| {
        params.use_authority_key_identifier_extension = true;
    });
    let both = [leaf.clone(), device_ca.issuer().der().clone()];
    for (answer, present) in [(&both[..1], &with_issuer), (&both[..], &without)] {
        let granted = application.judge(answer, present).unwrap();
        let chain = PemFile::new("", granted.chain_pem.as_bytes())
            .certificates()
            .unwrap();
        assert_eq!(chain, both);
    }
    let refused = application.judge(&both[..1], &without).err().unwrap();
    assert!(
        matches!(refused, EnrolError::Unfit(Unfit::NoPath(_))),
        "{refused:?}"
    );
}

#[test]
fn no_root_is_given_up_that_the_next_certificate_needs() {
    let (old, new) = (TestCa::new(), TestCa::new());
    let served = vec![new.issuer().der().clone()];
    for (issuer, is_given_up) in [(&old, false), (&new, true)] {
        let mut present = present(&files(&old));
        present
            .learn(served.clone(), RenewalTrust::Followed)
            .unwrap();
        let application = Application::renewal(&present, RenewalKey::New).unwrap();
        let leaf = certify(issuer, &application.request, |_| {});
        let granted = application.judge(&[leaf], &present).unwrap();
        let trusts = |granted: &Granted| {
            let pem = PemFile::new("", &granted.authorities);
            pem.certificates().unwrap().len()
        };
        assert_eq!(trusts(&granted), 2);
        let narrow = granted.narrow.map(|narrow| trusts(&narrow));
        assert_eq!(narrow, is_given_up.then_some(1));
    }
}

#[test]
fn a_certificate_that_is_not_what_was_asked_for_is_not_accepted() {
    let ca = TestCa::new();
    let present = present(&files(&ca));
    let application = Application::renewal(&present, RenewalKey::New).unwrap();
    let other = Application::renewal(&present, RenewalKey::New).unwrap();
    let now = OffsetDateTime::now_utc();
    let changed = |change: &dyn Fn(&mut CertificateParams)| {
        certify(&ca, &application.request, |params| change(params))
    };
    let cases = [
        (certify(&ca, &other.request, |_| {}), "OtherKey"),
        (
            certify(&TestCa::new(), &application.request, |_| {}),
            "NoPath(",
        ),
        (
            changed(&|it| it.subject_alt_names = vec![uri("spiffe://test/device/dev-2")]),
            "OtherDevice",
        ),
        (
            changed(&|it| it.subject_alt_names = vec![uri("spiffe://other/device/dev-1")]),
            "OtherDevice",
        ),
        (
            changed(&|it| it.subject_alt_names = vec![uri("spiffe://test/app/dev-1")]),
            "OtherDevice",
        ),
        (changed(&|it| it.subject_alt_names.clear()), "OtherDevice"),
        (
            changed(&|it| it.not_after = now + Duration::minutes(59)),
            "EndsTooSoon",
        ),
        (
            changed(&|it| it.not_before = now + Duration::minutes(30)),
            "NotValidYet",
        ),
        (
            changed(&|it| {
                it.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
            }),
            "NoPath(",
        ),
        (CertificateDer::from(vec![0x30, 0]), "OtherKey"),
    ];
    for (answer, expected) in cases {
        let refused = application.judge(&[answer], &present).err();
        let refused = format!("{refused:?}");
        assert!(refused.contains(expected), "{refused}, not {expected}");
    }
}

#[test]
fn a_newcomer_gets_a_certificate_of_its_own_id_only() {
    let ca = TestCa::new();
    let key = Application::new_key().unwrap();
    let application = Application::newcomer(&key, "dev-1").unwrap();
    assert_eq!(application.key().file(), ("key.pem", key.into_bytes()));
    let leaf = certify(&ca, &application.request, |_| {});
    let known = ca.pem();
    for (id, is_granted) in [("dev-1", true), ("dev-2", false)] {
        let answer = [leaf.clone()];
        let granted = application.judge_first(&answer, (id, known.as_bytes()));
        assert_eq!(granted.is_ok(), is_granted, "{id}");
    }
}
