//! `countersign batch`: certificates for a whole list of devices.
//!
//! A mistake in a list is named by line and column, and then nothing was done. What is interrupted
//! goes on with `batch resume`.

mod bar;
mod deliver;

use crate::failure::{Failure, PARTLY};
use crate::provision::passphrase::{PassphraseArgs, PasswordArgs};
use bar::Bar;
use certs::{DeviceId, TimeText};
use clap::{Args, Subcommand, ValueEnum};
use provisioning::{
    BatchDone, BatchFormat, BatchRequest, BatchStatus, CommandError, ResumeRequest, batch_check,
    batch_issue, batch_resume, batch_status,
};
use rustls_pki_types::UnixTime;
use serde_json::{Value, json};
use std::path::PathBuf;

/// Certificates for a whole list of devices.
#[derive(Debug, Subcommand)]
#[command(after_help = LISTS)]
pub(crate) enum BatchCommand {
    /// Say whether a list can be issued, and all that is in the way. Nothing is changed.
    #[command(after_help = "Example:\n  countersign batch check devices.csv --dir certs/dev")]
    Check(CheckArgs),
    /// Issue a certificate to every device of a list, exactly once.
    ///
    /// May be interrupted at any moment: given again, or with `batch resume`, it goes on. A device
    /// that was issued a certificate by another command meanwhile, or revoked, is passed over, and
    /// the exit code is 3 then.
    #[command(after_help = ISSUE_HELP)]
    Issue(IssueArgs),
    /// Say how far batches have come.
    #[command(after_help = "Example:\n  countersign batch status lot-7 --dir certs/dev")]
    Status(StatusArgs),
    /// Go on with a batch that was interrupted.
    #[command(after_help = "Example:\n  countersign batch resume lot-7 --dir certs/dev")]
    Resume(ResumeArgs),
    /// Hand out what a batch made, once, to somebody by name.
    ///
    /// It is recorded for each device, and refused the second time (exit code 5) without --again.
    /// A device that was issued another certificate since, revoked or suspended is left out, and
    /// the exit code is 3 then. With --recipient it is packed into the one file OUT, which only
    /// they can open: a tar archive, or the lines of JSON, encrypted by age.
    #[command(after_help = deliver::HELP)]
    Deliver(deliver::DeliverArgs),
}

const LISTS: &str = "\
A list is CSV with a header, or a JSON object a line, in UTF-8. It needs a column device_id; every
other column becomes an attribute of the device:

  device_id,site
  sensor-1,Bern
  sensor-2,Basel";

const ISSUE_HELP: &str = "\
With --format dir, OUT/ID/{cert,key,ca}.pem appear for each device; with --format p12, OUT/ID.p12;
with --format jsonl, the one file OUT appears once it is whole. Nothing that is there is replaced.

Examples:
  countersign batch issue devices.csv --dir certs/dev --name lot-7 --out lot-7 --format dir
  countersign batch issue devices.csv --dir certs/dev --name lot-8 --out lot-8 --format p12 \\
    --password-file lot-8.password";

/// Which list to check.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The list.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The directory of the authority.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Print one object of JSON instead of words.
    #[arg(long)]
    json: bool,
}

/// What to issue for, and where to.
#[derive(Debug, Args)]
pub(crate) struct IssueArgs {
    /// The list.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The directory of the authority.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// What the batch is called from now on.
    #[arg(long, value_name = "NAME", value_parser = name)]
    name: DeviceId,
    /// The directory in which each device gets its own, or the one file.
    #[arg(long, value_name = "OUT")]
    out: PathBuf,
    /// In which form devices get what was made for them.
    #[arg(long, value_name = "FORMAT", default_value = "dir")]
    format: Format,
    #[command(flatten)]
    passphrase: PassphraseArgs,
    #[command(flatten)]
    password: PasswordArgs,
    /// Print one object of JSON instead of words.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// A directory for each device.
    Dir,
    /// One file with a line of JSON for each device.
    Jsonl,
    /// A PKCS #12 file for each device, all under the password in --password-file.
    P12,
}

/// Which batches to look at.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// The batch [default: all].
    #[arg(value_name = "NAME", value_parser = name)]
    name: Option<DeviceId>,
    /// The directory of the authority.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Print a line of JSON for each instead of words.
    #[arg(long)]
    json: bool,
}

/// Which batch to go on with.
#[derive(Debug, Args)]
pub(crate) struct ResumeArgs {
    /// The batch.
    #[arg(value_name = "NAME", value_parser = name)]
    name: DeviceId,
    /// The directory of the authority.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    #[command(flatten)]
    passphrase: PassphraseArgs,
    #[command(flatten)]
    password: PasswordArgs,
    /// Print one object of JSON instead of words.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(command: BatchCommand) -> Result<(), Failure> {
    match command {
        BatchCommand::Check(args) => check(&args),
        BatchCommand::Issue(args) => issue(&args),
        BatchCommand::Status(args) => status(&args),
        BatchCommand::Resume(args) => resume(&args),
        BatchCommand::Deliver(args) => deliver::run(&args),
    }
}

fn check(args: &CheckArgs) -> Result<(), Failure> {
    let (dir, file) = (args.dir.display(), args.file.display());
    let checked = batch_check(&args.dir, &args.file, UnixTime::now());
    let checked = checked.map_err(refusal)?;
    if args.json {
        println!(
            "{}",
            json!({ "devices": checked.devices, "new": checked.new })
        );
        return Ok(());
    }
    println!(
        "{file}: {} devices, {} of them new",
        checked.devices, checked.new
    );
    println!("next: countersign batch issue {file} --dir {dir} --name NAME --out OUT");
    Ok(())
}

fn issue(args: &IssueArgs) -> Result<(), Failure> {
    let passphrase = args.passphrase.open(&args.dir)?;
    let password = args.password.read()?;
    let request = BatchRequest {
        dir: &args.dir,
        passphrase: passphrase.as_ref(),
        file: &args.file,
        name: &args.name,
        out: &args.out,
        format: match args.format {
            Format::Dir => BatchFormat::Dir,
            Format::Jsonl => BatchFormat::Jsonl,
            Format::P12 => BatchFormat::P12,
        },
        password: password.as_ref(),
    };
    let bar = Bar::new();
    let done = batch_issue(&request, &|status| bar.show(status), UnixTime::now());
    bar.clear();
    let done = done.map_err(refusal)?;
    report(&done, args.json, &args.dir)
}

fn resume(args: &ResumeArgs) -> Result<(), Failure> {
    let passphrase = args.passphrase.open(&args.dir)?;
    let password = args.password.read()?;
    let request = ResumeRequest {
        dir: &args.dir,
        passphrase: passphrase.as_ref(),
        name: &args.name,
        password: password.as_ref(),
    };
    let bar = Bar::new();
    let done = batch_resume(&request, &|status| bar.show(status), UnixTime::now());
    bar.clear();
    let done = done.map_err(refusal)?;
    report(&done, args.json, &args.dir)
}

fn status(args: &StatusArgs) -> Result<(), Failure> {
    let found = batch_status(&args.dir, args.name.as_ref())?;
    for status in &found {
        if args.json {
            println!("{}", status_json(status));
        } else {
            println!("{}", words(status));
        }
    }
    let open = found.iter().find(|status| status.finished.is_none());
    let dir = args.dir.display();
    let here = found
        .iter()
        .find(|status| status.standing.delivered < status.standing.written);
    match (open, here) {
        _ if args.json => {}
        (Some(open), _) => println!("next: countersign batch resume {} --dir {dir}", open.name),
        (None, Some(here)) => {
            println!(
                "next: countersign batch deliver {} --to WHOM --dir {dir}",
                here.name
            );
        }
        (None, None) => println!("next: countersign device list --dir {dir}"),
    }
    Ok(())
}

fn report(done: &BatchDone, as_json: bool, dir: &std::path::Path) -> Result<(), Failure> {
    if as_json {
        let mut json = status_json(&done.status);
        if let Value::Object(members) = &mut json {
            members.insert("passed_over_devices".to_owned(), json!(done.passed_over));
        }
        println!("{json}");
    } else {
        println!("{}", words(&done.status));
        let (name, dir) = (&done.status.name, dir.display());
        println!("next: countersign batch deliver {name} --to WHOM --dir {dir}");
    }
    if done.passed_over.is_empty() {
        return Ok(());
    }
    let words = format!(
        "passed over, for they were issued a certificate or revoked meanwhile: {}",
        done.passed_over.join(", ")
    );
    Err(Failure::new(PARTLY, words))
}

/// All mistakes of a list, or what else is in the way.
fn refusal(error: CommandError) -> Failure {
    let CommandError::Roster { mistakes, .. } = &error else {
        return error.into();
    };
    Failure::mistakes(error.exit_class().code(), mistakes).and(error.into())
}

fn words(status: &BatchStatus) -> String {
    let standing = status.standing;
    let when = match status.finished {
        Some(finished) => format!("finished {}", TimeText(finished)),
        None => format!("begun {}, not finished", TimeText(status.created)),
    };
    format!(
        "{}: {when}: {} of {} devices written, {} waiting, {} passed over, {} handed out, in {}",
        status.name,
        standing.written,
        standing.rows,
        standing.waiting,
        standing.passed_over,
        standing.delivered,
        status.output.display()
    )
}

fn status_json(status: &BatchStatus) -> Value {
    json!({
        "batch": status.name.as_str(),
        "format": status.format.as_str(),
        "out": status.output,
        "created": status.created.as_secs(),
        "finished": status.finished.map(|finished| finished.as_secs()),
        "rows": status.standing.rows,
        "waiting": status.standing.waiting,
        "written": status.standing.written,
        "passed_over": status.standing.passed_over,
        "delivered": status.standing.delivered,
    })
}

fn name(text: &str) -> Result<DeviceId, String> {
    DeviceId::parse(text).map_err(|error| format!("names are like device ids: {error}"))
}
