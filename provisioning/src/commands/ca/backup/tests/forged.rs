//! Backups that were changed, are for others, or were packed by somebody else.

use std::io::Write as _;

use super::*;
use crate::age::encrypt;

#[test]
fn a_backup_that_was_changed_or_is_for_others_changes_nothing() {
    let (temp, [_, file, other]) = world();
    let good = fs::read(&file).unwrap();
    let bad = temp.path().join("bad.age");
    let cases = [
        good[..good.len() - 1].to_vec(),
        [&*good, b"x"].concat(),
        {
            let mut changed = good.clone();
            changed[good.len() / 2] ^= 1;
            changed
        },
        b"no backup".to_vec(),
    ];
    for case in cases {
        fs::write(&bad, case).unwrap();
        let refused = restore(&bad, &other).unwrap_err();
        assert_eq!(refused.exit_class(), ExitClass::Failed);
        assert!(!other.exists());
    }
    let theirs = Passphrase::new("theirs".to_owned()).unwrap();
    let request = RestoreRequest {
        file: &file,
        dir: &other,
        with: DecryptWith::Passphrase(&theirs),
        list: None,
    };
    assert!(ca_restore(&request, day(2)).is_err());
    assert!(!other.exists());
}

/// An archive of these members, its manifest first.
fn forged(path: &Path, files: &[(&str, &[u8])], members: &[(&str, &[u8])]) {
    let files = files.iter().map(|(path, octets)| {
        let (len, sha256) = archive::measure(*octets).unwrap();
        let path = (*path).to_owned();
        Listed {
            path,
            mode: 0o600,
            len,
            sha256,
        }
    });
    let manifest = Manifest {
        format: FORMAT,
        created: 0,
        trust_domain: "x".to_owned(),
        list: 0,
        audit_entries: 0,
        audit_hash: String::new(),
        files: files.collect(),
    };
    let text = serde_json::to_vec(&manifest).unwrap();
    let secret = secret();
    let to = EncryptTo::Passphrase(&secret);
    let mut archive = tar::Builder::new(encrypt(Vec::new(), to).unwrap());
    for (path, octets) in [(MANIFEST, &*text)].iter().chain(members) {
        let mut header = tar::Header::new_ustar();
        header.set_size(octets.len().try_into().unwrap());
        let name = &mut header.as_old_mut().name;
        (&mut name[..]).write_all(path.as_bytes()).unwrap();
        header.set_cksum();
        archive.append(&header, *octets).unwrap();
    }
    fs::write(path, archive.into_inner().unwrap().finish().unwrap()).unwrap();
}

#[test]
fn what_somebody_else_packed_reaches_no_place_but_ours() {
    let temp = tempfile::tempdir().unwrap();
    let [file, other] = ["forged.age", "other"].map(|name| temp.path().join(name));
    let registry = (REGISTRY, &b"x"[..]);
    for (files, members, why) in [
        (
            vec![registry, ("../evil", b"e")],
            vec![registry, ("../evil", b"e")],
            "another kind",
        ),
        (
            vec![registry, ("/tmp/e", b"e")],
            vec![registry, ("/tmp/e", b"e")],
            "another kind",
        ),
        (
            vec![registry],
            vec![registry, ("ca.pem", b"e")],
            "names other files",
        ),
        (
            vec![registry, ("ca.pem", b"e")],
            vec![registry],
            "is missing",
        ),
        (
            vec![registry],
            vec![(REGISTRY, b"y")],
            "not what its manifest says",
        ),
        (vec![("ca.pem", b"e")], vec![("ca.pem", b"e")], "is missing"),
    ] {
        forged(&file, &files, &members);
        let refused = restore(&file, &other).unwrap_err();
        let said = certs::WithCauses(&refused).to_string();
        assert!(said.contains(why), "{why}: {said}");
        assert!(!other.exists() && !temp.path().join("evil").exists());
    }
}
