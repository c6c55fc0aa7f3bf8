//! The story of a root that is kept apart: asked, signed, installed; and what is not installed.

use std::fs;
use std::path::{Path, PathBuf};

use certs::{RevocationReason, Role, TrustDomain};
use tempfile::TempDir;

use super::InstallRequest;
use crate::registry::AuthorityStage;
use crate::testing::{certificate, day, issue, up};
use crate::{
    CertifyRequest, CommandError, ExitClass, InitRequest, Installed, KeyKept, NextStep, Requested,
    RootInitRequest, RootListRequest, RootSignRequest, RotateRequest, RotationStage, TrustRequest,
    ca_doctor, ca_init, ca_install, ca_request, ca_rotate, ca_status, ca_verify, root_init,
    root_list, root_revoke, root_sign, trust_export,
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
    let made = world.install(&[file.clone()]).unwrap();
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
    // A key whose request was not written was never shown to anybody.
    let key = fs::read(ca.join("server-ca.key.pem")).unwrap();
    fs::remove_file(ca.join("server-ca.csr.pem")).unwrap();
    let again = world.ask(None).unwrap();
    assert!(again.made);
    assert_ne!(fs::read(ca.join("server-ca.key.pem")).unwrap(), key);

    // Recorded, and not handed out.
    let file = world.sign();
    let signed = fs::read(&file).unwrap();
    fs::remove_file(&file).unwrap();
    assert_eq!(fs::read(world.sign()).unwrap(), signed);

    // On record, and not where it is looked for.
    world.install(&[file.clone()]).unwrap();
    for name in ["device-ca.pem", "root.pem", "../ca.pem"] {
        fs::remove_file(ca.join(name)).unwrap();
    }
    world.install(&[file]).unwrap();
    assert_eq!(ca_verify(&world.dir(), day(2)).unwrap().findings, []);
}

#[test]
fn a_root_is_trusted_by_its_fingerprint_or_by_somebodys_word() {
    let world = World::new();
    world.ask(None).unwrap();
    let (dir, files) = (world.dir(), [world.sign()]);
    let mut request = InstallRequest {
        dir: &dir,
        files: &files,
        root_fingerprint: None,
    };
    let mut shown = None;
    let refused = ca_install(
        &request,
        |root| {
            shown = Some(root.fingerprint);
            false
        },
        day(2),
    );
    assert_eq!(refused.unwrap_err().exit_class(), ExitClass::Usage);
    assert_eq!(shown, Some(world.fingerprint()));
    request.root_fingerprint = Some([7; 32]);
    let refused = ca_install(&request, |_| true, day(2)).unwrap_err();
    assert_eq!(refused.exit_class(), ExitClass::Refused);
    assert!(ca_status(&dir, day(2)).unwrap().authorities.is_empty());
    request.root_fingerprint = None;
    ca_install(&request, |_| true, day(2)).unwrap();
    // From there on it is known.
    ca_install(&request, |_| panic!("it is known"), day(2)).unwrap();
}

#[test]
fn all_is_installed_or_nothing() {
    let world = World::new();
    world.ask(None).unwrap();
    let all = certificates(&world.sign());
    let [device_ca, server_ca, root] = &all[..] else {
        panic!("{} certificates", all.len());
    };
    let changed = {
        let mut der = pem::parse(device_ca).unwrap().into_contents();
        *der.last_mut().unwrap() ^= 1;
        pem::encode(&pem::Pem::new("CERTIFICATE", der))
    };

    let other = World::new();
    other.ask(None).unwrap();
    let theirs = certificates(&other.sign());
    let half = world.file("half", &[device_ca, root]);
    world.refuses(&[half], "no file holds the certificate of the server-ca");
    let changed = world.file("changed", &[&changed, server_ca, root]);
    world.refuses(&[changed], "not one to install");
    let foreign = world.file("foreign", &[device_ca, server_ca, &theirs[0], root]);
    world.refuses(&[foreign], "for no key that waits here");
    let two = world.file("two", &[device_ca, server_ca, root, &theirs[2]]);
    world.refuses(&[two], "another root");
    let wrong = world.file("wrong", &[device_ca, server_ca, &theirs[2]]);
    let refused = world.install(&[wrong]).unwrap_err();
    assert!(
        refused.to_string().contains("not one to install"),
        "{refused}"
    );
    let without = world.file("without", &[device_ca, server_ca]);
    assert_eq!(
        world.install(&[without]).unwrap_err().exit_class(),
        ExitClass::Usage
    );
    let nothing = world.file("nothing", &["nothing"]);
    assert_eq!(
        world.install(&[nothing]).unwrap_err().exit_class(),
        ExitClass::Failed
    );
    // Another order, and a file for each, is the same.
    let files = [
        world.file("root-alone", &[root]),
        world.file("server", &[server_ca]),
        world.file("device", &[device_ca]),
    ];
    world.install(&files).unwrap();
}

/// Whoever could have a device certified as a device CA would be one.
#[test]
fn what_another_authority_has_signed_is_not_installed() {
    let world = World::new();
    world.ask(None).unwrap();
    let all = certificates(&world.sign());
    // The keys that wait, certified by a root with another key; and as what they are not.
    let other = world.path("other");
    make_root(&other);
    let request = RootSignRequest {
        dir: &other,
        passphrase: None,
        requests: &[world.path("requests.pem")],
        out: &world.path("theirs.pem"),
    };
    let theirs = root_sign(&request, |_| true, day(1)).unwrap().out;
    let theirs = certificates(&theirs);
    let mixed = world.file("mixed", &[&theirs[0], &all[1], &all[2]]);
    world.refuses(&[mixed], "not one to install");
    let mine = world.file("mine", &[&theirs[0], &theirs[1], &theirs[2]]);
    world.refuses(&[mine], "has the fingerprint");
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
    let issuer = certificate(&issued.files.cert).issuer;
    assert_eq!(&*issuer, "CN=Countersign DEV ONLY device CA 2");
    assert_eq!(ca_verify(&dir, day(3)).unwrap().findings, []);
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

#[test]
fn the_lists_of_the_root_only_rise_and_a_revoked_authority_is_named() {
    let world = World::installed();
    let dir = world.dir();
    let empty = world.list("empty.crl");
    assert_eq!(world.install(&[empty.clone()]).unwrap().list, Some(1));
    let serial = ca_status(&dir, day(2)).unwrap().authorities[1].serial;
    root_revoke(
        &world.root(),
        serial,
        RevocationReason::CaCompromise,
        day(2),
    )
    .unwrap();
    let list = world.list("list.crl");
    let name = "Countersign DEV ONLY device CA 1";
    for _ in 0..2 {
        let installed = world.install(&[list.clone()]).unwrap();
        assert_eq!(
            (installed.list, installed.revoked),
            (Some(2), vec![name.into()])
        );
    }
    let older = world.install(&[empty.clone()]).unwrap_err();
    assert_eq!(older.exit_class(), ExitClass::Refused);
    // A file that is gone does not make an old list a new one.
    fs::remove_file(dir.join("ca/root.crl")).unwrap();
    assert!(world.install(&[empty]).is_err());
    let soon = std::time::Duration::ZERO;
    let told = |dir: &Path| -> Vec<String> {
        let checks = ca_doctor(dir, soon, day(2)).unwrap().checks;
        let of_root = checks.iter().filter(|it| it.name == "list of the root");
        of_root
            .map(|it| format!("{}: {}", it.verdict.as_str(), it.why))
            .collect()
    };
    assert_eq!(
        told(&dir),
        ["bad: number 2 was here, and none is there now"]
    );
    world.install(&[list]).unwrap();
    let expected = format!("bad: number 2, 1 entries: {name} was revoked, and is trusted here");
    assert_eq!(told(&dir), [expected]);

    let foreign = World::new();
    let theirs = foreign.list("theirs.crl");
    let refused = world.install(&[theirs]).unwrap_err();
    assert!(
        refused.to_string().contains("not one of the root"),
        "{refused}"
    );
}

#[test]
fn what_its_root_has_revoked_is_not_installed() {
    let world = World::new();
    world.ask(None).unwrap();
    let file = world.sign();
    let serial = certificate(&file).serial;
    root_revoke(&world.root(), serial, RevocationReason::Superseded, day(2)).unwrap();
    let list = world.list("list.crl");
    world.refuses(&[file, list], "its root has revoked it");
}
