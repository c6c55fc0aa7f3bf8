//! `countersign device add|list|show|label|remove|renew`: the inventory on the command line.
//!
//! Words and tables for people, JSON and CSV for programs; nothing that an operator or a list once
//! said of a device reaches a terminal as anything but text.

mod arguments;
mod listing;

use crate::failure::Failure;
use crate::operate::broker_admin::subject;
pub(crate) use arguments::{
    AddArgs, LabelArgs, ListArgs, RenewArgs, WhichArgs, duration, lifetime,
};
use certs::TimeText;
use provisioning::{
    AddRequest, DeviceRenewed, LabelRequest, RenewRequest, device_add, device_label, device_list,
    device_remove, device_renew, device_show,
};
use rustls_pki_types::UnixTime;
use serde_json::json;

pub(crate) fn add(args: &AddArgs) -> Result<(), Failure> {
    let request = AddRequest {
        dir: &args.which.dir,
        subject: &args.which.id,
        labels: &args.labels.labels(),
    };
    let done = device_add(&request, UnixTime::now())?;
    if args.which.json {
        println!("{}", json!({ "device": done.subject, "added": done.added }));
        return Ok(());
    }
    let verb = if done.added { "added" } else { "was there" };
    println!("{}: {verb}", done.subject);
    println!("next: countersign device issue {}", args.which);
    Ok(())
}

pub(crate) fn list(args: &ListArgs) -> Result<(), Failure> {
    let now = UnixTime::now();
    let devices = device_list(&args.dir, &args.filter(), now)?;
    if args.json {
        for device in &devices {
            println!("{}", listing::json(device));
        }
    } else if args.csv {
        print!("{}", listing::csv(&devices)?);
    } else {
        print!("{}", listing::words(&devices));
        let dir = args.dir.display();
        println!("next: countersign device show ID --dir {dir}");
    }
    Ok(())
}

pub(crate) fn show(args: &WhichArgs) -> Result<(), Failure> {
    let shown = device_show(&args.dir, &args.id, UnixTime::now())?;
    if args.json {
        println!("{}", listing::shown_json(&shown));
        return Ok(());
    }
    print!("{}", listing::shown(&shown));
    let verb = if shown.device.certificate.is_some() {
        "renew"
    } else {
        "issue"
    };
    println!("next: countersign device {verb} {args}");
    Ok(())
}

pub(crate) fn label(args: &LabelArgs) -> Result<(), Failure> {
    let request = LabelRequest {
        dir: &args.which.dir,
        subject: &args.which.id,
        change: &args.change(),
    };
    let device = device_label(&request, UnixTime::now())?;
    if args.which.json {
        println!("{}", listing::json(&device));
        return Ok(());
    }
    print!("{}", listing::words(&[device]));
    let dir = args.which.dir.display();
    println!("next: countersign registry export --dir {dir}");
    Ok(())
}

pub(crate) fn remove(args: &WhichArgs) -> Result<(), Failure> {
    device_remove(&args.dir, &args.id, UnixTime::now())?;
    if args.json {
        println!("{}", json!({ "device": args.id, "removed": true }));
        return Ok(());
    }
    println!(
        "{}: removed; what was issued to it stays on record",
        args.id
    );
    let dir = args.dir.display();
    println!("next: countersign device list --dir {dir}");
    Ok(())
}

pub(crate) fn renew(args: &RenewArgs) -> Result<(), Failure> {
    let passphrase = args.passphrase.open(&args.dir)?;
    let request = RenewRequest {
        dir: &args.dir,
        passphrase: passphrase.as_ref(),
        id: &args.id,
        csr: args.csr.as_deref(),
        out: args.out.as_deref(),
    };
    let renewed = device_renew(&request, UnixTime::now())?;
    if args.json {
        println!("{}", renewed_json(&renewed));
        return Ok(());
    }
    let (id, end) = (&renewed.subject, TimeText(renewed.not_after));
    println!(
        "{id}: certificate {} issued, valid until {end}",
        renewed.serial
    );
    println!("it supersedes {}", renewed.superseded);
    println!("  {}", renewed.files.dir.display());
    println!(
        "next: countersign device show {id} --dir {}",
        args.dir.display()
    );
    Ok(())
}

fn renewed_json(renewed: &DeviceRenewed) -> serde_json::Value {
    json!({
        "device": renewed.subject,
        "serial": renewed.serial,
        "not_after": renewed.not_after.as_secs(),
        "superseded": renewed.superseded,
        "cert": renewed.files.cert,
        "key": renewed.key,
        "ca": renewed.files.ca,
    })
}
