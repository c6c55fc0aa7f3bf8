//! `countersign ca`: the authorities themselves.

use crate::failure::{FAILED, Failure};
use crate::operate::broker_admin::table::table;
use crate::provision::ca_audit_commands::{self, CaAuditCommand};
use crate::provision::care_commands::backup::{self, BackupArgs};
use crate::provision::care_commands::doctor::{self, DoctorArgs};
use crate::provision::care_commands::restore::{self, RestoreArgs};
use crate::provision::enrolment_commands::serve::{self, SERVE_HELP, ServeArgs};
use crate::provision::offline_root::install::{self, InstallArgs};
use crate::provision::offline_root::request::{self, RequestArgs};
use crate::provision::offline_root::root::{self, RootCommand};
use crate::provision::offline_root::{awaited_json, awaited_words};
use crate::provision::passphrase::PassphraseArgs;
use crate::provision::rotation_commands::{self, RotateArgs, next_stage};
use crate::runtime;
use certs::{Freshness, Role, TimeText, TrustDomain};
use clap::{Args, Subcommand};
use pkcs11::KeyUri;
use provisioning::{
    Algorithm, AuthorityStatus, CaInitialized, CaStatus, Finding, InitRequest, KeyKept, ListStatus,
    NextStep, RotationStage, Verification, ca_init, ca_status, ca_verify,
};
use rustls_pki_types::UnixTime;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// The authorities that issue certificates.
#[derive(Debug, Subcommand)]
pub(crate) enum CaCommand {
    /// Make a root, and below it an authority for devices and one for brokers.
    ///
    /// Their keys are kept in DIR/ca, readable by their owner alone, and encrypted under a
    /// passphrase. Without one they are kept as they are, and the authorities are named as what
    /// they are then: for development only. Given again, it keeps what is there.
    ///
    /// A key may also be in a token (PKCS #11), made there before. Then DIR/ca has a reference to
    /// it, and every command that needs the key opens the token: with the PIN in the file that the
    /// URI names by pin-source, or else with the passphrase.
    #[command(after_help = INIT_HELP)]
    Init(CaInitArgs),
    /// Say how the authorities stand: their keys, how long they last, the revocation list.
    ///
    /// No key is opened, and nothing is changed.
    #[command(after_help = "Example:\n  countersign ca status --dir certs/dev")]
    Status(CaStatusArgs),
    /// Check everything in DIR against the registry: certificates, audit chain, files, list.
    ///
    /// No key of an authority is opened, and nothing is changed. Exit code 1 if something is wrong.
    #[command(after_help = "Example:\n  countersign ca verify --dir certs/dev")]
    Verify(CaStatusArgs),
    /// Examine an authority: files, keys, clock, expiries, revocation list, registry, broker.
    ///
    /// Each check says how it is, why, and the command that mends it. No key is opened, and nothing
    /// is changed. Exit code 1 if something is bad, 0 if there are warnings at most.
    #[command(after_help = doctor::HELP)]
    Doctor(DoctorArgs),
    /// Put a new authority in the place of one that issues, stage by stage; cut nobody off.
    ///
    /// prepare: make a new one, which nobody trusts yet. publish: have brokers trust it, and
    /// publish its revocation list; devices trust the root, so nothing changes for them. switch:
    /// issue by it from here; the one before only signs its list. retire: take the one before out
    /// of what brokers trust.
    ///
    /// Each stage may be given again, and goes on where it was stopped. A broker that runs in DIR
    /// reads what is new; brokers elsewhere need DIR/ca/device-cas.pem and the lists.
    #[command(after_help = rotation_commands::HELP)]
    Rotate(RotateArgs),
    /// Back an authority up into one encrypted file, which `age` opens too.
    ///
    /// In it are the registry as it is at one moment, the authorities' keys as they are kept, the
    /// revocation list, and the configuration and key of the broker in DIR; not the keys of
    /// devices. Other commands may run meanwhile. Exit code 5 if FILE is there.
    #[command(after_help = backup::HELP)]
    Backup(BackupArgs),
    /// Restore an authority from a backup, into an empty directory or into its own.
    ///
    /// In its own directory nothing that was revoked since counts again, and no revocation list
    /// gets a number that was given out: what only the directory knew is kept, and the former
    /// authority beside the new one. Exit code 5 if the directory is another authority's, 2 if it
    /// holds something else.
    #[command(after_help = restore::HELP)]
    Restore(RestoreArgs),
    #[command(subcommand)]
    Root(RootCommand),
    /// Make keys for the authorities here, and requests for a root that is kept elsewhere.
    ///
    /// The keys are made as `ca init` makes them, and stay. Carry the requests to where the root is
    /// (`ca root sign`), and what it signs back here (`ca install`): until then nothing is issued.
    /// With --role, where they issue already, it asks for one that follows another. Given again, it
    /// asks for the same.
    #[command(after_help = request::HELP)]
    Request(RequestArgs),
    /// Install what a root elsewhere has signed: certificates, or its revocation list.
    ///
    /// Each certificate is verified against the root, and must be for a key that waits here. The
    /// first two issue from here on; one that follows another goes on with `ca rotate --stage
    /// publish`. The list is kept as DIR/ca/root.crl: brokers whose anchor is the root go by it,
    /// those of DIR trust the device CA itself.
    #[command(after_help = install::HELP)]
    Install(InstallArgs),
    #[command(subcommand)]
    Audit(CaAuditCommand),
    /// Serve enrolment over the network (EST, RFC 7030) until SIGTERM or SIGINT.
    ///
    /// The server makes itself a key at each start, and the authority for servers certifies it:
    /// devices trust DIR/ca.pem.
    #[command(after_help = SERVE_HELP)]
    Serve(ServeArgs),
}

const INIT_HELP: &str = "\
Examples:
  countersign ca init --dir certs/dev
  countersign ca init --dir /srv/ca --organization Acme --trust-domain acme.example \
--passphrase-file /run/credentials/ca
  countersign ca init --dir /srv/ca --passphrase-file /run/credentials/ca --key \
'device-ca=pkcs11:token=acme;object=device-ca?module-path=/usr/lib/softhsm/libsofthsm2.so\
&pin-source=/run/credentials/pin'";

/// Those who have a key in DIR/ca.
const ISSUERS: [Role; 3] = [Role::Root, Role::DeviceCa, Role::ServerCa];

/// What `ca init` makes.
#[derive(Debug, Args)]
pub(crate) struct CaInitArgs {
    /// An empty or new directory.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// The trust domain of all its certificates, a name like a DNS name in lower case
    /// [default: countersign.local].
    #[arg(long, value_name = "NAME", value_parser = trust_domain)]
    trust_domain: Option<TrustDomain>,
    /// Whose authorities they are: it stands in their names. Needs a passphrase.
    #[arg(long, value_name = "NAME")]
    organization: Option<String>,
    /// With what the authorities sign that issue: p256, p384 or ed25519; the root signs with p384.
    /// For trial also ml-dsa-44 or ml-dsa-65, which few programs besides this one know [default:
    /// p256].
    #[arg(long, value_name = "ALGORITHM", value_parser = algorithm)]
    algorithm: Option<Algorithm>,
    /// A key that is in a token: of root, device-ca or server-ca, and where it is (RFC 7512)
    /// [default: a new key in a file].
    #[arg(long, value_name = "ROLE=URI", value_parser = key_in_token)]
    key: Vec<(Role, KeyUri)>,
    #[command(flatten)]
    passphrase: PassphraseArgs,
    /// Print one object of JSON instead of words.
    #[arg(long)]
    json: bool,
}

/// Which authorities to look at.
#[derive(Debug, Args)]
pub(crate) struct CaStatusArgs {
    /// The directory of the authority.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Print one object of JSON instead of words.
    #[arg(long)]
    json: bool,
}

pub(crate) fn trust_domain(text: &str) -> Result<TrustDomain, String> {
    TrustDomain::parse(text).map_err(|error| error.to_string())
}

pub(crate) fn algorithm(text: &str) -> Result<Algorithm, String> {
    let names = Algorithm::ALL.map(Algorithm::as_str).join(", ");
    Algorithm::parse(text).ok_or_else(|| format!("there are {names}"))
}

pub(crate) fn key_in_token(text: &str) -> Result<(Role, KeyUri), String> {
    let (role, uri) = text.split_once('=').unwrap_or((text, ""));
    let role = Role::parse(role)
        .filter(|role| ISSUERS.contains(role))
        .ok_or("it begins with root=, device-ca= or server-ca=")?;
    let uri = KeyUri::parse(uri).map_err(|error| error.to_string())?;
    Ok((role, uri))
}

pub(crate) fn run(command: CaCommand) -> Result<(), Failure> {
    match command {
        CaCommand::Init(args) => init(&args),
        CaCommand::Status(args) => status(&args),
        CaCommand::Verify(args) => verify(&args),
        CaCommand::Doctor(args) => doctor::doctor(&args),
        CaCommand::Rotate(args) => rotation_commands::rotate(&args),
        CaCommand::Backup(args) => backup::backup(&args),
        CaCommand::Restore(args) => restore::restore(&args),
        CaCommand::Root(command) => root::run(&command),
        CaCommand::Request(args) => request::request(&args),
        CaCommand::Install(args) => install::install(&args),
        CaCommand::Audit(command) => ca_audit_commands::run(&command),
        CaCommand::Serve(args) => runtime()?.block_on(serve::run(&args)),
    }
}

fn init(args: &CaInitArgs) -> Result<(), Failure> {
    let there = ca_status(&args.dir, UnixTime::now()).is_ok();
    let in_tokens = |role: &Role| args.key.iter().any(|(of, _)| of == role);
    let makes_keys = !there && !ISSUERS.iter().all(in_tokens);
    let organization = args.organization.as_deref();
    let words = "the keys of an organization are encrypted: name a file with --passphrase-file";
    let passphrase = args
        .passphrase
        .of_authority(makes_keys, (organization, words))?;
    let request = InitRequest {
        dir: &args.dir,
        trust_domain: args.trust_domain.as_ref(),
        organization,
        algorithm: args.algorithm,
        passphrase: passphrase.as_ref(),
        tokens: &args.key,
    };
    let made = ca_init(&request, UnixTime::now())?;
    if args.json {
        println!("{}", made_json(&made));
    } else {
        print_made(&made);
    }
    warn_of(args.algorithm);
    Ok(())
}

/// Says on stderr that an algorithm is for trial.
pub(crate) fn warn_of(algorithm: Option<Algorithm>) {
    if let Some(algorithm) = algorithm.filter(|it| it.is_experimental()) {
        eprintln!(
            "countersign: {algorithm} is experimental: its form may change, and few TLS libraries \
             know it (OpenSSL since 3.5)"
        );
    }
}

fn made_json(made: &CaInitialized) -> Value {
    json!({
        "dir": made.layout.dir(),
        "made": made.made,
        "trust_domain": made.trust_domain.as_str(),
        "keys": made.keys.as_str(),
    })
}

fn print_made(made: &CaInitialized) {
    let dir = made.layout.dir().display();
    let verb = if made.made { "made" } else { "kept" };
    let keys = keys(made.keys);
    println!(
        "{dir}: authorities for {} {verb}, {keys}",
        made.trust_domain
    );
    println!("next: countersign device issue ID --dir {dir}");
}

fn keys(kept: KeyKept) -> &'static str {
    match kept {
        KeyKept::Encrypted => "their keys encrypted",
        KeyKept::Unencrypted => "their keys unencrypted: for development only",
        KeyKept::Token { .. } => "the key for devices in a token",
        KeyKept::Elsewhere => "their keys elsewhere",
    }
}

fn status(args: &CaStatusArgs) -> Result<(), Failure> {
    let now = UnixTime::now();
    let status = ca_status(&args.dir, now)?;
    if args.json {
        println!("{}", status_json(&status, (&args.dir, now)));
    } else {
        println!("{}", status_words(&status, (&args.dir, now)));
    }
    Ok(())
}

fn verify(args: &CaStatusArgs) -> Result<(), Failure> {
    let found = ca_verify(&args.dir, UnixTime::now())?;
    let whole = found.findings.is_empty();
    if args.json {
        println!("{}", verification_json(&found));
    } else {
        println!(
            "looked at {} certificates, {} audit entries, the files of {} holders, {}",
            found.certificates,
            found
                .entries
                .map_or("no".to_owned(), |count| count.to_string()),
            found.holders,
            found
                .list
                .map_or("no revocation list".to_owned(), |number| format!(
                    "revocation list {number}"
                )),
        );
        for Finding { about, what, .. } in &found.findings {
            println!("{about}: {what}");
        }
        let dir = args.dir.display();
        println!("next: countersign ca status --dir {dir}");
    }
    if whole {
        return Ok(());
    }
    let count = found.findings.len();
    Err(Failure::new(FAILED, format!("{count} things are wrong")))
}

fn verification_json(found: &Verification) -> Value {
    let finding = |it: &Finding| json!({ "about": it.about, "what": it.what });
    json!({
        "certificates": found.certificates,
        "audit_entries": found.entries,
        "holders": found.holders,
        "list": found.list,
        "findings": found.findings.iter().map(finding).collect::<Vec<_>>(),
    })
}

fn status_words(status: &CaStatus, (dir, now): (&Path, UnixTime)) -> String {
    let row = |it: &AuthorityStatus| {
        [
            authority(it),
            it.stage.to_string(),
            it.subject.to_string(),
            it.algorithm.map_or("other".to_owned(), words_of),
            it.key.as_str().to_owned(),
            TimeText(it.not_after).to_string(),
            it.serial.to_string(),
        ]
    };
    let header = [
        "AUTHORITY",
        "STAGE",
        "NAME",
        "SIGNS WITH",
        "KEY",
        "UNTIL",
        "SERIAL",
    ];
    let mut words = format!("trust domain {}\n", status.trust_domain);
    if !status.authorities.is_empty() {
        words += &table(header, status.authorities.iter().map(row).collect());
    }
    for it in &status.awaited {
        let _ = writeln!(words, "awaited of the root: {}", awaited_words(it));
    }
    let list = list_words(status.list.as_ref(), now);
    // Writing to a string does not fail.
    let _ = write!(words, "{list}\nnext: {}", next_words(status.next, dir));
    words
}

/// What its files are called.
fn authority(it: &AuthorityStatus) -> String {
    match it.number {
        1 => it.role.as_str().to_owned(),
        number => format!("{}-{number}", it.role.as_str()),
    }
}

/// An algorithm, marked when it is for trial.
pub(crate) fn words_of(algorithm: Algorithm) -> String {
    let mark = if algorithm.is_experimental() {
        " (experimental)"
    } else {
        ""
    };
    format!("{algorithm}{mark}")
}

fn list_words(list: Option<&ListStatus>, now: UnixTime) -> String {
    let Some(list) = list else {
        return "no revocation list was published".to_owned();
    };
    let hours = now.as_secs().saturating_sub(list.this_update.as_secs()) / 3600;
    let stale = match list.freshness {
        Freshness::Fresh => "",
        Freshness::Stale { .. } => ": out of date",
        Freshness::NotYet { .. } => ": made in the future, so a clock is wrong",
    };
    format!(
        "revocation list {} with {} entries, {hours} h old, next update {}{stale}",
        list.number,
        list.entries,
        TimeText(list.next_update)
    )
}

fn next_words(next: NextStep, dir: &Path) -> String {
    let dir = dir.display();
    match next {
        NextStep::Publish => format!("countersign crl publish --dir {dir}"),
        NextStep::Issue => format!("countersign device issue ID --dir {dir}"),
        NextStep::Ask(role) => {
            let role = role.as_str();
            format!("countersign ca request --role {role} --dir {dir} --out FILE")
        }
        NextStep::Install => format!("countersign ca install --dir {dir} FILE"),
        NextStep::Replace(role) => next_stage(role, RotationStage::Prepare, &dir),
        NextStep::GoOn(role, stage) => next_stage(role, stage, &dir),
    }
}

fn status_json(status: &CaStatus, (dir, now): (&Path, UnixTime)) -> Value {
    let authority = |it: &AuthorityStatus| {
        json!({
            "authority": it.role.as_str(),
            "number": it.number,
            "stage": it.stage.as_str(),
            "subject": it.subject,
            "algorithm": it.algorithm.map(Algorithm::as_str),
            "experimental": it.algorithm.is_some_and(Algorithm::is_experimental),
            "serial": it.serial,
            "not_after": it.not_after.as_secs(),
            "key": it.key.as_str(),
            "key_file": it.key_file,
            "list": it.list.as_ref().map(|it| list_json(it, now)),
        })
    };
    json!({
        "dir": dir,
        "trust_domain": status.trust_domain.as_str(),
        "authorities": status.authorities.iter().map(authority).collect::<Vec<_>>(),
        "awaited": status.awaited.iter().map(awaited_json).collect::<Vec<_>>(),
        "list": status.list.as_ref().map(|it| list_json(it, now)),
        "next": next_words(status.next, dir),
    })
}

fn list_json(list: &ListStatus, now: UnixTime) -> Value {
    json!({
        "number": list.number,
        "entries": list.entries,
        "this_update": list.this_update.as_secs(),
        "next_update": list.next_update.as_secs(),
        "age_seconds": now.as_secs().saturating_sub(list.this_update.as_secs()),
        "fresh": list.freshness == Freshness::Fresh,
    })
}
