//! `countersign policy diff`: what devices gain and lose where one policy takes the place of
//! another, and what that would cut at a broker that runs.

use super::{read, read_policy, subject};
use crate::failure::{Failure, USAGE};
use crate::operate::admin::{AskError, ask};
use crate::operate::broker_admin::{Socket, losses};
use broker::engine::policy::Action;
use broker::engine::policy::explain::{Change, Changed, Extent, difference, sample};
use certs::Subject;
use certs::admin::{Answer, Cut, NewPolicy, Request};
use clap::Args;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

pub(super) const EXAMPLES: &str = "\
Examples:
  countersign policy diff policy.toml new.toml
  countersign policy diff policy.toml new.toml --live --dir certs/dev --json";

/// Which policies to compare.
#[derive(Debug, Args)]
#[command(mut_group("Socket", |socket| socket.required(false)))]
pub(crate) struct DiffArgs {
    /// The policy that is in force.
    old: PathBuf,
    /// The one that is to take its place.
    new: PathBuf,
    /// Device ids, one a line, `app/<id>` for applications; without it, those that the rules name
    /// and one for each of their patterns.
    #[arg(long, value_name = "FILE")]
    devices: Option<PathBuf>,
    /// Ask a broker that runs, too, which of its sessions and subscriptions NEW would cut. Nothing
    /// is changed there.
    #[arg(long, requires = "Socket")]
    live: bool,
    #[command(flatten)]
    socket: Option<Socket>,
    /// Answer with one line of JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &DiffArgs) -> Result<(), Failure> {
    let (old, new) = (read_policy(&args.old)?, read_policy(&args.new)?);
    let subjects = match &args.devices {
        None => sample(&old, &new),
        Some(file) => read_subjects(file)?,
    };
    let changes = difference(&old, &new, &subjects);
    let cut = args.socket.as_ref().filter(|_| args.live);
    let cut = cut.map(|socket| would_cut(socket, &args.new)).transpose()?;
    if args.json {
        let changes: Vec<_> = changes.iter().map(in_json).collect();
        let asked = subjects.len();
        println!(
            "{}",
            json!({ "asked": asked, "changes": changes, "live": cut })
        );
        return Ok(());
    }
    for change in &changes {
        println!("{change}");
    }
    let lost = changes.iter().filter(|change| change.is_loss()).count();
    println!(
        "{} devices asked: {} gained, {lost} lost",
        subjects.len(),
        changes.len() - lost
    );
    if let Some(cut) = cut {
        print!("\n{}", losses(&cut));
    }
    Ok(())
}

fn would_cut(socket: &Socket, new: &Path) -> Result<Cut, Failure> {
    let (name, text) = (new.display().to_string(), read(new)?);
    let request = Request::WouldCut(NewPolicy { name, text });
    match ask(&socket.path(), &request) {
        Ok(Answer::WouldCut(cut)) => Ok(cut),
        Ok(_) => Err(AskError::OtherAnswer.failure()),
        Err(error) => Err(error.failure()),
    }
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

fn in_json(change: &Change) -> Value {
    let (action, filter) = match &change.what {
        Changed::Connect => ("connect", None),
        Changed::Act(Action::Publish, filter) => ("publish", Some(filter.as_str())),
        Changed::Act(Action::Subscribe, filter) => ("subscribe", Some(filter.as_str())),
    };
    let conditions = |extent: &Extent| match extent {
        Extent::Denied => Value::Null,
        Extent::Allowed(conditions) => json!(conditions),
    };
    json!({
        "device": change.subject.to_string(),
        "action": action,
        "filter": filter,
        "is_loss": change.is_loss(),
        "before": conditions(&change.before),
        "after": conditions(&change.after),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: DiffArgs,
    }

    fn parse(line: &str) -> Result<DiffArgs, clap::Error> {
        let words = std::iter::once("diff").chain(line.split_whitespace());
        Line::try_parse_from(words).map(|line| line.args)
    }

    #[test]
    fn a_broker_is_named_where_one_is_asked() {
        for (line, path) in [
            ("a b", None),
            ("a b --live --dir x", Some("x/broker/admin.sock")),
            ("a b --live --admin x/y.sock", Some("x/y.sock")),
        ] {
            let args = parse(line).unwrap();
            let found = args.socket.as_ref().map(Socket::path);
            assert_eq!(found, path.map(PathBuf::from), "{line}");
            assert_eq!(args.live, path.is_some(), "{line}");
        }
        for line in ["a", "a b --live", "a b --live --dir x --admin y"] {
            assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
        }
    }
}
