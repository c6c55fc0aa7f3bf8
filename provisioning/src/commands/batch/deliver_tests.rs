//! What of a batch is handed out, and that it is so once.

use std::fs;
use std::io::{BufReader, Read};
use std::path::Path;

use certs::{DeviceId, Subject};

use super::tests::{World, list};
use super::*;
use crate::age::{DecryptWith, Identity, Recipient, decrypt};
use crate::registry::{BatchFormat, Event};
use crate::testing::{day, issue, mode, revoke};
use crate::{CommandError, ExitClass, SuspendRequest, audit_show, ca_verify, device_suspend};

const RECIPIENT: &str = "age1lfeyj6zs2dhjc5c0crqpatjxv3phxswx44fq5ae9c0aaxcv5m3tsxtj7el";
const IDENTITY: &str = "AGE-SECRET-KEY-1GNSTY0CC68R8WHRR7NLMAA0RUCCNSVRKSRTNP2ZCVV5WT24RQRYQW27PTJ";

fn ids(ids: &[&str]) -> Vec<DeviceId> {
    ids.iter().map(|id| DeviceId::parse(id).unwrap()).collect()
}

struct Asked<'a> {
    to: &'a str,
    devices: &'a [DeviceId],
    out: Option<&'a Path>,
    again: bool,
}

impl Asked<'_> {
    const ALL: Asked<'static> = Asked {
        to: "Acme, line 2",
        devices: &[],
        out: None,
        again: false,
    };
}

fn deliver(world: &World, asked: &Asked<'_>) -> Result<BatchDelivered, CommandError> {
    let recipients = [RECIPIENT.parse::<Recipient>().unwrap()];
    let request = DeliverRequest {
        dir: &world.ca(),
        name: &DeviceId::parse("lot-1").unwrap(),
        to: asked.to,
        devices: asked.devices,
        package: asked.out.map(|out| Package {
            out,
            recipients: &recipients,
        }),
        again: asked.again,
    };
    batch_deliver(&request, day(1))
}

fn delivered(world: &World) -> u32 {
    let found = batch_status(&world.ca(), None).unwrap();
    found[0].standing.delivered
}

#[test]
fn what_was_handed_out_is_on_record_and_is_not_handed_out_twice_by_mistake() {
    let world = World::new(list(3));
    world.issue("lot-1", BatchFormat::Dir).unwrap();
    let first = deliver(
        &world,
        &Asked {
            devices: &ids(&["sensor-2"]),
            ..Asked::ALL
        },
    );
    let first = first.unwrap();
    assert_eq!((first.devices, delivered(&world)), (ids(&["sensor-2"]), 1));
    let told = audit_show(&world.ca(), 1).unwrap().remove(0);
    assert_eq!((told.event, &*told.subject), (Event::Delivered, "sensor-2"));
    assert!(
        told.words.ends_with("of the batch lot-1, to Acme, line 2"),
        "{}",
        told.words
    );

    let refused = deliver(&world, &Asked::ALL).unwrap_err();
    assert_eq!(refused.exit_class(), ExitClass::Refused);
    let words = refused.to_string();
    assert!(
        words.contains("sensor-2 was handed out to Acme, line 2 at 2027-"),
        "{words}"
    );
    assert_eq!(delivered(&world), 1);
    let rest = deliver(
        &world,
        &Asked {
            devices: &ids(&["sensor-1", "sensor-3"]),
            to: "Bolt",
            ..Asked::ALL
        },
    );
    assert_eq!((rest.unwrap().devices.len(), delivered(&world)), (2, 3));
    let again = Asked {
        again: true,
        ..Asked::ALL
    };
    assert_eq!(deliver(&world, &again).unwrap().devices.len(), 3);
    assert_eq!((world.count("delivery"), delivered(&world)), (6, 3));
    assert_eq!(ca_verify(&world.ca(), day(1)).unwrap().findings, []);
}

#[test]
fn who_has_another_certificate_or_none_that_counts_is_left_out() {
    let world = World::new(list(4));
    world.issue("lot-1", BatchFormat::Dir).unwrap();
    issue(&world.ca(), "sensor-1", None).unwrap();
    revoke(&world.ca(), "sensor-2", day(1)).unwrap();
    let suspend = SuspendRequest {
        dir: &world.ca(),
        passphrase: None,
        subject: &Subject::parse("sensor-3").unwrap(),
    };
    device_suspend(&suspend, day(1)).unwrap();
    let done = deliver(&world, &Asked::ALL).unwrap();
    assert_eq!(done.devices, ids(&["sensor-4"]));
    assert_eq!(done.left_out, ids(&["sensor-1", "sensor-2", "sensor-3"]));
    assert_eq!(world.count("delivery"), 1);
}

#[test]
fn what_is_not_there_whole_is_not_handed_out() {
    for format in [BatchFormat::Dir, BatchFormat::Jsonl, BatchFormat::P12] {
        let world = World::new(list(3));
        let other = deliver(&world, &Asked::ALL).unwrap_err();
        assert_eq!(other.exit_class(), ExitClass::NotFound);
        world.issue("lot-1", format).unwrap();
        let unknown = ids(&["sensor-9"]);
        let asked = Asked {
            devices: &unknown,
            ..Asked::ALL
        };
        let unknown = deliver(&world, &asked).unwrap_err();
        assert_eq!(unknown.exit_class(), ExitClass::NotFound);
        let out = world.path("out");
        match format {
            BatchFormat::Dir => {
                fs::copy(out.join("sensor-1/key.pem"), out.join("sensor-2/key.pem")).unwrap();
            }
            BatchFormat::P12 => fs::remove_file(out.join("sensor-2.p12")).unwrap(),
            BatchFormat::Jsonl => {
                let text = fs::read_to_string(&out).unwrap();
                fs::write(&out, text.lines().next().unwrap()).unwrap();
            }
        }
        let lost = deliver(&world, &Asked::ALL).unwrap_err();
        assert!(matches!(lost, CommandError::OutputLost(_)), "{lost}");
        assert_eq!(world.count("delivery"), 0);
        world
            .registry()
            .execute("UPDATE batch SET finished = NULL", [])
            .unwrap();
        let unfinished = deliver(&world, &Asked::ALL).unwrap_err();
        assert!(
            unfinished.to_string().contains("batch resume lot-1"),
            "{unfinished}"
        );
    }
}

/// What is in a package, by name; lines are one file without a name.
fn opened(path: &Path, format: BatchFormat) -> Vec<(String, Vec<u8>)> {
    let identities = Identity::read_all(IDENTITY).unwrap();
    let file = BufReader::new(fs::File::open(path).unwrap());
    let mut plain = decrypt(file, DecryptWith::Identities(&identities)).unwrap();
    let mut octets = Vec::new();
    if format == BatchFormat::Jsonl {
        plain.read_to_end(&mut octets).unwrap();
        return vec![(String::new(), octets)];
    }
    let mut archive = tar::Archive::new(plain);
    let files = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let mut octets = Vec::new();
        entry.read_to_end(&mut octets).unwrap();
        let path = entry.path().unwrap().into_owned();
        (path.to_str().unwrap().to_owned(), octets)
    });
    files.collect()
}

#[test]
fn a_package_holds_what_is_handed_out_and_only_its_recipients_open_it() {
    for format in [BatchFormat::Dir, BatchFormat::Jsonl, BatchFormat::P12] {
        let world = World::new(list(3));
        world.issue("lot-1", format).unwrap();
        let (out, package) = (world.path("out"), world.path("lot.age"));
        let devices = ids(&["sensor-1", "sensor-3"]);
        let asked = Asked {
            devices: &devices,
            out: Some(&package),
            ..Asked::ALL
        };
        fs::write(&package, "theirs").unwrap();
        assert_eq!(
            deliver(&world, &asked).unwrap_err().exit_class(),
            ExitClass::Refused
        );
        fs::remove_file(&package).unwrap();
        assert_eq!(deliver(&world, &asked).unwrap().path, package);
        assert_eq!((mode(&package), delivered(&world)), (0o600, 2));
        let files = opened(&package, format);
        if format == BatchFormat::Jsonl {
            let text = fs::read_to_string(&out).unwrap();
            let lines: Vec<_> = text.lines().collect();
            let expected = format!("{}\n{}\n", lines[0], lines[2]);
            assert_eq!(files, [(String::new(), expected.into_bytes())]);
            continue;
        }
        for (name, octets) in &files {
            assert_eq!(*octets, fs::read(out.join(name)).unwrap(), "{name}");
        }
        let names: Vec<_> = files.iter().map(|(name, _)| &**name).collect();
        let expected: &[&str] = match format {
            BatchFormat::P12 => &["sensor-1.p12", "sensor-3.p12"],
            BatchFormat::Dir | BatchFormat::Jsonl => &[
                "sensor-1/cert.pem",
                "sensor-1/key.pem",
                "sensor-1/ca.pem",
                "sensor-3/cert.pem",
                "sensor-3/key.pem",
                "sensor-3/ca.pem",
            ],
        };
        assert_eq!(names, expected);
    }
}
