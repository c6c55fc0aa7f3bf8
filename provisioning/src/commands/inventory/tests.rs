//! The inventory: who is in it, what is said of them, and who may leave it.

use std::path::Path;
use std::time::Duration;

use certs::{RevocationReason, Status, Subject};
use rustls_pki_types::UnixTime;
use tempfile::TempDir;

use super::*;
use crate::registry::{Device, DeviceState, LabelChange, Labels};
use crate::testing::{day, issue, up};
use crate::{
    CommandError, ExitClass, ExportRequest, InitRequest, RevokeRequest, ca_init, device_revoke,
    registry_export,
};

fn world() -> TempDir {
    let temp = tempfile::tempdir().unwrap();
    ca_init(&InitRequest::new(temp.path()), day(0)).unwrap();
    temp
}

fn labels(attributes: &[(&str, &str)], groups: &[&str], tags: &[&str]) -> Labels {
    Labels {
        attributes: attributes
            .iter()
            .map(|(n, v)| ((*n).into(), (*v).into()))
            .collect(),
        groups: groups.iter().map(|name| (*name).into()).collect(),
        tags: tags.iter().map(|name| (*name).into()).collect(),
    }
}

fn subject(id: &str) -> Subject {
    Subject::parse(id).unwrap()
}

fn add(dir: &Path, id: &str, labels: &Labels) -> Result<bool, CommandError> {
    let subject = &subject(id);
    let request = AddRequest {
        dir,
        subject,
        labels,
    };
    device_add(&request, day(0)).map(|done| done.added)
}

fn label(dir: &Path, id: &str, change: &LabelChange) -> Result<Device, CommandError> {
    let subject = &subject(id);
    let request = LabelRequest {
        dir,
        subject,
        change,
    };
    device_label(&request, day(0))
}

fn revoke(dir: &Path, id: &str, now: UnixTime) {
    let (subject, reason) = (&subject(id), RevocationReason::KeyCompromise);
    let request = RevokeRequest {
        passphrase: None,
        dir,
        subject,
        reason,
    };
    device_revoke(&request, now).unwrap();
}

fn listed(dir: &Path, filter: &Filter, now: UnixTime) -> Vec<String> {
    let devices = device_list(dir, filter, now).unwrap();
    let line = |device: &Device| format!("{} {}", device.subject, device.state);
    devices.iter().map(line).collect()
}

#[test]
fn a_device_is_added_once_and_keeps_what_is_said_of_it() {
    let temp = world();
    let said = labels(&[("site", "Bern")], &["pumps"], &["spare"]);
    assert!(add(temp.path(), "dev-1", &said).unwrap());
    assert!(!add(temp.path(), "dev-1", &Labels::default()).unwrap());
    let shown = device_show(temp.path(), &subject("dev-1"), day(0)).unwrap();
    assert_eq!(
        (shown.device.labels, shown.device.state),
        (said, DeviceState::New)
    );
    assert_eq!((shown.device.added, shown.certificates), (day(0), vec![]));
}

#[test]
fn an_id_is_one_devices_in_whatever_case_and_of_whatever_kind() {
    let temp = world();
    add(temp.path(), "dev-1", &Labels::default()).unwrap();
    for id in ["DEV-1", "app/dev-1"] {
        let refused = add(temp.path(), id, &Labels::default()).unwrap_err();
        assert_eq!(refused.exit_class(), ExitClass::Refused, "{refused}");
        let missing = device_show(temp.path(), &subject(id), day(0)).unwrap_err();
        assert_eq!(missing.exit_class(), ExitClass::NotFound, "{missing}");
    }
    assert_eq!(
        listed(temp.path(), &Filter::default(), day(0)),
        ["dev-1 new"]
    );
}

#[test]
fn labels_are_set_and_taken_away_in_one_step() {
    let temp = world();
    let before = labels(&[("site", "Bern"), ("hw", "2")], &["pumps", "test"], &["a"]);
    add(temp.path(), "dev-1", &before).unwrap();
    let change = LabelChange {
        set: labels(&[("site", "Basel")], &["valves"], &[]),
        without_attributes: ["hw".into()].into(),
        without_groups: ["test".into(), "never".into()].into(),
        without_tags: ["a".into()].into(),
    };
    let after = label(temp.path(), "dev-1", &change).unwrap().labels;
    assert_eq!(
        after,
        labels(&[("site", "Basel")], &["pumps", "valves"], &[])
    );
    let missing = label(temp.path(), "dev-2", &change).unwrap_err();
    assert_eq!(missing.exit_class(), ExitClass::NotFound);
}

#[test]
fn what_could_not_be_exported_is_never_recorded() {
    let temp = world();
    add(temp.path(), "dev-1", &Labels::default()).unwrap();
    issue(temp.path(), "dev-1", None).unwrap();
    let names: Vec<String> = (0..65).map(|n| format!("n{n}")).collect();
    let many: Vec<_> = names.iter().map(|name| (name.as_str(), "x")).collect();
    let groups: Vec<_> = names.iter().map(String::as_str).collect();
    for hostile in [
        labels(&[("../x", "y")], &[], &[]),
        labels(&[("x", "a\nb")], &[], &[]),
        labels(&[("x", &"y".repeat(257))], &[], &[]),
        labels(&[], &["a b"], &[]),
        labels(&[], &[], &["\u{202e}"]),
        labels(&many, &[], &[]),
        labels(&[], &groups, &[]),
    ] {
        let change = LabelChange {
            set: hostile,
            ..LabelChange::default()
        };
        let refused = label(temp.path(), "dev-1", &change).unwrap_err();
        assert_eq!(refused.exit_class(), ExitClass::Usage, "{refused}");
    }
    let dir = temp.path();
    registry_export(
        &ExportRequest {
            passphrase: None,
            dir,
            days: None,
        },
        day(0),
    )
    .unwrap();
    let shown = device_show(dir, &subject("dev-1"), day(0)).unwrap();
    assert_eq!(shown.device.labels, Labels::default());
}

#[test]
fn a_list_is_filtered_by_how_devices_stand_and_by_what_is_said_of_them() {
    let temp = world();
    let dir = temp.path();
    add(dir, "new", &labels(&[("site", "Bern")], &["pumps"], &[])).unwrap();
    for id in ["active", "revoked", "again"] {
        issue(dir, id, None).unwrap();
    }
    add(dir, "active", &labels(&[], &["pumps"], &["lab"])).unwrap();
    revoke(dir, "revoked", day(1));
    let active = device_show(dir, &subject("active"), day(1)).unwrap();
    let end = active.device.certificate.unwrap().not_after.as_secs();
    let before_end = UnixTime::since_unix_epoch(Duration::from_secs(end - 10));
    let after_end = UnixTime::since_unix_epoch(Duration::from_secs(end + 1));

    let state = |state| Filter {
        state: Some(state),
        ..Filter::default()
    };
    let expiring = |seconds| Filter {
        expiring: Some(Duration::from_secs(seconds)),
        ..Filter::default()
    };
    let groups = |names: &[&str]| Filter {
        groups: names.iter().map(|name| (*name).into()).collect(),
        ..Filter::default()
    };
    let tags = Filter {
        tags: vec!["lab".into()],
        ..Filter::default()
    };
    let attributes = |value: &str| Filter {
        attributes: vec![("site".into(), value.into())],
        ..Filter::default()
    };
    let all: &[&str] = &[
        "active active",
        "again active",
        "new new",
        "revoked revoked",
    ];
    let lapsed: &[&str] = &["active expired", "again expired"];
    let soon: &[&str] = &["active active", "again active"];
    for (filter, now, expected) in [
        (Filter::default(), day(1), all),
        (state(DeviceState::Revoked), day(1), &["revoked revoked"]),
        (state(DeviceState::New), day(1), &["new new"]),
        (state(DeviceState::Expired), after_end, lapsed),
        (state(DeviceState::Expired), before_end, &[]),
        (expiring(10), before_end, soon),
        (expiring(9), before_end, &[]),
        (expiring(u64::MAX), after_end, &[]),
        (groups(&["pumps"]), day(1), &["active active", "new new"]),
        (groups(&["pumps", "none"]), day(1), &[]),
        (tags, day(1), &["active active"]),
        (attributes("Bern"), day(1), &["new new"]),
        (attributes("Basel"), day(1), &[]),
    ] {
        assert_eq!(listed(dir, &filter, now), expected, "{filter:?}");
    }
}

#[test]
fn a_device_that_holds_a_certificate_is_not_removed() {
    let temp = world();
    let dir = temp.path();
    issue(dir, "dev-1", None).unwrap();
    add(
        dir,
        "dev-1",
        &labels(&[("site", "Bern")], &["pumps"], &["a"]),
    )
    .unwrap();
    let refused = device_remove(dir, &subject("dev-1"), day(0)).unwrap_err();
    assert_eq!(refused.exit_class(), ExitClass::Refused, "{refused}");
    revoke(dir, "dev-1", day(1));
    device_remove(dir, &subject("dev-1"), day(1)).unwrap();
    assert_eq!(listed(dir, &Filter::default(), day(1)), [""; 0]);
    let removed = Filter {
        state: Some(DeviceState::Removed),
        ..Filter::default()
    };
    assert_eq!(listed(dir, &removed, day(1)), ["dev-1 removed"]);
    let again = device_remove(dir, &subject("dev-1"), day(1)).unwrap_err();
    assert_eq!(again.exit_class(), ExitClass::NotFound, "{again}");
}

#[test]
fn a_device_removed_keeps_its_record_and_comes_back_without_what_was_said() {
    let temp = world();
    let dir = temp.path();
    issue(dir, "dev-1", None).unwrap();
    add(dir, "dev-1", &labels(&[("site", "Bern")], &[], &[])).unwrap();
    revoke(dir, "dev-1", day(1));
    device_remove(dir, &subject("dev-1"), day(1)).unwrap();
    let refused = issue(dir, "dev-1", None).unwrap_err();
    assert!(matches!(refused, CommandError::Revoked { .. }), "{refused}");
    assert!(add(dir, "dev-1", &Labels::default()).unwrap());
    let shown = device_show(dir, &subject("dev-1"), day(1)).unwrap();
    assert_eq!(shown.device.state, DeviceState::Revoked);
    assert_eq!(shown.device.labels, Labels::default());
    let reason = RevocationReason::KeyCompromise;
    assert_eq!(shown.certificates[0].status, Status::Revoked(reason));
}

#[test]
fn applications_stand_beside_devices() {
    let temp = tempfile::tempdir().unwrap();
    up(temp.path(), 1, day(0)).unwrap();
    let all = listed(temp.path(), &Filter::default(), day(0));
    assert_eq!(all, ["app/app-1 active", "dev-1 active"]);
}

#[test]
fn where_there_is_no_authority_there_is_no_inventory() {
    let temp = tempfile::tempdir().unwrap();
    let missing = device_list(temp.path(), &Filter::default(), day(0)).unwrap_err();
    assert_eq!(missing.exit_class(), ExitClass::NotFound);
    assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 0);
}
