//! Batches that are refused before anything is done.

use super::*;

#[test]
fn every_row_in_the_way_is_named_before_anything_is_done() {
    let world = World::new("device_id\nnew\nHas\nhas-it\nrevoked\ngone\nthere\napp-1\n");
    let ca = &world.ca();
    for id in ["HAS", "has-it", "revoked", "gone"] {
        issue(ca, id, None).unwrap();
    }
    for id in ["revoked", "gone"] {
        revoke(ca, id, day(0)).unwrap();
    }
    device_remove(ca, &Subject::parse("gone").unwrap(), day(0)).unwrap();
    let id = &DeviceId::parse("app-1").unwrap();
    let (dir, csr, again) = (ca, None, false);
    crate::app_issue(
        &crate::IssueRequest {
            passphrase: None,
            dir,
            id,
            csr,
            algorithm: crate::Algorithm::default(),
            again,
        },
        day(0),
    )
    .unwrap();
    let certificates = world.count("certificate");

    let list = &world.path("list");
    let checked = batch_check(ca, list, day(0)).unwrap_err();
    let refused = world.issue("lot-1", BatchFormat::Dir).unwrap_err();
    assert_eq!(mistakes(&checked), mistakes(&refused));
    assert_eq!(refused.exit_class(), ExitClass::Usage);
    let found = mistakes(&refused);
    for (found, words) in found.iter().zip([
        "line 3, column device_id: Has is taken by HAS",
        "line 4, column device_id: has-it has the certificate ",
        "line 5, column device_id: revoked was revoked ",
        "line 6, column device_id: gone was revoked ",
        "line 8, column device_id: app-1 is taken by app/app-1",
    ]) {
        assert!(found.starts_with(words), "{found}");
    }
    assert_eq!(found.len(), 5);
    assert!(!world.path("out").exists());
    assert_eq!(
        (world.count("certificate"), world.count("batch")),
        (certificates, 0)
    );
}

#[test]
fn a_list_that_is_missing_or_endless_is_refused() {
    let world = World::new("");
    let check = |file: &Path| batch_check(&world.ca(), file, day(0)).unwrap_err();
    assert_eq!(check(&world.path("none")).exit_class(), ExitClass::NotFound);
    let large = fs::File::create(world.path("large")).unwrap();
    large.set_len(1 << 40).unwrap();
    let refused = check(&world.path("large"));
    assert!(
        matches!(refused, CommandError::TooLarge { .. }),
        "{refused}"
    );
}

#[test]
fn nothing_that_is_there_is_replaced() {
    let world = World::new(list(3));
    fs::create_dir_all(world.path("out/SENSOR-2")).unwrap();
    fs::set_permissions(world.path("out"), PermissionsExt::from_mode(0o700)).unwrap();
    let refused = world.issue("lot-1", BatchFormat::Dir).unwrap_err();
    let found = mistakes(&refused);
    assert_eq!(found.len(), 1);
    assert!(
        found[0].contains("out/sensor-2 is there already"),
        "{found:?}"
    );
    fs::remove_dir_all(world.path("out")).unwrap();
    for name in ["out", "out.part"] {
        fs::write(world.path(name), "theirs").unwrap();
        let refused = world.issue("lot-1", BatchFormat::Jsonl).unwrap_err();
        assert!(
            matches!(refused, CommandError::OutputExists(_)),
            "{refused}"
        );
        assert_eq!(fs::read(world.path(name)).unwrap(), b"theirs");
        fs::remove_file(world.path(name)).unwrap();
    }
    assert_eq!((world.count("batch"), world.active()), (0, 0));
}

#[test]
fn an_output_that_leads_elsewhere_or_is_open_to_others_is_refused() {
    let world = World::new(list(3));
    let outside = world.path("outside");
    fs::create_dir(&outside).unwrap();
    for format in [BatchFormat::Dir, BatchFormat::Jsonl] {
        symlink(&outside, world.path("out")).unwrap();
        let refused = world.issue("lot-1", format).unwrap_err();
        assert!(
            matches!(refused, CommandError::SymbolicLink(_)),
            "{refused}"
        );
        fs::remove_file(world.path("out")).unwrap();
    }
    fs::create_dir(world.path("out")).unwrap();
    fs::set_permissions(world.path("out"), PermissionsExt::from_mode(0o777)).unwrap();
    let refused = world.issue("lot-1", BatchFormat::Dir).unwrap_err();
    assert!(matches!(refused, CommandError::Exposed { .. }), "{refused}");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    assert_eq!((world.count("batch"), world.active()), (0, 0));
}
