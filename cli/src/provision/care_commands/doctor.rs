//! `countersign ca doctor`: every check on its line, with the command that mends what is wrong.
//!
//! The broker is asked here, over its socket: it and the authority know nothing of each other.

use crate::failure::{FAILED, Failure};
use crate::operate::admin::{AskError, ask};
use crate::operate::broker_admin::table::plain;
use certs::admin::{Answer, ListState, Request, Status};
use certs::{ListId, ListNumber, WithCauses};
use clap::Args;
use provisioning::{Check, Layout, Verdict, ca_doctor, quoted};
use rustls_pki_types::UnixTime;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;

pub(crate) const HELP: &str = "\
Examples:
  countersign ca doctor --dir certs/dev
  countersign ca doctor --dir /srv/ca --days 30 --json || systemctl start page-somebody";

const BROKER: &str = "broker";
const BROKER_LIST: &str = "broker's revocation list";

/// Which authority to examine.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// The directory of the authority.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Name what ends within so many days.
    #[arg(long, value_name = "N", default_value_t = 14, value_parser = days())]
    days: u16,
    /// Print one object of JSON instead of words.
    #[arg(long)]
    json: bool,
}

fn days() -> clap::builder::RangedI64ValueParser<u16> {
    clap::value_parser!(u16).range(1..=3650)
}

pub(crate) fn doctor(args: &DoctorArgs) -> Result<(), Failure> {
    let soon = Duration::from_hours(24 * u64::from(args.days));
    let mut found = ca_doctor(&args.dir, soon, UnixTime::now())?;
    let layout = Layout::new(&args.dir);
    if layout.broker().dir.exists() {
        let status = match ask(&layout.admin_socket(), &Request::Status) {
            Ok(Answer::Status(status)) => Ok(status),
            Ok(_) => Err(AskError::OtherAnswer),
            Err(error) => Err(error),
        };
        let dir = quoted(&args.dir);
        found
            .checks
            .extend(broker_checks(&status, found.newest_list.as_ref(), &dir));
    }
    let count = |verdict| {
        found
            .checks
            .iter()
            .filter(|it| it.verdict == verdict)
            .count()
    };
    let (warnings, bad) = (count(Verdict::Warn), count(Verdict::Bad));
    if args.json {
        let checks: Vec<_> = found.checks.iter().map(in_json).collect();
        println!(
            "{}",
            json!({ "checks": checks, "warnings": warnings, "bad": bad })
        );
    } else {
        print_checks(&found.checks);
        println!("{bad} bad, {warnings} to look at");
        println!("next: {}", next(&found.checks, args));
    }
    if bad == 0 {
        Ok(())
    } else {
        Err(Failure::silent(FAILED))
    }
}

/// What an operator types first: what mends the worst.
fn next(checks: &[Check], args: &DoctorArgs) -> String {
    let worst = checks
        .iter()
        .filter(|it| it.verdict != Verdict::Ok && it.mend.is_some());
    // Of several that are as bad, the first.
    let worst = worst.rev().max_by_key(|it| it.verdict);
    match worst.and_then(|it| it.mend.as_deref()) {
        Some(mend) => mend.to_owned(),
        None => format!(
            "countersign ca backup --dir {} --out FILE",
            quoted(&args.dir)
        ),
    }
}

fn print_checks(checks: &[Check]) {
    for check in checks {
        let (verdict, name) = (check.verdict.as_str(), check.name);
        println!("{verdict:<5} {name}: {}", plain(&check.why));
        if let Some(mend) = &check.mend {
            println!("      mend: {}", plain(mend));
        }
    }
}

fn in_json(check: &Check) -> Value {
    json!({
        "check": check.name,
        "verdict": check.verdict.as_str(),
        "why": check.why,
        "mend": check.mend,
    })
}

fn broker_checks(
    status: &Result<Status, AskError>,
    newest: Option<&(ListId, ListNumber)>,
    dir: &str,
) -> Vec<Check> {
    let status = match status {
        Ok(status) => status,
        Err(error @ AskError::NoBroker(_)) => {
            return vec![
                Check::warn(BROKER, WithCauses(error))
                    .mended_by(format!("countersign broker run --config {dir}/broker.toml")),
            ];
        }
        Err(error) => {
            return vec![
                Check::bad(BROKER, WithCauses(error))
                    .mended_by(format!("countersign broker status --dir {dir}")),
            ];
        }
    };
    let broker = if status.warnings.is_empty() {
        let (version, sessions) = (&status.version, status.sessions);
        Check::ok(
            BROKER,
            format!("version {version} answers, with {sessions} sessions"),
        )
    } else {
        Check::warn(BROKER, status.warnings.join("; "))
            .mended_by(format!("countersign broker status --dir {dir}"))
    };
    let list = newest.map(|newest| list_check(status, newest, dir));
    std::iter::once(broker).chain(list).collect()
}

fn list_check(status: &Status, (id, newest): &(ListId, ListNumber), dir: &str) -> Check {
    let known = status.revocation_lists.iter().find(|it| it.id == *id);
    let reload = format!("countersign broker reload --dir {dir}");
    let publish = format!("countersign crl publish --dir {dir}");
    let Some(known) = known else {
        let why = format!("it does not know list {newest}");
        return Check::bad(BROKER_LIST, why).mended_by(reload);
    };
    let number = &known.number;
    match known.state {
        _ if number < newest => {
            let why = format!("it goes by number {number}, and {newest} was published");
            Check::bad(BROKER_LIST, why).mended_by(reload)
        }
        _ if number > newest => {
            let why = format!("it has seen number {number}, and here {newest} is the newest");
            Check::bad(BROKER_LIST, why).mended_by(publish)
        }
        ListState::Fresh => Check::ok(BROKER_LIST, format!("it goes by number {number}")),
        ListState::NotYet | ListState::Stale | ListState::Refusing => {
            let why = format!("number {number} is not of the present, by the broker's clock");
            Check::bad(BROKER_LIST, why).mended_by(publish)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(number: &str, state: &str, warnings: &[&str]) -> Status {
        let list = json!({
            "id": "ab/all", "number": number, "entries": 0, "this_update": 0, "next_update": 9,
            "state": state,
        });
        let status = json!({
            "version": "1", "started": 0, "now": 0, "listeners": [], "connections": 0,
            "sessions": 3, "revocation_lists": [list], "own_revocations": 0,
            "policy_generation": 0, "warnings": warnings,
        });
        serde_json::from_value(status).unwrap()
    }

    fn told(status: &Result<Status, AskError>, id: &str) -> Vec<(Verdict, String)> {
        let newest = (ListId::parse(id).unwrap(), ListNumber::from(5));
        let checks = broker_checks(status, Some(&newest), "DIR");
        let mend = |it: Check| (it.verdict, it.mend.unwrap_or_default().to_string());
        checks.into_iter().map(mend).collect()
    }

    #[test]
    fn a_broker_that_does_not_know_the_newest_list_is_found() {
        const RELOAD: &str = "countersign broker reload --dir DIR";
        const PUBLISH: &str = "countersign crl publish --dir DIR";
        for (number, state, id, verdict, mend) in [
            ("05", "fresh", "ab/all", Verdict::Ok, ""),
            ("04", "fresh", "ab/all", Verdict::Bad, RELOAD),
            ("05", "fresh", "cd/all", Verdict::Bad, RELOAD),
            ("06", "fresh", "ab/all", Verdict::Bad, PUBLISH),
            ("05", "stale", "ab/all", Verdict::Bad, PUBLISH),
            ("05", "refusing", "ab/all", Verdict::Bad, PUBLISH),
            ("05", "not-yet", "ab/all", Verdict::Bad, PUBLISH),
        ] {
            let told = told(&Ok(status(number, state, &[])), id);
            assert_eq!(told[0].0, Verdict::Ok);
            assert_eq!(told[1], (verdict, mend.to_owned()), "{number} {state} {id}");
        }
    }

    #[test]
    fn a_broker_that_is_silent_or_complains_is_found() {
        let silent = Err(AskError::NoBroker("DIR/admin.sock".into()));
        let run = "countersign broker run --config DIR/broker.toml".to_owned();
        assert_eq!(told(&silent, "ab/all"), [(Verdict::Warn, run)]);
        let hung_up = Err(AskError::HungUp("DIR/admin.sock".into()));
        assert_eq!(told(&hung_up, "ab/all")[0].0, Verdict::Bad);
        let complains = Ok(status("05", "fresh", &["the disk is full"]));
        assert_eq!(told(&complains, "ab/all")[0].0, Verdict::Warn);
    }
}
