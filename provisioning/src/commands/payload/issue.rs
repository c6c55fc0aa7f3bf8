//! `countersign device issue --out`: a certificate whose files stand elsewhere than in the
//! directory of the authority, or in one file.
//!
//! The one file is private, and takes the place of nothing: a key in it would be lost.

use std::path::{Path, PathBuf};

use rustls_pki_types::UnixTime;

use super::Payload;
use crate::authority::Hierarchy;
use crate::commands::issue::Delivery;
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
}

impl PayloadFormat {
    /// All forms.
    pub const ALL: [Self; 3] = [Self::Dir, Self::Jsonl, Self::CHeader];

    /// What it is called on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dir => "dir",
            Self::Jsonl => "jsonl",
            Self::CHeader => "c-header",
        }
    }

    /// The form that is called `text`.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.as_str() == text)
    }
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

/// Issues a certificate to a device, and writes what it needs to `out`.
///
/// # Errors
/// [`CommandError::OutputExists`] when the one file is there, and what else is in the way; then
/// nothing was issued.
pub fn device_issue_to(
    request: &IssueRequest<'_>,
    (format, out): (PayloadFormat, &Path),
    now: UnixTime,
) -> Result<PayloadIssued, CommandError> {
    let mut path = out.to_path_buf();
    let issued = device_issue_by(request, now, |ca, delivery| {
        if format == PayloadFormat::Dir {
            files::make_dir(out)?;
            files::refuse_open_dir(out)?;
            let delivery = delivery.below(out);
            path.clone_from(&delivery.files().dir);
            return crate::commands::issue::deliver_below(ca, out, vec![delivery], now);
        }
        write(ca, delivery, (format, out, now))
    })?;
    Ok(PayloadIssued { issued, path })
}

fn write(
    ca: &mut Hierarchy,
    delivery: Delivery,
    (format, out, now): (PayloadFormat, &Path, UnixTime),
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
    let payload = Payload::new(ca, &recorded, key.as_deref());
    let text = match format {
        PayloadFormat::CHeader => payload.c_header(),
        PayloadFormat::Jsonl | PayloadFormat::Dir => payload.json_line(),
    };
    let mut staging = Staging::new(parent);
    staging.write(out, text)?;
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
            again: false,
        };
        device_issue_to(&request, (format, out), day(0))
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
