//! `countersign token`: what lets a device enrol over the network once.

use crate::failure::Failure;
use crate::operate::broker_admin::table::table;
use crate::provision::inventory_commands::duration;
use certs::{DeviceId, TimeText};
use clap::{Args, Subcommand};
use provisioning::{
    Token, TokenCreated, TokenRequest, TokenState, device_id, token_create, token_list,
    token_revoke,
};
use rustls_pki_types::UnixTime;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;

/// Tokens, each of which lets one device enrol over the network once.
#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token for a device, and show it this once.
    ///
    /// It ends the open token that the device had. Only its hash is kept. Whoever shows it for the
    /// same key again, until it expires, gets the same certificate. Exit code 5 if the device is
    /// suspended, or was revoked and --again is not given.
    #[command(after_help = CREATE_HELP)]
    Create(CreateArgs),
    /// List tokens, the youngest first: whose they are, and how they stand.
    #[command(after_help = "Example:\n  countersign token list --dir certs/dev")]
    List(ListArgs),
    /// End a token, used or not. A certificate that was issued for it stays.
    ///
    /// Exit code 4 if there is no such token.
    #[command(after_help = "Example:\n  countersign token revoke 7 --dir certs/dev")]
    Revoke(RevokeArgs),
}

const CREATE_HELP: &str = "\
Example, with nothing of ours on the device:
  countersign token create sensor-7 --dir certs/dev --ttl 2h
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem \\
    -subj /CN=sensor-7 -out sensor-7.csr
  curl --cacert ca.pem -u sensor-7:TOKEN -H 'Content-Type: application/pkcs10' \\
    --data-binary @sensor-7.csr https://127.0.0.1:8443/.well-known/est/simpleenroll |
    openssl base64 -d | openssl pkcs7 -inform DER -print_certs -out cert.pem";

/// For whom to make a token.
#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// The device id.
    #[arg(value_name = "DEVICE")]
    device: String,
    /// The directory of the authority.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// How long it is good, such as 24h or 30m; 365d at most.
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = duration)]
    ttl: Duration,
    /// Make one for a device that was revoked: it was replaced, or has a new key.
    #[arg(long)]
    again: bool,
    /// Print one object of JSON instead of words.
    #[arg(long)]
    json: bool,
}

/// Which tokens to list.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// The directory of the authority.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Print a line of JSON for each instead of a table.
    #[arg(long)]
    json: bool,
}

/// Which token to end.
#[derive(Debug, Args)]
pub(crate) struct RevokeArgs {
    /// Its number, as `token list` shows it.
    #[arg(value_name = "NUMBER")]
    number: i64,
    /// The directory of the authority.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Print one object of JSON instead of words.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(command: TokenCommand) -> Result<(), Failure> {
    match command {
        TokenCommand::Create(args) => create(&args),
        TokenCommand::List(args) => list(&args),
        TokenCommand::Revoke(args) => revoke(&args),
    }
}

fn create(args: &CreateArgs) -> Result<(), Failure> {
    // What is no id is noted, so the authority reads it.
    let device: DeviceId = device_id(&args.dir, &args.device, UnixTime::now())?;
    let request = TokenRequest {
        dir: &args.dir,
        device: &device,
        ttl: args.ttl,
        again: args.again,
    };
    let created = token_create(&request, UnixTime::now())?;
    if args.json {
        println!("{}", created_json(&created));
        return Ok(());
    }
    let (device, until) = (&created.device, TimeText(created.expires));
    println!("{device}: token {}, good until {until}", created.number);
    println!("{}", created.token.as_str());
    println!("it is shown this once: user {device}, password the token");
    println!("next: countersign ca serve --dir {}", args.dir.display());
    Ok(())
}

fn created_json(created: &TokenCreated) -> Value {
    json!({
        "number": created.number,
        "device": created.device.as_str(),
        "expires": created.expires.as_secs(),
        "token": created.token.as_str(),
    })
}

fn list(args: &ListArgs) -> Result<(), Failure> {
    let tokens = token_list(&args.dir, UnixTime::now())?;
    if args.json {
        for token in &tokens {
            println!("{}", token_json(token));
        }
        return Ok(());
    }
    let header = ["TOKEN", "DEVICE", "STATE", "UNTIL", "CERTIFICATE"];
    let row = |it: &Token| {
        [
            it.number.to_string(),
            it.device.to_string(),
            it.state.as_str().to_owned(),
            TimeText(it.expires).to_string(),
            it.serial.map(|it| it.to_string()).unwrap_or_default(),
        ]
    };
    print!("{}", table(header, tokens.iter().map(row).collect()));
    let dir = args.dir.display();
    match tokens.iter().find(|it| it.state == TokenState::Open) {
        Some(open) => println!("next: countersign token revoke {} --dir {dir}", open.number),
        None => println!("next: countersign token create DEVICE --dir {dir}"),
    }
    Ok(())
}

fn token_json(token: &Token) -> Value {
    json!({
        "number": token.number,
        "device": token.device.as_str(),
        "state": token.state.as_str(),
        "created": token.created.as_secs(),
        "expires": token.expires.as_secs(),
        "settled": token.settled.map(|at| at.as_secs()),
        "serial": token.serial,
    })
}

fn revoke(args: &RevokeArgs) -> Result<(), Failure> {
    let before = token_revoke(&args.dir, args.number, UnixTime::now())?;
    if args.json {
        let revoked = json!({
            "number": before.number,
            "device": before.device.as_str(),
            "was": before.state.as_str(),
            "serial": before.serial,
        });
        println!("{revoked}");
        return Ok(());
    }
    let (number, device, dir) = (before.number, &before.device, args.dir.display());
    println!(
        "token {number} of {device}: ended; it was {}",
        before.state.as_str()
    );
    match before.serial {
        Some(serial) => {
            println!("certificate {serial} stays");
            println!("next: countersign device revoke {device} --dir {dir}");
        }
        None => println!("next: countersign token create {device} --dir {dir}"),
    }
    Ok(())
}
