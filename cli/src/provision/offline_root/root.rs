//! `countersign ca root`: the root where there is no network.

use super::confirmed;
use crate::failure::Failure;
use crate::operate::broker_admin::reasons;
use crate::operate::broker_admin::table::table;
use crate::provision::ca_commands::{trust_domain, words_of};
use crate::provision::passphrase::PassphraseArgs;
use certs::{Hex, RevocationReason, Serial, TimeText, TrustDomain};
use clap::{Args, Subcommand};
use pkcs11::KeyUri;
use provisioning::{
    Algorithm, Certified, CertifiedStatus, RootInitRequest, RootListRequest, RootSignRequest,
    RootStatus, ToCertify, key_kept_of_root, quoted, root_init, root_list, root_revoke, root_sign,
    root_status,
};
use rustls_pki_types::UnixTime;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// A root that is kept apart, on a machine without a network.
#[derive(Debug, Subcommand)]
pub(crate) enum RootCommand {
    /// Make a root alone.
    ///
    /// Its key is kept in DIR/ca, encrypted under a passphrase, or is in a token. Without a
    /// passphrase it is kept as it is, and named as what it is then: for development only. Given
    /// again, it keeps what is there. Keep a copy of DIR on a second medium.
    #[command(after_help = INIT_HELP)]
    Init(InitArgs),
    /// Say how the root stands: its fingerprint, what it has certified, its last list.
    ///
    /// No key is opened, and nothing is changed.
    #[command(after_help = "Example:\n  countersign ca root status --dir /media/vault/root")]
    Status(StatusArgs),
    /// Certify the authorities that ask for it, once somebody has compared their keys.
    ///
    /// A request gives a public key and a role; the name and all else is the root's to say. What is
    /// signed is on record before it is written to FILE, with the root behind it. The same key gets
    /// the same certificate again. Exit code 5 if one request is not what it should be, 2 if nobody
    /// confirmed them: then nothing is signed.
    #[command(after_help = SIGN_HELP)]
    Sign(SignArgs),
    /// Revoke an authority that the root has certified. It is on the next list.
    #[command(after_help = REVOKE_HELP)]
    Revoke(RevokeArgs),
    /// Sign the list of the authorities that the root has revoked.
    ///
    /// Its number is higher than that of any list before.
    #[command(after_help = CRL_HELP)]
    Crl(CrlArgs),
}

const INIT_HELP: &str = "\
Examples:
  countersign ca root init --dir /media/vault/root --organization Acme --trust-domain acme.example
  countersign ca root init --dir /media/vault/root --organization Acme --key \
'pkcs11:token=root;object=root?module-path=/usr/lib/softhsm/libsofthsm2.so'";

const SIGN_HELP: &str = "\
Example:
  countersign ca root sign --dir /media/vault/root /media/stick/requests.pem --out /media/stick";

const REVOKE_HELP: &str = "\
Example:
  countersign ca root revoke 4f0c… --reason ca-compromise --dir /media/vault/root";

const CRL_HELP: &str = "\
Example:
  countersign ca root crl --dir /media/vault/root --out /media/stick";

/// Which root there must be.
#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// An empty or new directory.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// The trust domain of all below it, a name like a DNS name in lower case [default:
    /// countersign.local].
    #[arg(long, value_name = "NAME", value_parser = trust_domain)]
    trust_domain: Option<TrustDomain>,
    /// Whose root it is: it stands in its name, and in the names of those below. Needs a
    /// passphrase, or a key in a token.
    #[arg(long, value_name = "NAME")]
    organization: Option<String>,
    /// The key, when it is in a token (RFC 7512) [default: a new P-384 key in a file].
    #[arg(long, value_name = "URI")]
    key: Option<KeyUri>,
    #[command(flatten)]
    passphrase: PassphraseArgs,
    /// Print one object of JSON instead of words.
    #[arg(long)]
    json: bool,
}

/// Which root to look at.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// The directory of the root.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Print one object of JSON instead of words.
    #[arg(long)]
    json: bool,
}

/// What to sign.
#[derive(Debug, Args)]
pub(crate) struct SignArgs {
    /// The files that `ca request` wrote.
    #[arg(value_name = "REQUEST", required = true)]
    requests: Vec<PathBuf>,
    /// The directory of the root.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// The file for the certificates, or the directory for certificates.pem.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Sign without asking: the keys are those that `ca request` showed.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    passphrase: PassphraseArgs,
    /// Print one object of JSON instead of words.
    #[arg(long)]
    json: bool,
}

/// Whom to revoke.
#[derive(Debug, Args)]
pub(crate) struct RevokeArgs {
    /// The serial number of its certificate, as `ca root status` shows it.
    #[arg(value_name = "SERIAL", value_parser = serial)]
    serial: Serial,
    /// The directory of the root.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Why (RFC 5280 §5.3.1).
    #[arg(long, value_name = "REASON", value_parser = reasons())]
    reason: RevocationReason,
    /// Print one object of JSON instead of words.
    #[arg(long)]
    json: bool,
}

/// Which list to sign.
#[derive(Debug, Args)]
pub(crate) struct CrlArgs {
    /// The directory of the root.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// The file for the list, or the directory for root.crl.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// For how many days it is good, at most 365 [default: 180].
    #[arg(long, value_name = "DAYS")]
    days: Option<u32>,
    #[command(flatten)]
    passphrase: PassphraseArgs,
    /// Print one object of JSON instead of words.
    #[arg(long)]
    json: bool,
}

fn serial(text: &str) -> Result<Serial, String> {
    Serial::parse(text).ok_or_else(|| "a serial number has hexadecimal digits".to_owned())
}

pub(crate) fn run(command: &RootCommand) -> Result<(), Failure> {
    match command {
        RootCommand::Init(args) => init(args),
        RootCommand::Status(args) => status(args),
        RootCommand::Sign(args) => sign(args),
        RootCommand::Revoke(args) => revoke(args),
        RootCommand::Crl(args) => crl(args),
    }
}

fn init(args: &InitArgs) -> Result<(), Failure> {
    let makes_key = args.key.is_none() && root_status(&args.dir, UnixTime::now()).is_err();
    let organization = args.organization.as_deref();
    let words = "the key of an organization is encrypted: name a file with --passphrase-file";
    let passphrase = args
        .passphrase
        .of_authority(makes_key, (organization, words))?;
    let request = RootInitRequest {
        dir: &args.dir,
        trust_domain: args.trust_domain.as_ref(),
        organization,
        passphrase: passphrase.as_ref(),
        token: args.key.as_ref(),
    };
    let made = root_init(&request, UnixTime::now())?;
    let domain = &made.trust_domain;
    let next = format!("countersign ca request --dir DIR --trust-domain {domain} --out FILE");
    if args.json {
        let made = json!({
            "dir": args.dir,
            "made": made.made,
            "name": made.name,
            "trust_domain": domain.as_str(),
            "sha256": Hex(&made.fingerprint).to_string(),
            "key": made.key.as_str(),
            "cert": made.cert,
            "next": next,
        });
        println!("{made}");
        return Ok(());
    }
    let (verb, key) = (if made.made { "made" } else { "kept" }, made.key.as_str());
    println!(
        "{}: {} for {domain} {verb}, its key: {key}",
        args.dir.display(),
        made.name
    );
    println!("its certificate has the SHA-256 {}", Hex(&made.fingerprint));
    println!("next, where certificates are issued: {next}");
    Ok(())
}

fn status(args: &StatusArgs) -> Result<(), Failure> {
    let found = root_status(&args.dir, UnixTime::now())?;
    if args.json {
        println!("{}", status_json(&found));
    } else {
        print_status(&found, &args.dir);
    }
    Ok(())
}

fn print_status(found: &RootStatus, dir: &Path) {
    let algorithm = found.algorithm.map_or("other".to_owned(), words_of);
    println!("trust domain {}", found.trust_domain);
    println!(
        "root {}, {algorithm}, key {}, until {}",
        found.subject,
        found.key.as_str(),
        TimeText(found.not_after)
    );
    println!(
        "its certificate has the SHA-256 {}",
        Hex(&found.fingerprint)
    );
    let row = |it: &CertifiedStatus| {
        [
            it.role.as_str().to_owned(),
            it.name.to_string(),
            TimeText(it.not_after).to_string(),
            it.revoked
                .map_or("good".to_owned(), |it| format!("revoked {it}")),
            it.serial.to_string(),
        ]
    };
    let header = ["AUTHORITY", "NAME", "UNTIL", "STATE", "SERIAL"];
    print!(
        "{}",
        table(header, found.certified.iter().map(row).collect())
    );
    match &found.list {
        Some(list) => println!(
            "revocation list {} with {} entries, next update {}",
            list.number,
            list.entries,
            TimeText(list.next_update)
        ),
        None => println!("no revocation list was signed"),
    }
    println!(
        "next: countersign ca root sign --dir {} REQUEST --out FILE",
        quoted(dir)
    );
}

fn status_json(found: &RootStatus) -> Value {
    let certified = |it: &CertifiedStatus| {
        json!({
            "authority": it.role.as_str(),
            "name": it.name,
            "serial": it.serial,
            "key_sha256": Hex(&it.key).to_string(),
            "not_after": it.not_after.as_secs(),
            "revoked": it.revoked.map(|it| json!({
                "at": it.at.as_secs(),
                "reason": it.reason.to_string(),
            })),
        })
    };
    json!({
        "trust_domain": found.trust_domain.as_str(),
        "subject": found.subject,
        "sha256": Hex(&found.fingerprint).to_string(),
        "not_after": found.not_after.as_secs(),
        "algorithm": found.algorithm.map(Algorithm::as_str),
        "key": found.key.as_str(),
        "certified": found.certified.iter().map(certified).collect::<Vec<_>>(),
        "list": found.list.as_ref().map(|it| json!({
            "number": it.number,
            "entries": it.entries,
            "next_update": it.next_update.as_secs(),
        })),
    })
}

fn sign(args: &SignArgs) -> Result<(), Failure> {
    let kept = key_kept_of_root(&args.dir)?;
    let passphrase = args.passphrase.open_kept(&args.dir, kept)?;
    let request = RootSignRequest {
        dir: &args.dir,
        passphrase: passphrase.as_ref(),
        requests: &args.requests,
        out: &args.out,
    };
    let confirm = |all: &[ToCertify]| {
        eprintln!("to be signed:");
        for it in all {
            eprintln!("  {}", words(it));
        }
        args.yes || confirmed("Are these the keys that `ca request` showed?")
    };
    let signed = root_sign(&request, confirm, UnixTime::now())?;
    let next = format!("countersign ca install --dir DIR {}", quoted(&signed.out));
    if args.json {
        println!("{}", signed_json(&signed, &next));
        return Ok(());
    }
    println!(
        "{}: signed, with the root {}",
        signed.out.display(),
        Hex(&signed.root)
    );
    for it in &signed.authorities {
        println!("  {}", words(it));
    }
    println!("next, where they were asked for: {next}");
    Ok(())
}

/// What is asked, or certified, in one line. The file may be called anything.
fn words(it: &ToCertify) -> String {
    let algorithm = it.algorithm.map_or("other".to_owned(), words_of);
    let has = it
        .certified
        .map_or(String::new(), |it| format!(", certificate {it}"));
    let (role, name, key) = (it.role.as_str(), &it.name, Hex(&it.key));
    format!("{role}: {name}, {algorithm}, key SHA-256 {key}{has}")
}

fn signed_json(signed: &Certified, next: &str) -> Value {
    let authority = |it: &ToCertify| {
        json!({
            "authority": it.role.as_str(),
            "name": it.name,
            "algorithm": it.algorithm.map(Algorithm::as_str),
            "key_sha256": Hex(&it.key).to_string(),
            "serial": it.certified,
            "request": it.path,
        })
    };
    json!({
        "authorities": signed.authorities.iter().map(authority).collect::<Vec<_>>(),
        "root_sha256": Hex(&signed.root).to_string(),
        "out": signed.out,
        "next": next,
    })
}

fn revoke(args: &RevokeArgs) -> Result<(), Failure> {
    let done = root_revoke(&args.dir, args.serial, args.reason, UnixTime::now())?;
    let next = format!(
        "countersign ca root crl --dir {} --out FILE",
        quoted(&args.dir)
    );
    if args.json {
        let done = json!({
            "name": done.name,
            "serial": done.serial,
            "at": done.revoked.at.as_secs(),
            "reason": done.revoked.reason.to_string(),
            "next": next,
        });
        println!("{done}");
    } else {
        println!("{}: revoked {}", done.name, done.revoked);
        println!("next: {next}");
    }
    Ok(())
}

fn crl(args: &CrlArgs) -> Result<(), Failure> {
    let kept = key_kept_of_root(&args.dir)?;
    let passphrase = args.passphrase.open_kept(&args.dir, kept)?;
    let request = RootListRequest {
        dir: &args.dir,
        passphrase: passphrase.as_ref(),
        days: args.days,
        out: &args.out,
    };
    let listed = root_list(&request, UnixTime::now())?;
    let next = format!("countersign ca install --dir DIR {}", quoted(&listed.out));
    if args.json {
        let listed = json!({
            "number": listed.number,
            "entries": listed.entries,
            "next_update": listed.next_update.as_secs(),
            "out": listed.out,
            "next": next,
        });
        println!("{listed}");
    } else {
        println!(
            "{}: revocation list {} of the root with {} entries, next update {}",
            listed.out.display(),
            listed.number,
            listed.entries,
            TimeText(listed.next_update)
        );
        println!("next, where certificates are issued: {next}");
    }
    Ok(())
}
