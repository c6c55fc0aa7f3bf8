//! `countersign device revoke`, `crl` and `registry`: what authorities say of devices, and telling
//! the broker that runs beside them.

use crate::failure::{FAILED, Failure};
use crate::operate::admin::{AskError, ask};
use crate::operate::broker_admin::{reasons, receipt, subject};
use crate::provision::passphrase::PassphraseArgs;
use crate::provision::suspension_commands::{broker_json, not_told, print_broker, reload_broker};
use certs::admin::{Answer, Receipt, Request, Revoke, Target};
use certs::{Freshness, RevocationReason, Subject, TimeText};
use clap::{Args, Subcommand};
use provisioning::{
    DeviceRevoked, ExportRequest, Exported, Layout, PublishRequest, Published, RevokeRequest,
    ShownList, crl_publish, crl_show, device_revoke, registry_export,
};
use rustls_pki_types::UnixTime;
use serde_json::{Value, json};
use std::path::PathBuf;

/// Whom to revoke.
#[derive(Debug, Args)]
pub(crate) struct DeviceRevokeArgs {
    /// The device id, or app/ and the id of an application.
    #[arg(value_name = "ID", value_parser = subject)]
    id: Subject,
    /// The directory of the authority.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Why (RFC 5280 §5.3.1).
    #[arg(long, value_name = "REASON", value_parser = reasons())]
    reason: RevocationReason,
    #[command(flatten)]
    passphrase: PassphraseArgs,
    /// Print one object of JSON instead of words.
    #[arg(long)]
    json: bool,
}

/// The list of revoked certificates.
#[derive(Debug, Subcommand)]
pub(crate) enum CrlCommand {
    /// Put a revocation list that is up to date where brokers find it.
    ///
    /// A new one is signed if a device was revoked, suspended or let in again since the last one,
    /// if that is past half of its life, or with --force. A broker that runs in DIR is told.
    ///
    /// Writes DIR/ca/device-ca.crl and, where DIR/broker is, DIR/broker/crl/device-ca.crl; while
    /// several device CAs are trusted, a list of each. Its number is higher than that of any list
    /// of the same device CA before. Brokers refuse new sessions some time after a
    /// list is out of date, so let it run daily.
    #[command(after_help = "Example:\n  countersign crl publish --dir certs/dev --days 7")]
    Publish(CrlPublishArgs),
    /// Say what stands in the list that was published last.
    #[command(after_help = "Example:\n  countersign crl show --dir certs/dev")]
    Show(ShowArgs),
}

/// What is known of devices.
#[derive(Debug, Subcommand)]
pub(crate) enum RegistryCommand {
    /// Sign an export of all devices that hold a certificate that counts.
    ///
    /// Writes DIR/ca/registry-export.jsonl and, where DIR/broker is,
    /// DIR/broker/registry-export.jsonl, for brokers that admit known devices only.
    #[command(after_help = "Example:\n  countersign registry export --dir certs/dev")]
    Export(PublishArgs),
}

/// Which list to publish.
#[derive(Debug, Args)]
pub(crate) struct CrlPublishArgs {
    #[command(flatten)]
    publish: PublishArgs,
    /// Sign a new list although the last one is good.
    #[arg(long)]
    force: bool,
}

/// What to sign.
#[derive(Debug, Args)]
pub(crate) struct PublishArgs {
    /// The directory of the authority.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// For how many days it is good, at most 365 [default: 7].
    #[arg(long, value_name = "DAYS")]
    days: Option<u32>,
    #[command(flatten)]
    passphrase: PassphraseArgs,
    /// Print one object of JSON instead of words.
    #[arg(long)]
    json: bool,
}

/// What to show.
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// The directory of the authority.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Print one object of JSON instead of words.
    #[arg(long)]
    json: bool,
}

pub(crate) fn revoke(args: &DeviceRevokeArgs) -> Result<(), Failure> {
    let passphrase = args.passphrase.open(&args.dir)?;
    let request = RevokeRequest {
        passphrase: passphrase.as_ref(),
        dir: &args.dir,
        subject: &args.id,
        reason: args.reason,
    };
    let revoked = device_revoke(&request, UnixTime::now())?;
    let told = tell_broker(&Layout::new(&args.dir), &revoked);
    if args.json {
        println!(
            "{}",
            revoked_json(&revoked, told.as_ref().ok().and_then(Option::as_ref))
        );
    } else {
        print_revoked(&revoked);
        match &told {
            Ok(Some(said)) => println!("broker: {}", receipt(said)),
            Ok(None) => println!(
                "no broker runs in {}: it reads the list",
                args.dir.display()
            ),
            Err(_) => {}
        }
    }
    told.map(drop).map_err(|error| {
        let words = format!(
            "{} is revoked and on the list, and the broker was not told",
            args.id
        );
        Failure::new(FAILED, words).because(&error)
    })
}

/// Tells the broker that runs beside the authority; `None` when none does.
fn tell_broker(layout: &Layout, revoked: &DeviceRevoked) -> Result<Option<Receipt>, AskError> {
    let request = Request::Revoke(Revoke {
        target: Target::Device(revoked.subject.clone()),
        reason: revoked.revoked.reason,
        time: Some(revoked.revoked.at.as_secs()),
    });
    match ask(&layout.admin_socket(), &request) {
        Ok(Answer::Revoked(receipt)) => Ok(Some(receipt)),
        Ok(_) => Err(AskError::OtherAnswer),
        Err(AskError::NoBroker(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

fn print_revoked(revoked: &DeviceRevoked) {
    let DeviceRevoked {
        subject,
        revoked: since,
        ..
    } = revoked;
    if revoked.already {
        println!("{subject}: was revoked already, {since}");
    } else {
        let count = revoked.certificates.len();
        let s = if count == 1 { "" } else { "s" };
        println!("{subject}: revoked {since}, {count} certificate{s}");
    }
    print_published(&revoked.list);
    revoked.export.iter().for_each(print_exported);
}

pub(crate) fn print_published(list: &Published) {
    list.others.iter().for_each(print_published);
    let of = of_device_ca(list.device_ca);
    let made = if list.made {
        "published"
    } else {
        "is up to date"
    };
    println!(
        "revocation list {}{of} {made}: {} entries, next update {}",
        list.number,
        list.entries,
        TimeText(list.next_update)
    );
    for file in &list.files {
        println!("  {}", file.display());
    }
}

/// Which list, where there may be several.
fn of_device_ca(number: u32) -> String {
    match number {
        1 => String::new(),
        number => format!(" of device CA {number}"),
    }
}

fn revoked_json(revoked: &DeviceRevoked, receipt: Option<&Receipt>) -> Value {
    json!({
        "device": revoked.subject,
        "revoked_at": revoked.revoked.at.as_secs(),
        "reason": revoked.revoked.reason,
        "already": revoked.already,
        "certificates": revoked.certificates,
        "list": published_json(&revoked.list),
        "registry": revoked.export.as_ref().map(exported_json),
        "broker": receipt,
    })
}

pub(crate) fn published_json(list: &Published) -> Value {
    json!({
        "device_ca": list.device_ca,
        "number": list.number,
        "made": list.made,
        "this_update": list.this_update.as_secs(),
        "next_update": list.next_update.as_secs(),
        "entries": list.entries,
        "files": list.files,
        "others": list.others.iter().map(published_json).collect::<Vec<_>>(),
    })
}

pub(crate) fn run_crl(command: CrlCommand) -> Result<(), Failure> {
    match command {
        CrlCommand::Publish(args) => publish(&args)?,
        CrlCommand::Show(args) => {
            let list = crl_show(&args.dir, UnixTime::now())?;
            if args.json {
                println!("{}", shown_json(&list));
            } else {
                print_shown(&list);
            }
        }
    }
    Ok(())
}

fn publish(args: &CrlPublishArgs) -> Result<(), Failure> {
    let CrlPublishArgs {
        publish: args,
        force,
    } = args;
    let passphrase = args.passphrase.open(&args.dir)?;
    let request = PublishRequest {
        passphrase: passphrase.as_ref(),
        dir: &args.dir,
        days: args.days,
        force: *force,
    };
    let list = crl_publish(&request, UnixTime::now())?;
    let told = reload_broker(&args.dir);
    if args.json {
        let mut published = published_json(&list);
        if let Value::Object(members) = &mut published {
            members.insert("broker".to_owned(), broker_json(&told));
        }
        println!("{published}");
    } else {
        print_published(&list);
        print_broker(&told, &args.dir);
        println!("next: countersign crl show --dir {}", args.dir.display());
    }
    not_told(
        told,
        &format!("revocation list {} is published", list.number),
    )
}

fn print_shown(list: &ShownList) {
    list.others.iter().for_each(print_shown);
    let state = match list.freshness {
        Freshness::Fresh => "",
        Freshness::NotYet { .. } => " (made in the future: a clock is wrong)",
        Freshness::Stale { .. } => " (out of date: publish a new one)",
    };
    println!(
        "{}: number {}, made {}, next update {}{state}, {} entries",
        list.file.display(),
        list.number,
        TimeText(list.this_update),
        TimeText(list.next_update),
        list.entries.len(),
    );
    for entry in &list.entries {
        let holder = entry.holder.as_deref().unwrap_or("(not in the registry)");
        println!("{}  {holder}  {}", entry.serial, entry.revoked);
    }
}

fn shown_json(list: &ShownList) -> Value {
    let entries = list.entries.iter().map(|entry| {
        json!({
            "serial": entry.serial,
            "holder": entry.holder,
            "revoked_at": entry.revoked.at.as_secs(),
            "reason": entry.revoked.reason,
        })
    });
    json!({
        "device_ca": list.device_ca,
        "file": list.file,
        "number": list.number,
        "this_update": list.this_update.as_secs(),
        "next_update": list.next_update.as_secs(),
        "fresh": list.freshness == Freshness::Fresh,
        "entries": entries.collect::<Vec<_>>(),
        "others": list.others.iter().map(shown_json).collect::<Vec<_>>(),
    })
}

pub(crate) fn run_registry(command: RegistryCommand) -> Result<(), Failure> {
    let RegistryCommand::Export(args) = command;
    let passphrase = args.passphrase.open(&args.dir)?;
    let request = ExportRequest {
        passphrase: passphrase.as_ref(),
        dir: &args.dir,
        days: args.days,
    };
    let export = registry_export(&request, UnixTime::now())?;
    if args.json {
        println!("{}", exported_json(&export));
    } else {
        print_exported(&export);
    }
    Ok(())
}

pub(crate) fn print_exported(export: &Exported) {
    println!(
        "registry export {}: {} devices and applications, next update {}",
        export.number,
        export.devices,
        TimeText(export.next_update)
    );
    for file in &export.files {
        println!("  {}", file.display());
    }
}

pub(crate) fn exported_json(export: &Exported) -> Value {
    json!({
        "number": export.number,
        "devices": export.devices,
        "created": export.created.as_secs(),
        "next_update": export.next_update.as_secs(),
        "files": export.files,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operate::admin::tests::fake_broker;
    use certs::admin::{AdminError, ErrorCode, write_answer};
    use certs::{DeviceId, Kind};
    use provisioning::{UpRequest, up_prepare};
    use std::path::Path;

    fn world(dir: &Path) -> DeviceRevoked {
        let request = UpRequest {
            dir,
            devices: 1,
            server_names: &[],
            trust_domain: None,
        };
        up_prepare(&request, UnixTime::now()).unwrap();
        let subject = &Subject {
            kind: Kind::Device,
            id: DeviceId::parse("dev-1").unwrap(),
        };
        let reason = RevocationReason::KeyCompromise;
        device_revoke(
            &RevokeRequest {
                passphrase: None,
                dir,
                subject,
                reason,
            },
            UnixTime::now(),
        )
        .unwrap()
    }

    #[test]
    fn a_broker_that_runs_is_told_and_its_receipt_comes_back() {
        let temp = tempfile::tempdir().unwrap();
        let revoked = world(temp.path());
        let layout = Layout::new(temp.path());
        assert!(
            tell_broker(&layout, &revoked).unwrap().is_none(),
            "none runs"
        );
        let said = Receipt {
            target: Some(Target::Device(revoked.subject.clone())),
            reason: revoked.revoked.reason,
            time: revoked.revoked.at.as_secs(),
            list_number: None,
            already: false,
            sessions_closed: 1,
            milliseconds: 31,
            durable: true,
        };
        let line = write_answer(Ok(Answer::Revoked(said.clone()))).unwrap();
        let broker = fake_broker(&layout.admin_socket(), line);
        assert_eq!(tell_broker(&layout, &revoked).unwrap(), Some(said.clone()));
        let Request::Revoke(heard) = broker.join().unwrap() else {
            panic!("not a revocation")
        };
        assert_eq!(
            (Some(heard.target), heard.time),
            (said.target.clone(), Some(said.time))
        );
        let json = revoked_json(&revoked, Some(&said));
        assert_eq!(json["broker"]["sessions_closed"], 1);
        assert_eq!(
            (&json["device"], &json["list"]["number"]),
            (&json!("dev-1"), &json!(1))
        );
    }

    #[test]
    fn a_broker_that_could_not_be_told_is_a_failure() {
        let temp = tempfile::tempdir().unwrap();
        let revoked = world(temp.path());
        let layout = Layout::new(temp.path());
        let error = AdminError {
            code: ErrorCode::Failed,
            message: "the disk is full".to_owned(),
            details: vec![],
        };
        let other = write_answer(Ok(Answer::Why(vec![]))).unwrap();
        for (line, words) in [
            (
                write_answer(Err(error)).unwrap(),
                "the broker says: the disk is full",
            ),
            (other, "answers something else"),
        ] {
            let broker = fake_broker(&layout.admin_socket(), line);
            let failed = tell_broker(&layout, &revoked).unwrap_err();
            broker.join().unwrap();
            std::fs::remove_file(layout.admin_socket()).unwrap();
            assert!(failed.to_string().contains(words), "{failed}");
        }
    }
}
