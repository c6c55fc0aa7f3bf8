//! `countersign ca rotate`: a new authority in the place of one that issues, and telling the broker
//! that runs beside it.
//!
//! The broker goes by the new anchor before anything is issued below it.

use crate::failure::{FAILED, Failure, PARTLY, USAGE};
use crate::operate::admin::{AskError, ask};
use crate::provision::ca_commands::algorithm;
use crate::provision::passphrase::PassphraseArgs;
use crate::provision::revocation_commands::{
    exported_json, print_exported, print_published, published_json,
};
use crate::provision::suspension_commands::{Told, broker_json, print_broker, reload_broker};
use certs::admin::{Answer, Outcome, Request, SessionFilter};
use certs::{Role, Serial};
use clap::{Args, ValueEnum};
use pkcs11::KeyUri;
use provisioning::{
    Algorithm, AuthorityStage, KeyFate, Layout, RotateRequest, Rotated, RotationStage, ca_rotate,
};
use rustls_pki_types::UnixTime;
use serde_json::{Value, json};
use std::fmt::Display;
use std::path::{Path, PathBuf};

pub(crate) const HELP: &str = "\
A root is rotated in the same stages: published, it stands beside the one before in DIR/ca.pem and \
in `trust export`; switched to, it signs the next device CA and server CA, and brokers show those \
who trust only the one before the way to it; that one is retired once nothing below it is trusted.

Exit code 0 if the authority is at the stage, 3 if it is and a running broker does not go by it, 4 \
if none was prepared or none can be retired, 5 if a stage was left out or somebody would be cut off.

Example:
  countersign ca rotate --role device-ca --stage prepare --dir certs/dev
  countersign ca rotate --role device-ca --stage publish --dir certs/dev
  countersign ca rotate --role device-ca --stage switch --dir certs/dev
  countersign device list --device-ca 1 --dir certs/dev
  countersign ca rotate --role device-ca --stage retire --key destroy --dir certs/dev
  countersign ca rotate --role device-ca --stage prepare --dir /srv/ca --key \
'pkcs11:token=acme;object=device-ca-2?module-path=/usr/lib/softhsm/libsofthsm2.so'";

/// Which authority, to which stage.
#[derive(Debug, Args)]
pub(crate) struct RotateArgs {
    /// Which authority.
    #[arg(long, value_name = "ROLE")]
    role: Rotating,
    /// To which stage.
    #[arg(long, value_name = "STAGE")]
    stage: Stage,
    /// The directory of the authority.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// prepare: with what the new one signs: p256, p384 or ed25519 [default: as the one before].
    #[arg(long, value_name = "ALGORITHM", value_parser = algorithm)]
    algorithm: Option<Algorithm>,
    /// prepare: begin although the one before the last is not retired.
    #[arg(long)]
    another: bool,
    /// retire: the one with this number [default: the oldest that another one follows].
    #[arg(long, value_name = "NUMBER")]
    number: Option<u32>,
    /// retire: although somebody holds a certificate of it, or is connected with one.
    #[arg(long)]
    cut_off: bool,
    /// prepare: the key of the new one, which is in a token (RFC 7512) [default: a new key in a
    /// file]; retire: what becomes of the key file, keep or destroy [default: keep]. Destroyed, it
    /// signs nothing more, and what is not copied elsewhere is gone.
    #[arg(long, value_name = "URI|FATE", value_parser = key)]
    key: Option<Key>,
    #[command(flatten)]
    passphrase: PassphraseArgs,
    /// Print one object of JSON instead of words.
    #[arg(long)]
    json: bool,
}

/// The authorities that are rotated.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Rotating {
    /// The one that issues to devices and applications.
    DeviceCa,
    /// The one that issues to brokers.
    ServerCa,
    /// The one that devices trust, and that issues to the other two.
    Root,
}

/// The stages of a rotation.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Stage {
    /// The new one is made.
    Prepare,
    /// Brokers trust it.
    Publish,
    /// It issues.
    Switch,
    /// The one before is trusted no more.
    Retire,
}

/// Where the key of the new one is, or what becomes of the key of the old one.
#[derive(Clone, Debug)]
enum Key {
    InToken(KeyUri),
    Fate(KeyFate),
}

fn key(text: &str) -> Result<Key, String> {
    match text {
        "keep" => Ok(Key::Fate(KeyFate::Keep)),
        "destroy" => Ok(Key::Fate(KeyFate::Destroy)),
        uri => match KeyUri::parse(uri) {
            Ok(uri) => Ok(Key::InToken(uri)),
            Err(why) => Err(format!("it is keep, destroy, or where a key is: {why}")),
        },
    }
}

impl RotateArgs {
    fn role(&self) -> Role {
        match self.role {
            Rotating::DeviceCa => Role::DeviceCa,
            Rotating::ServerCa => Role::ServerCa,
            Rotating::Root => Role::Root,
        }
    }

    fn stage(&self) -> RotationStage {
        match self.stage {
            Stage::Prepare => RotationStage::Prepare,
            Stage::Publish => RotationStage::Publish,
            Stage::Switch => RotationStage::Switch,
            Stage::Retire => RotationStage::Retire,
        }
    }

    fn token(&self) -> Option<&KeyUri> {
        match &self.key {
            Some(Key::InToken(uri)) => Some(uri),
            Some(Key::Fate(_)) | None => None,
        }
    }

    fn fate(&self) -> KeyFate {
        match &self.key {
            Some(Key::Fate(fate)) => *fate,
            Some(Key::InToken(_)) | None => KeyFate::Keep,
        }
    }

    /// What is said of another stage than this one was meant for something else.
    fn refuse_misplaced(&self) -> Result<(), Failure> {
        let destroys = self.fate() == KeyFate::Destroy;
        for (given, name, stage) in [
            (
                self.algorithm.is_some(),
                "--algorithm",
                RotationStage::Prepare,
            ),
            (self.another, "--another", RotationStage::Prepare),
            (self.number.is_some(), "--number", RotationStage::Retire),
            (self.cut_off, "--cut-off", RotationStage::Retire),
            (destroys, "--key destroy", RotationStage::Retire),
            (self.token().is_some(), "--key URI", RotationStage::Prepare),
        ] {
            if given && stage != self.stage() {
                let words = format!("{name} is for --stage {}", stage.as_str());
                return Err(Failure::new(USAGE, words));
            }
        }
        Ok(())
    }
}

pub(crate) fn rotate(args: &RotateArgs) -> Result<(), Failure> {
    args.refuse_misplaced()?;
    let passphrase = args.passphrase.open(&args.dir)?;
    let (role, stage) = (args.role(), args.stage());
    let is_device_ca = role == Role::DeviceCa;
    if is_device_ca && stage == RotationStage::Switch {
        expect_believed(&reload_broker(&args.dir), FAILED, "nothing was switched")?;
    }
    let connected = match stage {
        RotationStage::Retire if is_device_ca && !args.cut_off => connected(&args.dir)?,
        RotationStage::Prepare
        | RotationStage::Publish
        | RotationStage::Switch
        | RotationStage::Retire => Vec::new(),
    };
    let request = RotateRequest {
        passphrase: passphrase.as_ref(),
        algorithm: args.algorithm,
        another: args.another,
        number: args.number,
        cut_off: args.cut_off,
        connected: &connected,
        token: args.token(),
        key: args.fate(),
        ..RotateRequest::new(&args.dir, role, stage)
    };
    let done = ca_rotate(&request, UnixTime::now())?;
    let told = match stage {
        RotationStage::Publish | RotationStage::Switch | RotationStage::Retire if is_device_ca => {
            reload_broker(&args.dir)
        }
        _ => Ok(None),
    };
    let next = next_command(&done, &args.dir);
    if args.json {
        println!("{}", rotated_json(&done, (&told, &next)));
    } else {
        print_rotated(&done, (&args.dir, &told), stage);
        println!("next: {next}");
    }
    let what = format!("{} is {}", done.name, done.stage);
    expect_believed(&told, PARTLY, &what)
}

/// A failure if a broker runs that does not go by the files as they are.
fn expect_believed(told: &Told, code: u8, so: &str) -> Result<(), Failure> {
    let words = || format!("{so}: the broker does not go by what is there");
    match told {
        Err(error) => Err(Failure::new(code, words()).because(error)),
        Ok(None) => Ok(()),
        Ok(Some(reloaded)) => {
            let refused = reloaded.parts.iter().find(|part| {
                ["anchors", "revocation", "registry"].contains(&&*part.part)
                    && !matches!(part.outcome, Outcome::Changed | Outcome::Same)
            });
            refused.map_or(Ok(()), |part| {
                let problems = part.problems.join("; ");
                Err(Failure::new(code, format!("{}: {problems}", words())))
            })
        }
    }
}

/// The serial numbers of the certificates by which sessions go that the broker in `dir` has.
fn connected(dir: &Path) -> Result<Vec<Serial>, Failure> {
    let socket = Layout::new(dir).admin_socket();
    let (mut serials, mut after) = (Vec::new(), None);
    loop {
        let filter = SessionFilter {
            connected: Some(true),
            after,
            ..SessionFilter::default()
        };
        let page = match ask(&socket, &Request::Sessions(filter)) {
            Ok(Answer::Sessions(page)) => page,
            Ok(_) => return Err(unasked(&AskError::OtherAnswer)),
            Err(AskError::NoBroker(_)) => return Ok(serials),
            Err(error) => return Err(unasked(&error)),
        };
        serials.extend(page.sessions.iter().filter_map(|row| row.serial));
        after = page.more;
        if after.is_none() {
            return Ok(serials);
        }
    }
}

fn unasked(error: &AskError) -> Failure {
    Failure::new(
        FAILED,
        "the broker cannot be asked who is connected; nothing was retired",
    )
    .because(error)
}

fn print_rotated(done: &Rotated, (dir, told): (&Path, &Told), stage: RotationStage) {
    let was = if done.made { "" } else { " already" };
    println!("{}: {}{was}", done.name, done.stage);
    for file in &done.files {
        println!("  {}", file.display());
    }
    done.list.iter().for_each(print_published);
    done.export.iter().for_each(print_exported);
    if let Some((number, holders)) = done.before.filter(|_| stage != RotationStage::Retire) {
        let role = done.role.as_str();
        println!("{role} {number} is trusted, and {holders} hold a certificate of it");
    }
    if done.role == Role::DeviceCa && stage != RotationStage::Prepare {
        print_broker(told, dir);
    }
}

/// What to type now.
fn next_command(done: &Rotated, dir: &Path) -> String {
    let (role, shown) = (done.role, dir.display());
    match (done.stage, done.before) {
        (AuthorityStage::Prepared, _) => next_stage(role, RotationStage::Publish, &shown),
        (AuthorityStage::Published, _) => next_stage(role, RotationStage::Switch, &shown),
        (AuthorityStage::Active, Some((_, 1..))) if role == Role::Root => {
            // Then the server CA: nothing below the root before may be left.
            next_stage(Role::DeviceCa, RotationStage::Prepare, &shown)
        }
        (AuthorityStage::Active, Some((_, 0))) => next_stage(role, RotationStage::Retire, &shown),
        (AuthorityStage::Active, Some((number, _))) if role == Role::DeviceCa => {
            format!("countersign device list --device-ca {number} --dir {shown}")
        }
        (AuthorityStage::Active, Some(_)) => format!("countersign broker issue --dir {shown}"),
        (AuthorityStage::Active, None) | (AuthorityStage::Older | AuthorityStage::Retired, _) => {
            format!("countersign ca status --dir {shown}")
        }
    }
}

/// The command for a stage.
pub(crate) fn next_stage(role: Role, stage: RotationStage, dir: &impl Display) -> String {
    let (role, stage) = (role.as_str(), stage.as_str());
    format!("countersign ca rotate --role {role} --stage {stage} --dir {dir}")
}

fn rotated_json(done: &Rotated, (told, next): (&Told, &str)) -> Value {
    let before = done
        .before
        .map(|(number, holders)| json!({ "number": number, "holders": holders }));
    json!({
        "role": done.role.as_str(),
        "number": done.number,
        "name": done.name,
        "stage": done.stage.as_str(),
        "made": done.made,
        "files": done.files,
        "list": done.list.as_ref().map(published_json),
        "registry": done.export.as_ref().map(exported_json),
        "before": before,
        "broker": broker_json(told),
        "next": next,
    })
}
