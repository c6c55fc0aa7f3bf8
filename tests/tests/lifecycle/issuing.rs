//! A device CA and a server CA are followed by others under devices that are there: nobody is cut
//! off at any stage, and at the end only those who are to be.

use crate::house::House;
use certs::Role;
use provisioning::{KeyFate, RotateRequest, RotationStage, broker_issue, ca_rotate, ca_verify};
use rustls::pki_types::UnixTime;

const STAGES: [RotationStage; 3] = [
    RotationStage::Prepare,
    RotationStage::Publish,
    RotationStage::Switch,
];

#[test]
fn a_device_ca_is_followed_by_another_and_nobody_is_cut_off_at_any_stage() {
    let mut house = House::new(4);
    let mut here = vec![house.connect("dev-1"), house.connect("dev-2")];
    let old = ["dev-2", "dev-3", "dev-4"].map(|id| (id, house.identity(id)));
    for stage in STAGES {
        let (_, closed) = house.rotate(Role::DeviceCa, stage);
        assert_eq!(closed, 0, "{stage:?}");
        house.lives_on(&mut here, stage.as_str());
    }

    // All get certificates of the new one but dev-4, which is here with its old one.
    for id in ["dev-1", "dev-2", "dev-3", "new-prepare", "new-publish"] {
        house.renew(id);
    }
    house.renew_listener();
    let mut late = house.connect("dev-4");
    drop(here);
    let ids = ["dev-1", "dev-2", "new-prepare", "new-publish", "new-switch"];
    let mut here: Vec<_> = ids.into_iter().map(|id| house.connect(id)).collect();

    let dir = house.dir();
    let request = RotateRequest::new(&dir, Role::DeviceCa, RotationStage::Retire);
    let refused = ca_rotate(&request, UnixTime::now()).unwrap_err();
    assert_eq!(refused.exit_class().code(), 5, "{refused}");
    house.lives_on(&mut here, "refused");
    house.publish(&mut late, "last");
    let request = RotateRequest {
        cut_off: true,
        key: KeyFate::Destroy,
        ..request
    };
    ca_rotate(&request, UnixTime::now()).unwrap();
    // The broker may have seen the files before it was told.
    assert!(house.reload() <= 1);
    late.is_cut();
    for (id, identity) in &old {
        house.refuse(id, identity);
    }
    house.lives_on(&mut here, "retired");
    assert_eq!(ca_verify(&dir, UnixTime::now()).unwrap().findings, []);
    house.world.expect_health();
}

#[test]
fn a_server_ca_is_followed_by_another_and_devices_know_the_broker_at_every_stage() {
    let mut house = House::new(3);
    let mut here = vec![house.connect("dev-1")];
    for stage in STAGES {
        house.rotate(Role::ServerCa, stage);
        house.lives_on(&mut here, stage.as_str());
    }
    broker_issue(&house.dir(), &[], None, UnixTime::now()).unwrap();
    house.reload();
    house.lives_on(&mut here, "issued");
    let (retired, closed) = house.rotate(Role::ServerCa, RotationStage::Retire);
    assert_eq!((retired.number, closed), (1, 0));
    house.lives_on(&mut here, "retired");
    house.world.expect_health();
}
