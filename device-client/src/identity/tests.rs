//! What `Identity::open` accepts and refuses.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SanType,
};
use tempfile::TempDir;
use time::{Duration, OffsetDateTime};

use super::*;

/// An authority that issues to devices.
pub(crate) struct TestCa {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// What would be the files of a device.
pub(crate) struct Files {
    pub(crate) chain: String,
    pub(crate) key: String,
    pub(crate) authorities: String,
}

fn ca_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

impl TestCa {
    pub(crate) fn new() -> Self {
        let (params, key) = (ca_params("Test CA"), KeyPair::generate().unwrap());
        let issuer = CertifiedIssuer::self_signed(params, key).unwrap();
        Self { issuer }
    }

    /// One that this one has signed.
    pub(crate) fn below(&self, name: &str) -> Self {
        let (params, key) = (ca_params(name), KeyPair::generate().unwrap());
        let issuer = CertifiedIssuer::signed_by(params, key, &self.issuer).unwrap();
        Self { issuer }
    }

    pub(crate) fn issuer(&self) -> &CertifiedIssuer<'static, KeyPair> {
        &self.issuer
    }

    pub(crate) fn pem(&self) -> String {
        self.issuer.pem()
    }

    pub(crate) fn device(&self, id: &str) -> Files {
        self.issue(&device_params(id))
    }

    pub(crate) fn issue(&self, params: &CertificateParams) -> Files {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Files {
            chain: certificate.pem(),
            key: key.serialize_pem(),
            authorities: self.issuer.pem(),
        }
    }
}

impl Files {
    pub(crate) fn key(&self) -> Key {
        Key::File(PemFile::new(KEY, self.key.as_bytes()))
    }

    pub(crate) fn identity(&self) -> Result<Identity, IdentityError> {
        let Self {
            chain,
            key,
            authorities,
        } = self;
        Identity::from_pem(chain.as_bytes(), key.as_bytes(), authorities.as_bytes())
    }

    pub(crate) fn write(&self, directory: &Path) {
        let key = directory.join("key.pem");
        fs::write(directory.join("cert.pem"), &self.chain).unwrap();
        fs::write(directory.join("ca.pem"), &self.authorities).unwrap();
        fs::write(&key, &self.key).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    }
}

pub(crate) fn device_params(id: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, id);
    params.subject_alt_names = vec![uri(&format!("spiffe://test/device/{id}"))];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params
}

pub(crate) fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

fn directory_of(files: &Files) -> TempDir {
    let directory = TempDir::new().unwrap();
    files.write(directory.path());
    directory
}

fn refusal(directory: &TempDir) -> String {
    let error = Identity::open(directory.path()).unwrap_err().to_string();
    error.replace(&format!("{}/", directory.path().display()), "")
}

#[test]
fn the_device_id_is_read_from_the_uri_of_the_certificate() {
    let directory = directory_of(&TestCa::new().device("dev-1"));
    let identity = Identity::open(directory.path()).unwrap();
    assert_eq!(identity.device_id(), "dev-1");
    assert_eq!(format!("{identity:?}"), "Identity(\"dev-1\")");
}

#[test]
fn a_missing_file_is_named() {
    for name in ["cert.pem", "key.pem", "ca.pem"] {
        let directory = directory_of(&TestCa::new().device("dev-1"));
        fs::remove_file(directory.path().join(name)).unwrap();
        assert_eq!(refusal(&directory), format!("cannot read {name}"));
    }
}

#[test]
fn a_key_that_others_can_read_is_refused_with_the_remedy() {
    for mode in [0o640, 0o604, 0o660] {
        let directory = directory_of(&TestCa::new().device("dev-1"));
        let key = directory.path().join("key.pem");
        fs::set_permissions(key, fs::Permissions::from_mode(mode)).unwrap();
        let refusal = refusal(&directory);
        assert!(refusal.contains(&format!("(mode {mode:03o})")), "{refusal}");
        assert!(refusal.contains("chmod 600 key.pem"), "{refusal}");
    }
}

#[test]
fn what_leads_to_a_key_in_a_token_is_its_owners_alone_and_whole() {
    let directory = directory_of(&TestCa::new().device("dev-1"));
    fs::remove_file(directory.path().join("key.pem")).unwrap();
    assert_eq!(refusal(&directory), "cannot read key.pem");
    let path = directory.path().join("key.uri");
    let good = "pkcs11:object=a?module-path=/nowhere/p11.so";
    for (text, mode, expected) in [
        (good, 0o640, "key.uri can be read by others"),
        (
            "pkcs11:object=a",
            0o600,
            "key.uri does not say where a key is",
        ),
        (
            good,
            0o600,
            "the key pkcs11:object=a?module-path=/nowhere/p11.so cannot be used",
        ),
    ] {
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let refusal = refusal(&directory);
        assert!(refusal.starts_with(expected), "{refusal}");
    }
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let ca = TestCa::new();
    let files = Files {
        key: ca.device("dev-2").key,
        ..ca.device("dev-1")
    };
    assert_eq!(
        refusal(&directory_of(&files)),
        "key.pem does not belong to cert.pem"
    );
}

#[test]
fn what_is_no_pem_is_refused_by_name() {
    let good = || TestCa::new().device("dev-1");
    for (files, expected) in [
        (
            Files {
                chain: String::new(),
                ..good()
            },
            "cert.pem contains no certificate",
        ),
        (
            Files {
                chain: good().key,
                ..good()
            },
            "cert.pem contains no certificate",
        ),
        (
            Files {
                authorities: "x".into(),
                ..good()
            },
            "ca.pem contains no certificate",
        ),
        (
            Files {
                key: good().chain,
                ..good()
            },
            "key.pem contains no unencrypted private key",
        ),
    ] {
        assert_eq!(refusal(&directory_of(&files)), expected);
    }
}

#[test]
fn a_certificate_out_of_its_time_is_refused() {
    let now = OffsetDateTime::now_utc();
    for (from, to, expected) in [(-20, -10, "expired"), (10, 20, "is not valid for another")] {
        let mut params = device_params("dev-1");
        params.not_before = now + Duration::minutes(from);
        params.not_after = now + Duration::minutes(to);
        let refusal = TestCa::new()
            .issue(&params)
            .identity()
            .unwrap_err()
            .to_string();
        assert!(refusal.contains(expected), "{refusal}");
    }
}

#[test]
fn a_certificate_that_does_not_name_one_device_is_refused() {
    let device = || uri("spiffe://test/device/a");
    for (names, expected) in [
        (vec![], "Uris(0)"),
        (vec![device(), uri("spiffe://test/device/b")], "Uris(2)"),
        (vec![uri("https://test/device/a")], "Uri("),
    ] {
        let mut params = device_params("a");
        params.subject_alt_names = names;
        let refused = TestCa::new().issue(&params).identity();
        let Err(IdentityError::NoDevice { why, .. }) = refused else {
            panic!("{refused:?}")
        };
        assert!(format!("{why:?}").contains(expected), "{why:?}");
    }
}

#[test]
fn an_application_has_an_identity_too() {
    let mut params = device_params("app-1");
    params.subject_alt_names = vec![uri("spiffe://test/app/app-1")];
    let identity = TestCa::new().issue(&params).identity().unwrap();
    assert_eq!(identity.subject().kind, certs::Kind::App);
}
