//! `countersign ca request`: keys made here, and requests to carry to where the root is.

use super::{awaited_json, awaited_words};
use crate::failure::Failure;
use crate::provision::ca_commands::{algorithm, key_in_token, trust_domain, warn_of};
use crate::provision::passphrase::PassphraseArgs;
use certs::{Role, TrustDomain};
use clap::{Args, ValueEnum};
use pkcs11::KeyUri;
use provisioning::{Algorithm, CertifyRequest, ca_request, ca_status, quoted};
use rustls_pki_types::UnixTime;
use serde_json::json;
use std::path::PathBuf;

pub(crate) const HELP: &str = "\
Exit code 2 if the key of the root is in DIR, 5 if an authority of the role is on its way.

Examples:
  countersign ca request --dir /srv/ca --trust-domain acme.example \
--passphrase-file /run/credentials/ca --out /media/stick
  countersign ca request --dir /srv/ca --role device-ca --out /media/stick";

/// What to ask for.
#[derive(Debug, Args)]
pub(crate) struct RequestArgs {
    /// The directory of the authorities: an empty or new one, or one whose root is elsewhere.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// The file for the requests, or the directory for requests.pem.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Which one is to be followed by another [default: both, where there are none].
    #[arg(long, value_name = "ROLE")]
    role: Option<Asking>,
    /// The trust domain: that of the root [default: countersign.local].
    #[arg(long, value_name = "NAME", value_parser = trust_domain)]
    trust_domain: Option<TrustDomain>,
    /// With what they sign: p256, p384 or ed25519 [default: p256, or as the one before].
    #[arg(long, value_name = "ALGORITHM", value_parser = algorithm)]
    algorithm: Option<Algorithm>,
    /// A key that is in a token: of device-ca or server-ca, and where it is (RFC 7512) [default: a
    /// new key in a file].
    #[arg(long, value_name = "ROLE=URI", value_parser = key_in_token)]
    key: Vec<(Role, KeyUri)>,
    /// Ask although the one before the last is not retired.
    #[arg(long)]
    another: bool,
    #[command(flatten)]
    passphrase: PassphraseArgs,
    /// Print one object of JSON instead of words.
    #[arg(long)]
    json: bool,
}

/// Those that a root elsewhere certifies.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Asking {
    /// The one that issues to devices and applications.
    DeviceCa,
    /// The one that issues to brokers.
    ServerCa,
}

pub(crate) fn request(args: &RequestArgs) -> Result<(), Failure> {
    let now = UnixTime::now();
    let in_token = |role: Role| args.key.iter().any(|(of, _)| *of == role);
    let in_tokens = in_token(Role::DeviceCa) && in_token(Role::ServerCa);
    let passphrase = match ca_status(&args.dir, now) {
        Ok(there) if !there.authorities.is_empty() => args.passphrase.open(&args.dir)?,
        // Both keys are there, and nothing is made.
        Ok(there) if there.awaited.len() > 1 => None,
        Ok(_) | Err(_) if in_tokens => args.passphrase.read_file()?,
        Ok(_) | Err(_) => args.passphrase.choose()?,
    };
    let request = CertifyRequest {
        dir: &args.dir,
        role: args.role.map(|role| match role {
            Asking::DeviceCa => Role::DeviceCa,
            Asking::ServerCa => Role::ServerCa,
        }),
        trust_domain: args.trust_domain.as_ref(),
        algorithm: args.algorithm,
        passphrase: passphrase.as_ref(),
        tokens: &args.key,
        another: args.another,
        out: &args.out,
    };
    let asked = ca_request(&request, now)?;
    let next = format!(
        "countersign ca root sign --dir ROOT-DIR {} --out FILE",
        quoted(&asked.out)
    );
    if args.json {
        let asked = json!({
            "dir": args.dir,
            "made": asked.made,
            "trust_domain": asked.trust_domain.as_str(),
            "awaited": asked.awaited.iter().map(awaited_json).collect::<Vec<_>>(),
            "out": asked.out,
            "next": next,
        });
        println!("{asked}");
    } else {
        let verb = if asked.made { "made" } else { "kept" };
        println!(
            "{}: requests for {} {verb}",
            asked.out.display(),
            asked.trust_domain
        );
        for it in &asked.awaited {
            println!("  {}", awaited_words(it));
        }
        println!("next, where the root is: {next}");
    }
    warn_of(args.algorithm);
    Ok(())
}
