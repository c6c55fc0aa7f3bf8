//! `countersign pending`: a person decides who enrols without a token.

use crate::failure::Failure;
use crate::operate::broker_admin::table::table;
use certs::{Hex, TimeText};
use clap::{Args, Subcommand};
use provisioning::{
    DecideRequest, EnrolmentState, PendingDecided, PendingEnrolment, pending_approve, pending_deny,
    pending_list,
};
use rustls_pki_types::UnixTime;
use serde_json::{Value, json};
use std::path::PathBuf;

/// Requests to enrol that wait for a person (`countersign ca serve --approve manual`).
#[derive(Debug, Subcommand)]
pub(crate) enum PendingCommand {
    /// List those that wait, the youngest first.
    ///
    /// The key is the SHA-256 of the public key, as shown by:
    /// openssl pkey -in key.pem -pubout -outform DER | openssl sha256
    #[command(after_help = "Example:\n  countersign pending list --dir certs/dev --all")]
    List(ListArgs),
    /// Let a device that asked have its certificate when it asks again.
    ///
    /// Anybody can ask under any id: compare the key with what the device shows. Exit code 4 if
    /// there is no such request, 5 if the device is suspended, or was revoked and --again is not
    /// given.
    #[command(after_help = "Example:\n  countersign pending approve 3 --dir certs/dev")]
    Approve(DecideArgs),
    /// Refuse a device that asked.
    ///
    /// Exit code 4 if there is no such request, 5 if it was issued its certificate.
    #[command(after_help = "Example:\n  countersign pending deny 3 --dir certs/dev")]
    Deny(DenyArgs),
}

/// Which requests to list.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// The directory of the authority.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// List those as well of which was decided.
    #[arg(long)]
    all: bool,
    /// Print a line of JSON for each instead of a table.
    #[arg(long)]
    json: bool,
}

/// Whom to refuse.
#[derive(Debug, Args)]
pub(crate) struct DenyArgs {
    /// The number of the request, as `pending list` shows it.
    #[arg(value_name = "NUMBER")]
    number: i64,
    /// The directory of the authority.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Print one object of JSON instead of words.
    #[arg(long)]
    json: bool,
}

/// Whom to let enrol.
#[derive(Debug, Args)]
pub(crate) struct DecideArgs {
    #[command(flatten)]
    which: DenyArgs,
    /// Let a device enrol that was revoked: it was replaced, or has a new key.
    #[arg(long)]
    again: bool,
}

pub(crate) fn run(command: PendingCommand) -> Result<(), Failure> {
    match command {
        PendingCommand::List(args) => list(&args),
        PendingCommand::Approve(args) => {
            let request = decide(&args.which, args.again);
            let decided = pending_approve(&request, UnixTime::now())?;
            say(&args.which, &decided);
            Ok(())
        }
        PendingCommand::Deny(args) => {
            let decided = pending_deny(&decide(&args, false), UnixTime::now())?;
            say(&args, &decided);
            Ok(())
        }
    }
}

fn decide(args: &DenyArgs, again: bool) -> DecideRequest<'_> {
    DecideRequest {
        dir: &args.dir,
        number: args.number,
        again,
    }
}

fn say(args: &DenyArgs, decided: &PendingDecided) {
    let request = &decided.request;
    if args.json {
        let object = json!({ "request": request_json(request), "already": decided.already });
        println!("{object}");
        return;
    }
    let already = if decided.already { " already" } else { "" };
    let (device, state) = (&request.device, request.state.as_str());
    println!("{device}: request {} is {state}{already}", request.number);
    let dir = args.dir.display();
    match request.state {
        EnrolmentState::Approved => println!("it gets its certificate when it asks again"),
        EnrolmentState::Pending | EnrolmentState::Denied | EnrolmentState::Issued => {}
    }
    println!("next: countersign pending list --dir {dir}");
}

fn list(args: &ListArgs) -> Result<(), Failure> {
    let mut requests = pending_list(&args.dir)?;
    requests.retain(|it| args.all || it.state == EnrolmentState::Pending);
    if args.json {
        for request in &requests {
            println!("{}", request_json(request));
        }
        return Ok(());
    }
    let header = ["REQUEST", "DEVICE", "STATE", "FROM", "SINCE", "KEY"];
    let row = |it: &PendingEnrolment| {
        [
            it.number.to_string(),
            it.device.to_string(),
            it.state.as_str().to_owned(),
            it.address.to_string(),
            TimeText(it.asked).to_string(),
            Hex(&it.key).to_string(),
        ]
    };
    print!("{}", table(header, requests.iter().map(row).collect()));
    let dir = args.dir.display();
    let waits = |it: &&PendingEnrolment| it.state == EnrolmentState::Pending;
    match requests.iter().find(waits) {
        Some(first) => println!(
            "next: countersign pending approve {} --dir {dir}",
            first.number
        ),
        None => println!("next: countersign ca serve --dir {dir} --approve manual"),
    }
    Ok(())
}

fn request_json(request: &PendingEnrolment) -> Value {
    json!({
        "number": request.number,
        "device": request.device.as_str(),
        "state": request.state.as_str(),
        "from": request.address,
        "asked": request.asked.as_secs(),
        "key": Hex(&request.key).to_string(),
        "serial": request.serial,
    })
}
