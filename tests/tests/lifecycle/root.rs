//! A root is followed by another under devices that are there. At every stage who trusts only the
//! old one knows the broker, and so does who trusts only the new one, once somebody may.

use crate::house::House;
use certs::{Role, TrustBundle};
use countersign_tests::identity::Identity;
use provisioning::{
    RotateRequest, RotationStage, TrustRequest, broker_issue, ca_rotate, ca_verify, trust_export,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use std::fs;

const STAGES: [RotationStage; 3] = [
    RotationStage::Prepare,
    RotationStage::Publish,
    RotationStage::Switch,
];

/// The device, trusting this root alone.
fn trusting(house: &House, id: &str, root: &str) -> Identity {
    let root = CertificateDer::from_pem_file(house.dir().join(root)).unwrap();
    house.identity(id).towards(&root)
}

/// How many roots a device that trusts the first one is told to trust.
fn exported(house: &House) -> usize {
    let (dir, passphrase) = (house.dir(), None);
    let request = TrustRequest {
        dir: &dir,
        passphrase,
    };
    trust_export(&request, UnixTime::now()).unwrap();
    let root = CertificateDer::from_pem_file(dir.join("ca/root.pem")).unwrap();
    let octets = fs::read(house.layout().trust_bundle()).unwrap();
    let trusted = [certs::Authority::read(&root).unwrap()];
    TrustBundle::read(&octets, &trusted, 0)
        .unwrap()
        .roots()
        .len()
}

#[test]
fn a_root_is_followed_by_another_and_nobody_is_cut_off_at_any_stage() {
    let mut house = House::new(3);
    let mut here = vec![house.connect("dev-1")];
    let dir = house.dir();
    for stage in STAGES {
        let (rotated, closed) = house.rotate(Role::Root, stage);
        assert_eq!((rotated.number, closed), (2, 0), "{stage:?}");
        house.lives_on(&mut here, &format!("root-{}", stage.as_str()));
    }
    assert_eq!(exported(&house), 2);
    let early = RotateRequest::new(&dir, Role::Root, RotationStage::Retire);
    let refused = ca_rotate(&early, UnixTime::now()).unwrap_err();
    assert!(refused.to_string().contains("device CA 1"), "{refused}");

    for role in [Role::ServerCa, Role::DeviceCa] {
        for stage in STAGES {
            house.rotate(role, stage);
            let words = format!("{}-{}", role.as_str(), stage.as_str());
            house.lives_on(&mut here, &words);
        }
        broker_issue(&dir, &[], None, UnixTime::now()).unwrap();
        assert_eq!(house.reload(), 0);
    }
    drop(here);
    let mut here = Vec::new();
    let of_before = provisioning::Filter {
        device_ca: Some(1),
        ..provisioning::Filter::default()
    };
    let left = provisioning::device_list(&dir, &of_before, UnixTime::now()).unwrap();
    for device in left.iter().filter(|it| it.subject.id.as_str() != "app-1") {
        house.renew(device.subject.id.as_str());
    }
    house.renew_listener();
    here.push(house.connect("dev-1"));
    for role in [Role::DeviceCa, Role::ServerCa, Role::Root] {
        let (rotated, closed) = house.rotate(role, RotationStage::Retire);
        assert_eq!((rotated.number, closed), (1, 0), "{role:?}");
        house.lives_on(&mut here, &format!("{}-retired", role.as_str()));
        for root in ["ca/root.pem", "ca/root-2.pem"] {
            let identity = trusting(&house, "dev-2", root);
            let mut comes = house.connect_as("dev-2", &identity);
            house.publish(&mut comes, root);
            house.hear();
        }
    }
    // The new root is all that is handed out, and who trusts the old one is told so.
    let trusted = fs::read_to_string(house.layout().ca_pem()).unwrap();
    assert_eq!(
        trusted,
        fs::read_to_string(dir.join("ca/root-2.pem")).unwrap()
    );
    assert_eq!(exported(&house), 1);
    assert_eq!(ca_verify(&dir, UnixTime::now()).unwrap().findings, []);
    house.world.expect_health();
}
