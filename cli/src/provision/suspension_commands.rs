//! `countersign device suspend` and `device resume`, and having the broker that runs beside the
//! authority read a new list.

use crate::failure::{FAILED, Failure};
use crate::operate::admin::{AskError, ask};
use crate::operate::broker_admin::subject;
use crate::provision::passphrase::PassphraseArgs;
use crate::provision::revocation_commands::{print_published, published_json};
use certs::admin::{Answer, Outcome, Reloaded, Request};
use certs::{Subject, TimeText};
use clap::Args;
use provisioning::{Layout, SuspendRequest, device_resume, device_suspend};
use rustls_pki_types::UnixTime;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Whom to suspend or to let in again.
#[derive(Debug, Args)]
pub(crate) struct SuspendArgs {
    /// The device id, or app/ and the id of an application.
    #[arg(value_name = "ID", value_parser = subject)]
    id: Subject,
    /// The directory of the authority.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    #[command(flatten)]
    passphrase: PassphraseArgs,
    /// Print one object of JSON instead of words.
    #[arg(long)]
    json: bool,
}

pub(crate) fn suspend(args: &SuspendArgs) -> Result<(), Failure> {
    let passphrase = args.passphrase.open(&args.dir)?;
    let request = SuspendRequest {
        dir: &args.dir,
        passphrase: passphrase.as_ref(),
        subject: &args.id,
    };
    let done = device_suspend(&request, UnixTime::now())?;
    let told = reload_broker(&args.dir);
    if args.json {
        let suspended = json!({
            "device": done.subject,
            "suspended_at": done.since.as_secs(),
            "list": published_json(&done.list),
            "broker": broker_json(&told),
        });
        println!("{suspended}");
    } else {
        println!("{}: suspended since {}", done.subject, TimeText(done.since));
        print_published(&done.list);
        print_broker(&told, &args.dir);
        let dir = args.dir.display();
        println!(
            "next: countersign device resume {} --dir {dir}",
            done.subject
        );
    }
    not_told(told, &format!("{} is suspended and on the list", args.id))
}

pub(crate) fn resume(args: &SuspendArgs) -> Result<(), Failure> {
    let passphrase = args.passphrase.open(&args.dir)?;
    let request = SuspendRequest {
        dir: &args.dir,
        passphrase: passphrase.as_ref(),
        subject: &args.id,
    };
    let done = device_resume(&request, UnixTime::now())?;
    let told = reload_broker(&args.dir);
    if args.json {
        let resumed = json!({
            "device": done.subject,
            "was_suspended": done.was_suspended,
            "list": published_json(&done.list),
            "broker": broker_json(&told),
        });
        println!("{resumed}");
    } else {
        let was = if done.was_suspended {
            "is let in again"
        } else {
            "was not suspended"
        };
        println!("{}: {was}", done.subject);
        print_published(&done.list);
        print_broker(&told, &args.dir);
        let dir = args.dir.display();
        println!("next: countersign device show {} --dir {dir}", done.subject);
    }
    not_told(told, &format!("{} is off the list", args.id))
}

/// Whether the broker that runs beside the authority goes by the new list; `None` when none runs.
pub(crate) type Told = Result<Option<Reloaded>, AskError>;

/// Has the broker that runs in `dir` read its files again.
pub(crate) fn reload_broker(dir: &Path) -> Told {
    match ask(&Layout::new(dir).admin_socket(), &Request::Reload) {
        Ok(Answer::Reloaded(reloaded)) => Ok(Some(reloaded)),
        Ok(_) => Err(AskError::OtherAnswer),
        Err(AskError::NoBroker(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

pub(crate) fn broker_json(told: &Told) -> Value {
    json!(told.as_ref().ok().and_then(Option::as_ref))
}

pub(crate) fn print_broker(told: &Told, dir: &Path) {
    match told {
        Ok(Some(it)) => {
            let s = if it.sessions_closed == 1 { "" } else { "s" };
            let (closed, milliseconds) = (it.sessions_closed, it.milliseconds);
            println!("broker: goes by it, {closed} session{s} closed in {milliseconds} ms");
        }
        Ok(None) => println!("no broker runs in {}: it reads the list", dir.display()),
        Err(_) => {}
    }
}

/// A failure if a broker runs that does not go by the new list.
pub(crate) fn not_told(told: Told, done: &str) -> Result<(), Failure> {
    let words = || format!("{done}, and the broker does not go by it");
    match told {
        Ok(reloaded) => {
            let refused = reloaded.iter().flat_map(|it| &it.parts).find(|part| {
                part.part == "revocation"
                    && !matches!(part.outcome, Outcome::Changed | Outcome::Same)
            });
            refused.map_or(Ok(()), |part| {
                let problems = part.problems.join("; ");
                Err(Failure::new(FAILED, format!("{}: {problems}", words())))
            })
        }
        Err(error) => Err(Failure::new(FAILED, words()).because(&error)),
    }
}
