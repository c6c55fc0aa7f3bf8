//! `countersign policy`: what a policy decides and why, whether it does what is expected, and what
//! a new one would change.

mod explain;
mod judge;

use crate::failure::{FAILED, Failure, USAGE};
use broker::engine::policy::Policy;
use broker::engine::policy::explain::{difference, sample};
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
    #[command(after_help = "Example:\n  countersign policy diff policy.toml new.toml")]
    Diff(DiffArgs),
}

/// Which policy to read.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The policy file.
    file: PathBuf,
}

/// Which policies to compare.
#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// The policy that is in force.
    old: PathBuf,
    /// The one that is to take its place.
    new: PathBuf,
    /// Device ids, one a line, `app/<id>` for applications; without it, those that the rules name
    /// and one for each of their patterns.
    #[arg(long, value_name = "FILE")]
    devices: Option<PathBuf>,
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
        PolicyCommand::Diff(args) => diff(&args),
    }
}

fn diff(args: &DiffArgs) -> Result<(), Failure> {
    let (old, new) = (read_policy(&args.old)?, read_policy(&args.new)?);
    let subjects = match &args.devices {
        None => sample(&old, &new),
        Some(file) => read_subjects(file)?,
    };
    let changes = difference(&old, &new, &subjects);
    for change in &changes {
        println!("{change}");
    }
    let losses = changes.iter().filter(|change| change.is_loss()).count();
    println!(
        "{} devices asked: {} gained, {losses} lost",
        subjects.len(),
        changes.len() - losses
    );
    Ok(())
}

fn read_subjects(file: &Path) -> Result<Vec<Subject>, Failure> {
    let text = read(file)?;
    let lines = (1..).zip(text.lines().map(str::trim));
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|(number, line)| {
            subject(line).ok_or_else(|| {
                let what = "write a device id, or app/ and an id, on each line";
                Failure::new(USAGE, format!("{}:{number}: {what}", file.display()))
            })
        })
        .collect()
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
