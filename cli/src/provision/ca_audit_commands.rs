//! `countersign ca audit`: what was done with the authorities, and whether all of it still stands.

use crate::failure::Failure;
use certs::Hex;
use certs::TimeText;
use clap::{Args, Subcommand};
use provisioning::{AuditEntry, audit_show, audit_verify};
use serde_json::{Value, json};
use std::path::PathBuf;

/// What was done here, in a chain in which each entry holds the hash of all before it.
#[derive(Debug, Subcommand)]
pub(crate) enum CaAuditCommand {
    /// Check that no entry was changed or left out, and say where the chain ends.
    ///
    /// Whenever the key of the device CA is open, it signs where the chain stands: what is signed
    /// cannot be written anew without that key. What was done since, such as a token, is signed
    /// with the next command that opens it.
    ///
    /// Keep number and hash elsewhere: they show later that nothing was cut off at the end.
    #[command(after_help = "Example:\n  countersign ca audit verify --dir certs/dev")]
    Verify(VerifyArgs),
    /// Show the last entries, in their order.
    #[command(after_help = "Example:\n  countersign ca audit show --dir certs/dev --last 20")]
    Show(ShowArgs),
}

/// Which chain to check.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// The directory of the authority.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Print one object of JSON instead of words.
    #[arg(long)]
    json: bool,
}

/// What to show.
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// The directory of the authority.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// How many entries, counted from the end [default: all].
    #[arg(long, value_name = "N")]
    last: Option<usize>,
    /// Print an object of JSON a line instead of words.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(command: &CaAuditCommand) -> Result<(), Failure> {
    match command {
        CaAuditCommand::Verify(args) => verify(args),
        CaAuditCommand::Show(args) => show(args),
    }
}

fn verify(args: &VerifyArgs) -> Result<(), Failure> {
    let end = audit_verify(&args.dir)?;
    let hash = Hex(&end.hash).to_string();
    if args.json {
        println!(
            "{}",
            json!({ "entries": end.entries, "hash": hash, "signed": end.signed })
        );
        return Ok(());
    }
    println!("{} entries, all as they were written", end.entries);
    println!("the last one has the hash {hash}");
    match end.signed {
        0 => println!("none is signed yet: the key of the device CA was not opened since"),
        signed => println!("signed by the device CA up to entry {signed}"),
    }
    let dir = args.dir.display();
    println!("next: countersign ca audit show --dir {dir} --last 20");
    Ok(())
}

fn show(args: &ShowArgs) -> Result<(), Failure> {
    let entries = audit_show(&args.dir, args.last.unwrap_or(usize::MAX));
    for entry in entries? {
        if args.json {
            println!("{}", entry_json(&entry));
        } else {
            println!("{}", entry_words(&entry));
        }
    }
    if !args.json {
        println!(
            "next: countersign ca audit verify --dir {}",
            args.dir.display()
        );
    }
    Ok(())
}

fn entry_words(entry: &AuditEntry) -> String {
    let (at, words) = (TimeText(entry.at), entry.words.escape_debug());
    let (number, event, subject) = (entry.number, entry.event, entry.subject.escape_debug());
    format!("{number:>7}  {at}  {event:<10}  {subject}  {words}")
}

fn entry_json(entry: &AuditEntry) -> Value {
    json!({
        "number": entry.number,
        "at": entry.at.as_secs(),
        "event": entry.event.as_str(),
        "subject": entry.subject,
        "words": entry.words,
        "hash": Hex(&entry.hash).to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use provisioning::{InitRequest, ca_init};
    use rustls_pki_types::UnixTime;

    #[test]
    fn an_entry_is_a_line_whatever_was_refused() {
        let temp = tempfile::tempdir().unwrap();
        ca_init(&InitRequest::new(temp.path()), UnixTime::now()).unwrap();
        let id = provisioning::device_id(temp.path(), "../a\nb", UnixTime::now());
        assert!(id.is_err());
        let entry = audit_show(temp.path(), 1).unwrap().remove(0);
        assert_eq!(entry_words(&entry).lines().count(), 1);
        assert_eq!(entry_json(&entry)["event"], "refused");
        let hash = audit_verify(temp.path()).unwrap().hash;
        assert_eq!(entry_json(&entry)["hash"], json!(Hex(&hash).to_string()));
    }
}
