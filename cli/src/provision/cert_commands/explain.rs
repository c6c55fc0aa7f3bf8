//! `countersign cert explain`: a certificate in words, and how it stands in the registry.

use super::input;
use crate::failure::{FAILED, Failure, NOT_FOUND, USAGE};
use crate::operate::broker_admin::table::plain;
use certs::{
    BasicConstraints, Certificate, CommonName, Hex, KeyAlgorithm, Role, Status, Subject, TimeText,
    parse_spiffe_uri,
};
use clap::Args;
use provisioning::{KnownCertificate, WhichCertificate, certificate_find};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, UnixTime};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

pub(super) const HELP: &str = "\
Examples:
  countersign cert explain certs/dev/devices/dev-1/cert.pem
  countersign cert explain sensor-7 --dir certs/dev
  countersign cert explain foreign.der --json";

/// What to explain.
#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// A file with certificates, or with --dir the id of a device (app/ID of an application).
    #[arg(value_name = "FILE|ID")]
    what: PathBuf,
    /// The directory of the authority whose registry is asked.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Print one object of JSON a certificate instead of words.
    #[arg(long)]
    json: bool,
}

/// A certificate, and what else is known of it.
struct Explained {
    certificate: Certificate,
    /// Our profile that it fits.
    profile: Option<Role>,
    known: Known,
    now: UnixTime,
}

/// What the registry says.
enum Known {
    NotAsked,
    No,
    Yes(KnownCertificate),
}

pub(super) fn explain(args: &ExplainArgs) -> Result<(), Failure> {
    let now = UnixTime::now();
    let (ders, known) = find(args)?;
    for (place, der) in ders.iter().enumerate() {
        let certificate = Certificate::read(der)
            .map_err(|error| Failure::new(FAILED, at(args, place)).because(&error))?;
        let known = match (&args.dir, &known) {
            (_, Some(known)) => Known::Yes(known.clone()),
            (Some(dir), None) => {
                let which = WhichCertificate::Sha256(&certificate.sha256);
                certificate_find(dir, which)?.map_or(Known::No, Known::Yes)
            }
            (None, None) => Known::NotAsked,
        };
        let profile = Role::fitted_by(&certificate);
        let explained = Explained {
            profile: profile.map_err(|error| Failure::from_error(FAILED, &error))?,
            certificate,
            known,
            now,
        };
        if args.json {
            println!("{}", explained.in_json());
        } else {
            println!("{}", at(args, place));
            print_lines(&explained.lines());
        }
    }
    if !args.json {
        println!("next: {}", next(args));
    }
    Ok(())
}

/// The certificates that are asked for, and the row of the registry by which they were found.
type Asked = (Vec<CertificateDer<'static>>, Option<KnownCertificate>);

/// A file of the name goes before a device of the name.
fn find(args: &ExplainArgs) -> Result<Asked, Failure> {
    let id = args.what.to_str().and_then(Subject::parse);
    let (Some(subject), false) = (id, args.what.exists()) else {
        return Ok((input::read(&args.what)?, None));
    };
    let Some(dir) = &args.dir else {
        let words = format!("there is no file {subject}; for a device, name its authority: --dir");
        return Err(Failure::new(USAGE, words));
    };
    let Some(known) = certificate_find(dir, WhichCertificate::Of(&subject))? else {
        let words = format!(
            "{subject} was never given a certificate in {}",
            dir.display()
        );
        return Err(Failure::new(NOT_FOUND, words));
    };
    let der = CertificateDer::from_pem_slice(known.pem.as_bytes());
    let der = der.map_err(|_| Failure::new(FAILED, "the registry holds no certificate of it"))?;
    Ok((vec![der], Some(known)))
}

fn at(args: &ExplainArgs, place: usize) -> String {
    format!("{}: certificate {}", args.what.display(), place + 1)
}

fn next(args: &ExplainArgs) -> String {
    let what = args.what.display();
    match &args.dir {
        Some(dir) if !Path::new(&args.what).exists() => {
            format!("countersign device show {what} --dir {}", dir.display())
        }
        Some(_) | None => format!("countersign cert lint {what}"),
    }
}

fn print_lines(lines: &[(&str, String)]) {
    for (label, words) in lines {
        println!("  {label:<13}{}", plain(words));
    }
}

impl Explained {
    fn lines(&self) -> Vec<(&'static str, String)> {
        let it = &self.certificate;
        let key = KeyAlgorithm::of(&it.public_key);
        let mut lines = vec![
            ("is", self.what()),
            ("subject", it.subject.to_string()),
            ("issued by", self.issuer()),
            (
                "profile",
                self.profile.map_or("none of ours", Role::as_str).to_owned(),
            ),
            ("serial", it.serial.to_string()),
            ("SHA-256", Hex(&it.sha256).to_string()),
            ("valid from", TimeText(it.not_before).to_string()),
            (
                "valid until",
                format!("{}, {}", TimeText(it.not_after), self.when()),
            ),
            ("names", or_none(&self.names())),
            ("key", key.to_string()),
            ("may", or_none(&words(&it.extensions.key_usage))),
            ("is for", or_none(&words(&it.extensions.extended_key_usage))),
            (
                "lists at",
                or_none(&words(&it.extensions.revocation_list_uris)),
            ),
        ];
        match &self.known {
            Known::NotAsked => {}
            Known::No => lines.push(("registry", "not on record: not issued here".to_owned())),
            Known::Yes(known) => lines.push(("registry", state(known))),
        }
        lines
    }

    fn what(&self) -> String {
        let extensions = &self.certificate.extensions;
        if let BasicConstraints::Authority { path_len } = extensions.basic_constraints {
            return match path_len {
                Some(0) => "an authority that signs no other authority".to_owned(),
                Some(most) => format!("an authority with at most {most} below it"),
                None => "an authority with any number of others below it".to_owned(),
            };
        }
        let uri = extensions
            .uri_names
            .iter()
            .find_map(|it| parse_spiffe_uri(it).ok());
        match (uri, &self.certificate.common_name) {
            (Some((trust_domain, subject)), _) => {
                let (kind, id) = (subject.kind.as_str(), subject.id);
                format!("the {kind} {id} of the trust domain {trust_domain}")
            }
            (None, CommonName::One(name)) => format!("a holder called {name}"),
            (None, _) => "a holder without a name of ours".to_owned(),
        }
    }

    fn issuer(&self) -> String {
        let it = &self.certificate;
        match &it.extensions.issuer_key_id {
            _ if it.issuer == it.subject => format!("itself ({})", it.issuer),
            Some(id) => format!("{}, with its key {}", it.issuer, Hex(id)),
            None => it.issuer.to_string(),
        }
    }

    fn when(&self) -> String {
        const DAY: u64 = 86_400;
        let (from, to) = (self.certificate.not_before, self.certificate.not_after);
        let days = |from: UnixTime, to: UnixTime| to.as_secs().saturating_sub(from.as_secs()) / DAY;
        if self.now < from {
            format!("not yet valid: in {} days", days(self.now, from))
        } else if self.now > to {
            format!("expired {} days ago", days(to, self.now))
        } else {
            format!("in {} days", days(self.now, to))
        }
    }

    fn names(&self) -> Vec<String> {
        let it = &self.certificate.extensions;
        let uris = it.uri_names.iter().map(|uri| format!("URI {uri}"));
        let dns = it.dns_names.iter().map(|dns| format!("DNS {dns}"));
        let ips = it.ip_names.iter().map(|ip| format!("IP {ip}"));
        let others = (it.other_names > 0).then(|| format!("{} of other sorts", it.other_names));
        uris.chain(dns).chain(ips).chain(others).collect()
    }

    fn in_json(&self) -> Value {
        let it = &self.certificate;
        let (seconds, extensions) = (|at: UnixTime| at.as_secs(), &it.extensions);
        let known = match &self.known {
            Known::Yes(known) => json!({
                "role": known.role.as_str(),
                "name": known.name,
                "status": known.status.name(),
                "reason": known.status.reason(),
                "revoked_at": known.revoked.map(|it| seconds(it.at)),
                "suspended_at": known.suspended.map(seconds),
            }),
            Known::No | Known::NotAsked => Value::Null,
        };
        let (path_len, is_authority) = match extensions.basic_constraints {
            BasicConstraints::Authority { path_len } => (path_len, true),
            BasicConstraints::EndEntity => (None, false),
        };
        json!({
            "subject": it.subject,
            "issuer": it.issuer,
            "issuer_key_id": extensions.issuer_key_id.as_deref().map(|id| Hex(id).to_string()),
            "key_id": extensions.key_id.as_deref().map(|id| Hex(id).to_string()),
            "profile": self.profile.map(Role::as_str),
            "serial": it.serial,
            "sha256": Hex(&it.sha256).to_string(),
            "not_before": seconds(it.not_before),
            "not_after": seconds(it.not_after),
            "valid": (it.not_before..=it.not_after).contains(&self.now),
            "names": self.names(),
            "key": KeyAlgorithm::of(&it.public_key).to_string(),
            "authority": is_authority,
            "path_len": path_len,
            "key_usage": words(&extensions.key_usage),
            "extended_key_usage": words(&extensions.extended_key_usage),
            "revocation_lists": extensions.revocation_list_uris,
            "registry": known,
        })
    }
}

fn state(known: &KnownCertificate) -> String {
    let whose = format!("the {} {}", known.role.as_str(), known.name);
    let state = match (known.revoked, known.suspended, known.status) {
        (Some(revoked), ..) => format!("revoked {revoked}"),
        (None, Some(since), _) => format!("its holder is suspended since {}", TimeText(since)),
        (None, None, Status::Issued) => "issued, and the one in use".to_owned(),
        (None, None, Status::Superseded) => "superseded: it counts until it expires".to_owned(),
        (None, None, Status::Revoked(reason)) => format!("revoked ({reason})"),
    };
    format!("{whose}: {state}")
}

fn words<T: ToString>(of: &[T]) -> Vec<String> {
    of.iter().map(ToString::to_string).collect()
}

fn or_none(words: &[String]) -> String {
    if words.is_empty() {
        "none".to_owned()
    } else {
        words.join(", ")
    }
}
