//! Files are private whatever the umask. The umask belongs to the whole process, so this test has
//! a process of its own.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use countersign_provisioning::{UpRequest, up_prepare};
use rustix::fs::Mode;
use rustls_pki_types::UnixTime;

#[test]
fn cve_2017_9868_files_are_0600_and_directories_0700_whatever_the_umask() {
    for umask in [0o000, 0o022, 0o777] {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("dev");
        let before = rustix::process::umask(Mode::from_raw_mode(umask));
        let request = UpRequest {
            dir: &dir,
            devices: 2,
            server_names: &[],
            trust_domain: None,
        };
        let prepared = up_prepare(
            &request,
            UnixTime::since_unix_epoch(Duration::from_hours(500_000)),
        );
        rustix::process::umask(before);
        prepared.unwrap();
        assert_eq!(check(&dir), 9 + 1 + 3 + 3 * 3, "umask {umask:04o}");
    }
}

/// Checks what is in `dir`, and counts the files.
fn check(dir: &Path) -> usize {
    assert_eq!(mode(dir), 0o700, "{}", dir.display());
    let mut files = 0;
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files += check(&path);
        } else {
            assert_eq!(mode(&path), 0o600, "{}", path.display());
            files += 1;
        }
    }
    files
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}
