//! `countersign ca init`: a root, and below it an authority for devices and one for servers.
//!
//! A directory is filled only when it is empty or ours. The authorities exist once the registry has
//! recorded them: keys without a record were never used and are replaced.

use std::path::{Path, PathBuf};

use certs::{Holder, Role, TrustDomain};
use rustls_pki_types::UnixTime;

use crate::authority::{Authority, Hierarchy, hierarchy, key_file};
use crate::error::CommandError;
use crate::files::{self, Staging};
use crate::layout::Layout;
use crate::registry::Registry;

/// What `ca init` found or made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CaInitialized {
    /// Whether the authorities are new.
    pub made: bool,
    /// Where everything is.
    pub layout: Layout,
    /// For whom they speak.
    pub trust_domain: TrustDomain,
}

/// Makes the authorities in `dir` unless there are some.
///
/// # Errors
/// [`CommandError`], among others when `dir` holds other things, or when its authorities speak for
/// another trust domain than the one asked for.
pub fn ca_init(
    dir: &Path,
    trust_domain: Option<&TrustDomain>,
    now: UnixTime,
) -> Result<CaInitialized, CommandError> {
    let (ca, made) = open_or_make(dir, trust_domain, now)?;
    Ok(CaInitialized {
        made,
        layout: ca.layout.clone(),
        trust_domain: ca.trust_domain.clone(),
    })
}

/// The authorities in `dir`, and whether they had to be made.
pub(super) fn open_or_make(
    dir: &Path,
    trust_domain: Option<&TrustDomain>,
    now: UnixTime,
) -> Result<(Hierarchy, bool), CommandError> {
    let layout = Layout::new(dir);
    refuse_foreign(&layout)?;
    if !files::exists(dir)? {
        files::make_dir(dir)?;
        dir.parent().map_or(Ok(()), files::sync)?;
    }
    files::make_dir(&layout.ca_dir())?;
    let lock = hierarchy::lock(&layout)?;
    let mut registry = Registry::open(&layout.registry())?;
    let made = registry.trust_domain()?.is_none();
    if made {
        let trust_domain = trust_domain.cloned().unwrap_or_default();
        make_authorities(&layout, &mut registry, &trust_domain, now)?;
    }
    let ca = Hierarchy::load(layout, registry, lock)?;
    match trust_domain {
        Some(asked) if *asked != ca.trust_domain => Err(CommandError::OtherTrustDomain {
            dir: dir.into(),
            found: ca.trust_domain,
            asked: asked.clone(),
        }),
        Some(_) | None => {
            write_certificates(&ca)?;
            Ok((ca, made))
        }
    }
}

/// Ours is a directory with a registry, or with what a command leaves that was stopped before it
/// had made one.
fn refuse_foreign(layout: &Layout) -> Result<(), CommandError> {
    let names = files::names_in(layout.dir())?;
    let unfinished = || -> Result<bool, CommandError> {
        let only_ca = names
            .iter()
            .all(|name| layout.dir().join(name) == layout.ca_dir());
        let inside = files::names_in(&layout.ca_dir())?;
        let only_lock = inside
            .iter()
            .all(|name| layout.ca_dir().join(name) == layout.lock());
        Ok(only_ca && only_lock)
    };
    if names.is_empty() || files::exists(&layout.registry())? || unfinished()? {
        return Ok(());
    }
    Err(CommandError::NotOurs(layout.dir().into()))
}

/// Keys first, then the record: a key without a record signed nothing that anybody has, but an
/// authority on record without its key could never sign again.
fn make_authorities(
    layout: &Layout,
    registry: &mut Registry,
    trust_domain: &TrustDomain,
    now: UnixTime,
) -> Result<(), CommandError> {
    let mut staging = Staging::new(layout.dir());
    staging.make_dir(&layout.ca_dir())?;
    let mut new_key = |role| {
        let key = key_file::generate()?;
        staging.write(&layout.authority_key(role), key.serialize_pem())?;
        Ok::<_, CommandError>(key)
    };
    let root_key = new_key(Role::Root)?;
    let device_ca_key = new_key(Role::DeviceCa)?;
    let server_ca_key = new_key(Role::ServerCa)?;
    staging.commit()?;

    let (root, signed_root) = Authority::new_root(&name_of("root"), root_key, now)?;
    let device_ca_name = name_of("device CA");
    let device_ca = root.sign(Holder::DeviceCa(&device_ca_name), &device_ca_key, now)?;
    let server_ca_name = name_of("server CA");
    let server_ca = root.sign(Holder::ServerCa(&server_ca_name), &server_ca_key, now)?;
    let signed = [signed_root, device_ca, server_ca];
    Ok(registry.record_authorities(trust_domain, &signed, now)?)
}

/// Every key of an authority has a name of its own, with a number: a new key under an old name
/// would make good revocation lists look forged. That it is unprotected stands in the name too.
fn name_of(authority: &str) -> String {
    format!("Countersign DEV ONLY {authority} 1")
}

/// The registry has them; the files are copies, made again where they are missing.
fn write_certificates(ca: &Hierarchy) -> Result<(), CommandError> {
    let layout = &ca.layout;
    let copies: [(PathBuf, &str); 4] = [
        (layout.ca_pem(), ca.root.pem()),
        (layout.authority_pem(Role::Root), ca.root.pem()),
        (layout.authority_pem(Role::DeviceCa), ca.device_ca.pem()),
        (layout.authority_pem(Role::ServerCa), ca.server_ca.pem()),
    ];
    let mut staging = Staging::new(layout.dir());
    for (path, pem) in copies {
        if files::read_if_there(&path)?.as_deref() != Some(pem.as_bytes()) {
            staging.write(&path, pem)?;
        }
    }
    staging.commit()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use certs::{BasicConstraints, Purpose};

    use super::*;
    use crate::ExitClass;
    use crate::testing::{certificate, day, issue, mode};

    #[test]
    fn a_root_stands_above_an_authority_for_devices_and_one_for_servers() {
        let temp = tempfile::tempdir().unwrap();
        let layout = ca_init(temp.path(), None, day(0)).unwrap().layout;
        let root = certificate(&layout.ca_pem());
        assert_eq!(&*root.subject, "CN=Countersign DEV ONLY root 1");
        for (role, name, purpose) in [
            (Role::DeviceCa, "device CA", Purpose::ClientAuth),
            (Role::ServerCa, "server CA", Purpose::ServerAuth),
        ] {
            let authority = certificate(&layout.authority_pem(role));
            assert_eq!(
                *authority.subject,
                *format!("CN=Countersign DEV ONLY {name} 1")
            );
            assert_eq!(authority.issuer, root.subject);
            assert_eq!(authority.extensions.issuer_key_id, root.extensions.key_id);
            assert_eq!(authority.extensions.extended_key_usage, [purpose]);
            let last = BasicConstraints::Authority { path_len: Some(0) };
            assert_eq!(authority.extensions.basic_constraints, last);
        }
    }

    #[test]
    fn a_second_time_reports_what_is_there_and_changes_nothing() {
        let temp = tempfile::tempdir().unwrap();
        let first = ca_init(temp.path(), None, day(0)).unwrap();
        let files = || {
            let read = |entry: std::io::Result<fs::DirEntry>| {
                let path = entry.unwrap().path();
                let contents = fs::read(&path).unwrap();
                (path, contents)
            };
            let pem = |(path, _): &(PathBuf, _)| path.extension().is_some_and(|e| e == "pem");
            let mut files: Vec<_> = fs::read_dir(first.layout.ca_dir())
                .unwrap()
                .map(read)
                .filter(pem)
                .collect();
            files.sort();
            files
        };
        let before = files();
        assert_eq!(before.len(), 6);
        let second = ca_init(temp.path(), None, day(1)).unwrap();
        assert_eq!((first.made, second.made), (true, false));
        assert_eq!(files(), before);
    }

    #[test]
    fn authorities_speak_for_one_trust_domain() {
        let temp = tempfile::tempdir().unwrap();
        let ours = TrustDomain::parse("fleet.example").unwrap();
        let made = ca_init(temp.path(), Some(&ours), day(0)).unwrap();
        assert_eq!(made.trust_domain, ours);
        assert_eq!(
            ca_init(temp.path(), None, day(0)).unwrap().trust_domain,
            ours
        );
        let other = TrustDomain::parse("other.example").unwrap();
        let refused = ca_init(temp.path(), Some(&other), day(0)).unwrap_err();
        assert_eq!(refused.exit_class(), ExitClass::Usage);
        assert!(
            refused
                .to_string()
                .contains("fleet.example, not other.example"),
            "{refused}"
        );
    }

    #[test]
    fn a_directory_with_other_things_in_it_is_left_alone() {
        let temp = tempfile::tempdir().unwrap();
        fs::write(temp.path().join("thesis.txt"), "").unwrap();
        let refused = ca_init(temp.path(), None, day(0)).unwrap_err();
        assert!(matches!(refused, CommandError::NotOurs(_)), "{refused}");
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_first_run_that_was_stopped_anywhere_is_taken_up() {
        for stopped in 0..3 {
            let temp = tempfile::tempdir().unwrap();
            let layout = Layout::new(temp.path());
            fs::create_dir(layout.ca_dir()).unwrap();
            fs::set_permissions(layout.ca_dir(), fs::Permissions::from_mode(0o700)).unwrap();
            if stopped > 0 {
                fs::write(layout.lock(), "").unwrap();
            }
            if stopped > 1 {
                drop(Registry::open(&layout.registry()).unwrap());
                fs::write(layout.authority_key(Role::Root), "half a k").unwrap();
            }
            assert!(ca_init(temp.path(), None, day(0)).unwrap().made);
            issue(temp.path(), "dev-1", None).unwrap();
        }
    }

    #[test]
    fn a_directory_without_authorities_says_how_to_make_them() {
        let temp = tempfile::tempdir().unwrap();
        let missing = issue(temp.path(), "dev-1", None).unwrap_err();
        assert_eq!(missing.exit_class(), ExitClass::NotFound);
        assert!(
            missing.to_string().contains("countersign ca init --dir"),
            "{missing}"
        );
    }

    #[test]
    fn a_key_that_others_may_read_is_refused_in_words() {
        let temp = tempfile::tempdir().unwrap();
        let layout = ca_init(temp.path(), None, day(0)).unwrap().layout;
        let key = layout.authority_key(Role::DeviceCa);
        assert_eq!(mode(&key), 0o600);
        for (open, words) in [(0o640, "mode 0640"), (0o604, "mode 0604")] {
            fs::set_permissions(&key, fs::Permissions::from_mode(open)).unwrap();
            let refused = issue(temp.path(), "dev-1", None).unwrap_err();
            assert_eq!(refused.exit_class(), ExitClass::Refused);
            assert!(refused.to_string().contains(words), "{refused}");
            assert!(refused.to_string().contains("chmod 600"), "{refused}");
        }
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        fs::set_permissions(layout.ca_dir(), fs::Permissions::from_mode(0o770)).unwrap();
        let refused = issue(temp.path(), "dev-1", None).unwrap_err();
        assert!(refused.to_string().contains("chmod 700"), "{refused}");
    }

    #[test]
    fn nothing_is_read_or_written_through_a_symbolic_link() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("dir");
        let layout = ca_init(&dir, None, day(0)).unwrap().layout;
        issue(&dir, "dev-1", None).unwrap();
        let peer = dir.join("devices/dev-1");
        for path in [
            layout.authority_key(Role::DeviceCa),
            layout.registry(),
            layout.lock(),
            layout.ca_dir(),
            peer.join("key.pem"),
            peer.join("cert.pem"),
            peer.clone(),
            dir.join("devices"),
        ] {
            let elsewhere = temp.path().join("elsewhere");
            fs::rename(&path, &elsewhere).unwrap();
            symlink(&elsewhere, &path).unwrap();
            let refused = issue(&dir, "dev-1", None).unwrap_err();
            assert!(
                matches!(&refused, CommandError::SymbolicLink(p) if *p == path),
                "{refused}"
            );
            assert_eq!(refused.exit_class(), ExitClass::Refused);
            fs::remove_file(&path).unwrap();
            fs::rename(&elsewhere, &path).unwrap();
        }
        issue(&dir, "dev-1", None).unwrap();
    }

    #[test]
    fn a_key_that_is_not_the_authoritys_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        let layout = ca_init(temp.path(), None, day(0)).unwrap().layout;
        let key = layout.authority_key(Role::DeviceCa);
        fs::copy(layout.authority_key(Role::ServerCa), &key).unwrap();
        let refused = issue(temp.path(), "dev-1", None).unwrap_err();
        assert!(matches!(refused, CommandError::WrongKey(_)), "{refused}");
        fs::write(&key, "secret").unwrap();
        let refused = issue(temp.path(), "dev-1", None).unwrap_err();
        assert!(
            matches!(refused, CommandError::Unreadable { .. }),
            "{refused}"
        );
        assert!(!format!("{refused:?} {refused}").contains("secret"));
    }
}
