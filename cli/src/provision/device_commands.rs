//! `countersign device`: devices, and the certificates that the local authority issues to them.

use crate::failure::Failure;
use crate::provision::ca_commands::{algorithm, warn_of};
use crate::provision::inventory_commands::{
    self, AddArgs, LabelArgs, ListArgs, RenewArgs, WhichArgs,
};
use crate::provision::passphrase::{PassphraseArgs, PasswordArgs};
use crate::provision::revocation_commands::{self, DeviceRevokeArgs};
use crate::provision::suspension_commands::{self, SuspendArgs};
use clap::{Args, Subcommand};
use provisioning::{
    Algorithm, CommandError, IssueRequest, PayloadFormat, PayloadIssued, PayloadTo, PeerIssued,
    device_id, device_issue, device_issue_to,
};
use rustls_pki_types::UnixTime;
use serde_json::json;
use std::path::{Path, PathBuf};

/// Devices and their certificates.
#[derive(Debug, Subcommand)]
pub(crate) enum DeviceCommand {
    /// Take a device into the inventory before it has a certificate.
    ///
    /// Given again it keeps what is there, and adds what is said. Its id is taken from then on, in
    /// whatever case.
    #[command(after_help = ADD_HELP)]
    Add(AddArgs),
    /// List devices and applications, all or some.
    #[command(after_help = LIST_HELP)]
    List(ListArgs),
    /// Say all that is on record of a device.
    #[command(after_help = "Example:\n  countersign device show sensor-7 --dir certs/dev")]
    Show(WhichArgs),
    /// Change what is said of a device: attributes, groups, tags.
    ///
    /// Brokers see attributes and groups with the next `registry export`.
    #[command(after_help = LABEL_HELP)]
    Label(LabelArgs),
    /// Take a device that is gone out of the inventory.
    ///
    /// What was issued to it stays on record. Exit code 5 if it holds a certificate that counts:
    /// revoke it first.
    #[command(after_help = "Example:\n  countersign device remove sensor-7 --dir certs/dev")]
    Remove(WhichArgs),
    /// Issue a new certificate in the place of the one that a device has.
    ///
    /// The old one is superseded: it counts until it expires. Each of the files is replaced in one
    /// step. Exit code 5 if the device was revoked, 4 if it has no certificate.
    #[command(after_help = RENEW_HELP)]
    Renew(RenewArgs),
    /// Issue a certificate to a device.
    ///
    /// Writes DIR/devices/ID/{cert,key,ca}.pem. A device that has a certificate gets a new one,
    /// and the old one is superseded. One that was revoked gets a new one only with --again. With
    /// --csr only the public key is taken from the request: who the device is, says ID.
    ///
    /// With --out it is written elsewhere: in a directory of its own below OUT, or with --format
    /// in one new file OUT: a line of JSON as batches write it, a header in C for firmware, or a
    /// PKCS #12 file under the password in --password-file. Exit code 5 if that file is there.
    #[command(after_help = ISSUE_HELP)]
    Issue(DeviceIssueArgs),
    /// Revoke a device: all certificates that it holds count no longer.
    ///
    /// It is recorded, then put on the revocation list of the device CA, and then told to the
    /// broker that runs in DIR, if one does, which closes its sessions. Given again, it says so and
    /// tells the broker once more. The device may be issued another certificate with `device issue
    /// --again`.
    #[command(after_help = REVOKE_HELP)]
    Revoke(DeviceRevokeArgs),
    /// Keep a device out until it is let in again.
    ///
    /// Its certificates are put on the revocation list, and a broker that runs in DIR reads it and
    /// closes its sessions. Nothing is issued to it meanwhile.
    #[command(after_help = "Example:\n  countersign device suspend sensor-7 --dir certs/dev")]
    Suspend(SuspendArgs),
    /// Let a device in again that was suspended.
    ///
    /// Its certificates are left out of a new revocation list, which a broker that runs in DIR
    /// reads. Exit code 5 if it was revoked: that does not lead back.
    #[command(after_help = "Example:\n  countersign device resume sensor-7 --dir certs/dev")]
    Resume(SuspendArgs),
}

const ISSUE_HELP: &str = "\
Examples:
  countersign device issue sensor-7 --dir certs/dev
  countersign device issue sensor-7 --dir certs/dev --format c-header --out main/device.h
  countersign device issue sensor-7 --dir certs/dev --format p12 --out sensor-7.p12 \\
    --password-file sensor-7.password";

const ADD_HELP: &str = "\
Example:
  countersign device add sensor-7 --dir certs/dev --set site=Bern --group pumps --tag spare";

const LIST_HELP: &str = "\
Examples:
  countersign device list --dir certs/dev --expiring 14d
  countersign device list --dir certs/dev --group pumps --revoked --csv";

const LABEL_HELP: &str = "\
Example:
  countersign device label sensor-7 --dir certs/dev --set site=Basel --no-tag spare";

const RENEW_HELP: &str = "\
Examples:
  countersign device renew sensor-7 --dir certs/dev
  countersign device renew sensor-7 --dir certs/dev --out lot-7";

const REVOKE_HELP: &str = "\
Exit code 0 if it is revoked, 1 if a running broker could not be told, 4 if there is no such device.

Example:
  countersign device revoke sensor-7 --dir certs/dev --reason key-compromise";

/// What `device issue` issues.
#[derive(Debug, Args)]
pub(crate) struct DeviceIssueArgs {
    /// The device id: letters, digits, `.`, `_` and `-`, at most 64, beginning with a letter or a
    /// digit.
    #[arg(value_name = "ID")]
    id: String,
    /// The directory of the authority.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// A certificate signing request in PEM or DER, if the device has made its own key.
    #[arg(long, value_name = "FILE")]
    csr: Option<PathBuf>,
    /// Of which algorithm the key is that is made for the device: p256, p384 or ed25519, and for
    /// trial ml-dsa-44 or ml-dsa-65 [default: p256].
    #[arg(long, value_name = "ALGORITHM", value_parser = algorithm, conflicts_with = "csr")]
    key_algorithm: Option<Algorithm>,
    /// Issue to a device that was revoked: it was replaced, or has made itself a new key.
    #[arg(long)]
    again: bool,
    /// In which form the device gets it: dir, jsonl, c-header or p12 [default: dir].
    #[arg(long, value_name = "FORMAT", value_parser = format, requires = "out")]
    format: Option<PayloadFormat>,
    /// Where it is written: a directory, or with another form a new file [default: DIR/devices].
    #[arg(long, value_name = "OUT")]
    out: Option<PathBuf>,
    #[command(flatten)]
    passphrase: PassphraseArgs,
    #[command(flatten)]
    password: PasswordArgs,
    /// Print one object of JSON instead of words.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run_device(command: DeviceCommand) -> Result<(), Failure> {
    match command {
        DeviceCommand::Add(args) => inventory_commands::add(&args),
        DeviceCommand::List(args) => inventory_commands::list(&args),
        DeviceCommand::Show(args) => inventory_commands::show(&args),
        DeviceCommand::Label(args) => inventory_commands::label(&args),
        DeviceCommand::Remove(args) => inventory_commands::remove(&args),
        DeviceCommand::Renew(args) => inventory_commands::renew(&args),
        DeviceCommand::Issue(args) => issue(&args),
        DeviceCommand::Revoke(args) => revocation_commands::revoke(&args),
        DeviceCommand::Suspend(args) => suspension_commands::suspend(&args),
        DeviceCommand::Resume(args) => suspension_commands::resume(&args),
    }
}

fn format(text: &str) -> Result<PayloadFormat, String> {
    let names = PayloadFormat::ALL.map(PayloadFormat::as_str).join(", ");
    PayloadFormat::parse(text).ok_or_else(|| format!("there are {names}"))
}

fn issue(args: &DeviceIssueArgs) -> Result<(), Failure> {
    // What is no id is noted, so the authority reads it.
    let id = device_id(&args.dir, &args.id, UnixTime::now())?;
    let passphrase = args.passphrase.open(&args.dir)?;
    let request = IssueRequest {
        dir: &args.dir,
        passphrase: passphrase.as_ref(),
        id: &id,
        csr: args.csr.as_deref(),
        algorithm: args.key_algorithm.unwrap_or_default(),
        again: args.again,
    };
    if let Some(out) = &args.out {
        return issue_to(args, &request, out);
    }
    if args.password.read()?.is_some() {
        return Err(CommandError::Password.into());
    }
    let issued = device_issue(&request, UnixTime::now())?;
    warn_of(args.key_algorithm);
    if args.json {
        println!("{}", report(&issued));
        return Ok(());
    }
    print_issued(&issued);
    println!(
        "next: countersign pub --identity {} -t devices/{}/hello -m hi",
        issued.files.dir.display(),
        id
    );
    Ok(())
}

fn issue_to(args: &DeviceIssueArgs, request: &IssueRequest<'_>, out: &Path) -> Result<(), Failure> {
    let format = args.format.unwrap_or(PayloadFormat::Dir);
    let password = args.password.read()?;
    let to = PayloadTo {
        format,
        out,
        password: password.as_ref(),
    };
    let done = device_issue_to(request, &to, UnixTime::now())?;
    warn_of(args.key_algorithm);
    let PayloadIssued { issued, path, .. } = done;
    if args.json {
        let issued = json!({
            "device": issued.subject.id.as_str(),
            "serial": issued.serial,
            "not_after": issued.not_after.as_secs(),
            "superseded": issued.superseded,
            "format": format.as_str(),
            "out": path,
        });
        println!("{issued}");
        return Ok(());
    }
    print_issued(&issued);
    println!("  {}", path.display());
    let dir = args.dir.display();
    println!(
        "next: countersign device show {} --dir {dir}",
        issued.subject
    );
    Ok(())
}

fn print_issued(issued: &PeerIssued) {
    println!("{}: certificate {} issued", issued.subject, issued.serial);
    if let Some(old) = issued.superseded {
        println!("it supersedes {old}");
    }
}

fn report(issued: &PeerIssued) -> serde_json::Value {
    json!({
        "device": issued.subject.id.as_str(),
        "serial": issued.serial.to_string(),
        "not_after": issued.not_after.as_secs(),
        "superseded": issued.superseded.map(|serial| serial.to_string()),
        "cert": issued.files.cert,
        "key": issued.key,
        "ca": issued.files.ca,
    })
}
