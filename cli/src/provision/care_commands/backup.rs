//! `countersign ca backup`: who can open the backup, and what is in it.

use crate::failure::{Failure, USAGE};
use crate::provision::passphrase::choose;
use crate::provision::recipient;
use clap::Args;
use provisioning::{BackupRequest, EncryptTo, Recipient, ca_backup};
use rustls_pki_types::UnixTime;
use serde_json::json;
use std::path::PathBuf;

pub(crate) const HELP: &str = "\
Examples:
  countersign ca backup --dir /srv/ca --out ca.age --recipient age1ql3z…
  countersign ca backup --dir /srv/ca --out ca.age --passphrase-file /run/credentials/backup";

/// What to back up.
#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    /// The directory of the authority.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// The file that is made.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Who can open it, by the public key of age; may be given several times.
    #[arg(long = "recipient", value_name = "age1…", value_parser = recipient)]
    recipients: Vec<Recipient>,
    /// A file whose first line is the passphrase of the backup [default: it is asked for on the
    /// terminal].
    #[arg(long, value_name = "FILE", conflicts_with = "recipients")]
    passphrase_file: Option<PathBuf>,
    /// Print one object of JSON instead of words.
    #[arg(long)]
    json: bool,
}

pub(crate) fn backup(args: &BackupArgs) -> Result<(), Failure> {
    let passphrase = match &*args.recipients {
        [] => choose(
            args.passphrase_file.as_deref(),
            "Passphrase of the backup: ",
        )?,
        _ => None,
    };
    let to = match (&passphrase, &*args.recipients) {
        (Some(passphrase), _) => EncryptTo::Passphrase(passphrase),
        (None, []) => {
            let words = "a backup is encrypted: name --recipient or --passphrase-file";
            return Err(Failure::new(USAGE, words));
        }
        (None, recipients) => EncryptTo::Recipients(recipients),
    };
    let request = BackupRequest {
        dir: &args.dir,
        out: &args.out,
        to,
    };
    let made = ca_backup(&request, UnixTime::now())?;
    if args.json {
        let made = json!({
            "out": made.out,
            "bytes": made.len,
            "files": made.files,
            "list": made.list,
            "audit_entries": made.audit_entries,
        });
        println!("{made}");
        return Ok(());
    }
    let (out, files) = (made.out.display(), made.files.len());
    println!(
        "{out}: {files} files, revocation list {}, {} audit entries, {} bytes",
        made.list, made.audit_entries, made.len
    );
    println!("next: countersign ca restore {out} --dir NEW-DIR   # to see that it can be opened");
    Ok(())
}
