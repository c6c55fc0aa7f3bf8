//! `countersign trust`: which roots are to be trusted, for whoever trusts one of them.

use crate::failure::Failure;
use crate::provision::passphrase::PassphraseArgs;
use clap::{Args, Subcommand};
use provisioning::{TrustExported, TrustRequest, quoted, trust_export};
use rustls_pki_types::UnixTime;
use serde_json::{Value, json};
use std::path::PathBuf;

/// The roots to trust.
#[derive(Debug, Subcommand)]
pub(crate) enum TrustCommand {
    /// Sign a bundle of the roots that are to be trusted.
    ///
    /// Writes DIR/ca/trust-bundle.jsonl, with a number that only rises. Every root signs it whose
    /// key is here, so that who trusts any of them can verify it and learn of the others.
    #[command(after_help = "Example:\n  countersign trust export --dir certs/dev")]
    Export(TrustExportArgs),
}

/// What to export.
#[derive(Debug, Args)]
pub(crate) struct TrustExportArgs {
    /// The directory of the authority.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    #[command(flatten)]
    passphrase: PassphraseArgs,
    /// Print one object of JSON instead of words.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(command: TrustCommand) -> Result<(), Failure> {
    let TrustCommand::Export(args) = command;
    let passphrase = args.passphrase.open(&args.dir)?;
    let request = TrustRequest {
        dir: &args.dir,
        passphrase: passphrase.as_ref(),
    };
    let exported = trust_export(&request, UnixTime::now())?;
    if args.json {
        println!("{}", exported_json(&exported));
    } else {
        println!(
            "trust bundle {}: {}; signed by {}",
            exported.number,
            exported.roots.join(", "),
            exported.signed_by.join(", ")
        );
        println!("  {}", exported.file.display());
        println!("next: countersign ca status --dir {}", quoted(&args.dir));
    }
    Ok(())
}

fn exported_json(exported: &TrustExported) -> Value {
    json!({
        "number": exported.number,
        "roots": exported.roots,
        "signed_by": exported.signed_by,
        "created": exported.created.as_secs(),
        "file": exported.file,
    })
}
