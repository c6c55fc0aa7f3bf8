//! Which revocation lists are believed.

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::*;

#[test]
fn what_a_list_says_is_read() {
    use rcgen::RevocationReason::{CertificateHold, KeyCompromise, RemoveFromCrl};
    let signer = signer();
    let list = signer.list(|params| {
        params.revoked_certs = vec![
            revoked_params(1, None),
            revoked_params(2, Some(KeyCompromise)),
            revoked_params(3, Some(CertificateHold)),
            revoked_params(4, Some(RemoveFromCrl)),
        ];
    });
    let list = signer.read(&list).unwrap();
    assert_eq!(list.issuer_key_id(), KEY_ID);
    assert_eq!(list.number(), 7.into());
    assert_eq!(list.this_update(), at(NOT_BEFORE));
    assert_eq!(list.next_update(), at(NOT_BEFORE + 7 * DAY));
    assert_eq!(list.scope(), Scope::All);
    assert_eq!(list.id().as_str(), format!("{}/all", "aa".repeat(20)));
    assert_eq!(ListId::parse(list.id().as_str()).as_ref(), Some(list.id()));
    let since = |reason| {
        Some(Revoked {
            at: at(NOT_BEFORE - DAY),
            reason,
        })
    };
    // Whoever stands in it is revoked, also when held, and also when it says what only a delta
    // may say (RFC 5280 §5.3.1).
    for (number, expected) in [
        (1, since(RevocationReason::Unspecified)),
        (2, since(RevocationReason::KeyCompromise)),
        (3, since(RevocationReason::CertificateHold)),
        (4, since(RevocationReason::Unspecified)),
        (5, None),
    ] {
        assert_eq!(list.find(serial(number)), expected, "{number}");
    }
    assert_eq!(
        (list.len(), list.entries().count(), list.is_empty()),
        (4, 4, false)
    );
    let empty = signer.list(|params| params.revoked_certs = vec![]);
    assert!(signer.read(&empty).unwrap().is_empty());
}

#[test]
fn a_file_holds_one_list_in_der_or_several_in_pem() {
    let signer = signer();
    let issuers = &[signer.authority()];
    let numbers = |octets: &[u8]| {
        let number = |list: Result<RevocationList, _>| list.map(|list| list.number().to_u64());
        RevocationList::read_all(octets, issuers)
            .into_iter()
            .map(number)
            .collect::<Vec<_>>()
    };
    assert_eq!(numbers(&signer.list(|_| {})), [Ok(Some(7))]);
    let [one, two] = [7, 8].map(|n| signer.crl(|p| p.crl_number = n.into()).pem().unwrap());
    assert_eq!(
        numbers(format!("note\n{one}{two}").as_bytes()),
        [Ok(Some(7)), Ok(Some(8))]
    );
    let bad = "-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n";
    let mixed = numbers(format!("{bad}{two}").as_bytes());
    assert_eq!(mixed, [Err(InvalidList::Malformed), Ok(Some(8))]);
    let certificate = bad.replace("X509 CRL", "CERTIFICATE");
    for nothing in [b"".as_slice(), b"0 lists", certificate.as_bytes()] {
        assert_eq!(numbers(nothing), [Err(InvalidList::None)]);
    }
    assert_eq!(numbers(&signer.der), [Err(InvalidList::Malformed)]);
}

#[test]
fn every_kind_of_key_that_authorities_have_is_verified() {
    for algorithm in [&PKCS_ECDSA_P384_SHA384, &PKCS_ED25519] {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let signer = signer_named("Lists 1", vec![KeyUsagePurpose::CrlSign], key);
        assert_eq!(
            signer.read(&signer.list(|_| {})).map(|list| list.len()),
            Ok(1)
        );
    }
}

/// RFC 5280 §6.3.3 (f), (g): the name, the key and its usage.
#[test]
fn only_the_issuer_itself_speaks_for_its_certificates() {
    let signer = signer();
    let list = signer.list(|_| {});
    let key = || KeyPair::generate().unwrap();
    let same_name_and_id = signer_named("Lists 1", vec![KeyUsagePurpose::CrlSign], key());
    assert_eq!(same_name_and_id.read(&list), Err(InvalidList::BadSignature));
    let other_name = signer_named("Lists 2", vec![KeyUsagePurpose::CrlSign], key());
    assert_eq!(other_name.read(&list), Err(InvalidList::OtherIssuer));
    for usages in [vec![], vec![KeyUsagePurpose::KeyCertSign]] {
        let may_not = signer_named("Lists 1", usages, key());
        assert_eq!(may_not.read(&list), Err(InvalidList::IssuerSignsNoLists));
    }
    let other_key = signer.list(|params| {
        params.key_identifier_method = KeyIdMethod::PreSpecified(vec![0xbb; 20]);
    });
    let unknown = InvalidList::UnknownIssuer("bb".repeat(20).into());
    assert_eq!(signer.read(&other_key), Err(unknown));
    assert!(RevocationList::read(&list, &[]).is_err());
}

#[test]
fn a_list_changed_or_cut_anywhere_is_not_believed() {
    let signer = signer();
    let issuers = [signer.authority()];
    let good = signer.list(|_| {});
    assert!(RevocationList::read(&good, &issuers).is_ok());
    for index in 0..good.len() {
        let mut changed = good.clone();
        changed[index] ^= 1;
        let found = RevocationList::read(&changed, &issuers);
        assert!(found.is_err(), "octet {index}");
        assert!(
            RevocationList::read(&good[..index], &issuers).is_err(),
            "cut at {index}"
        );
    }
    let longer = [good, vec![0]].concat();
    assert_eq!(
        RevocationList::read(&longer, &issuers),
        Err(InvalidList::Malformed)
    );
}

/// What becomes of a list made by hand with one change.
fn changed(change: impl FnOnce(&mut Fields)) -> Result<String, InvalidList> {
    let signer = signer();
    let mut fields = fields();
    change(&mut fields);
    signer
        .read(&signer.raw(&fields))
        .map(|list| list.number().to_string())
}

fn with_extension(extension: Vec<u8>) -> Result<String, InvalidList> {
    changed(|fields| fields.extensions.push(extension))
}

fn with_entry_extension(extension: &[u8]) -> Result<String, InvalidList> {
    changed(|fields| fields.entries = tlv(0x30, &entry(extension)))
}

/// RFC 5280 §5.1.
#[test]
fn a_list_has_every_field_or_is_refused() {
    let read = |change: &dyn Fn(&mut Fields)| changed(|fields| change(fields));
    assert_eq!(read(&|_| {}), Ok("7".to_owned()));
    let generalized = tlv(0x18, b"20270115080000Z");
    assert_eq!(
        read(&|f| f.this_update = generalized.clone()),
        Ok("7".to_owned())
    );
    for (found, expected) in [
        (read(&|f| f.version = vec![]), InvalidList::Version1),
        (
            read(&|f| f.version = tlv(0x02, &[2])),
            InvalidList::Malformed,
        ),
        (read(&|f| f.next_update = vec![]), InvalidList::NoNextUpdate),
        (
            read(&|f| f.next_update = f.this_update.clone()),
            InvalidList::DatesReversed,
        ),
        (
            read(&|f| f.next_update = tlv(0x17, b"2701220800Z")),
            InvalidList::Malformed,
        ),
        (
            read(&|f| f.entries = tlv(0x30, b"")),
            InvalidList::Malformed,
        ),
        (read(&|f| f.extensions.clear()), InvalidList::NoIssuerKeyId),
        (
            read(&|f| drop(f.extensions.remove(0))),
            InvalidList::NoIssuerKeyId,
        ),
        (
            read(&|f| drop(f.extensions.remove(1))),
            InvalidList::NoNumber,
        ),
    ] {
        assert_eq!(found, Err(expected));
    }
}

#[test]
fn an_entry_that_no_certificate_can_have_is_no_entry() {
    for (number, entries) in [
        (&[0][..], Ok(1)),
        (&[0xff], Ok(1)),
        (&[1; 21], Ok(1)),
        (&[0, 0xff], Ok(2)),
        (&[], Err(InvalidList::Malformed)),
    ] {
        let odd = [tlv(0x02, number), tlv(0x17, b"270101000000Z")].concat();
        let signer = signer();
        let mut fields = fields();
        fields.entries = tlv(0x30, &[tlv(0x30, &odd), entry(&[])].concat());
        let list = signer.read(&signer.raw(&fields));
        assert_eq!(list.map(|list| list.len()), entries, "{number:x?}");
    }
}

/// RFC 5280 §5.2, §5.3: an extension that is critical is understood, or the list is not used.
#[test]
fn a_critical_extension_is_understood_or_the_list_is_refused() {
    let critical = || InvalidList::CriticalExtension("2.5.29.99".into());
    for (found, expected) in [
        (with_extension(extension(0x63, true, &[])), critical()),
        (
            with_extension(extension(0x14, false, &tlv(0x02, &[8]))),
            InvalidList::Malformed,
        ),
        (
            with_extension(extension(0x1b, true, &tlv(0x02, &[6]))),
            InvalidList::Delta,
        ),
        (
            with_entry_extension(&extension(0x63, true, &[])),
            critical(),
        ),
        (
            with_entry_extension(&extension(0x1d, true, &tlv(0x30, &[]))),
            InvalidList::Indirect,
        ),
        (
            with_entry_extension(&extension(0x15, false, &tlv(0x0a, &[0, 1]))),
            InvalidList::Malformed,
        ),
        (
            with_entry_extension(&extension(0x15, false, &tlv(0x02, &[1]))),
            InvalidList::Malformed,
        ),
    ] {
        assert_eq!(found, Err(expected));
    }
    for found in [
        with_extension(extension(0x63, false, &[])),
        with_entry_extension(&extension(0x63, false, &[])),
        with_entry_extension(&extension(0x15, true, &tlv(0x0a, &[1]))),
    ] {
        assert_eq!(found, Ok("7".to_owned()));
    }
}

/// RFC 5280 §5.2.5.
#[test]
fn a_list_that_does_not_speak_for_all_says_for_whom() {
    let signer = signer();
    let read = |point: &[u8]| {
        let mut fields = fields();
        fields
            .extensions
            .push(extension(0x1c, true, &tlv(0x30, point)));
        signer.read(&signer.raw(&fields)).map(|list| list.scope())
    };
    let yes = |tag| tlv(tag, &[0xff]);
    for (point, expected) in [
        (yes(0x81), Ok(Scope::EndEntities)),
        (yes(0x82), Ok(Scope::Authorities)),
        (
            tlv(0xa0, &tlv(0xa0, &tlv(0x86, b"http://a.example/1.crl"))),
            Ok(Scope::All),
        ),
        (tlv(0x81, &[0]), Ok(Scope::All)),
        (yes(0x85), Err(InvalidList::AttributeCertificates)),
        (yes(0x84), Err(InvalidList::Indirect)),
        ([yes(0x81), yes(0x84)].concat(), Err(InvalidList::Indirect)),
        (tlv(0x83, &[1, 0x40]), Err(InvalidList::SomeReasons)),
        ([yes(0x81), yes(0x82)].concat(), Err(InvalidList::Malformed)),
        ([yes(0x82), yes(0x81)].concat(), Err(InvalidList::Malformed)),
        (yes(0x86), Err(InvalidList::Malformed)),
        (vec![], Err(InvalidList::Malformed)),
    ] {
        assert_eq!(read(&point), expected, "{point:x?}");
    }
    let scoped = |scope, uri: &str| {
        let der = signer.list(|params| {
            let uris = vec![uri.to_owned()];
            let distribution_point = CrlDistributionPoint { uris };
            params.issuing_distribution_point = Some(CrlIssuingDistributionPoint {
                distribution_point,
                scope: Some(scope),
            });
        });
        let list = signer.read(&der).unwrap();
        assert!(list.is_partial());
        list.id().clone()
    };
    assert!(!signer.numbered(1, &[]).is_partial());
    let ids = [
        scoped(CrlScope::UserCertsOnly, "http://a.example/1"),
        scoped(CrlScope::UserCertsOnly, "http://a.example/2"),
        scoped(CrlScope::CaCertsOnly, "http://a.example/1"),
    ];
    assert!(ids[0] != ids[1] && ids[0] != ids[2]);
    assert_eq!(
        ids.each_ref().map(|id| ListId::parse(id.as_str())),
        ids.clone().map(Some)
    );
    for text in ["", "aa", "AA/all", "aa/all\n", "aa/../all"] {
        assert_eq!(ListId::parse(text), None, "{text:?}");
    }
}

/// An RSA authority of OpenSSL's, and its list signed with SHA-1 and with SHA-256:
/// `openssl ca -gencrl -md sha1`.
const RSA_AUTHORITY: &str = "-----BEGIN CERTIFICATE-----
MIIC8DCCAdigAwIBAgIUDhyQnRoYBlDUHmSM3FufJtZsVOwwDQYJKoZIhvcNAQEL
BQAwEDEOMAwGA1UEAwwFU0hBLTEwHhcNMjYxMTIyMDgzNTU1WhcNMzYxMTE5MDgz
NTU1WjAQMQ4wDAYDVQQDDAVTSEEtMTCCASIwDQYJKoZIhvcNAQEBBQADggEPADCC
AQoCggEBAKMsLAhBmic321Nf1K8Rj/5gYDClDxuRegYceTzmA2u6sqkI8haCvo3l
hL95SVn7FZ8UdfDLxRVuuts81npBs+AM/RVBrMoRmNtzVmBtFrDOjoxVdsW2GYSO
C2PSZwiz+T90P+B8GDm+NOtP/5DLyH4OiLMEySxmiBmVDQ+suyV2yzG4inB5qrTL
ekYZ4IeDFiaH2K9e3SE3XbRvoGOy6nXo859PpnhNmVyaAYkZrUklEYZM+gbaxHsX
pzhfGRlIUdZ6tfDfsNzHNy86cZlaBwEF+FjMT8dT1Hhvhh97ZLvkb5UzxLUy/9nP
sniTLADge7gObedFg/kjumzaD7HoassCAwEAAaNCMEAwDwYDVR0TAQH/BAUwAwEB
/zAOBgNVHQ8BAf8EBAMCAQIwHQYDVR0OBBYEFLyKykguFL3hQ0KXfVwiQf3Yya2T
MA0GCSqGSIb3DQEBCwUAA4IBAQAYlbHCc/N1mBrOQGaY+6Jbpho1vppEeRKIwnV4
tAsALyMceAkXk1bLprkM+LDwEa2abqu+jTtxofry04Ea9CZMwbxjUm7lF9I785QR
vIuHkJRaNUqkVoXAU+BNBd3ombQG3uWiHzylaaNgtCe+2AbcgubjWai2hl4CD+wR
4p60H5JiXrErzQUhBT9sS5YWEFz66gBaWaoFVaZe76HZIzpzUT3Y4Nh81ERPSG2I
5NPyTGNfjoo3cIeN+H0oPnNdqQUnQ5DJ5xiV9jUoaBn9bvXhLMqsLaFUZtev9X0n
SKXTJiBLDgJkRBw8ie5pFlMLYTCxpnmqqgY2A+5f2gdwDR/8
-----END CERTIFICATE-----
";
const SIGNED_WITH_SHA_1: &str = "-----BEGIN X509 CRL-----
MIIBiTBzAgEBMA0GCSqGSIb3DQEBBQUAMBAxDjAMBgNVBAMMBVNIQS0xFw0yNjEx
MjIwODM1NTVaFw0zNjExMTkwODM1NTVaoC8wLTAfBgNVHSMEGDAWgBS8ispILhS9
4UNCl31cIkH92MmtkzAKBgNVHRQEAwIBATANBgkqhkiG9w0BAQUFAAOCAQEAVMmE
IyqXntCE8hJdHN246toMhkjbxe9JlIMK6MKW0F8r6VFU7IwEY7LshFup00XlKKC8
pOzEu+dY70Y1EajfOg2tpye5F7PRGu4/P9nhFnu3TYIu0f5lgNu9yfChU4gjiV2V
xQSsOwK62mPGyDbC543myqOBuKDxZxnllQze3Hb8ax4D0lt8mOSxh7nS/km26FQO
Sf7ppZ+7B4mjh8WmMqa8wzqvzwTebBp5ZGYB176KktP/1HIrRO9P2gPjEUoPR7rL
y7DzYek1+a4fUaCrc1asOnxkBbudIohAniEG/EO4sE7rcpxs/kZ8zJDeFAdgLjcN
O/5wGf1uBlm2X9a1Xg==
-----END X509 CRL-----
";
const SIGNED_WITH_SHA_256: &str = "-----BEGIN X509 CRL-----
MIIBiTBzAgEBMA0GCSqGSIb3DQEBCwUAMBAxDjAMBgNVBAMMBVNIQS0xFw0yNjEx
MjIwODM1NTVaFw0zNjExMTkwODM1NTVaoC8wLTAfBgNVHSMEGDAWgBS8ispILhS9
4UNCl31cIkH92MmtkzAKBgNVHRQEAwIBATANBgkqhkiG9w0BAQsFAAOCAQEAdVLJ
FYVaEa9VJmtqRUpplG9+k0mRmLdfiWMbE9NWDzgY4zIZ1E02xHdys6cl7brMeP9v
QxlSY5Sc7Ljff22qAq94vSzy1id66zYTtFAV4K9kTb5n+I66M/vbwOQSbIEQEPdr
xp3OmdDUicheaHQir5RLAgonRccZLT8tOctuXWA/Q2OS6HbpYoKoE/77fZG1Jfai
AZ+8Z4R7Vog4KzNm28C6ccnYPVKQw78ZlpzAE9JXzaO6MjiX6m5ZH07Qkn8uhyQR
JQc4zgj34oboYHsrP0oNFJclgmlQUKeThII2ck+LIbukLz/MprmycAjys2kDnCCD
gfsAaqXmQu66qq/lbQ==
-----END X509 CRL-----
";

#[test]
fn a_signature_over_sha_1_proves_nothing() {
    let authority = CertificateDer::from_pem_slice(RSA_AUTHORITY.as_bytes()).unwrap();
    let issuers = [Authority::read(&authority).unwrap()];
    let read = |pem: &str| RevocationList::read_all(pem.as_bytes(), &issuers).remove(0);
    assert_eq!(read(SIGNED_WITH_SHA_256).map(|list| list.len()), Ok(0));
    assert_eq!(read(SIGNED_WITH_SHA_1), Err(InvalidList::Algorithm));
}
