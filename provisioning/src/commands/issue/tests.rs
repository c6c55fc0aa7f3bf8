//! What is issued to a device that has renewed its certificate itself.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use certs::{DeviceId, Subject};
use rcgen::{CertificateParams, PublicKeyData};
use tempfile::TempDir;

use crate::authority::key_file;
use crate::error::{CommandError, ExitClass};
use crate::testing::{certificate, day, issue, up};
use crate::{
    DeviceRenewed, IdentityFiles, Layout, RenewRequest, Verdict, ca_doctor, ca_verify,
    device_renew, device_show,
};

/// An authority in `ca`, and a device in `out` that has renewed its certificate there twice:
/// the authority issued what it has, and it put that into its version 2.
fn world() -> (TempDir, IdentityFiles) {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("ca");
    up(&dir, 0, day(0)).unwrap();
    issue(&dir, "dev-1", None).unwrap();
    let files = renew(temp.path(), None).unwrap().files;
    renew_itself(&files);
    fs::write(files.dir.join("notes"), "theirs").unwrap();
    (temp, files)
}

fn renew_itself(files: &IdentityFiles) {
    let version = files.dir.join("v2");
    fs::create_dir(&version).unwrap();
    fs::set_permissions(&version, Permissions::from_mode(0o700)).unwrap();
    for file in [&files.key, &files.cert, &files.ca] {
        fs::rename(file, version.join(file.file_name().unwrap())).unwrap();
    }
    symlink("v2", files.dir.join("current")).unwrap();
}

fn renew(temp: &Path, csr: Option<&Path>) -> Result<DeviceRenewed, CommandError> {
    let request = RenewRequest {
        dir: &temp.join("ca"),
        passphrase: None,
        id: &DeviceId::parse("dev-1").unwrap(),
        csr,
        out: Some(&temp.join("out")),
    };
    device_renew(&request, day(1))
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name();
    let mut names: Vec<_> = entries
        .map(|entry| name(entry).into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn what_is_issued_takes_the_place_of_all_that_a_device_renewed_itself() {
    let (temp, files) = world();
    let renewed = renew(temp.path(), None).unwrap();
    assert_eq!(
        names(&files.dir),
        ["ca.pem", "cert.pem", "key.pem", "notes"]
    );
    assert_eq!(certificate(&files.cert).serial, renewed.serial);
    let key = key_file::open(&files.key)
        .unwrap()
        .subject_public_key_info();
    assert_eq!(key, *certificate(&files.cert).public_key);
}

#[test]
fn a_key_that_a_device_made_when_it_renewed_stays_with_a_request_for_it() {
    let (temp, files) = world();
    let kept = fs::read(files.dir.join("v2/key.pem")).unwrap();
    let key = key_file::open(&files.dir.join("v2/key.pem")).unwrap();
    let request = CertificateParams::default().serialize_request(&key);
    let csr = temp.path().join("request.pem");
    fs::write(&csr, request.unwrap().pem().unwrap()).unwrap();
    renew(temp.path(), Some(&csr)).unwrap();
    assert_eq!(fs::read(&files.key).unwrap(), kept);
    assert!(!files.dir.join("current").exists());
}

#[test]
fn what_a_device_uses_or_cannot_be_kept_is_refused_before_anything_is_recorded() {
    let (temp, files) = world();
    let subject = Subject::parse("dev-1").unwrap();
    let count = || {
        let shown = device_show(&temp.path().join("ca"), &subject, day(1));
        shown.unwrap().certificates.len()
    };
    let before = (count(), names(&files.dir));
    let refused = |words: &str| {
        let refused = renew(temp.path(), None).unwrap_err();
        assert_eq!(refused.exit_class(), ExitClass::Refused);
        assert!(refused.to_string().contains(words), "{refused}");
    };
    let held = File::open(&files.dir).unwrap();
    held.lock().unwrap();
    refused("stop it first");
    drop(held);
    fs::create_dir(files.dir.join("below")).unwrap();
    refused("below is a directory");
    fs::remove_dir(files.dir.join("below")).unwrap();
    fs::remove_file(files.dir.join("current")).unwrap();
    symlink("../../ca", files.dir.join("current")).unwrap();
    refused("symbolic link");
    assert_eq!((count(), names(&files.dir)), before);
}

#[test]
fn a_device_that_renewed_itself_below_the_authority_is_as_it_should_be() {
    let temp = tempfile::tempdir().unwrap();
    up(temp.path(), 1, day(0)).unwrap();
    let files = Layout::new(temp.path()).peer(&Subject::parse("dev-1").unwrap());
    renew_itself(&files);
    up(temp.path(), 1, day(1)).unwrap();
    assert!(files.dir.join("current").exists(), "it was kept");
    assert_eq!(ca_verify(temp.path(), day(1)).unwrap().findings, []);
    let diagnosis = ca_doctor(temp.path(), std::time::Duration::ZERO, day(1)).unwrap();
    let check = |name: &str| diagnosis.checks.iter().find(|it| it.name == name).unwrap();
    assert_eq!(check("symbolic links").verdict, Verdict::Ok);
    fs::set_permissions(files.dir.join("v2/key.pem"), Permissions::from_mode(0o644)).unwrap();
    let diagnosis = ca_doctor(temp.path(), std::time::Duration::ZERO, day(1)).unwrap();
    let open = diagnosis.checks.iter().find(|it| it.name == "permissions");
    assert_eq!(open.unwrap().verdict, Verdict::Bad);
}
