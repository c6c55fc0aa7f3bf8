//! What a set of lists says, and that it does not go back.

use super::*;
use crate::extensions::BasicConstraints;
use crate::refusal::Refusal;

/// Invariant 6. A backup put back, or a list kept by somebody, must not un-revoke.
#[test]
fn an_old_list_replayed_does_not_bring_a_device_back() {
    let signer = signer();
    let mut set = RevocationSet::default();
    assert_eq!(set.replace_list(signer.numbered(7, &[])), Ok(Replaced::New));
    assert_eq!(
        set.replace_list(signer.numbered(9, &[1])),
        Ok(Replaced::New)
    );
    let again = set.lists().next().unwrap().as_ref().clone();
    assert_eq!(set.replace_list(again.clone()), Ok(Replaced::Same));
    let is_revoked = |set: &RevocationSet| set.find_certificate(&KEY_ID, serial(1)).is_some();
    for (number, what) in [
        (7, "old"),
        (8, "between"),
        (9, "other with the same number"),
    ] {
        let refused = set.replace_list(signer.numbered(number, &[2])).unwrap_err();
        assert_eq!(
            (refused.have, refused.offered),
            (9.into(), number.into()),
            "{what}"
        );
        assert!(is_revoked(&set), "{what}");
    }

    // A new process has the numbers and not yet the lists.
    let mut restarted = RevocationSet::default();
    let kept: Vec<_> = set.seen().map(|(id, seen)| (id.clone(), *seen)).collect();
    for (id, seen) in kept.clone() {
        restarted.remember(id, seen);
    }
    let (id, seen) = kept[0].clone();
    restarted.remember(
        id,
        Seen {
            number: 3.into(),
            ..seen
        },
    );
    assert!(restarted.replace_list(signer.numbered(8, &[])).is_err());
    assert_eq!(restarted.replace_list(again), Ok(Replaced::New));
    assert!(is_revoked(&restarted));

    let mut refilled = restarted.without_lists();
    assert!(!is_revoked(&refilled));
    assert!(refilled.replace_list(signer.numbered(8, &[])).is_err());
    assert_eq!(
        refilled.replace_list(signer.numbered(10, &[])),
        Ok(Replaced::New)
    );
    assert!(
        !is_revoked(&refilled),
        "only a newer list takes somebody off"
    );
}

#[test]
fn each_list_of_an_issuer_has_numbers_of_its_own() {
    let signer = signer();
    let scoped = |number: u64, scope, serial| {
        let der = signer.list(|params| {
            let uris = vec!["http://a.example/1".to_owned()];
            let distribution_point = CrlDistributionPoint { uris };
            params.issuing_distribution_point = Some(CrlIssuingDistributionPoint {
                distribution_point,
                scope: Some(scope),
            });
            params.crl_number = SerialNumber::from(number);
            params.revoked_certs = vec![revoked_params(serial, None)];
        });
        signer.read(&der).unwrap()
    };
    let mut set = RevocationSet::default();
    set.replace_list(scoped(9, CrlScope::UserCertsOnly, 1))
        .unwrap();
    set.replace_list(scoped(2, CrlScope::CaCertsOnly, 2))
        .unwrap();
    for number in [1, 2] {
        assert!(set.find_certificate(&KEY_ID, serial(number)).is_some());
    }
    assert_eq!(set.lists().count(), 2);
}

/// A certificate of the signer's that names these distribution points.
fn with_points(uris: &[&str], issuer: &[u8]) -> Certificate {
    let mut certificate = Certificate::read(&leaf(|params| {
        let point = |uri: &&str| CrlDistributionPoint {
            uris: vec![(*uri).to_owned()],
        };
        params.crl_distribution_points = uris.iter().map(point).collect();
    }))
    .unwrap();
    certificate.extensions.issuer_key_id = Some(issuer.into());
    certificate
}

/// RFC 5280 §5.2.5, §6.3.3 (b).
#[test]
fn a_list_for_one_distribution_point_does_not_stand_for_the_others() {
    const ONE: &str = "http://a.example/1";
    const TWO: &str = "http://a.example/2";
    let signer = signer();
    let list = |number: u64, uri: Option<&str>, days: u64| {
        let der = signer.list(|params| {
            params.crl_number = SerialNumber::from(number);
            params.next_update = date(NOT_BEFORE + days * DAY);
            params.issuing_distribution_point = uri.map(|uri| CrlIssuingDistributionPoint {
                distribution_point: CrlDistributionPoint {
                    uris: vec![uri.to_owned()],
                },
                scope: None,
            });
        });
        signer.read(&der).unwrap()
    };
    let [none, one, two, both] = [&[][..], &[ONE], &[TWO], &[TWO, ONE]];
    let cases = [none, one, two, both].map(|uris| with_points(uris, &KEY_ID));
    let now = at(NOT_BEFORE + 2 * DAY);
    let ask = |set: &RevocationSet| {
        let ask = |it: &Certificate| set.check_fresh(it, Duration::from_hours(1), now).err();
        cases.each_ref().map(ask)
    };
    let unknown = || Some(Refusal::NoRevocationList);
    let since = Duration::from_secs(DAY);
    let stale = || Some(Refusal::StaleRevocationList { since });
    let mut set = RevocationSet::default();
    assert_eq!(ask(&set), [None, None, None, None], "nobody has a list");
    set.replace_list(list(1, Some(ONE), 7)).unwrap();
    assert_eq!(ask(&set), [unknown(), None, unknown(), None]);
    set.replace_list(list(1, Some(TWO), 1)).unwrap();
    assert_eq!(ask(&set), [unknown(), None, stale(), None]);
    set.replace_list(list(1, None, 1)).unwrap();
    assert_eq!(ask(&set), [stale(), None, stale(), None]);
    set.replace_list(list(2, None, 7)).unwrap();
    assert_eq!(ask(&set), [None, None, None, None], "one is enough");
    let elsewhere = with_points(&[], b"another");
    assert_eq!(set.freshness(&elsewhere, now), None);
}

#[test]
fn a_list_about_authorities_says_nothing_of_devices() {
    let signer = signer();
    let mut fields = fields();
    let authorities_only = tlv(0x30, &tlv(0x82, &[0xff]));
    fields
        .extensions
        .push(extension(0x1c, true, &authorities_only));
    let list = signer.read(&signer.raw(&fields)).unwrap();
    let mut set = RevocationSet::default();
    set.replace_list(list).unwrap();
    let now = at(NOT_BEFORE + 30 * DAY);
    let device = with_points(&[], &KEY_ID);
    assert_eq!(set.freshness(&device, now), None);
    assert_eq!(set.check_fresh(&device, Duration::ZERO, now), Ok(()));
    let mut authority = device;
    authority.extensions.basic_constraints = BasicConstraints::Authority { path_len: None };
    assert!(set.check_fresh(&authority, Duration::ZERO, now).is_err());
}

#[test]
fn a_list_is_stale_from_its_next_update_and_refuses_after_a_grace() {
    let signer = signer();
    let der = leaf(|_| {});
    let mut certificate = Certificate::read(&der).unwrap();
    certificate.extensions.issuer_key_id = Some(KEY_ID.into());
    let mut set = RevocationSet::default();
    let ask = |set: &RevocationSet, now: u64| {
        set.check_fresh(&certificate, Duration::from_mins(1), at(now))
    };
    assert_eq!(ask(&set, NOT_BEFORE), Ok(()));
    set.replace_list(signer.numbered(1, &[])).unwrap();
    let end = NOT_BEFORE + 7 * DAY;
    let second = Duration::from_secs(1);
    let list = set.lists().next().unwrap();
    for (now, expected) in [
        (NOT_BEFORE - 1, Freshness::NotYet { until: second }),
        (NOT_BEFORE, Freshness::Fresh),
        (end, Freshness::Fresh),
        (end + 1, Freshness::Stale { since: second }),
    ] {
        assert_eq!(list.freshness(at(now)), expected);
        assert_eq!(set.freshness(&certificate, at(now)), Some(expected));
    }
    for now in [NOT_BEFORE - 1, end, end + 60] {
        assert_eq!(ask(&set, now), Ok(()), "{now}");
    }
    let refused = ask(&set, end + 61).unwrap_err();
    let words = "the revocation list of its issuer is out of date for 61 s";
    assert_eq!(refused.to_string(), words);
}

#[test]
fn entries_of_its_own_are_kept_apart_from_lists() {
    let signer = signer();
    let since = |seconds| Revoked {
        at: at(seconds),
        reason: RevocationReason::Superseded,
    };
    let mut set = RevocationSet::default();
    set.revoke_certificate(&KEY_ID, serial(5), since(1));
    set.revoke_certificate(&KEY_ID, serial(5), since(2));
    set.replace_list(signer.numbered(1, &[1])).unwrap();
    set.replace_list(signer.numbered(2, &[])).unwrap();
    assert_eq!(set.find_certificate(&KEY_ID, serial(5)), Some(since(1)));
    let own: Vec<_> = set.own_certificates().collect();
    assert_eq!(own, [(&KEY_ID[..], serial(5), &since(1))]);
    assert_eq!(set.own_subjects().count(), 0);
}

/// `cargo test --release -p countersign-certs -- --ignored --nocapture how_long` measures.
#[test]
#[ignore = "a measurement; scripts/test runs it"]
fn how_long_a_list_of_100_000_takes() {
    let signer = signer();
    let der = signer.list(|params| {
        let reason = Some(rcgen::RevocationReason::KeyCompromise);
        params.revoked_certs = (1..=100_000_u64)
            .map(|n| RevokedCertParams {
                serial_number: SerialNumber::from(
                    [[0x7a; 12].as_slice(), &n.to_be_bytes()].concat(),
                ),
                invalidity_date: None,
                ..revoked_params(n, reason)
            })
            .collect();
    });
    let started = std::time::Instant::now();
    let list = signer.read(&der).unwrap();
    let read = started.elapsed();
    let mut set = RevocationSet::default();
    set.replace_list(list).unwrap();
    let built = started.elapsed();
    let asked = std::time::Instant::now();
    let found = (1..=100_000).filter(|n| set.find_certificate(&KEY_ID, serial(*n)).is_some());
    assert_eq!(found.count(), 0);
    println!(
        "{} octets: read and verified {read:?}, in a set {built:?}, a look-up {:?}",
        der.len(),
        asked.elapsed() / 100_000
    );
    let limit = if cfg!(debug_assertions) { 3_000 } else { 150 };
    assert!(built < Duration::from_millis(limit), "{built:?}");
}
