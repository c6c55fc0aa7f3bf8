//! A root that is kept apart: devices come and go below it without its key, also while the
//! authority for devices is followed by another that the root certifies from afar.

use crate::house::House;
use certs::Role;
use provisioning::{
    AuthorityStage, CertifyRequest, InstallRequest, Installed, KeyKept, RootInitRequest,
    RootSignRequest, RotationStage, ca_install, ca_request, ca_status, ca_verify, root_init,
    root_sign,
};
use rustls::pki_types::UnixTime;
use std::path::Path;

/// Carries what is asked in `dir` to the root beside it, and what that signs back.
fn certify(root: &Path, dir: &Path, role: Option<Role>) -> Installed {
    let now = UnixTime::now();
    let (requests, certificates) = (root.join("requests.pem"), root.join("certificates.pem"));
    let ask = CertifyRequest {
        dir,
        role,
        trust_domain: None,
        algorithm: None,
        passphrase: None,
        tokens: &[],
        another: false,
        out: &requests,
    };
    ca_request(&ask, now).unwrap();
    let sign = RootSignRequest {
        dir: root,
        passphrase: None,
        requests: &[requests],
        out: &certificates,
    };
    root_sign(&sign, |_| true, now).unwrap();
    let install = InstallRequest {
        dir,
        files: &[certificates],
        root_fingerprint: None,
    };
    ca_install(&install, |_| true, now).unwrap()
}

#[test]
fn devices_live_below_a_root_whose_key_is_never_there() {
    let (temp, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let root = temp.path();
    let init = RootInitRequest {
        dir: root,
        trust_domain: None,
        organization: None,
        passphrase: None,
        token: None,
    };
    root_init(&init, UnixTime::now()).unwrap();
    let installed = certify(root, files.path(), None);
    assert!(
        installed
            .authorities
            .iter()
            .all(|it| it.stage == AuthorityStage::Active)
    );

    let mut house = House::in_dir(files, 3);
    let mut here = vec![house.connect("dev-1")];
    house.lives_on(&mut here, "installed");
    let installed = certify(root, &house.dir(), Some(Role::DeviceCa));
    assert_eq!(installed.authorities[0].number, 2);
    for stage in [RotationStage::Publish, RotationStage::Switch] {
        let (_, closed) = house.rotate(Role::DeviceCa, stage);
        assert_eq!(closed, 0, "{stage:?}");
        house.lives_on(&mut here, stage.as_str());
    }
    house.issue("dev-4");
    here.push(house.connect("dev-4"));
    house.lives_on(&mut here, "followed");
    let status = ca_status(&house.dir(), UnixTime::now()).unwrap();
    assert_eq!(status.authorities[0].key, KeyKept::Elsewhere);
    let found = ca_verify(&house.dir(), UnixTime::now()).unwrap();
    assert_eq!(found.findings, []);
    house.world.expect_health();
}
