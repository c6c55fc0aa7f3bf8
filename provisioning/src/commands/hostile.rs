//! What somebody may try on an authority: each is refused in words, and noted.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use certs::{DeviceId, Role};
use rcgen::{
    BasicConstraints, CertificateParams, IsCa, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData,
    SignatureAlgorithm, SigningKey,
};

use super::refusal::device_id;
use crate::authority::key_file;
use crate::layout::Layout;
use crate::registry::Event;
use crate::testing::{day, issue};
use crate::{
    BatchFormat, BatchRequest, CommandError, InitRequest, audit_show, audit_verify, batch_issue,
    ca_init,
};

/// `openssl req -new -newkey rsa:512`, a key too short for our own library to make.
const RSA_512: &str = "-----BEGIN CERTIFICATE REQUEST-----
MIHJMHUCAQAwEDEOMAwGA1UEAwwFZGV2LTEwXDANBgkqhkiG9w0BAQEFAANLADBI
AkEAvdYXPOgwiKGTXN458zR+khYhrHVskoUvHlgXe/iVAaHYiOaxxOX4UDt9FhEq
8cK8VnjqcCRLJibTSwHyuOYpmwIDAQABoAAwDQYJKoZIhvcNAQELBQADQQCDi+qg
//j8okWtImiEXNpt8gABbTAJPDvwwOExWUT9JrqN0jslgZU2yNG+vYTXyY9yIafS
zeXVW9jeXOGY7pbn
-----END CERTIFICATE REQUEST-----
";

/// Shows the public key of one pair and signs with another.
struct Thief(KeyPair, KeyPair);

impl PublicKeyData for Thief {
    fn der_bytes(&self) -> &[u8] {
        self.0.der_bytes()
    }
    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

impl SigningKey for Thief {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.1.sign(message)
    }
}

type Attempt = fn(&Path) -> Result<(), CommandError>;

fn request(params: &CertificateParams, key: &impl SigningKey) -> String {
    params.serialize_request(key).unwrap().pem().unwrap()
}

fn new_key() -> KeyPair {
    KeyPair::generate().unwrap()
}

/// Issues to `dev-1` for the request that is in `contents`.
fn for_request(dir: &Path, contents: impl AsRef<[u8]>) -> Result<(), CommandError> {
    let path = dir.join("dev-1.csr");
    fs::write(&path, contents).unwrap();
    issue(dir, "dev-1", Some(&path)).map(drop)
}

fn asking(dir: &Path, change: fn(&mut CertificateParams)) -> Result<(), CommandError> {
    let mut params = CertificateParams::default();
    change(&mut params);
    for_request(dir, request(&params, &new_key()))
}

fn key_of(dir: &Path, role: Role) -> PathBuf {
    Layout::new(dir).authority_key(role)
}

/// Does `meanwhile` while the file is somewhere else, behind a link.
fn behind_a_link(dir: &Path, path: &Path) -> Result<(), CommandError> {
    let elsewhere = dir.join("elsewhere");
    fs::rename(path, &elsewhere).unwrap();
    symlink(&elsewhere, path).unwrap();
    let done = issue(dir, "dev-1", None).map(drop);
    fs::remove_file(path).unwrap();
    fs::rename(&elsewhere, path).unwrap();
    done
}

fn list(dir: &Path, id: &str) -> Result<(), CommandError> {
    let (file, out) = (&dir.join("list.csv"), &dir.join("out"));
    fs::write(file, format!("device_id\n{id}\n")).unwrap();
    let request = BatchRequest {
        password: None,
        dir,
        passphrase: None,
        file,
        name: &DeviceId::parse("lot").unwrap(),
        out,
        format: BatchFormat::Dir,
    };
    batch_issue(&request, &|_| (), day(0)).map(drop)
}

const ATTEMPTS: &[(&str, &str, Attempt)] = &[
    ("CA:TRUE", "asks to be an authority", |dir| {
        asking(dir, |params| {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        })
    }),
    (
        "somebody else's names",
        "names that are not the device's",
        |dir| {
            let params = CertificateParams::new(["broker.example".to_owned()]).unwrap();
            for_request(dir, request(&params, &new_key()))
        },
    ),
    ("RSA 512", "RSA keys are not certified", |dir| {
        for_request(dir, RSA_512)
    }),
    ("a bad signature", "nobody proved to have it", |dir| {
        let thief = Thief(new_key(), new_key());
        for_request(dir, request(&CertificateParams::default(), &thief))
    }),
    ("1 MB", "octets, at most 16384 are read", |dir| {
        for_request(dir, vec![b'x'; 1 << 20])
    }),
    (
        "the key of an authority",
        "make a new key for the device",
        |dir| {
            let key = key_file::open(&key_of(dir, Role::DeviceCa)).unwrap();
            for_request(dir, request(&CertificateParams::default(), &key))
        },
    ),
    (
        "an id that leads elsewhere",
        "begins with a letter or a digit",
        |dir| device_id(dir, "../../etc/cron.d/x", day(0)).map(drop),
    ),
    ("an absolute path for an id", "not with '/'", |dir| {
        device_id(dir, "/etc/passwd", day(0)).map(drop)
    }),
    (
        "a list with an id that leads elsewhere",
        "line 2, column device_id",
        |dir| list(dir, "../dev-1"),
    ),
    ("a link for the key", "is a symbolic link", |dir| {
        behind_a_link(dir, &key_of(dir, Role::DeviceCa))
    }),
    (
        "a link for the directory of devices",
        "is a symbolic link",
        |dir| {
            fs::create_dir(dir.join("devices")).unwrap();
            let done = behind_a_link(dir, &dir.join("devices"));
            fs::remove_dir(dir.join("devices")).unwrap();
            done
        },
    ),
    ("a key that the group reads", "chmod 600", |dir| {
        let key = key_of(dir, Role::DeviceCa);
        fs::set_permissions(&key, Permissions::from_mode(0o640)).unwrap();
        let done = issue(dir, "dev-1", None).map(drop);
        fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
        done
    }),
];

#[test]
fn what_is_hostile_is_refused_in_words_and_noted() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    ca_init(&InitRequest::new(dir), day(0)).unwrap();
    for (what, words, attempt) in ATTEMPTS {
        attempt(dir).expect_err(what);
        let noted = audit_show(dir, 1).unwrap().remove(0);
        assert_eq!(noted.event, Event::Refused, "{what}");
        assert!(noted.words.contains(words), "{what}: {}", noted.words);
    }
    let entries = audit_show(dir, usize::MAX).unwrap();
    let refused = entries.iter().filter(|it| it.event == Event::Refused);
    assert_eq!(refused.count(), ATTEMPTS.len());
    assert_eq!(
        audit_verify(dir).unwrap().entries,
        entries.last().unwrap().number
    );
    for made in ["devices", "out"] {
        assert!(!dir.join(made).exists(), "{made}");
    }
}

/// What cannot be trusted to hold the note is not written to.
#[test]
fn a_registry_behind_a_link_is_refused_and_left_alone() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    let layout = ca_init(&InitRequest::new(dir), day(0)).unwrap().layout;
    let before = audit_show(dir, usize::MAX).unwrap();
    for path in [layout.ca_dir(), layout.registry()] {
        let refused = behind_a_link(dir, &path).unwrap_err();
        assert!(
            matches!(refused, CommandError::SymbolicLink(_)),
            "{refused}"
        );
    }
    assert_eq!(audit_show(dir, usize::MAX).unwrap(), before);
}
