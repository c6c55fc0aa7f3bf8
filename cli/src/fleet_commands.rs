//! `countersign fleet`: many devices live through a scenario, and a verdict is passed.

mod bar;

use crate::failure::{FAILED, Failure, USAGE};
use bar::Bar;
use clap::{Args, Subcommand};
use fleet::run::{At, Plan, RunError};
use fleet::scenario::{Scenario, ready};
use serde_json::json;
use std::path::{Path, PathBuf};

/// Let a fleet of devices live through a scenario.
#[derive(Debug, Subcommand)]
pub(crate) enum FleetCommand {
    /// Run a scenario, and judge whether all held that must.
    ///
    /// Every device has a key, a certificate, a session and a connection of its own. Without
    /// --against, the broker is one of its own in this process, with a new authority, and keeps
    /// what it acknowledges in a temporary directory.
    #[command(after_help = RUN_HELP)]
    Run(RunArgs),
    /// List the scenarios that are there, or print one to copy and change.
    #[command(after_help = "Examples:\n  \
        countersign fleet scenarios\n  \
        countersign fleet scenarios chaos > mine.toml")]
    Scenarios(ScenariosArgs),
}

/// What `fleet run` is told.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// A file, or the name of a scenario that is there.
    #[arg(value_name = "SCENARIO")]
    scenario: PathBuf,
    /// How many devices.
    #[arg(long, value_name = "N", default_value_t = 100,
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    devices: u32,
    /// With the same one, the same happens at the same times.
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// A broker that runs; some events need one of its own, and are not done.
    #[arg(long, value_name = "HOST:PORT", requires = "identities")]
    against: Option<String>,
    /// The directory of its devices' certificates, as `countersign up --dir` makes it.
    #[arg(long, value_name = "DIR", requires = "against")]
    identities: Option<PathBuf>,
    /// Print the verdict as one line of JSON.
    #[arg(long)]
    json: bool,
    /// Write the verdict as `JUnit` XML too.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
}

/// What `fleet scenarios` is told.
#[derive(Debug, Args)]
pub(crate) struct ScenariosArgs {
    /// Print this one.
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

const RUN_HELP: &str = "\
Examples:
  countersign fleet run chaos --devices 500 --seed 7
  countersign fleet run mine.toml --junit verdict.xml

Against a broker that runs, with certificates for its devices:
  countersign up --devices 500
  countersign fleet run bad-links --devices 500 --against 127.0.0.1:8883 --identities certs/dev

Exit codes: 0 all held, 1 something did not or it could not run, 2 usage or the scenario.";

pub(crate) async fn run(command: FleetCommand) -> Result<(), Failure> {
    match command {
        FleetCommand::Run(args) => run_scenario(&args).await,
        FleetCommand::Scenarios(args) => scenarios(args.name.as_deref()),
    }
}

async fn run_scenario(args: &RunArgs) -> Result<(), Failure> {
    let plan = Plan {
        scenario: scenario(&args.scenario)?,
        devices: args.devices,
        seed: args.seed,
        at: match (&args.against, &args.identities) {
            (Some(address), Some(identities)) => At::Given {
                address: address.clone(),
                identities: identities.clone(),
            },
            _ => At::Own,
        },
    };
    let bar = Bar::new(plan.devices);
    let verdict = fleet::run::run(&plan, &|progress| bar.show(progress)).await;
    bar.clear();
    let verdict = verdict.map_err(|error| failure(&error))?;
    if args.json {
        println!("{}", json!(verdict));
    } else {
        print!("{verdict}");
    }
    if let Some(file) = &args.junit {
        write(file, &verdict.junit())?;
    }
    if verdict.holds() {
        Ok(())
    } else {
        Err(Failure::silent(FAILED))
    }
}

/// The scenario of this name, or else in this file.
fn scenario(path: &Path) -> Result<Scenario, Failure> {
    let named = ready().iter().find(|ready| Path::new(ready.name) == path);
    let read;
    let text = if let Some(ready) = named {
        ready.toml
    } else {
        read = std::fs::read_to_string(path).map_err(|error| {
            let all: Vec<_> = ready().iter().map(|ready| ready.name).collect();
            let words = format!(
                "{}: cannot be read, and is none of {}",
                path.display(),
                all.join(", ")
            );
            Failure::new(USAGE, words).because(&error)
        })?;
        &read
    };
    Scenario::parse(path, text).map_err(|mistakes| Failure::mistakes(USAGE, &mistakes))
}

fn scenarios(name: Option<&str>) -> Result<(), Failure> {
    for ready in ready() {
        match name {
            Some(name) if name == ready.name => {
                print!("{}", ready.toml);
                return Ok(());
            }
            Some(_) => {}
            None => {
                let scenario = scenario(Path::new(ready.name))?;
                let (name, about) = (&scenario.name, &scenario.about);
                println!("{name:<11}{:>5?}  {about}", scenario.length);
            }
        }
    }
    match name {
        Some(name) => {
            let words =
                format!("{name}: no such scenario; `countersign fleet scenarios` lists them");
            Err(Failure::new(USAGE, words))
        }
        None => Ok(()),
    }
}

fn write(file: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(file, text).map_err(|error| {
        Failure::new(FAILED, format!("{}: cannot be written", file.display())).because(&error)
    })
}

fn failure(error: &RunError) -> Failure {
    let code = match error {
        RunError::Address(_)
        | RunError::Identities(_)
        | RunError::TooFewIdentities { .. }
        | RunError::NoDevices => USAGE,
        _ => FAILED,
    };
    Failure::from_error(code, error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(subcommand)]
        command: FleetCommand,
    }

    #[test]
    fn a_broker_that_runs_comes_with_its_certificates() {
        for (line, is_right) in [
            ("fleet run chaos", true),
            (
                "fleet run chaos --against localhost:8883 --identities dev",
                true,
            ),
            ("fleet run chaos --against localhost:8883", false),
            ("fleet run chaos --identities dev", false),
            ("fleet run chaos --devices 0", false),
            ("fleet run", false),
        ] {
            let read = Line::try_parse_from(line.split(' '));
            assert_eq!(read.is_ok(), is_right, "{line}: {read:?}");
        }
    }

    #[test]
    fn a_scenario_is_a_name_or_a_file() {
        for ready in ready() {
            let found = scenario(Path::new(ready.name)).unwrap();
            assert_eq!(found.name, ready.name);
        }
        let missing = scenario(Path::new("no-such-scenario")).unwrap_err();
        assert!(
            format!("{missing:?}").contains("none of chaos"),
            "{missing:?}"
        );
        let file = tempfile::NamedTempFile::new().unwrap();
        write(file.path(), "name = 'mine'").unwrap();
        let wrong = scenario(file.path()).unwrap_err();
        assert!(
            format!("{wrong:?}").contains("length: is missing"),
            "{wrong:?}"
        );
    }
}
