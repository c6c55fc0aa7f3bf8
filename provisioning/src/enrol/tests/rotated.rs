//! Enrolment while the authorities behind it are rotated.

use std::time::Duration;

use certs::Role;
use rustls_pki_types::UnixTime;

use super::super::desk::Desk;
use super::{new_key, token, with_token};
use crate::registry::Answer;
use crate::testing::{ago, up};
use crate::{RotateRequest, RotationStage, ca_rotate};

#[test]
fn a_desk_that_is_open_issues_by_whom_another_command_has_switched_to() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    up(dir, 0, ago(Duration::from_hours(24))).unwrap();
    let now = UnixTime::now();
    let tokens = ["dev-1", "dev-2", "dev-3", "dev-4"].map(|id| (id, token(dir, id, now)));
    let mut desk = Desk::open(dir, None, now).unwrap();
    let stages = [None]
        .into_iter()
        .chain(RotationStage::ALL.into_iter().map(Some));
    let issuers = stages.zip(&tokens).map(|(stage, (id, token))| {
        let rotate = |stage| {
            let request = RotateRequest::new(dir, Role::DeviceCa, stage);
            ca_rotate(&request, now).unwrap();
        };
        desk.step_aside(|| stage.map(rotate)).unwrap();
        assert_eq!(desk.follow(now).unwrap(), stage.is_some());
        let asked = [with_token(id, token, &new_key())];
        match desk.answer(&asked, (now, 1)).unwrap().remove(0) {
            Ok(Answer::Issued(recorded)) => recorded.certificate().issuer.clone(),
            _ => panic!("{id} is issued nothing"),
        }
    });
    let issuers: Vec<_> = issuers
        .map(|name| name[name.len() - 4..].to_owned())
        .collect();
    assert_eq!(issuers, ["CA 1", "CA 1", "CA 1", "CA 2"]);
}
