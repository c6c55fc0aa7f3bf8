//! `countersign key`: keys that come into being in a PKCS #11 token and stay there.

use crate::failure::{FAILED, Failure};
use crate::provision::ca_commands::algorithm;
use crate::provision::passphrase;
use certs::DeviceId;
use clap::{Args, Subcommand};
use pkcs11::KeyUri;
use provisioning::{Algorithm, Passphrase, key_make, key_request};
use serde_json::json;
use std::io::{self, IsTerminal};
use std::path::PathBuf;

/// Keys in PKCS #11 tokens, such as smart cards and security modules.
#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a key in a token, which never leaves it.
    ///
    /// It is called as URI says: object=LABEL, and id=ID if it has one. Exit code 5 if there is one
    /// of that name, 4 if there is no such token.
    #[command(after_help = MAKE_HELP)]
    Make(MakeArgs),
    /// Print a certificate signing request for a key in a token, in the name of a device.
    ///
    /// `device issue --csr` or an enrolment server makes a certificate of it. The device then has a
    /// directory with cert.pem, ca.pem and, instead of key.pem, key.uri: one line with URI,
    /// readable by its owner alone.
    #[command(after_help = REQUEST_HELP)]
    Request(RequestArgs),
}

const MAKE_HELP: &str = "\
Example:
  countersign key make 'pkcs11:token=acme;object=device-ca\\
?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=/run/credentials/pin'";

const REQUEST_HELP: &str = "\
Example:
  countersign key request 'pkcs11:token=dev;object=sensor-7\\
?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=/etc/pin' --id sensor-7 > sensor-7.csr";

/// What `key make` makes.
#[derive(Debug, Args)]
pub(crate) struct MakeArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// With what the key signs: p256, p384 or ed25519 [default: p256].
    #[arg(long, value_name = "ALGORITHM", value_parser = algorithm)]
    algorithm: Option<Algorithm>,
    /// Print one object of JSON instead of words.
    #[arg(long)]
    json: bool,
}

/// For which key and whom `key request` prints a request.
#[derive(Debug, Args)]
pub(crate) struct RequestArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// The id of the device.
    #[arg(long, value_name = "ID", value_parser = device_id)]
    id: DeviceId,
}

/// Where a key is, and what opens the token.
#[derive(Debug, Args)]
struct PlaceArgs {
    /// The key (RFC 7512): pkcs11:token=LABEL;object=LABEL?module-path=FILE&pin-source=FILE.
    #[arg(value_name = "URI")]
    uri: KeyUri,
    /// A file whose first line is the PIN of the token, when the URI names none [default: it is
    /// asked for on the terminal].
    #[arg(long, value_name = "FILE")]
    pin_file: Option<PathBuf>,
}

fn device_id(text: &str) -> Result<DeviceId, String> {
    DeviceId::parse(text).map_err(|error| error.to_string())
}

pub(crate) fn run(command: &KeyCommand) -> Result<(), Failure> {
    match command {
        KeyCommand::Make(args) => make(args),
        KeyCommand::Request(args) => request(args),
    }
}

fn make(args: &MakeArgs) -> Result<(), Failure> {
    let (uri, pin) = (&args.place.uri, args.place.pin()?);
    let algorithm = args.algorithm.unwrap_or_default();
    key_make(uri, algorithm, pin.as_ref())?;
    if args.json {
        let made = json!({ "key": uri.as_str(), "algorithm": algorithm.as_str() });
        println!("{made}");
        return Ok(());
    }
    println!("{algorithm} key made in the token; it stays there");
    println!("next: countersign key request '{uri}' --id ID > ID.csr");
    Ok(())
}

fn request(args: &RequestArgs) -> Result<(), Failure> {
    let pin = args.place.pin()?;
    print!("{}", key_request(&args.place.uri, &args.id, pin.as_ref())?);
    Ok(())
}

impl PlaceArgs {
    fn pin(&self) -> Result<Option<Passphrase>, Failure> {
        if let Some(path) = &self.pin_file {
            return passphrase::from_file(path).map(Some);
        }
        if self.uri.pin_source().is_some() || !io::stdin().is_terminal() {
            return Ok(None);
        }
        let pin = passphrase::ask("PIN of the token: ")?;
        let nothing = || Failure::new(FAILED, "no PIN was given; nothing was done");
        pin.map(Some).ok_or_else(nothing)
    }
}
