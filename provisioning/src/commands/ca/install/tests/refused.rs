//! What is not installed: other roots, other keys, less than all, and what is older.

use std::fs;
use std::path::Path;

use certs::RevocationReason;

use super::{World, certificates, make_root};
use crate::testing::{certificate, day};
use crate::{
    ExitClass, InstallRequest, RootSignRequest, ca_doctor, ca_install, ca_status, root_revoke,
    root_sign,
};

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
fn the_lists_of_the_root_only_rise_and_a_revoked_authority_is_named() {
    let world = World::installed();
    let dir = world.dir();
    let empty = world.list("empty.crl");
    assert_eq!(
        world.install(std::slice::from_ref(&empty)).unwrap().list,
        Some(1)
    );
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
        let installed = world.install(std::slice::from_ref(&list)).unwrap();
        assert_eq!(
            (installed.list, installed.revoked),
            (Some(2), vec![name.into()])
        );
    }
    let older = world.install(std::slice::from_ref(&empty)).unwrap_err();
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
