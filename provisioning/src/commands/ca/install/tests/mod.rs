//! The story of a root that is kept apart: asked, signed, installed, and followed.

mod refused;

use std::fs;
use std::path::{Path, PathBuf};

use certs::{Role, TrustDomain};
use tempfile::TempDir;

use super::InstallRequest;
use crate::registry::AuthorityStage;
use crate::testing::{certificate, day, issue, up};
use crate::{
    BackupRequest, CertifyRequest, CommandError, DecryptWith, EncryptTo, ExitClass, InitRequest,
    Installed, KeyKept, NextStep, Passphrase, Requested, RestoreRequest, RootInitRequest,
    RootListRequest, RootSignRequest, RotateRequest, RotationStage, TrustRequest, ca_backup,
    ca_init, ca_install, ca_request, ca_restore, ca_rotate, ca_status, ca_verify, root_init,
    root_list, root_sign, trust_export,
};

/// A machine with a root, and one without.
struct World {
    temp: TempDir,
}

impl World {
    /// The root is there, and nothing was asked of it.
    fn new() -> Self {
        let world = Self {
            temp: tempfile::tempdir().unwrap(),
        };
        make_root(&world.root());
        world
    }

    /// What is in the directory issues.
    fn installed() -> Self {
        let world = Self::new();
        world.ask(None).unwrap();
        let file = world.sign();
        world.install(&[file]).unwrap();
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    fn root(&self) -> PathBuf {
        self.path("root")
    }

    fn dir(&self) -> PathBuf {
        self.path("online")
    }

    fn ask(&self, role: Option<Role>) -> Result<Requested, CommandError> {
        ask(&self.dir(), (role, &self.path("requests.pem")))
    }

    /// Signs what was asked.
    fn sign(&self) -> PathBuf {
        let request = RootSignRequest {
            dir: &self.root(),
            passphrase: None,
            requests: &[self.path("requests.pem")],
            out: &self.path("certificates.pem"),
        };
        root_sign(&request, |_| true, day(1)).unwrap().out
    }

    fn list(&self, name: &str) -> PathBuf {
        let request = RootListRequest {
            dir: &self.root(),
            passphrase: None,
            days: None,
            out: &self.path(name),
        };
        root_list(&request, day(2)).unwrap().out
    }

    fn fingerprint(&self) -> [u8; 32] {
        certificate(&self.root().join("ca.pem")).sha256
    }

    fn install(&self, files: &[PathBuf]) -> Result<Installed, CommandError> {
        let request = InstallRequest {
            dir: &self.dir(),
            files,
            root_fingerprint: Some(self.fingerprint()),
        };
        ca_install(&request, |_| panic!("the fingerprint was given"), day(2))
    }

    /// Refused, for the reason in these words, and nothing is on record.
    fn refuses(&self, files: &[PathBuf], words: &str) {
        let refused = self.install(files).unwrap_err();
        let told = certs::WithCauses(&refused).to_string();
        assert!(told.contains(words), "{told}, not {words}");
        assert_eq!(refused.exit_class(), ExitClass::Refused, "{told}");
        let status = ca_status(&self.dir(), day(2)).unwrap();
        assert_eq!((status.authorities.len(), status.awaited.len()), (0, 2));
        assert!(!self.dir().join("ca.pem").exists());
    }

    /// A file with these certificates.
    fn file(&self, name: &str, certificates: &[&str]) -> PathBuf {
        fs::write(self.path(name), certificates.concat()).unwrap();
        self.path(name)
    }
}

fn make_root(dir: &Path) {
    let request = RootInitRequest {
        dir,
        trust_domain: Some(&TrustDomain::parse("fleet.example").unwrap()),
        organization: None,
        passphrase: None,
        token: None,
    };
    root_init(&request, day(0)).unwrap();
}

fn ask(dir: &Path, (role, out): (Option<Role>, &Path)) -> Result<Requested, CommandError> {
    let domain = TrustDomain::parse("fleet.example").unwrap();
    let request = CertifyRequest {
        dir,
        role,
        trust_domain: Some(&domain),
        algorithm: None,
        passphrase: None,
        tokens: &[],
        another: false,
        out,
    };
    ca_request(&request, day(0))
}

/// The certificates of a file, one by one.
fn certificates(path: &Path) -> Vec<String> {
    let parsed = pem::parse_many(fs::read(path).unwrap()).unwrap();
    parsed.iter().map(pem::encode).collect()
}

#[test]
fn what_is_asked_signed_and_installed_issues_without_the_root() {
    let world = World::new();
    let asked = world.ask(None).unwrap();
    assert!(asked.made);
    assert_eq!(asked.awaited.len(), 2);
    let dir = world.dir();
    let status = ca_status(&dir, day(0)).unwrap();
    assert_eq!(
        (status.awaited, status.next),
        (asked.awaited.clone(), NextStep::Install)
    );
    for refused in [
        issue(&dir, "dev-1", None).map(drop),
        ca_init(&InitRequest::new(&dir), day(0)).map(drop),
    ] {
        let refused = refused.unwrap_err();
        assert!(
            refused.to_string().contains("have no certificates yet"),
            "{refused}"
        );
    }

    let installed = world.install(&[world.sign()]).unwrap();
    let stages: Vec<_> = installed
        .authorities
        .iter()
        .map(|it| (it.role, it.stage, it.made))
        .collect();
    let active = |role| (role, AuthorityStage::Active, true);
    assert_eq!(stages, [active(Role::DeviceCa), active(Role::ServerCa)]);
    let status = ca_status(&dir, day(2)).unwrap();
    assert_eq!(status.authorities[0].key, KeyKept::Elsewhere);
    assert_eq!((status.awaited.len(), status.next), (0, NextStep::Publish));
    issue(&dir, "dev-1", None).unwrap();
    up(&dir, 2, day(3)).unwrap();
    let found = ca_verify(&dir, day(3)).unwrap();
    assert_eq!(found.findings, []);
}

#[test]
fn each_step_may_be_done_again_and_changes_nothing() {
    let world = World::new();
    let first = world.ask(None).unwrap();
    let requests = fs::read(&first.out).unwrap();
    let again = world.ask(None).unwrap();
    assert_eq!((again.made, &again.awaited), (false, &first.awaited));
    assert_eq!(fs::read(&again.out).unwrap(), requests);

    let file = world.sign();
    let signed = fs::read(&file).unwrap();
    assert_eq!(fs::read(world.sign()).unwrap(), signed);
    let made = world.install(std::slice::from_ref(&file)).unwrap();
    let copy = fs::read(world.dir().join("ca/device-ca.pem")).unwrap();
    let again = world.install(&[file]).unwrap();
    assert!(made.authorities.iter().all(|it| it.made));
    assert!(again.authorities.iter().all(|it| !it.made), "{again:?}");
    assert_eq!(
        fs::read(world.dir().join("ca/device-ca.pem")).unwrap(),
        copy
    );
}

/// What a command leaves that was killed before its end.
#[test]
fn whatever_was_stopped_goes_on_where_it_was() {
    let world = World::new();
    world.ask(None).unwrap();
    let ca = world.dir().join("ca");
    // Keys of which one has no request were shown to nobody, and are made anew together: else one
    // could be encrypted, and the other not.
    let names = ["device-ca.key.pem", "server-ca.key.pem"];
    let keys = || names.map(|name| fs::read(ca.join(name)).unwrap());
    let before = keys();
    fs::remove_file(ca.join("server-ca.csr.pem")).unwrap();
    assert!(world.ask(None).unwrap().made);
    assert!(
        keys()
            .iter()
            .zip(&before)
            .all(|(now, before)| now != before)
    );

    // Recorded, and not handed out.
    let file = world.sign();
    let signed = fs::read(&file).unwrap();
    fs::remove_file(&file).unwrap();
    assert_eq!(fs::read(world.sign()).unwrap(), signed);

    // What was written in the place of a key would be the end of it.
    let key = ca.join("device-ca.key.pem");
    let refused = ask(&world.dir(), (None, &key)).unwrap_err();
    assert!(
        matches!(refused, CommandError::OutputExists(_)),
        "{refused}"
    );

    // On record, and not where it is looked for.
    world.install(std::slice::from_ref(&file)).unwrap();
    for name in ["device-ca.pem", "root.pem", "../ca.pem"] {
        fs::remove_file(ca.join(name)).unwrap();
    }
    world.install(&[file]).unwrap();
    assert_eq!(ca_verify(&world.dir(), day(2)).unwrap().findings, []);
}

#[test]
fn what_is_asked_again_is_what_waits() {
    let world = World::new();
    world.ask(None).unwrap();
    let (dir, out) = (world.dir(), world.path("requests.pem"));
    let same = CertifyRequest {
        dir: &dir,
        role: None,
        trust_domain: None,
        algorithm: None,
        passphrase: None,
        tokens: &[],
        another: false,
        out: &out,
    };
    assert!(!ca_request(&same, day(1)).unwrap().made);
    let other = TrustDomain::parse("other.example").unwrap();
    for asked in [
        CertifyRequest {
            trust_domain: Some(&other),
            ..same
        },
        CertifyRequest {
            algorithm: Some(crate::Algorithm::P384),
            ..same
        },
        CertifyRequest {
            role: Some(Role::DeviceCa),
            ..same
        },
    ] {
        let refused = ca_request(&asked, day(1)).unwrap_err();
        assert_eq!(refused.exit_class(), ExitClass::Usage, "{refused}");
    }
    let root = RootInitRequest {
        dir: &dir,
        trust_domain: None,
        organization: None,
        passphrase: None,
        token: None,
    };
    let refused = root_init(&root, day(1)).unwrap_err();
    assert!(
        refused.to_string().contains("no certificates yet"),
        "{refused}"
    );
}

#[test]
fn an_authority_is_followed_by_one_that_the_root_elsewhere_certifies() {
    let world = World::installed();
    let dir = world.dir();
    issue(&dir, "dev-1", None).unwrap();
    let rotate = |role, stage| ca_rotate(&RotateRequest::new(&dir, role, stage), day(3));
    let refused = rotate(Role::DeviceCa, RotationStage::Prepare).unwrap_err();
    let told = refused.to_string();
    for command in ["ca request --role device-ca", "ca root sign", "ca install"] {
        assert!(told.contains(command), "{told}");
    }
    for refused in [
        rotate(Role::Root, RotationStage::Prepare).map(drop),
        trust_export(
            &TrustRequest {
                dir: &dir,
                passphrase: None,
            },
            day(3),
        )
        .map(drop),
    ] {
        let refused = refused.unwrap_err();
        assert!(
            refused.to_string().contains("key of the root is not in"),
            "{refused}"
        );
        assert_eq!(refused.exit_class(), ExitClass::NotFound);
    }
    assert_eq!(world.ask(None).unwrap_err().exit_class(), ExitClass::Usage);

    let asked = world.ask(Some(Role::DeviceCa)).unwrap();
    assert_eq!((asked.made, asked.awaited[0].number), (true, 2));
    assert!(!world.ask(Some(Role::DeviceCa)).unwrap().made);
    assert_eq!(ca_status(&dir, day(3)).unwrap().next, NextStep::Install);
    // Meanwhile nothing is different.
    issue(&dir, "dev-2", None).unwrap();
    let installed = world.install(&[world.sign()]).unwrap();
    let stand = |it: &crate::InstalledAuthority| (it.number, it.stage, it.made);
    let stands: Vec<_> = installed.authorities.iter().map(stand).collect();
    assert_eq!(stands, [(2, AuthorityStage::Prepared, true)]);
    let refused = world.ask(Some(Role::DeviceCa)).unwrap_err();
    assert!(refused.to_string().contains("--stage publish"), "{refused}");
    for stage in [RotationStage::Publish, RotationStage::Switch] {
        rotate(Role::DeviceCa, stage).unwrap();
    }
    let issued = issue(&dir, "dev-3", None).unwrap();
    let leaf = certificate(&issued.files.cert);
    assert_eq!(&*leaf.issuer, "CN=Countersign DEV ONLY device CA 2");
    assert_eq!(ca_verify(&dir, day(3)).unwrap().findings, []);
}

#[test]
fn a_backup_keeps_what_waits_and_the_list_of_the_root() {
    let world = World::installed();
    world.install(&[world.list("root.crl")]).unwrap();
    let asked = world.ask(Some(Role::DeviceCa)).unwrap();
    let secret = Passphrase::new("of the backup".to_owned()).unwrap();
    let (out, restored) = (world.path("ca.age"), world.path("restored"));
    let backup = BackupRequest {
        dir: &world.dir(),
        out: &out,
        to: EncryptTo::Passphrase(&secret),
    };
    ca_backup(&backup, day(3)).unwrap();
    for dir in [&restored, &world.dir()] {
        let restore = RestoreRequest {
            file: &out,
            dir,
            with: DecryptWith::Passphrase(&secret),
            list: None,
        };
        ca_restore(&restore, day(3)).unwrap();
        let status = ca_status(dir, day(3)).unwrap();
        assert_eq!(status.awaited, asked.awaited);
        assert!(dir.join("ca/root.crl").exists());
        let request = InstallRequest {
            dir,
            files: &[world.sign()],
            root_fingerprint: None,
        };
        let installed = ca_install(&request, |_| panic!("it is known"), day(3)).unwrap();
        assert_eq!(installed.authorities[0].stage, AuthorityStage::Prepared);
        assert_eq!(ca_verify(dir, day(3)).unwrap().findings, []);
    }
}

#[test]
fn where_the_root_is_nobody_else_is_asked() {
    let world = World::new();
    let dir = world.dir();
    ca_init(&InitRequest::new(&dir), day(0)).unwrap();
    let domain = TrustDomain::default();
    let request = CertifyRequest {
        trust_domain: Some(&domain),
        role: Some(Role::DeviceCa),
        dir: &dir,
        algorithm: None,
        passphrase: None,
        tokens: &[],
        another: false,
        out: &world.path("requests.pem"),
    };
    let refused = ca_request(&request, day(0)).unwrap_err();
    assert!(
        refused.to_string().contains("countersign ca rotate"),
        "{refused}"
    );
    let refused = ask(&world.root(), (None, &world.path("requests.pem"))).unwrap_err();
    assert!(refused.to_string().contains("ca root status"), "{refused}");
    let nothing = world.install(&[world.path("none")]).unwrap_err();
    assert_eq!(nothing.exit_class(), ExitClass::NotFound);
}
