//! A directory that is well is found so; whatever is done to it is found, and nothing else.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};

use rusqlite::Connection;

use super::*;
use crate::testing::{day, issue, up};
use crate::{PublishRequest, RenewRequest, crl_publish, device_renew};

const SOON: Duration = Duration::from_hours(14 * 24);

/// What is not well in a development directory, whose keys are not encrypted.
fn unwell(dir: &Path, now: UnixTime) -> Vec<Check> {
    let mut checks = ca_doctor(dir, SOON, now).unwrap().checks;
    checks.retain(|it| it.verdict != Verdict::Ok && it.name != "keys");
    checks
}

fn world() -> tempfile::TempDir {
    let temp = tempfile::tempdir().unwrap();
    up(temp.path(), 2, day(0)).unwrap();
    publish(temp.path());
    temp
}

fn publish(dir: &Path) {
    let request = PublishRequest {
        dir,
        passphrase: None,
        days: None,
        force: true,
    };
    crl_publish(&request, day(0)).unwrap();
}

#[test]
fn a_directory_that_is_well_is_found_to_be_so() {
    let temp = world();
    assert_eq!(unwell(temp.path(), day(0)), []);
    let all = ca_doctor(temp.path(), SOON, day(0)).unwrap();
    assert_eq!(all.checks.len(), 13);
    let (id, number) = all.newest_list.unwrap();
    assert!(id.as_str().ends_with("/all"), "{id:?}");
    assert_eq!(number.to_u64(), Some(1));
}

/// What is found, how it is, what mends it, and what does it.
type Harm = (&'static str, Verdict, &'static str, fn(&Layout));

const HARMS: &[Harm] = &[
    ("permissions", Verdict::Bad, "chmod 600 ", |layout| {
        chmod(&layout.registry(), 0o640);
    }),
    ("permissions", Verdict::Bad, "chmod 600 ", |layout| {
        chmod(&layout.dir().join("devices/dev-1/key.pem"), 0o604);
    }),
    ("permissions", Verdict::Bad, "chmod 700 ", |layout| {
        chmod(&layout.dir().join("devices"), 0o777);
    }),
    (
        "symbolic links",
        Verdict::Bad,
        "cp --remove-destination ",
        |layout| {
            let path = layout.dir().join("devices/dev-1/notes");
            symlink("/nowhere", path).unwrap();
        },
    ),
    ("temporary files", Verdict::Warn, "rm -r -- ", |layout| {
        fs::create_dir(layout.dir().join("devices/.dev-1.new")).unwrap();
    }),
    (
        "revocation list",
        Verdict::Bad,
        "countersign crl publish",
        |layout| {
            fs::remove_file(layout.broker_crl()).unwrap();
        },
    ),
    (
        "revocation list",
        Verdict::Bad,
        "countersign crl publish",
        |layout| {
            let old = fs::read(layout.device_ca_crl()).unwrap();
            publish(layout.dir());
            for path in [layout.device_ca_crl(), layout.broker_crl()] {
                fs::write(path, &old).unwrap();
            }
        },
    ),
    (
        "revocation list",
        Verdict::Bad,
        "countersign crl publish",
        |layout| {
            for path in [layout.device_ca_crl(), layout.broker_crl()] {
                fs::remove_file(path).unwrap();
            }
        },
    ),
    (
        "registry",
        Verdict::Bad,
        "countersign ca restore",
        |layout| {
            change(
                layout,
                "UPDATE certificate SET issuer = x'77' WHERE name = 'dev-1'",
            );
        },
    ),
    (
        "registry",
        Verdict::Bad,
        "countersign ca verify",
        |layout| {
            change(layout, "DELETE FROM certificate WHERE name = 'dev-1'");
        },
    ),
    (
        "audit chain",
        Verdict::Bad,
        "countersign ca audit show",
        |layout| {
            change(
                layout,
                "DROP TRIGGER audit_no_update; UPDATE audit SET words = 'x' WHERE number = 2",
            );
        },
    ),
];

#[test]
fn each_harm_is_found_with_what_mends_it_and_nothing_else_is() {
    for (place, (name, verdict, mend, harm)) in HARMS.iter().enumerate() {
        let temp = world();
        harm(&Layout::new(temp.path()));
        let found = unwell(temp.path(), day(0));
        let [check] = &*found else {
            panic!("case {place}: {found:?}");
        };
        assert_eq!(
            (check.name, check.verdict),
            (*name, *verdict),
            "case {place}: {}",
            check.why
        );
        let said = check.mend.as_deref().unwrap_or_default();
        assert!(said.starts_with(mend), "case {place}: {said}");
    }
}

#[test]
fn a_key_that_others_read_does_not_hide_the_rest() {
    let temp = world();
    let layout = Layout::new(temp.path());
    chmod(&layout.ca_dir().join("device-ca.key.pem"), 0o644);
    fs::write(layout.dir().join("ca.pem.new"), "").unwrap();
    let all = ca_doctor(temp.path(), SOON, day(0)).unwrap().checks;
    let bad: Vec<_> = all
        .iter()
        .filter(|it| it.verdict != Verdict::Ok)
        .map(|it| it.name)
        .collect();
    assert_eq!(bad, ["permissions", "temporary files", "keys"]);
    chmod(&layout.ca_dir(), 0o777);
    let all = ca_doctor(temp.path(), SOON, day(0)).unwrap().checks;
    let last = all.last().unwrap();
    assert_eq!((last.name, last.verdict), ("authorities", Verdict::Bad));
}

#[test]
fn as_time_goes_by_what_ends_is_named_before_and_after() {
    let temp = world();
    let at = |days| {
        let found = unwell(temp.path(), day(days));
        found
            .iter()
            .map(|it| (it.name, it.verdict))
            .collect::<Vec<_>>()
    };
    let list = |verdict| ("revocation list", verdict);
    assert_eq!(at(4), [list(Verdict::Warn)]);
    assert_eq!(at(7), [list(Verdict::Warn)]);
    assert_eq!(at(8), [list(Verdict::Bad)]);
    let broker = |verdict| ("broker certificate", verdict);
    assert_eq!(at(80), [broker(Verdict::Warn), list(Verdict::Bad)]);
    assert_eq!(at(91), [broker(Verdict::Bad), list(Verdict::Bad)]);
    let peers = [
        broker(Verdict::Bad),
        ("device certificates", Verdict::Warn),
        ("application certificates", Verdict::Warn),
        list(Verdict::Bad),
    ];
    assert_eq!(at(360), peers);
    let authorities = at(2_500);
    assert_eq!(authorities[0], ("authorities", Verdict::Warn));
    assert_eq!(at(3_700)[0], ("authorities", Verdict::Bad));
}

#[test]
fn a_clock_that_is_behind_what_was_done_is_wrong() {
    let temp = world();
    issue(temp.path(), "dev-1", None).unwrap();
    let request = RenewRequest {
        dir: temp.path(),
        passphrase: None,
        id: &certs::DeviceId::parse("dev-1").unwrap(),
        csr: None,
        out: None,
    };
    device_renew(&request, day(3)).unwrap();
    let found = unwell(temp.path(), day(2));
    let clock = found.iter().find(|it| it.name == "clock").unwrap();
    assert_eq!(clock.verdict, Verdict::Bad);
    assert!(
        clock.why.contains("something was done here"),
        "{}",
        clock.why
    );
}

#[test]
fn a_path_is_quoted_as_a_shell_takes_it() {
    for (path, expected) in [
        ("/srv/ca", "/srv/ca"),
        ("/srv/my ca", "'/srv/my ca'"),
        ("it's", "'it'\\''s'"),
        ("$(x)", "'$(x)'"),
    ] {
        assert_eq!(quoted(Path::new(path)), expected);
    }
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn change(layout: &Layout, sql: &str) {
    let connection = Connection::open(layout.registry()).unwrap();
    connection
        .pragma_update(None, "foreign_keys", false)
        .unwrap();
    connection.execute_batch(sql).unwrap();
}
