//! `countersign audit`: whether an audit log is as it was written.

use crate::failure::{FAILED, Failure, USAGE};
use broker::audit::{self, Ending, Verified, VerifyError};
use clap::{Args, Subcommand};
use serde_json::json;
use std::path::PathBuf;

/// Look at a broker's audit log.
#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Check that no line of an audit log was changed, left out, moved or put in.
    ///
    /// Names the first line that breaks the chain. Whole lines cut off at the end leave no trace in
    /// the file itself: compare the last link with one noted elsewhere (--head), or with what the
    /// next file follows.
    ///
    /// Exit code 0 if the chain is whole, 1 if it is broken or ends elsewhere, 2 if FILE cannot be
    /// read.
    #[command(after_help = "Example:\n  countersign audit verify certs/dev/audit.jsonl --json")]
    Verify(VerifyArgs),
}

/// What to verify.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// The audit log, `audit.file` of the broker, or one that was put aside.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The link of its last line, as it was noted elsewhere.
    #[arg(long, value_name = "HEX")]
    head: Option<String>,
    /// Print one object of JSON instead of words.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(command: AuditCommand) -> Result<(), Failure> {
    let AuditCommand::Verify(args) = command;
    let verified = audit::verify(&args.file).map_err(|error| failure(&args, &error))?;
    if let Some(head) = &args.head
        && **head != *verified.head
    {
        let words = format!("{}: it does not end in {head}", args.file.display());
        return Err(Failure::new(FAILED, words));
    }
    print(&args, &verified);
    Ok(())
}

fn failure(args: &VerifyArgs, error: &VerifyError) -> Failure {
    let words = error.to_string();
    match error {
        VerifyError::Unreadable { source, .. } => Failure::new(USAGE, words).because(source),
        VerifyError::Broken { source, .. } => {
            if args.json {
                println!(
                    "{}",
                    json!({ "whole": false, "line": source.line, "why": source.why })
                );
            }
            Failure::new(FAILED, words).because(source)
        }
    }
}

fn print(args: &VerifyArgs, verified: &Verified) {
    if args.json {
        println!("{}", json!({ "whole": true, "log": verified }));
        return;
    }
    let ending = match verified.ending {
        Ending::Ended => "the broker ended in good order",
        Ending::Rotated => "another file follows",
        Ending::Open => "open: the broker runs or was killed, or lines were cut off",
    };
    println!(
        "{}: whole, {} lines, {} to {}\nends: {ending}\nhead: {}",
        args.file.display(),
        verified.lines,
        verified.first_n,
        verified.last_n,
        verified.head
    );
}
