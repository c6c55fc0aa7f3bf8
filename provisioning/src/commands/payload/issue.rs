//! `countersign device issue --out`: a certificate whose files stand elsewhere than in the
//! directory of the authority, or in one file.
//!
//! The one file is private, and takes the place of nothing: a key in it would be lost.

use std::path::{Path, PathBuf};

use rustls_pki_types::UnixTime;

use super::{Payload, Pkcs12};
use crate::authority::{Hierarchy, Passphrase};
use crate::commands::issue::{Delivery, deliver_below};
use crate::commands::peer_issue::{IssueRequest, PeerIssued, device_issue_by};
use crate::error::CommandError;
use crate::files::{self, Staging};

/// In what form a device is given what it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadFormat {
    /// A directory for the device, below the one that is named.
    Dir,
    /// One line of JSON, as batches write it, in a new file.
    Jsonl,
    /// A header in C, in a new file.
    CHeader,
    /// A PKCS #12 file under a password, which is new.
    P12,
}

impl PayloadFormat {
    /// All forms.
    pub const ALL: [Self; 4] = [Self::Dir, Self::Jsonl, Self::CHeader, Self::P12];

    /// What it is called on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dir => "dir",
            Self::Jsonl => "jsonl",
            Self::CHeader => "c-header",
            Self::P12 => "p12",
        }
    }

    /// The form that is called `text`.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.as_str() == text)
    }
}

/// Where a device is given what it needs.
#[derive(Clone, Copy, Debug)]
pub struct PayloadTo<'a> {
    /// In what form.
    pub format: PayloadFormat,
    /// The directory below which the device gets its own, or the one file.
    pub out: &'a Path,
    /// Under what a PKCS #12 file is encrypted.
    pub password: Option<&'a Passphrase>,
}

/// What was issued, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PayloadIssued {
    /// The certificate. The files it names are there only when the form is a directory.
    pub issued: PeerIssued,
    /// The directory of the device, or the one file.
    pub path: PathBuf,
}

/// Issues a certificate to a device, and writes what it needs to where it is asked for.
///
/// # Errors
/// [`CommandError::OutputExists`] when the one file is there, [`CommandError::Password`] and
/// [`CommandError::KeyElsewhere`] for a PKCS #12 file without either, and what else is in the way;
/// then nothing was issued.
pub fn device_issue_to(
    request: &IssueRequest<'_>,
    to: &PayloadTo<'_>,
    now: UnixTime,
) -> Result<PayloadIssued, CommandError> {
    let mut path = to.out.to_path_buf();
    let pkcs12 = pkcs12(request, to)?;
    let issued = device_issue_by(request, now, |ca, delivery| {
        if to.format != PayloadFormat::Dir {
            let text = |payload: Payload<'_>| match &pkcs12 {
                Some(pkcs12) => payload.pkcs12(pkcs12),
                None if to.format == PayloadFormat::CHeader => Ok(payload.c_header().into()),
                None => Ok(payload.json_line().into()),
            };
            return write((ca, delivery), (text, to.out), now);
        }
        files::make_private_dir(to.out)?;
        let delivery = delivery.below(to.out);
        path.clone_from(&delivery.files().dir);
        deliver_below(ca, to.out, vec![delivery], now)
    })?;
    Ok(PayloadIssued { issued, path })
}

/// What writes a file under a password, if such a one is asked for.
fn pkcs12(request: &IssueRequest<'_>, to: &PayloadTo<'_>) -> Result<Option<Pkcs12>, CommandError> {
    match (to.format, to.password) {
        (PayloadFormat::P12, _) if request.csr.is_some() => Err(CommandError::KeyElsewhere),
        (PayloadFormat::P12, Some(password)) => Pkcs12::new(password).map(Some),
        (PayloadFormat::P12, None) | (_, Some(_)) => Err(CommandError::Password),
        (PayloadFormat::Dir | PayloadFormat::Jsonl | PayloadFormat::CHeader, None) => Ok(None),
    }
}

fn write(
    (ca, delivery): (&mut Hierarchy, Delivery),
    (text, out): (
        impl FnOnce(Payload<'_>) -> Result<Vec<u8>, CommandError>,
        &Path,
    ),
    now: UnixTime,
) -> Result<(), CommandError> {
    if files::exists(out)? {
        return Err(CommandError::OutputExists(out.into()));
    }
    let parent = out.parent().unwrap_or_else(|| Path::new(""));
    let mut staging = Staging::new(parent);
    // What cannot be written is found out before anything is issued.
    staging.write(out, "")?;
    drop(staging);
    let (recorded, key) = delivery.record(ca, now)?;
    let payload = Payload::new(ca, &recorded, key.as_deref())?;
    let mut staging = Staging::new(parent);
    staging.write(out, text(payload)?)?;
    staging.commit()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use certs::DeviceId;
    use rustls_pki_types::pem::PemObject;
    use rustls_pki_types::{CertificateDer, PrivateKeyDer};

    use super::*;
    use crate::testing::{day, mode, revoke, up};
    use crate::{BatchFormat, BatchRequest, ExitClass, batch_issue, ca_verify};

    fn issue(
        dir: &Path,
        (format, out): (PayloadFormat, &Path),
    ) -> Result<PayloadIssued, CommandError> {
        let request = IssueRequest {
            dir,
            passphrase: None,
            id: &DeviceId::parse("sensor-7").unwrap(),
            csr: None,
            algorithm: crate::Algorithm::default(),
            again: false,
        };
        let password = None;
        let to = PayloadTo {
            format,
            out,
            password,
        };
        device_issue_to(&request, &to, day(0))
    }

    #[test]
    fn a_file_under_a_password_has_one_and_the_key() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("ca-dir");
        up(&dir, 0, day(0)).unwrap();
        let (before, out) = (count(&dir), temp.path().join("sensor-7.p12"));
        let password = Passphrase::new("secret".to_owned());
        let ask = |csr: Option<&Path>, format, password| {
            let request = IssueRequest {
                dir: &dir,
                passphrase: None,
                id: &DeviceId::parse("sensor-7").unwrap(),
                csr,
                algorithm: crate::Algorithm::default(),
                again: false,
            };
            let to = PayloadTo {
                format,
                out: &out,
                password,
            };
            device_issue_to(&request, &to, day(0))
        };
        for (csr, format, password) in [
            (None, PayloadFormat::P12, None),
            (None, PayloadFormat::CHeader, password.as_ref()),
            (
                Some(Path::new("any")),
                PayloadFormat::P12,
                password.as_ref(),
            ),
        ] {
            let refused = ask(csr, format, password).unwrap_err();
            assert_eq!(refused.exit_class(), ExitClass::Usage, "{refused}");
        }
        assert!(!out.exists() && count(&dir) == before);
        let made = ask(None, PayloadFormat::P12, password.as_ref()).unwrap();
        assert_eq!((&made.path, mode(&out)), (&out, 0o600));
        let file = fs::read(&out).unwrap();
        let root = CertificateDer::from_pem_file(dir.join("ca.pem")).unwrap();
        let holds = |octets: &[u8]| file.windows(octets.len()).any(|it| it == octets);
        // The name is told to anybody: "sensor-7" in two octets a letter.
        assert!(holds(b"\0s\0e\0n\0s\0o\0r\0-\x007") && !holds(&root[..32]));
    }

    fn count(dir: &Path) -> usize {
        ca_verify(dir, day(0)).unwrap().certificates
    }

    #[test]
    fn a_line_is_as_a_batch_writes_it() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("ca-dir");
        up(&dir, 0, day(0)).unwrap();
        let out = temp.path().join("one.jsonl");
        let done = issue(&dir, (PayloadFormat::Jsonl, &out)).unwrap();
        assert_eq!((&done.path, mode(&out)), (&out, 0o600));
        let line = fs::read_to_string(&out).unwrap();
        let one: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(one["serial"], done.issued.serial.to_string());
        assert!(!dir.join("devices/sensor-7").exists());

        let roster = temp.path().join("roster.csv");
        fs::write(&roster, "device_id\nsensor-8\n").unwrap();
        let lot = temp.path().join("lot.jsonl");
        let request = BatchRequest {
            dir: &dir,
            passphrase: None,
            file: &roster,
            name: &DeviceId::parse("lot").unwrap(),
            format: BatchFormat::Jsonl,
            out: &lot,
            password: None,
        };
        batch_issue(&request, &|_| {}, day(0)).unwrap();
        let lot: serde_json::Value =
            serde_json::from_str(&fs::read_to_string(&lot).unwrap()).unwrap();
        let names = |of: &serde_json::Value| {
            let names = of.as_object().unwrap().keys().cloned();
            names.collect::<Vec<_>>()
        };
        assert_eq!(names(&one), names(&lot));
    }

    #[test]
    fn a_directory_elsewhere_holds_what_one_here_would() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("ca-dir");
        up(&dir, 0, day(0)).unwrap();
        let out = temp.path().join("out");
        let done = issue(&dir, (PayloadFormat::Dir, &out)).unwrap();
        assert_eq!(done.path, out.join("sensor-7"));
        for file in ["cert.pem", "ca.pem"] {
            CertificateDer::from_pem_file(done.path.join(file)).unwrap();
        }
        let key = done.path.join("key.pem");
        PrivateKeyDer::from_pem_file(&key).unwrap();
        assert_eq!(mode(&key), 0o600);
    }

    #[test]
    fn where_something_is_or_nothing_can_be_written_nothing_is_issued() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("ca-dir");
        up(&dir, 0, day(0)).unwrap();
        let (before, out) = (count(&dir), temp.path().join("device.h"));
        fs::write(&out, "theirs").unwrap();
        let refused = issue(&dir, (PayloadFormat::CHeader, &out)).unwrap_err();
        assert_eq!(refused.exit_class(), ExitClass::Refused);
        assert_eq!(fs::read_to_string(&out).unwrap(), "theirs");
        let missing = temp.path().join("nowhere/device.h");
        assert!(issue(&dir, (PayloadFormat::CHeader, &missing)).is_err());
        assert_eq!(count(&dir), before);
        let good = temp.path().join("good.h");
        issue(&dir, (PayloadFormat::CHeader, &good)).unwrap();
        assert_eq!(count(&dir), before + 1);
        revoke(&dir, "sensor-7", day(0)).unwrap();
        let again = temp.path().join("again.h");
        assert!(issue(&dir, (PayloadFormat::CHeader, &again)).is_err());
        assert!(!again.exists());
    }
}
