//! `countersign batch deliver`: to whom what was made is handed out.

use super::name;
use crate::failure::{Failure, PARTLY};
use crate::provision::recipient;
use certs::DeviceId;
use clap::Args;
use provisioning::{DeliverRequest, Package, Recipient, batch_deliver};
use rustls_pki_types::UnixTime;
use serde_json::json;
use std::path::PathBuf;

pub(crate) const HELP: &str = "\
Examples:
  countersign batch deliver lot-7 --dir certs/dev --to 'Acme, line 2'
  countersign batch deliver lot-7 --dir certs/dev --to 'Acme, line 2' --recipient age1ql3z… \\
    --out lot-7.age";

/// What to hand out, and to whom.
#[derive(Debug, Args)]
pub(crate) struct DeliverArgs {
    /// The batch.
    #[arg(value_name = "NAME", value_parser = name)]
    name: DeviceId,
    /// The directory of the authority.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// To whom: what tells people something, at most 256 octets.
    #[arg(long, value_name = "WHOM")]
    to: String,
    /// Of this device alone; may be given several times.
    #[arg(long = "device", value_name = "ID", value_parser = name)]
    devices: Vec<DeviceId>,
    /// Who can open the package, by the public key of age; may be given several times.
    #[arg(long = "recipient", value_name = "age1…", value_parser = recipient, requires = "out")]
    recipients: Vec<Recipient>,
    /// The package, a new file.
    #[arg(long, value_name = "OUT", requires = "recipients")]
    out: Option<PathBuf>,
    /// Hand out once more what was handed out before.
    #[arg(long)]
    again: bool,
    /// Print one object of JSON instead of words.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &DeliverArgs) -> Result<(), Failure> {
    let request = DeliverRequest {
        dir: &args.dir,
        name: &args.name,
        to: &args.to,
        devices: &args.devices,
        package: args.out.as_deref().map(|out| Package {
            out,
            recipients: &args.recipients,
        }),
        again: args.again,
    };
    let done = batch_deliver(&request, UnixTime::now())?;
    let left_out: Vec<_> = done.left_out.iter().map(DeviceId::as_str).collect();
    let (count, path) = (done.devices.len(), done.path.display());
    if args.json {
        let devices: Vec<_> = done.devices.iter().map(DeviceId::as_str).collect();
        let done = json!({
            "batch": args.name.as_str(),
            "to": args.to,
            "devices": devices,
            "left_out": left_out,
            "path": done.path,
        });
        println!("{done}");
    } else {
        let (name, dir) = (&args.name, args.dir.display());
        println!(
            "{name}: {count} devices handed out to {}, in {path}",
            args.to
        );
        println!("next: countersign batch status {name} --dir {dir}");
    }
    if left_out.is_empty() {
        return Ok(());
    }
    let words = format!(
        "left out, for they were issued another certificate, revoked or suspended since: {}",
        left_out.join(", ")
    );
    Err(Failure::new(PARTLY, words))
}
