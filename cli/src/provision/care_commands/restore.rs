//! `countersign ca restore`: what opens the backup, and what became of the directory.

use crate::failure::{FAILED, Failure, USAGE};
use crate::provision::passphrase::{ask, from_file};
use certs::TimeText;
use clap::Args;
use provisioning::{
    DecryptWith, Identity, Passphrase, RestoreRequest, Restored, RestoredInto, ca_restore,
};
use rustls_pki_types::UnixTime;
use serde_json::json;
use std::fs;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

pub(crate) const HELP: &str = "\
Examples:
  countersign ca restore ca.age --dir /srv/ca --identity backup-key.txt
  countersign ca restore ca.age --dir /srv/ca --list /var/lib/broker/crl/device-ca.crl";

/// What to restore.
#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// The backup.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// An empty or new directory, or that of the same authority.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// A file with the private key of a recipient, as age-keygen writes it.
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
    /// A file whose first line is the passphrase of the backup [default: it is asked for on the
    /// terminal].
    #[arg(long, value_name = "FILE", conflicts_with = "identity")]
    passphrase_file: Option<PathBuf>,
    /// The newest revocation list that brokers have, if DIR was lost: whoever is on it stays
    /// revoked, and the next one has a higher number.
    #[arg(long, value_name = "FILE")]
    list: Option<PathBuf>,
    /// Print one object of JSON instead of words.
    #[arg(long)]
    json: bool,
}

/// What opens a backup.
enum Secret {
    Passphrase(Passphrase),
    Identities(Vec<Identity>),
}

pub(crate) fn restore(args: &RestoreArgs) -> Result<(), Failure> {
    let secret = secret(args)?;
    let request = RestoreRequest {
        file: &args.file,
        dir: &args.dir,
        with: match &secret {
            Secret::Passphrase(passphrase) => DecryptWith::Passphrase(passphrase),
            Secret::Identities(identities) => DecryptWith::Identities(identities),
        },
        list: args.list.as_deref(),
    };
    let restored = ca_restore(&request, UnixTime::now())?;
    if args.json {
        println!("{}", in_json(&restored, &args.dir));
    } else {
        print_words(&restored, &args.dir);
    }
    Ok(())
}

fn secret(args: &RestoreArgs) -> Result<Secret, Failure> {
    if let Some(path) = &args.identity {
        return identities(path).map(Secret::Identities);
    }
    let passphrase = match &args.passphrase_file {
        Some(path) => Some(from_file(path)?),
        None if io::stdin().is_terminal() => ask("Passphrase of the backup: ")?,
        None => None,
    };
    let words = "a backup is encrypted: name --identity or --passphrase-file";
    let passphrase = passphrase.ok_or_else(|| Failure::new(USAGE, words))?;
    Ok(Secret::Passphrase(passphrase))
}

fn identities(path: &Path) -> Result<Vec<Identity>, Failure> {
    let text = fs::read_to_string(path).map_err(|error| Failure::cannot_read(path, &error))?;
    let words = || format!("cannot read {}", path.display());
    Identity::read_all(&text).map_err(|error| Failure::new(FAILED, words()).because(&error))
}

fn print_words(restored: &Restored, dir: &Path) {
    let (dir, of) = (dir.display(), TimeText(restored.created));
    match &restored.into {
        RestoredInto::Empty => println!("{dir}: restored from the backup of {of}"),
        RestoredInto::Kept => {
            println!("{dir}: its registry knew all of the backup of {of}, and was kept");
            println!("files that were missing are back");
        }
        RestoredInto::Merged {
            former,
            was_damaged,
        } => {
            println!("{dir}: restored from the backup of {of}");
            if *was_damaged {
                println!("the registry that was there was damaged: only its lists were gone by");
            } else {
                let kept = restored.certificates_kept;
                println!("kept from what was there: {kept} certificates, and all revocations");
            }
            println!("the former authority is in {}", former.display());
        }
    }
    println!(
        "{} certificates of the backup were revoked since",
        restored.revoked
    );
    println!(
        "the next revocation list has a number above {}",
        restored.list
    );
    println!("next: countersign crl publish --dir {dir}");
}

fn in_json(restored: &Restored, dir: &Path) -> serde_json::Value {
    let (into, former, was_damaged) = match &restored.into {
        RestoredInto::Empty => ("empty", None, false),
        RestoredInto::Kept => ("kept", None, false),
        RestoredInto::Merged {
            former,
            was_damaged,
        } => ("merged", Some(former), *was_damaged),
    };
    json!({
        "dir": dir,
        "into": into,
        "former": former,
        "was_damaged": was_damaged,
        "backup_created": restored.created.as_secs(),
        "certificates_kept": restored.certificates_kept,
        "revoked": restored.revoked,
        "list": restored.list,
    })
}
