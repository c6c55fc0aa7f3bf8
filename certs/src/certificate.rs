//! What one certificate says, read once from its DER (RFC 5280 §4).
//!
//! Reading judges form only, never whether the certificate may be believed; what could be read in
//! two ways (an extension twice, an unreadable name) is refused here, so that no reader below has
//! to choose.

use std::time::Duration;

use aws_lc_rs::digest;
use rustls_pki_types::{ServerName, UnixTime};
use x509_parser::certificate::{TbsCertificate, X509Certificate};
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;
use x509_parser::x509::{AttributeTypeAndValue, SubjectPublicKeyInfo, X509Name};

use crate::authority::signature;
use crate::extensions::Extensions;
use crate::refusal::Refusal;
use crate::serial::Serial;
use crate::text::escape::escaped;

/// Longer than any leaf or issuer with post-quantum keys (5.4 kB), shorter than a burden.
const CERTIFICATE_LEN_MAX: usize = 16 * 1024;

/// What a certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Certificate {
    /// The subject's distinguished name for people: escaped, on one line, of bounded length.
    pub subject: Box<str>,
    /// The issuer's distinguished name, likewise for people only.
    pub issuer: Box<str>,
    /// The subject's common name.
    pub common_name: CommonName,
    /// The subject's organizations, those that are text.
    pub organizations: Vec<Box<str>>,
    /// The subject's organizational units, those that are text.
    pub organizational_units: Vec<Box<str>>,
    /// The serial number, unique among the certificates of its issuer.
    pub serial: Serial,
    /// The first second of validity.
    pub not_before: UnixTime,
    /// The last second of validity.
    pub not_after: UnixTime,
    /// The SHA-256 of the DER: the fingerprint that `openssl x509 -fingerprint -sha256` shows.
    pub sha256: [u8; 32],
    /// The subject public key info, as it stands there.
    pub public_key: Box<[u8]>,
    /// What its extensions say.
    pub extensions: Extensions,
}

impl Certificate {
    /// Reads the certificate that is the whole of `der`.
    ///
    /// # Errors
    /// [`Refusal::Malformed`] when `der` is not one well-formed certificate of bearable size.
    pub fn read(der: &[u8]) -> Result<Self, Refusal> {
        if der.len() > CERTIFICATE_LEN_MAX {
            return Err(Refusal::Malformed("longer than 16 KiB"));
        }
        let (rest, x509) =
            X509Certificate::from_der(der).map_err(|_| Refusal::Malformed("not X.509 DER"))?;
        if !rest.is_empty() {
            return Err(Refusal::Malformed("followed by other data"));
        }
        Self::from_parsed(&x509.tbs_certificate, sha256(der))
    }

    /// Whether `name` is among the names under which the holder may be reached.
    pub fn is_for_server(&self, name: &ServerName<'_>) -> bool {
        match name {
            ServerName::IpAddress(ip) => self.extensions.ip_names.contains(&(*ip).into()),
            name => {
                let name = name.to_str();
                self.extensions
                    .dns_names
                    .iter()
                    .any(|dns| dns.eq_ignore_ascii_case(&name))
            }
        }
    }

    fn from_parsed(tbs: &TbsCertificate<'_>, sha256: [u8; 32]) -> Result<Self, Refusal> {
        Ok(Self {
            subject: name_for_people(&tbs.subject),
            issuer: name_for_people(&tbs.issuer),
            common_name: CommonName::read(&tbs.subject),
            organizations: texts(tbs.subject.iter_organization()),
            organizational_units: texts(tbs.subject.iter_organizational_unit()),
            serial: Serial::read(tbs.raw_serial())?,
            not_before: unix_time(tbs.validity.not_before),
            not_after: unix_time(tbs.validity.not_after),
            sha256,
            public_key: tbs.subject_pki.raw.into(),
            extensions: Extensions::read(tbs)?,
        })
    }
}

fn texts<'a>(attributes: impl Iterator<Item = &'a AttributeTypeAndValue<'a>>) -> Vec<Box<str>> {
    let texts = attributes.filter_map(|it| it.as_str().ok());
    texts.map(Box::from).collect()
}

/// The common name of a subject. A certificate may carry none, or more than one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommonName {
    /// There is none.
    Absent,
    /// There is one, and it is text.
    One(Box<str>),
    /// There are several, so it is nobody's name.
    Several,
    /// It is written in a character set that has gone out of use (`BMPString`, `TeletexString`, …).
    Unreadable,
}

impl CommonName {
    pub(crate) fn read(subject: &X509Name<'_>) -> Self {
        let mut names = subject.iter_common_name();
        match (names.next(), names.next()) {
            (None, _) => Self::Absent,
            (Some(_), Some(_)) => Self::Several,
            (Some(only), None) => only
                .as_str()
                .map_or(Self::Unreadable, |n| Self::One(n.into())),
        }
    }
}

/// Verifies that the key of `issuer` signed the certificate `der`.
pub(crate) fn verify_signature(der: &[u8], issuer: &Certificate) -> Result<(), Refusal> {
    let (_, x509) =
        X509Certificate::from_der(der).map_err(|_| Refusal::Malformed("not X.509 DER"))?;
    let (_, key) = SubjectPublicKeyInfo::from_der(&issuer.public_key)
        .map_err(|_| Refusal::Malformed("the key of its issuer is broken"))?;
    let signed = (&x509.signature_value, x509.tbs_certificate.as_ref());
    signature::verify(&key, &x509.signature_algorithm, signed).map_err(|_| Refusal::BadSignature)
}

/// Times before 1970 are as good as 1970: nothing was valid then that is valid now.
fn unix_time(time: ASN1Time) -> UnixTime {
    let seconds = u64::try_from(time.timestamp()).unwrap_or(0);
    UnixTime::since_unix_epoch(Duration::from_secs(seconds))
}

fn name_for_people(name: &X509Name<'_>) -> Box<str> {
    let mut text = String::new();
    for attribute in name.iter_attributes() {
        if !text.is_empty() {
            text.push_str(", ");
        }
        let oid = attribute.attr_type().to_id_string();
        text.push_str(match oid.as_str() {
            "2.5.4.3" => "CN",
            "2.5.4.6" => "C",
            "2.5.4.7" => "L",
            "2.5.4.8" => "ST",
            "2.5.4.10" => "O",
            "2.5.4.11" => "OU",
            _ => &oid,
        });
        text.push('=');
        text.push_str(attribute.as_str().unwrap_or("(not text)"));
    }
    escaped(&text).into()
}

/// The SHA-256 of `octets`: of a certificate in DER, its fingerprint.
pub fn sha256(octets: &[u8]) -> [u8; 32] {
    let mut fingerprint = [0; 32];
    fingerprint.copy_from_slice(digest::digest(&digest::SHA256, octets).as_ref());
    fingerprint
}

#[cfg(test)]
mod tests {
    use rcgen::{CustomExtension, DnType, SanType, SerialNumber};

    use super::*;
    use crate::testing::{NOT_BEFORE, at, leaf, uri};

    #[test]
    fn what_a_certificate_says_is_read() {
        let der = leaf(|params| {
            let organization = "Fleet\n\u{1b}[31m";
            params
                .distinguished_name
                .push(DnType::OrganizationName, organization);
            params
                .subject_alt_names
                .push(SanType::DnsName("a.example".try_into().unwrap()));
            params
                .subject_alt_names
                .push(SanType::IpAddress([127, 0, 0, 1].into()));
            params
                .subject_alt_names
                .push(SanType::Rfc822Name("a@example".try_into().unwrap()));
        });
        let certificate = Certificate::read(&der).unwrap();
        assert_eq!(&*certificate.subject, "CN=dev-1, O=Fleet\\n\\u{1b}[31m");
        assert_eq!(&*certificate.issuer, "CN=Test authority 1");
        assert_eq!(certificate.common_name, CommonName::One("dev-1".into()));
        assert_eq!(certificate.not_before, at(NOT_BEFORE));
        assert_eq!(certificate.public_key.len(), 91);
        let extensions = &certificate.extensions;
        assert_eq!(
            *extensions.uri_names,
            ["spiffe://fleet.example/device/dev-1".into()]
        );
        assert_eq!(*extensions.dns_names, ["a.example".into()]);
        assert_eq!(
            extensions.ip_names,
            ["127.0.0.1".parse::<std::net::IpAddr>().unwrap()]
        );
        assert_eq!(extensions.other_names, 1);
        assert_eq!(extensions.key_id.as_ref().map(|id| id.len()), Some(20));
        assert_eq!(
            extensions.issuer_key_id.as_ref().map(|id| id.len()),
            Some(20)
        );
    }

    #[test]
    fn a_certificate_cut_anywhere_or_continued_is_malformed() {
        let mut der = leaf(|_| {});
        for end in 0..der.len() {
            let cut = Certificate::read(&der[..end]);
            assert!(matches!(cut, Err(Refusal::Malformed(_))), "{end}");
        }
        der.push(0);
        assert_eq!(
            Certificate::read(&der),
            Err(Refusal::Malformed("followed by other data"))
        );
    }

    #[test]
    fn every_size_has_a_limit() {
        let many_names = (0..65)
            .map(|n| uri(&format!("https://{n}.example")))
            .collect();
        let many_extensions = (0..40)
            .map(|n| CustomExtension::from_oid_content(&[1, 3, n], vec![5, 0]))
            .collect();
        let large = CustomExtension::from_oid_content(&[1, 3, 1], vec![5; 20_000]);
        for (der, why) in [
            (
                leaf(|p| p.subject_alt_names = many_names),
                "it has more than 64 alternative names",
            ),
            (
                leaf(|p| p.custom_extensions = many_extensions),
                "it has more than 32 extensions",
            ),
            (
                leaf(|p| p.custom_extensions = vec![large]),
                "longer than 16 KiB",
            ),
        ] {
            assert_eq!(Certificate::read(&der), Err(Refusal::Malformed(why)));
        }
        let subject = "x".repeat(10_000);
        let der = leaf(|p| p.distinguished_name.push(DnType::OrganizationName, subject));
        assert!(Certificate::read(&der).unwrap().subject.len() < 300);
    }

    #[test]
    fn rfc_5280_4_1_2_2_a_serial_number_is_positive_and_of_20_octets_at_most() {
        for (octets, expected) in [
            (vec![1], Ok("01")),
            (vec![0x80], Ok("80")),
            (
                vec![0xff; 20],
                Ok("ffffffffffffffffffffffffffffffffffffffff"),
            ),
            (
                vec![0],
                Err(Refusal::Malformed("its serial number is zero")),
            ),
            (
                vec![1; 21],
                Err(Refusal::Malformed(
                    "its serial number is longer than 20 octets",
                )),
            ),
        ] {
            let der = leaf(|p| p.serial_number = Some(SerialNumber::from(octets)));
            let serial = Certificate::read(&der).map(|certificate| certificate.serial.to_string());
            assert_eq!(serial, expected.map(str::to_owned));
        }
    }
}
