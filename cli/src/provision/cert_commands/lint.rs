//! `countersign cert lint`: every finding on its line, with its rule and its clause.

use super::input;
use crate::failure::{FAILED, Failure};
use certs::{LintFinding, Role};
use clap::Args;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

pub(super) const HELP: &str = "\
Examples:
  countersign cert lint certs/dev/devices/dev-1/cert.pem --profile device
  countersign cert lint anchors/*.pem --json";

/// What to look at.
#[derive(Debug, Args)]
pub(crate) struct LintArgs {
    /// Files with certificates in PEM, or one in DER.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Our profile that the certificates should have: root, device-ca, server-ca, broker (or
    /// server), device or app [default: none].
    #[arg(long, value_name = "PROFILE", value_parser = role)]
    profile: Option<Role>,
    /// Print one object of JSON a certificate instead of words.
    #[arg(long)]
    json: bool,
}

fn role(text: &str) -> Result<Role, String> {
    let text = if text == "server" { "broker" } else { text };
    let names = Role::ALL.map(Role::as_str).join(", ");
    Role::parse(text).ok_or_else(|| format!("there are {names}"))
}

pub(super) fn lint(args: &LintArgs) -> Result<(), Failure> {
    let (mut certificates, mut findings) = (0, 0);
    for path in &args.files {
        for (place, der) in input::read(path)?.iter().enumerate() {
            let role = args.profile.filter(|_| place == 0);
            let found = certs::lint(der, role);
            let found = found.map_err(|error| Failure::from_error(FAILED, &error))?;
            certificates += 1;
            findings += found.len();
            if args.json {
                println!("{}", in_json((path, place), role, &found));
            } else {
                print_words((path, place), &found);
            }
        }
    }
    if !args.json {
        println!("{findings} findings in {certificates} certificates");
        println!("next: countersign cert explain {}", next_file(args));
    }
    if findings == 0 {
        Ok(())
    } else {
        Err(Failure::silent(FAILED))
    }
}

fn next_file(args: &LintArgs) -> impl std::fmt::Display + '_ {
    let first = args.files.first().map(PathBuf::as_path);
    first.unwrap_or_else(|| Path::new("FILE")).display()
}

fn print_words((path, place): (&Path, usize), found: &[LintFinding]) {
    let (path, number) = (path.display(), place + 1);
    for LintFinding {
        rule, clause, what, ..
    } in found
    {
        println!("{path}: certificate {number}: {what} ({clause}, rule {rule})");
    }
}

fn in_json((path, place): (&Path, usize), role: Option<Role>, found: &[LintFinding]) -> Value {
    let finding = |it: &LintFinding| json!({"rule": it.rule, "clause": it.clause, "what": it.what});
    json!({
        "file": path,
        "certificate": place + 1,
        "profile": role.map(Role::as_str),
        "findings": found.iter().map(finding).collect::<Vec<_>>(),
    })
}
