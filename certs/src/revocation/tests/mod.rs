//! An authority for tests that signs lists, good ones and such as no library makes.

mod list;
mod set;

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationList,
    CertificateRevocationListParams, CrlDistributionPoint, CrlIssuingDistributionPoint, CrlScope,
    DnType, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P384_SHA384,
    PKCS_ED25519, RevokedCertParams, SerialNumber, SigningKey,
};

use super::*;
use crate::authority::Authority;
use crate::certificate::Certificate;
use crate::serial::Serial;
use crate::status::RevocationReason;
use crate::testing::{NOT_BEFORE, at, date, leaf};

const DAY: u64 = 86_400;
const KEY_ID: [u8; 20] = [0xaa; 20];

/// An authority that signs lists, good and bad.
struct Signer {
    der: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
    /// Its name, and how it signs, as both stand in a list.
    name: Vec<u8>,
    algorithm: Vec<u8>,
}

fn signer_named(name: &str, usages: Vec<KeyUsagePurpose>, key: KeyPair) -> Signer {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = usages;
    params.key_identifier_method = KeyIdMethod::PreSpecified(KEY_ID.into());
    let der = params.self_signed(&key).unwrap().der().to_vec();
    let certificate = x509_parser::parse_x509_certificate(&der).unwrap().1;
    let name = certificate.subject().as_raw().to_vec();
    // The last sequence before the signature.
    let after_tbs = certificate.tbs_certificate.as_ref().len() + 4;
    let algorithm = der::Der::new(&der[after_tbs..])
        .any()
        .unwrap()
        .whole
        .to_vec();
    Signer {
        issuer: Issuer::new(params, key),
        name,
        algorithm,
        der,
    }
}

fn signer() -> Signer {
    let usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    signer_named("Lists 1", usages, KeyPair::generate().unwrap())
}

fn serial(number: u64) -> Serial {
    let number = ListNumber::from(number);
    Serial::from_octets(number.as_octets()).unwrap()
}

fn revoked_params(number: u64, reason: Option<rcgen::RevocationReason>) -> RevokedCertParams {
    RevokedCertParams {
        serial_number: SerialNumber::from(number),
        revocation_time: date(NOT_BEFORE - DAY),
        reason_code: reason,
        invalidity_date: Some(date(NOT_BEFORE - 2 * DAY)),
    }
}

impl Signer {
    fn authority(&self) -> Authority {
        Authority::read(&self.der).unwrap()
    }

    fn list(&self, change: impl FnOnce(&mut CertificateRevocationListParams)) -> Vec<u8> {
        self.crl(change).der().to_vec()
    }

    fn crl(
        &self,
        change: impl FnOnce(&mut CertificateRevocationListParams),
    ) -> CertificateRevocationList {
        let mut params = CertificateRevocationListParams {
            this_update: date(NOT_BEFORE),
            next_update: date(NOT_BEFORE + 7 * DAY),
            crl_number: SerialNumber::from(7),
            issuing_distribution_point: None,
            revoked_certs: vec![revoked_params(1, None)],
            key_identifier_method: KeyIdMethod::PreSpecified(KEY_ID.into()),
        };
        change(&mut params);
        params.signed_by(&self.issuer).unwrap()
    }

    fn read(&self, der: &[u8]) -> Result<RevocationList, InvalidList> {
        RevocationList::read(der, &[self.authority()])
    }

    fn numbered(&self, number: u64, serials: &[u64]) -> RevocationList {
        let der = self.list(|params| {
            params.crl_number = SerialNumber::from(number);
            params.revoked_certs = serials.iter().map(|s| revoked_params(*s, None)).collect();
        });
        self.read(&der).unwrap()
    }

    /// A list put together by hand, for what rcgen does not make.
    fn raw(&self, fields: &Fields) -> Vec<u8> {
        let extensions = tlv(0xa0, &tlv(0x30, &fields.extensions.concat()));
        let parts = [
            fields.version.clone(),
            self.algorithm.clone(),
            self.name.clone(),
            fields.this_update.clone(),
            fields.next_update.clone(),
            fields.entries.clone(),
            if fields.extensions.is_empty() {
                Vec::new()
            } else {
                extensions
            },
        ];
        let tbs = tlv(0x30, &parts.concat());
        let signature = self.issuer.key().sign(&tbs).unwrap();
        let signature = tlv(0x03, &[vec![0], signature].concat());
        tlv(0x30, &[tbs, self.algorithm.clone(), signature].concat())
    }
}

struct Fields {
    version: Vec<u8>,
    this_update: Vec<u8>,
    next_update: Vec<u8>,
    entries: Vec<u8>,
    extensions: Vec<Vec<u8>>,
}

fn fields() -> Fields {
    Fields {
        version: tlv(0x02, &[1]),
        this_update: tlv(0x17, b"270115080000Z"),
        next_update: tlv(0x17, b"270122080000Z"),
        entries: tlv(0x30, &entry(&[])),
        extensions: vec![
            extension(0x23, false, &tlv(0x30, &tlv(0x80, &KEY_ID))),
            extension(0x14, false, &tlv(0x02, &[7])),
        ],
    }
}

/// An entry for the serial number 5, with extensions.
fn entry(extensions: &[u8]) -> Vec<u8> {
    let extensions = if extensions.is_empty() {
        Vec::new()
    } else {
        tlv(0x30, extensions)
    };
    tlv(
        0x30,
        &[tlv(0x02, &[5]), tlv(0x17, b"270101000000Z"), extensions].concat(),
    )
}

/// An extension of the arc `id-ce`.
fn extension(last: u8, critical: bool, value: &[u8]) -> Vec<u8> {
    let critical = if critical {
        tlv(0x01, &[0xff])
    } else {
        Vec::new()
    };
    tlv(
        0x30,
        &[tlv(0x06, &[0x55, 0x1d, last]), critical, tlv(0x04, value)].concat(),
    )
}

fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let len = content.len();
    let length = match len {
        0..0x80 => vec![u8::try_from(len).unwrap()],
        0x80..0x100 => vec![0x81, u8::try_from(len).unwrap()],
        _ => vec![
            0x82,
            u8::try_from(len >> 8).unwrap(),
            u8::try_from(len & 0xff).unwrap(),
        ],
    };
    [vec![tag], length, content.to_vec()].concat()
}
