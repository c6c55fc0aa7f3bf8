//! Devices as a table, as CSV and as JSON.

use crate::failure::{FAILED, Failure};
use crate::operate::broker_admin::table::{plain, table};
use certs::TimeText;
use provisioning::{Device, DeviceCertificate, DeviceShown};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt::Write as _;

const HEADER: [&str; 6] = ["DEVICE", "STATE", "EXPIRES", "GROUPS", "TAGS", "ATTRIBUTES"];

/// The columns of the CSV before those of the attributes.
const COLUMNS: [&str; 6] = [
    "device_id",
    "state",
    "serial",
    "not_after",
    "groups",
    "tags",
];

pub(super) fn words(devices: &[Device]) -> String {
    let rows = devices.iter().map(|device| {
        let attributes = device.labels.attributes.iter();
        let attributes = attributes.map(|(name, value)| format!("{name}={value}"));
        [
            device.subject.to_string(),
            device.state.to_string(),
            expires(device),
            joined(&device.labels.groups, ","),
            joined(&device.labels.tags, ","),
            attributes.collect::<Vec<_>>().join(" "),
        ]
    });
    table(HEADER, rows.collect())
}

/// A row for each device, with a column for each attribute that one of them has.
pub(super) fn csv(devices: &[Device]) -> Result<String, Failure> {
    let names = devices.iter().flat_map(|d| d.labels.attributes.keys());
    let names: BTreeSet<&str> = names.map(AsRef::as_ref).collect();
    let header = COLUMNS.map(str::to_owned).into_iter();
    // None of ours is called so, whatever an attribute is called.
    let header = header.chain(names.iter().map(|name| format!("attribute.{name}")));
    let mut writer = csv::Writer::from_writer(Vec::new());
    let write = |writer: &mut csv::Writer<Vec<u8>>| {
        writer.write_record(header)?;
        for device in devices {
            let attributes = &device.labels.attributes;
            let values = names.iter().map(|name| attributes.get(*name));
            let values = values.map(|value| value.map(ToString::to_string));
            writer.write_record(
                fixed(device)
                    .into_iter()
                    .chain(values.map(Option::unwrap_or_default)),
            )?;
        }
        writer.flush()?;
        Ok::<_, csv::Error>(())
    };
    write(&mut writer).map_err(|error| Failure::from_error(FAILED, &error))?;
    let octets = writer.into_inner().unwrap_or_default();
    Ok(String::from_utf8(octets).unwrap_or_default())
}

fn fixed(device: &Device) -> [String; 6] {
    let serial = device
        .certificate
        .map(|certificate| certificate.serial.to_string());
    [
        device.subject.to_string(),
        device.state.to_string(),
        serial.unwrap_or_default(),
        expires(device),
        joined(&device.labels.groups, " "),
        joined(&device.labels.tags, " "),
    ]
}

pub(super) fn json(device: &Device) -> Value {
    let revoked = device
        .revoked
        .map(|revoked| json!({ "at": revoked.at.as_secs(), "reason": revoked.reason }));
    json!({
        "device": device.subject,
        "state": device.state.as_str(),
        "added": device.added.as_secs(),
        "serial": device.certificate.map(|certificate| certificate.serial),
        "not_after": device.certificate.map(|certificate| certificate.not_after.as_secs()),
        "device_ca": device.certificate.map(|certificate| certificate.device_ca),
        "revoked": revoked,
        "attributes": &device.labels.attributes,
        "groups": &device.labels.groups,
        "tags": &device.labels.tags,
    })
}

pub(super) fn shown(shown: &DeviceShown) -> String {
    let device = &shown.device;
    let mut text = format!(
        "{}: {}, on record since {}\n",
        device.subject,
        device.state,
        TimeText(device.added)
    );
    // Writing to a string does not fail.
    if let Some(revoked) = device.revoked {
        let _ = writeln!(text, "last revoked {revoked}");
    }
    for (name, value) in &device.labels.attributes {
        let _ = writeln!(text, "{name} = {}", plain(value));
    }
    for (what, names) in [
        ("groups", &device.labels.groups),
        ("tags", &device.labels.tags),
    ] {
        if !names.is_empty() {
            let _ = writeln!(text, "{what}: {}", joined(names, ", "));
        }
    }
    let rows = shown.certificates.iter().map(|given: &DeviceCertificate| {
        [
            given.certificate.serial.to_string(),
            given.status.to_string(),
            TimeText(given.certificate.not_before).to_string(),
            TimeText(given.certificate.not_after).to_string(),
        ]
    });
    let rows: Vec<_> = rows.collect();
    if !rows.is_empty() {
        text.push_str(&table(["CERTIFICATE", "STATUS", "FROM", "UNTIL"], rows));
    }
    text
}

pub(super) fn shown_json(shown: &DeviceShown) -> Value {
    let certificates = shown.certificates.iter().map(|given| {
        json!({
            "serial": given.certificate.serial,
            "status": given.status.name(),
            "reason": given.status.reason(),
            "not_before": given.certificate.not_before.as_secs(),
            "not_after": given.certificate.not_after.as_secs(),
        })
    });
    let mut device = json(&shown.device);
    if let Value::Object(members) = &mut device {
        members.insert("certificates".to_owned(), certificates.collect());
    }
    device
}

fn expires(device: &Device) -> String {
    let certificate = device.certificate.as_ref();
    let end = certificate.map(|certificate| TimeText(certificate.not_after).to_string());
    end.unwrap_or_default()
}

fn joined(names: &BTreeSet<Box<str>>, between: &str) -> String {
    let names: Vec<_> = names.iter().map(AsRef::as_ref).collect();
    names.join(between)
}

#[cfg(test)]
mod tests {
    use super::*;
    use certs::Subject;
    use provisioning::{AddRequest, Filter, InitRequest, Labels, ca_init, device_add, device_list};
    use rustls_pki_types::UnixTime;

    fn devices() -> Vec<Device> {
        let temp = tempfile::tempdir().unwrap();
        let (dir, now) = (
            temp.path(),
            UnixTime::since_unix_epoch(std::time::Duration::from_hours(500_000)),
        );
        ca_init(&InitRequest::new(dir), now).unwrap();
        for (id, name, value) in [("a", "site", "Zürich, \"Nord\""), ("b", "state", "x")] {
            let labels = &Labels {
                attributes: [(name.into(), value.into())].into(),
                groups: ["g1".into(), "g2".into()].into(),
                ..Labels::default()
            };
            let subject = &Subject::parse(id).unwrap();
            device_add(
                &AddRequest {
                    dir,
                    subject,
                    labels,
                },
                now,
            )
            .unwrap();
        }
        device_list(dir, &Filter::default(), now).unwrap()
    }

    #[test]
    fn csv_is_read_as_it_was_meant() {
        let text = csv(&devices()).unwrap();
        let expected = "\
device_id,state,serial,not_after,groups,tags,attribute.site,attribute.state\n\
                        a,new,,,g1 g2,,\"Zürich, \"\"Nord\"\"\",\n\
                        b,new,,,g1 g2,,,x\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_table_is_for_people_and_json_for_programs() {
        let devices = devices();
        let text = words(&devices);
        let second = text.lines().nth(1).unwrap();
        assert!(second.starts_with("a       new    "), "{text}");
        assert!(
            second.ends_with("g1,g2         site=Zürich, \"Nord\""),
            "{text}"
        );
        let json = json(&devices[1]);
        assert_eq!(
            (&json["device"], &json["state"]),
            (&json!("b"), &json!("new"))
        );
        assert_eq!(json["attributes"], json!({ "state": "x" }));
        assert_eq!(json["groups"], json!(["g1", "g2"]));
    }
}
