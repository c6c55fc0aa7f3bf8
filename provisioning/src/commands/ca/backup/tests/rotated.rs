//! Authorities that were rotated before a backup, or after it.

use certs::Role;

use super::*;
use crate::registry::AuthorityStage;
use crate::{RotateRequest, RotationStage, ca_rotate, ca_status, device_list};

fn rotate(dir: &Path, stages: &[RotationStage]) {
    for stage in stages {
        ca_rotate(&RotateRequest::new(dir, Role::DeviceCa, *stage), day(1)).unwrap();
    }
}

/// The device CAs: number, stage, and the number of the list.
fn device_cas(dir: &Path) -> Vec<(u32, AuthorityStage, u64)> {
    let authorities = ca_status(dir, day(2)).unwrap().authorities.into_iter();
    let device_cas = authorities.filter(|it| it.role == Role::DeviceCa);
    device_cas
        .map(|it| (it.number, it.stage, it.list.unwrap().number))
        .collect()
}

#[test]
fn every_device_ca_of_a_backup_comes_back_with_its_list() {
    let (temp, [dir, _, other]) = world();
    rotate(&dir, &RotationStage::ALL[..3]);
    issue(&dir, "dev-1", None).unwrap();
    revoke(&dir, "dev-2", day(1)).unwrap();
    let file = temp.path().join("later.age");
    let made = backup(&dir, &file);
    for name in [
        "ca/device-ca-2.key.pem",
        "ca/device-ca-2.pem",
        "ca/device-ca-2.crl",
    ] {
        assert!(
            made.files.iter().any(|it| it == name),
            "{name}: {:?}",
            made.files
        );
    }
    restore(&file, &other).unwrap();
    assert_eq!(findings(&other), []);
    assert_eq!(device_cas(&other), device_cas(&dir));
    let revoked = revoke(&other, "dev-1", day(2)).unwrap().list;
    assert_eq!((revoked.device_ca, revoked.others[0].entries), (2, 2));
}

#[test]
fn a_rotation_survives_the_restore_of_a_backup_from_before_it() {
    let (_temp, [dir, file, _]) = world();
    rotate(&dir, &RotationStage::ALL[..3]);
    issue(&dir, "dev-1", None).unwrap();
    revoke(&dir, "dev-2", day(1)).unwrap();
    let before = device_cas(&dir);
    // What the directory knows besides is merged, what it lost is brought back.
    for damage in [false, true] {
        if damage {
            fs::write(Layout::new(&dir).device_cas_pem(), "lost").unwrap();
        }
        restore(&file, &dir).unwrap();
        assert_eq!(findings(&dir), []);
        assert_eq!(device_cas(&dir), before, "{damage}");
    }
    assert_eq!(state(&dir, "dev-2"), DeviceState::Revoked);
    assert_eq!(
        device_list(&dir, &crate::Filter::default(), day(2))
            .unwrap()
            .len(),
        3
    );
    assert!(is_listed_by_any(&dir, "dev-2"));
}

fn is_listed_by_any(dir: &Path, id: &str) -> bool {
    let list = crl_show(dir, day(2)).unwrap();
    let others = list.others.iter().flat_map(|it| &it.entries);
    let mut all = list.entries.iter().chain(others);
    all.any(|it| it.holder.as_deref() == Some(id))
}

/// Two that went their own ways in the middle of a rotation: neither takes the other back a stage.
#[test]
fn a_stage_only_goes_on_when_a_backup_is_merged() {
    let (temp, [dir, _, other]) = world();
    rotate(&dir, &RotationStage::ALL[..2]);
    let [middle, later] = ["middle.age", "later.age"].map(|name| temp.path().join(name));
    backup(&dir, &middle);
    restore(&middle, &other).unwrap();
    issue(&other, "dev-9", None).unwrap();
    backup(&other, &later);
    rotate(&dir, &[RotationStage::Switch]);
    let restored = restore(&later, &dir).unwrap().into;
    assert!(
        matches!(restored, RestoredInto::Merged { .. }),
        "{restored:?}"
    );
    let stages: Vec<_> = device_cas(&dir).iter().map(|it| (it.0, it.1)).collect();
    assert_eq!(
        stages,
        [(2, AuthorityStage::Active), (1, AuthorityStage::Older)]
    );
    assert_eq!(findings(&dir), []);
    issue(&dir, "dev-1", None).unwrap();
    assert_eq!(state(&dir, "dev-9"), DeviceState::Active);
}
