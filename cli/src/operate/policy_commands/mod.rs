//! `countersign policy`: what a policy decides and why, whether it does what is expected, and what
//! a new one would change.

mod diff;
mod explain;
mod judge;

use crate::failure::{FAILED, Failure, USAGE};
use broker::engine::policy::Policy;
use certs::{DeviceId, Kind, Subject};
use clap::{Args, Subcommand};
use std::fs;
use std::path::{Path, PathBuf};

/// Check, explain, test and compare policies.
#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Read a policy and report all mistakes at once.
    #[command(after_help = "Example:\n  countersign policy check certs/dev/policy.toml")]
    Check(CheckArgs),
    /// Say what a policy decides, and which rule it is.
    ///
    /// Exit code 0 if it is allowed, 5 if not.
    #[command(after_help = explain::EXAMPLES)]
    Explain(Box<explain::ExplainArgs>),
    /// Test a policy by a table of what it is to allow and to deny.
    ///
    /// Exit code 0 if all is as expected, 1 if not.
    #[command(after_help = judge::EXAMPLES)]
    Test(judge::TestArgs),
    /// Say what devices gain and lose where one policy takes the place of another.
    #[command(after_help = diff::EXAMPLES)]
    Diff(diff::DiffArgs),
}

/// Which policy to read.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The policy file.
    file: PathBuf,
}

pub(crate) fn run(command: PolicyCommand) -> Result<(), Failure> {
    match command {
        PolicyCommand::Check(args) => {
            let policy = read_policy(&args.file)?;
            let rules = policy.rules().len();
            println!("{}: good, {rules} rules", args.file.display());
            Ok(())
        }
        PolicyCommand::Explain(args) => explain::run(&args),
        PolicyCommand::Test(args) => judge::run(&args),
        PolicyCommand::Diff(args) => diff::run(&args),
    }
}

/// `dev-1`, `app/reader`.
fn subject(text: &str) -> Option<Subject> {
    let (kind, id) = match text.strip_prefix("app/") {
        Some(id) => (Kind::App, id),
        None => (Kind::Device, text),
    };
    let id = DeviceId::parse(id).ok()?;
    Some(Subject { kind, id })
}

fn read_policy(file: &Path) -> Result<Policy, Failure> {
    Policy::parse(&file.display().to_string(), &read(file)?)
        .map_err(|mistakes| Failure::mistakes(USAGE, &mistakes))
}

fn read(file: &Path) -> Result<String, Failure> {
    let what = || format!("reading {}", file.display());
    fs::read_to_string(file).map_err(|error| Failure::new(FAILED, what()).because(&error))
}
