//! `countersign ca init`: a root, and below it an authority for devices and one for servers.
//!
//! A directory is filled only when it is empty or ours. The authorities exist once the registry has
//! recorded them: keys without a record were never used and are replaced.

use std::fs::File;
use std::path::Path;

use certs::{AuthorityName, Holder, Role, TrustDomain};
use pkcs11::KeyUri;
use rcgen::PublicKeyData;
use rustls_pki_types::UnixTime;

use super::copies::write_copies;
use crate::authority::{
    Algorithm, Authority, AuthorityKey, Hierarchy, KeyInToken, KeyInTokenError, KeyKept,
    Passphrase, hierarchy, key_file, read_reference, reference,
};
use crate::error::CommandError;
use crate::files::{self, Staging};
use crate::layout::{AuthorityId, Layout};
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
    /// How the keys of those are kept who issue.
    pub keys: KeyKept,
}

/// Which authorities there must be. What is not asked for is taken as it is found.
#[derive(Clone, Copy, Debug)]
pub struct InitRequest<'a> {
    /// The directory, which may be missing.
    pub dir: &'a Path,
    /// For whom they speak; by default `countersign.local`.
    pub trust_domain: Option<&'a TrustDomain>,
    /// Whose they are, as it stands in their names.
    pub organization: Option<&'a str>,
    /// With what those sign who issue; by default P-256.
    pub algorithm: Option<Algorithm>,
    /// Under what their keys are encrypted. Without one they are for development. It is also the
    /// PIN of a token whose URI names no file with one.
    pub passphrase: Option<&'a Passphrase>,
    /// Keys that are in a token, and are not made.
    pub tokens: &'a [(Role, KeyUri)],
}

impl<'a> InitRequest<'a> {
    /// Authorities for development in `dir`.
    pub fn new(dir: &'a Path) -> Self {
        Self {
            dir,
            trust_domain: None,
            organization: None,
            algorithm: None,
            passphrase: None,
            tokens: &[],
        }
    }

    /// Where the key of `role` is, when it is in a token.
    fn token(&self, role: Role) -> Option<&'a KeyUri> {
        let mut tokens = self.tokens.iter();
        tokens.find_map(|(of, uri)| (*of == role).then_some(uri))
    }

    /// Whose the authorities are; that one of these has a key that is not encrypted stands in the
    /// names of all.
    fn whose(&self, roles: &[Role]) -> &'a str {
        let in_tokens = roles.iter().all(|role| self.token(*role).is_some());
        if self.passphrase.is_none() && !in_tokens {
            "Countersign DEV ONLY"
        } else {
            self.organization.unwrap_or("Countersign")
        }
    }
}

/// Makes the authorities in a directory unless there are some.
///
/// # Errors
/// [`CommandError`], among others when the directory holds other things, or when its authorities
/// are not such as are asked for.
pub fn ca_init(request: &InitRequest<'_>, now: UnixTime) -> Result<CaInitialized, CommandError> {
    let (ca, made) = open_or_make(request, now)?;
    Ok(CaInitialized {
        made,
        keys: KeyKept::at(&ca.layout.authority_key(ca.device_ca.id()))?,
        layout: ca.layout.clone(),
        trust_domain: ca.trust_domain.clone(),
    })
}

/// The authorities in a directory, and whether they had to be made.
pub(in crate::commands) fn open_or_make(
    request: &InitRequest<'_>,
    now: UnixTime,
) -> Result<(Hierarchy, bool), CommandError> {
    let layout = Layout::new(request.dir);
    AuthorityNames::of(request).check()?;
    let (lock, mut registry) = open_dir(&layout)?;
    let made = registry.trust_domain()?.is_none();
    if made {
        make_authorities(&layout, &mut registry, request, now)?;
    }
    let ca = Hierarchy::load(layout, registry, lock)?;
    if !made {
        refuse_others(&ca, request)?;
    }
    write_copies(&ca)?;
    Ok((ca, made))
}

/// Locks a directory that is empty or ours, and opens its registry: both are made where missing.
pub(super) fn open_dir(layout: &Layout) -> Result<(File, Registry), CommandError> {
    refuse_foreign(layout)?;
    let dir = layout.dir();
    if !files::exists(dir)? {
        files::make_dir(dir)?;
        dir.parent().map_or(Ok(()), files::sync)?;
    }
    files::make_dir(&layout.ca_dir())?;
    let lock = hierarchy::lock(layout)?;
    Ok((lock, Registry::open(&layout.registry())?))
}

/// Refuses authorities that are not such as are asked for.
fn refuse_others(ca: &Hierarchy, request: &InitRequest<'_>) -> Result<(), CommandError> {
    let dir = request.dir.to_path_buf();
    if let Some(asked) = request.trust_domain.filter(|it| **it != ca.trust_domain) {
        return Err(CommandError::OtherTrustDomain {
            dir,
            found: ca.trust_domain.clone(),
            asked: asked.clone(),
        });
    }
    refuse_other_organization(&ca.root, request)?;
    let algorithm = Algorithm::of(&ca.device_ca.certificate().public_key);
    refuse_other_tokens(&ca.layout, request)?;
    let kept = KeyKept::at(&ca.layout.authority_key(ca.device_ca.id()))?;
    let is_in_token = matches!(kept, KeyKept::Token { .. });
    let passphrase = request.passphrase.filter(|_| !is_in_token);
    let encrypted = passphrase.map(|_| KeyKept::Encrypted.as_str());
    for (what, found, asked) in [
        (
            "authorities that issue sign with",
            algorithm.map_or("something else", Algorithm::as_str),
            request.algorithm.map(Algorithm::as_str),
        ),
        ("the keys are", kept.as_str(), encrypted),
    ] {
        if let Some(asked) = asked.filter(|asked| *asked != found) {
            return Err(CommandError::OtherAuthorities {
                dir,
                what,
                found: found.to_owned(),
                asked: asked.to_owned(),
            });
        }
    }
    Ok(())
}

/// Refuses a root whose name says that it is somebody else's.
pub(super) fn refuse_other_organization(
    root: &Authority,
    request: &InitRequest<'_>,
) -> Result<(), CommandError> {
    let organizations = &root.certificate().organizations;
    let found = organizations.first().map_or("nobody's", AsRef::as_ref);
    match request.organization.filter(|asked| *asked != found) {
        Some(asked) => Err(CommandError::OtherAuthorities {
            dir: request.dir.into(),
            what: "the authorities are",
            found: found.to_owned(),
            asked: asked.to_owned(),
        }),
        None => Ok(()),
    }
}

pub(super) fn refuse_other_tokens(
    layout: &Layout,
    request: &InitRequest<'_>,
) -> Result<(), CommandError> {
    let mut tokens = request.tokens.iter();
    tokens.try_for_each(|(role, asked)| refuse_token(layout, (*role).into(), asked))
}

/// Refuses a key that is elsewhere than it is said to be.
pub(super) fn refuse_token(
    layout: &Layout,
    id: AuthorityId,
    asked: &KeyUri,
) -> Result<(), CommandError> {
    let found = read_reference(&layout.authority_key(id))?;
    if found.as_ref() == Some(asked) {
        return Ok(());
    }
    Err(CommandError::OtherAuthorities {
        dir: layout.dir().into(),
        what: "the key is",
        found: found.map_or("in a file".to_owned(), |uri| uri.to_string()),
        asked: asked.to_string(),
    })
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
    request: &InitRequest<'_>,
    now: UnixTime,
) -> Result<(), CommandError> {
    let algorithm = request.algorithm.unwrap_or_default();
    let mut staging = Staging::new(layout.dir());
    // The root outlives those it signs.
    let root_key = new_key(
        (layout, request),
        (Role::Root, Algorithm::P384),
        &mut staging,
    )?;
    let mut issuing = |role| new_key((layout, request), (role, algorithm), &mut staging);
    let (device_ca_key, server_ca_key) = (issuing(Role::DeviceCa)?, issuing(Role::ServerCa)?);
    staging.commit()?;

    let names = AuthorityNames::of(request);
    let (root, signed_root) = Authority::new_root(names.root(), root_key, now)?;
    let device_ca = root.sign(Holder::DeviceCa(names.device_ca()), &device_ca_key, now)?;
    let server_ca = root.sign(Holder::ServerCa(names.server_ca()), &server_ca_key, now)?;
    let signed = [signed_root, device_ca, server_ca];
    let trust_domain = request.trust_domain.cloned().unwrap_or_default();
    Ok(registry.record_authorities(&trust_domain, &signed, now)?)
}

/// A key in a file, or the reference to one that is in a token. Of a run that was stopped the other
/// may be there.
pub(super) fn new_key(
    (layout, request): (&Layout, &InitRequest<'_>),
    (role, algorithm): (Role, Algorithm),
    staging: &mut Staging,
) -> Result<AuthorityKey, CommandError> {
    staging.make_dir(&layout.ca_dir())?;
    let path = layout.authority_key(role);
    let Some(uri) = request.token(role) else {
        let key = key_file::generate_for(algorithm)?;
        let pem = key_file::to_pem(&key, request.passphrase)?;
        files::remove_if_there(&reference(&path))?;
        staging.write(&path, pem.as_bytes())?;
        return Ok(key.into());
    };
    let key = AuthorityKey::InToken(KeyInToken::open(uri, request.passphrase)?);
    let found = Algorithm::of(&key.subject_public_key_info());
    if role != Role::Root && request.algorithm.is_some_and(|asked| Some(asked) != found) {
        let other = KeyInTokenError::Other {
            uri: Box::new(uri.clone()),
            found: found.map_or("something else", Algorithm::as_str),
            asked: algorithm,
        };
        return Err(other.into());
    }
    files::remove_if_there(&path)?;
    staging.write(&reference(&path), format!("{uri}\n"))?;
    Ok(key)
}

/// What the authorities of a directory are called.
///
/// Every key of an authority has a name of its own, with a number: a new key under an old name
/// would make good revocation lists look forged. That one is unprotected stands in its name too.
pub(super) struct AuthorityNames<'a> {
    organization: Option<&'a str>,
    common_names: [String; 3],
}

impl<'a> AuthorityNames<'a> {
    fn of(request: &InitRequest<'a>) -> Self {
        Self::new(request, &[Role::Root, Role::DeviceCa, Role::ServerCa])
    }

    /// Those of a root that is kept apart.
    pub(super) fn of_root(request: &InitRequest<'a>) -> Self {
        Self::new(request, &[Role::Root])
    }

    fn new(request: &InitRequest<'a>, roles: &[Role]) -> Self {
        let whose = request.whose(roles);
        Self {
            organization: request.organization,
            common_names: ["root", "device CA", "server CA"]
                .map(|what| format!("{whose} {what} 1")),
        }
    }

    pub(super) fn check(&self) -> Result<(), CommandError> {
        let names = [self.root(), self.device_ca(), self.server_ca()];
        Ok(names.iter().try_for_each(AuthorityName::check)?)
    }

    pub(super) fn root(&self) -> AuthorityName<'_> {
        let [common_name, _, _] = &self.common_names;
        self.name(common_name)
    }

    fn device_ca(&self) -> AuthorityName<'_> {
        let [_, common_name, _] = &self.common_names;
        self.name(common_name)
    }

    fn server_ca(&self) -> AuthorityName<'_> {
        let [_, _, common_name] = &self.common_names;
        self.name(common_name)
    }

    fn name<'b>(&'b self, common_name: &'b str) -> AuthorityName<'b> {
        AuthorityName {
            organization: self.organization,
            common_name,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::PathBuf;

    use certs::{BasicConstraints, Purpose};

    use super::*;
    use crate::ExitClass;
    use crate::testing::{certificate, day, issue, mode};

    #[test]
    fn a_root_stands_above_an_authority_for_devices_and_one_for_servers() {
        let temp = tempfile::tempdir().unwrap();
        let layout = ca_init(&InitRequest::new(temp.path()), day(0))
            .unwrap()
            .layout;
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
        let first = ca_init(&InitRequest::new(temp.path()), day(0)).unwrap();
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
        assert_eq!(before.len(), 7);
        let second = ca_init(&InitRequest::new(temp.path()), day(1)).unwrap();
        assert_eq!((first.made, second.made), (true, false));
        assert_eq!(files(), before);
    }

    #[test]
    fn authorities_speak_for_one_trust_domain() {
        let temp = tempfile::tempdir().unwrap();
        let ours = TrustDomain::parse("fleet.example").unwrap();
        let init = |trust_domain| {
            let request = InitRequest::new(temp.path());
            let trust_domain = Some(trust_domain);
            let request = InitRequest {
                trust_domain,
                ..request
            };
            ca_init(&request, day(0))
        };
        let made = init(&ours).unwrap();
        assert_eq!(made.trust_domain, ours);
        assert_eq!(
            ca_init(&InitRequest::new(temp.path()), day(0))
                .unwrap()
                .trust_domain,
            ours
        );
        let other = TrustDomain::parse("other.example").unwrap();
        let refused = init(&other).unwrap_err();
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
        let refused = ca_init(&InitRequest::new(temp.path()), day(0)).unwrap_err();
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
            let stale = reference(&layout.authority_key(Role::DeviceCa));
            if stopped > 1 {
                drop(Registry::open(&layout.registry()).unwrap());
                fs::write(layout.authority_key(Role::Root), "half a k").unwrap();
                fs::write(&stale, "pkcs11:").unwrap();
            }
            assert!(
                ca_init(&InitRequest::new(temp.path()), day(0))
                    .unwrap()
                    .made
            );
            issue(temp.path(), "dev-1", None).unwrap();
            assert!(!stale.exists());
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
        let layout = ca_init(&InitRequest::new(temp.path()), day(0))
            .unwrap()
            .layout;
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
        let layout = ca_init(&InitRequest::new(&dir), day(0)).unwrap().layout;
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
        let layout = ca_init(&InitRequest::new(temp.path()), day(0))
            .unwrap()
            .layout;
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
