//! Reading a registry export: the signature first, and then every line or none.

use std::collections::HashMap;

use serde::Deserialize;

use super::document::{HeaderLine, KnownDevice, SignatureLine};
use super::invalid::InvalidExport;
use super::writer::{ExportHeader, VERSION, check_order};
use crate::authority::{Authority, BadSignature};
use crate::certificate::sha256;
use crate::device_id::DeviceId;
use crate::subject::{Subject, TrustDomain};
use crate::text::hex::from_hex;
use crate::text::time::parse_time;

/// 100,000 devices with a few attributes and a fingerprint have about 20 MB.
const EXPORT_LEN_MAX: usize = 256 * 1024 * 1024;
const LINE_LEN_MAX: usize = 64 * 1024;

/// The devices that an authority knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryExport {
    header: ExportHeader,
    issuer_key_id: Box<[u8]>,
    sha256: [u8; 32],
    devices: HashMap<Subject, KnownDevice>,
}

impl RegistryExport {
    /// Reads and verifies the export that is the whole of `octets`; one of `issuers` has signed it.
    ///
    /// Whether its number is high enough, and whether it is out of date, is for its user to judge.
    ///
    /// # Errors
    /// [`InvalidExport`] says why it is not believed.
    pub fn read(octets: &[u8], issuers: &[Authority]) -> Result<Self, InvalidExport> {
        if octets.len() > EXPORT_LEN_MAX {
            return Err(InvalidExport::TooLong(octets.len()));
        }
        let (body, signature) = split(octets).ok_or(InvalidExport::Form)?;
        let mut lines = body.split_inclusive(|octet| *octet == b'\n');
        let first = lines.next().ok_or(InvalidExport::Form)?;
        let line = read_header(first)?;
        let issuer_key_id = from_hex(&line.issuer_key_id).ok_or(InvalidExport::Form)?;
        let issuer = issuers
            .iter()
            .find(|issuer| issuer.key_id() == issuer_key_id);
        let unknown = || InvalidExport::UnknownIssuer(line.issuer_key_id.as_str().into());
        verify(body, signature, issuer.ok_or_else(unknown)?)?;
        Ok(Self {
            header: header(&line)?,
            issuer_key_id: issuer_key_id.into(),
            sha256: sha256(body),
            devices: read_devices(lines)?,
        })
    }

    /// Its number, times and trust domain.
    pub fn header(&self) -> &ExportHeader {
        &self.header
    }

    /// The identifier of the key that signed it.
    pub fn issuer_key_id(&self) -> &[u8] {
        &self.issuer_key_id
    }

    /// The SHA-256 of what is signed in it.
    pub fn sha256(&self) -> &[u8; 32] {
        &self.sha256
    }

    /// What is known of `subject`; `None` when it is not known.
    pub fn find(&self, subject: &Subject) -> Option<&KnownDevice> {
        self.devices.get(subject)
    }

    /// All devices, in no order.
    pub fn devices(&self) -> impl ExactSizeIterator<Item = &KnownDevice> {
        self.devices.values()
    }
}

/// What is signed, and the line with the signature.
fn split(octets: &[u8]) -> Option<(&[u8], &[u8])> {
    let whole = octets.strip_suffix(b"\n")?;
    let end_of_body = whole.iter().rposition(|octet| *octet == b'\n')? + 1;
    whole.split_at_checked(end_of_body)
}

fn read_header(line: &[u8]) -> Result<HeaderLine, InvalidExport> {
    /// Any version of the format has this.
    #[derive(Deserialize)]
    struct AnyVersion {
        countersign_registry: u32,
    }
    if line.len() > LINE_LEN_MAX {
        return Err(InvalidExport::Form);
    }
    let any: AnyVersion = serde_json::from_slice(line).map_err(|_| InvalidExport::Form)?;
    if any.countersign_registry != VERSION {
        return Err(InvalidExport::Version(any.countersign_registry));
    }
    serde_json::from_slice(line).map_err(|_| InvalidExport::Form)
}

fn header(line: &HeaderLine) -> Result<ExportHeader, InvalidExport> {
    let time = |text: &str| parse_time(text).ok_or(InvalidExport::Form);
    let header = ExportHeader {
        number: line.number,
        trust_domain: TrustDomain::parse(&line.trust_domain).map_err(|_| InvalidExport::Form)?,
        created: time(&line.created)?,
        next_update: time(&line.next_update)?,
    };
    if header.next_update <= header.created {
        return Err(InvalidExport::DatesReversed);
    }
    Ok(header)
}

fn verify(body: &[u8], line: &[u8], issuer: &Authority) -> Result<(), InvalidExport> {
    if line.len() > LINE_LEN_MAX {
        return Err(InvalidExport::Form);
    }
    let line: SignatureLine = serde_json::from_slice(line).map_err(|_| InvalidExport::Form)?;
    let signature = from_hex(&line.signature).ok_or(InvalidExport::BadSignature)?;
    let verified = issuer.verify_octets(body, line.algorithm.to_der(), &signature);
    verified.map_err(|bad| match bad {
        BadSignature::Algorithm => InvalidExport::Algorithm,
        BadSignature::Wrong => InvalidExport::BadSignature,
    })
}

fn read_devices<'a>(
    lines: impl Iterator<Item = &'a [u8]>,
) -> Result<HashMap<Subject, KnownDevice>, InvalidExport> {
    let mut devices = HashMap::new();
    let mut last: Option<DeviceId> = None;
    for (index, text) in lines.enumerate() {
        let invalid = |why: String| InvalidExport::Device {
            line: index + 2,
            why: why.into(),
        };
        if text.len() > LINE_LEN_MAX {
            return Err(invalid("it is too long".to_owned()));
        }
        let line = serde_json::from_slice(text);
        // The parser's words could quote the line.
        let line = line.map_err(|_| invalid("it is not the JSON of a device".to_owned()))?;
        let device = KnownDevice::from_line(line).map_err(invalid)?;
        check_order(last.as_ref(), &device.subject.id).map_err(invalid)?;
        last = Some(device.subject.id.clone());
        devices.insert(device.subject.clone(), device);
    }
    Ok(devices)
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, IsCa, KeyPair, PKCS_ECDSA_P256_SHA256,
        PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256, SignatureAlgorithm, SigningKey,
    };

    use super::super::writer::ExportWriter;
    use super::*;
    use crate::testing::{NOT_BEFORE, at};

    fn authority(algorithm: &'static SignatureAlgorithm) -> (Authority, KeyPair) {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate_for(algorithm).unwrap();
        let der = params.self_signed(&key).unwrap().der().to_vec();
        (Authority::read(&der).unwrap(), key)
    }

    fn device(id: &str) -> KnownDevice {
        KnownDevice::new(Subject::parse(id).unwrap())
    }

    fn header_of(number: u64) -> ExportHeader {
        ExportHeader {
            number,
            trust_domain: TrustDomain::parse("fleet.example").unwrap(),
            created: at(NOT_BEFORE),
            next_update: at(NOT_BEFORE + 86_400),
        }
    }

    fn export(devices: &[KnownDevice], issuer: &(Authority, KeyPair)) -> Vec<u8> {
        let mut writer = ExportWriter::new(&header_of(7), &issuer.0).unwrap();
        for device in devices {
            writer.add(device).unwrap();
        }
        writer.sign(|octets| issuer.1.sign(octets)).unwrap()
    }

    /// Signs lines that no writer of ours writes.
    fn signed(lines: &str, (_, key): &(Authority, KeyPair)) -> Vec<u8> {
        let signature = crate::text::hex::Hex(&key.sign(lines.as_bytes()).unwrap()).to_string();
        let last = format!(r#"{{"algorithm":"ecdsa-with-sha256","signature":"{signature}"}}"#);
        format!("{lines}{last}\n").into_bytes()
    }

    fn full() -> KnownDevice {
        let text = |text: &str| text.into();
        let attributes = [("site", "Nord/3 +#"), ("model", "X")];
        KnownDevice {
            attributes: attributes
                .iter()
                .map(|(name, value)| (text(name), text(value)))
                .collect(),
            groups: [text("pumps")].into(),
            certificates: vec![[0xab; 32]],
            ..device("dev-2")
        }
    }

    #[test]
    fn an_export_is_read_as_it_was_written() {
        for algorithm in [
            &PKCS_ECDSA_P256_SHA256,
            &PKCS_ECDSA_P384_SHA384,
            &PKCS_ED25519,
        ] {
            let issuer = authority(algorithm);
            let devices = [device("app/app-1"), device("dev-1"), full()];
            let octets = export(&devices, &issuer);
            let read = RegistryExport::read(&octets, &[issuer.0]).unwrap();
            assert_eq!(*read.header(), header_of(7));
            assert_eq!(read.devices().len(), 3);
            for device in &devices {
                assert_eq!(read.find(&device.subject), Some(device));
            }
            // An application is not the device of the same id.
            assert_eq!(read.find(&Subject::parse("app-1").unwrap()), None);
        }
        let rsa = authority(&PKCS_RSA_SHA256);
        let refused = ExportWriter::new(&header_of(1), &rsa.0).unwrap_err();
        assert_eq!(refused, InvalidExport::Algorithm);
    }

    #[test]
    fn an_export_is_text_for_people() {
        let issuer = authority(&PKCS_ECDSA_P256_SHA256);
        let text = String::from_utf8(export(&[device("dev-1"), full()], &issuer)).unwrap();
        let lines: Vec<_> = text.lines().collect();
        let header = [
            r#"{"countersign_registry":1,"number":7,"trust_domain":"fleet.example","#,
            r#""issuer_key_id":""#,
            &crate::text::hex::Hex(issuer.0.key_id()).to_string(),
            r#"","created":"2027-01-15T08:00:00Z","next_update":"2027-01-16T08:00:00Z"}"#,
        ];
        assert_eq!(lines[0], header.concat());
        assert_eq!(lines[1], r#"{"id":"dev-1","kind":"device"}"#);
        let full = [
            r#"{"id":"dev-2","kind":"device","attributes":{"model":"X","site":"Nord/3 +#"},"#,
            r#""groups":["pumps"],"certificates":[""#,
            &"ab".repeat(32),
            r#""]}"#,
        ];
        assert_eq!(lines[2], full.concat());
        assert!(lines[3].starts_with(r#"{"algorithm":"ecdsa-with-sha256","signature":"30"#));
        assert_eq!(lines.len(), 4);
    }

    #[test]
    fn an_export_changed_or_cut_anywhere_is_not_believed() {
        let issuer = authority(&PKCS_ECDSA_P256_SHA256);
        let issuers = [issuer.0.clone()];
        let good = export(&[device("dev-1"), full()], &issuer);
        let read = RegistryExport::read(&good, &issuers).unwrap();
        for index in 0..good.len() {
            let mut changed = good.clone();
            changed[index] ^= 1;
            // Hexadecimal digits of the signature may change their case, and that is all.
            let found = RegistryExport::read(&changed, &issuers).ok();
            assert!(found.is_none_or(|found| found == read), "octet {index}");
            assert!(
                RegistryExport::read(&good[..index], &issuers).is_err(),
                "cut at {index}"
            );
        }
        let lines: Vec<_> = good.split_inclusive(|octet| *octet == b'\n').collect();
        for without in 0..lines.len() {
            let mut fewer = lines.clone();
            fewer.remove(without);
            assert!(
                RegistryExport::read(&fewer.concat(), &issuers).is_err(),
                "line {without}"
            );
        }
        let other = authority(&PKCS_ECDSA_P256_SHA256);
        let unknown = RegistryExport::read(&good, &[other.0]);
        assert!(
            matches!(unknown, Err(InvalidExport::UnknownIssuer(_))),
            "{unknown:?}"
        );
    }

    #[test]
    fn what_is_signed_is_as_it_must_be_or_refused() {
        let issuer = authority(&PKCS_ECDSA_P256_SHA256);
        let good = String::from_utf8(export(&[], &issuer)).unwrap();
        let header = good.lines().next().unwrap();
        let issuers = [issuer.0.clone()];
        let read = |lines: String| RegistryExport::read(&signed(&lines, &issuer), &issuers);
        let device = |line: &str| match read(format!("{header}\n{line}\n")) {
            Err(InvalidExport::Device { line: 2 | 3, why }) => why.into_string(),
            other => panic!("{line}: {other:?}"),
        };
        let good_device = r#"{"id":"b","kind":"device"}"#;
        assert!(read(format!("{header}\n{good_device}\n")).is_ok());
        let many = format!("{:?}", (0..65).map(|n| format!("g{n}")).collect::<Vec<_>>());
        for (line, words) in [
            (
                r#"{"id":"a/b","kind":"device"}"#.to_owned(),
                "letters, digits",
            ),
            (
                r#"{"id":"b","kind":"robot"}"#.to_owned(),
                "not the JSON of a device",
            ),
            (
                r#"{"id":"b","kind":"device","admin":true}"#.to_owned(),
                "not the JSON",
            ),
            (format!("{good_device}\n{good_device}"), "out of order"),
            (
                format!("{good_device}\n{}", good_device.replace('b', "a")),
                "out of order",
            ),
            (
                r#"{"id":"b","kind":"device","groups":["+"]}"#.to_owned(),
                "\"+\" is no name",
            ),
            (
                format!(r#"{{"id":"b","kind":"device","groups":{many}}}"#),
                "65 groups",
            ),
            (
                r#"{"id":"b","kind":"device","attributes":{"x":"a\u0000"}}"#.to_owned(),
                "control characters",
            ),
            (
                r#"{"id":"b","kind":"device","certificates":["ab"]}"#.to_owned(),
                "not the JSON",
            ),
        ] {
            assert!(device(&line).contains(words), "{line}: {}", device(&line));
        }
        let changed = |from: &str, to: &str| read(format!("{}\n", header.replacen(from, to, 1)));
        let dates = ("2027-01-16", "2027-01-15");
        assert_eq!(changed(dates.0, dates.1), Err(InvalidExport::DatesReversed));
        let later = changed("registry\":1", "registry\":2");
        assert_eq!(later, Err(InvalidExport::Version(2)));
        for (from, to) in [
            ("fleet.", "FLEET."),
            ("08:00:00Z", "08:00Z"),
            ("\"number\":7,", ""),
        ] {
            assert_eq!(changed(from, to), Err(InvalidExport::Form), "{to}");
        }
        for octets in [&b""[..], b"\n", b"{}\n", b"{}\n{}\n"] {
            assert_eq!(
                RegistryExport::read(octets, &issuers),
                Err(InvalidExport::Form)
            );
        }
    }

    #[test]
    fn a_writer_writes_nothing_that_is_not_read() {
        let issuer = authority(&PKCS_ECDSA_P256_SHA256);
        let mut writer = ExportWriter::new(&header_of(7), &issuer.0).unwrap();
        writer.add(&device("b")).unwrap();
        assert!(writer.add(&device("b")).is_err());
        assert!(writer.add(&device("app/a")).is_err());
        let mut bad = device("c");
        bad.attributes.insert("x".into(), "line\nbreak".into());
        assert!(writer.add(&bad).is_err());
        let octets = writer.sign(|octets| issuer.1.sign(octets)).unwrap();
        assert_eq!(
            RegistryExport::read(&octets, std::slice::from_ref(&issuer.0))
                .unwrap()
                .devices()
                .len(),
            1
        );
        let never = ExportHeader {
            next_update: at(NOT_BEFORE),
            ..header_of(7)
        };
        let refused = ExportWriter::new(&never, &issuer.0).unwrap_err();
        assert_eq!(refused, InvalidExport::DatesReversed);
    }

    #[test]
    #[ignore = "a measurement; scripts/test runs it"]
    fn how_long_an_export_of_100_000_takes() {
        let issuer = authority(&PKCS_ECDSA_P256_SHA256);
        let devices: Vec<_> = (0..100_000)
            .map(|n| KnownDevice {
                subject: device(&format!("dev-{n:06}")).subject,
                ..full()
            })
            .collect();
        let started = std::time::Instant::now();
        let octets = export(&devices, &issuer);
        let written = started.elapsed();
        let started = std::time::Instant::now();
        let read = RegistryExport::read(&octets, &[issuer.0]).unwrap();
        assert_eq!(read.devices().len(), devices.len());
        let elapsed = started.elapsed();
        println!(
            "{} octets: written {written:?}, read {elapsed:?}",
            octets.len()
        );
        let limit = if cfg!(debug_assertions) { 20 } else { 2 };
        assert!(
            elapsed < std::time::Duration::from_secs(limit),
            "{elapsed:?}"
        );
    }
}
