//! `countersign broker issue`: a certificate for the broker of a directory, and having it go by it.

use crate::failure::{FAILED, Failure};
use crate::provision::enrolment_commands::serve::server_name;
use crate::provision::passphrase::PassphraseArgs;
use crate::provision::suspension_commands::{broker_json, reload_broker};
use certs::TimeText;
use clap::Args;
use provisioning::{BrokerIssued, broker_issue};
use rustls_pki_types::{ServerName, UnixTime};
use serde_json::{Value, json};
use std::path::PathBuf;

pub(crate) const HELP: &str = "\
Examples:
  countersign broker issue --dir certs/dev
  countersign broker issue --dir /srv/ca --name mqtt.acme.example --passphrase-file \
/run/credentials/ca";

/// For which names.
#[derive(Debug, Args)]
pub(crate) struct BrokerIssueArgs {
    /// The directory of the authority.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// A name or an address under which the broker is reached, besides those of this machine; may
    /// be given several times.
    #[arg(long = "name", value_name = "NAME", value_parser = server_name)]
    names: Vec<ServerName<'static>>,
    #[command(flatten)]
    passphrase: PassphraseArgs,
    /// Print one object of JSON instead of words.
    #[arg(long)]
    json: bool,
}

pub(crate) fn issue(args: &BrokerIssueArgs) -> Result<(), Failure> {
    let passphrase = args.passphrase.open(&args.dir)?;
    let issued = broker_issue(&args.dir, &args.names, passphrase.as_ref(), UnixTime::now())?;
    let told = reload_broker(&args.dir);
    if args.json {
        let mut issued = issued_json(&issued);
        if let Value::Object(members) = &mut issued {
            members.insert("broker".to_owned(), broker_json(&told));
        }
        println!("{issued}");
    } else {
        let (cert, end) = (issued.files.cert.display(), TimeText(issued.not_after));
        println!("{cert}: certificate {}, until {end}", issued.serial);
        println!("  for {}", names(&issued).join(", "));
        println!(
            "next: countersign broker status --dir {}",
            args.dir.display()
        );
    }
    let words = "the certificate is issued, and the broker does not go by it";
    told.map(drop)
        .map_err(|error| Failure::new(FAILED, words).because(&error))
}

fn names(issued: &BrokerIssued) -> Vec<String> {
    let names = issued.names.iter();
    names.map(|name| name.to_str().into_owned()).collect()
}

fn issued_json(issued: &BrokerIssued) -> Value {
    json!({
        "serial": issued.serial,
        "not_after": issued.not_after.as_secs(),
        "names": names(issued),
        "certificate": issued.files.cert,
        "key": issued.files.key,
        "trusted": issued.files.ca,
    })
}
