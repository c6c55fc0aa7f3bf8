//! `countersign ca install`: certificates and lists from where the root is.

use super::{confirmed, fingerprint};
use crate::failure::Failure;
use crate::provision::rotation_commands::next_stage;
use certs::{Hex, TimeText};
use clap::Args;
use provisioning::{
    AuthorityStage, InstallRequest, Installed, InstalledAuthority, NewRoot, RotationStage,
    ca_install, quoted,
};
use rustls_pki_types::UnixTime;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

pub(crate) const HELP: &str = "\
Exit code 5 if a certificate is not one of the root for a key that waits here, or not what its \
profile says, or if a list is older than one that was seen: then nothing was installed.

Examples:
  countersign ca install --dir /srv/ca /media/stick/certificates.pem --root-fingerprint SHA256
  countersign ca install --dir /srv/ca /media/stick/root.crl";

/// What to install.
#[derive(Debug, Args)]
pub(crate) struct InstallArgs {
    /// The files that `ca root sign` and `ca root crl` wrote.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// The directory in which `ca request` was given.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// The SHA-256 of the root's certificate, as `ca root status` shows it where the root is: for
    /// the first time [default: it is shown, and somebody confirms it on the terminal].
    #[arg(long, value_name = "SHA256", value_parser = fingerprint)]
    root_fingerprint: Option<[u8; 32]>,
    /// Print one object of JSON instead of words.
    #[arg(long)]
    json: bool,
}

pub(crate) fn install(args: &InstallArgs) -> Result<(), Failure> {
    let request = InstallRequest {
        dir: &args.dir,
        files: &args.files,
        root_fingerprint: args.root_fingerprint,
    };
    let installed = ca_install(&request, is_the_root, UnixTime::now())?;
    let next = next(&installed, &args.dir);
    if args.json {
        println!("{}", installed_json(&installed, &next));
    } else {
        print_installed(&installed, &args.dir);
        println!("next: {next}");
    }
    Ok(())
}

/// Whether somebody knows the root that would be trusted.
fn is_the_root(root: &NewRoot) -> bool {
    eprintln!("root: {}, until {}", root.subject, TimeText(root.not_after));
    eprintln!("its certificate has the SHA-256 {}", Hex(&root.fingerprint));
    confirmed("Is that what `ca root status` shows where the root is?")
}

fn print_installed(installed: &Installed, dir: &Path) {
    println!("{}: below the root {}", dir.display(), Hex(&installed.root));
    for it in &installed.authorities {
        let verb = if it.made { "installed" } else { "kept" };
        println!(
            "  {} {verb}: {} {}, {}",
            it.name,
            it.role.as_str(),
            it.number,
            it.stage
        );
    }
    if let Some(number) = installed.list {
        println!("  revocation list {number} of the root");
    }
    for name in &installed.revoked {
        println!("  {name} was revoked by its root, and brokers here trust it: replace it");
    }
}

/// What to type now.
fn next(installed: &Installed, dir: &Path) -> String {
    let shown = quoted(dir);
    let prepared = |it: &&InstalledAuthority| it.stage == AuthorityStage::Prepared;
    if let Some(it) = installed.authorities.iter().find(prepared) {
        return next_stage(it.role, RotationStage::Publish, &shown);
    }
    if installed.authorities.iter().any(|it| it.made) {
        return format!("countersign crl publish --dir {shown}");
    }
    format!("countersign ca doctor --dir {shown}")
}

fn installed_json(installed: &Installed, next: &str) -> Value {
    let authority = |it: &InstalledAuthority| {
        json!({
            "authority": it.role.as_str(),
            "number": it.number,
            "name": it.name,
            "stage": it.stage.as_str(),
            "made": it.made,
        })
    };
    json!({
        "trust_domain": installed.trust_domain.as_str(),
        "root_sha256": Hex(&installed.root).to_string(),
        "authorities": installed.authorities.iter().map(authority).collect::<Vec<_>>(),
        "list": installed.list,
        "revoked": installed.revoked,
        "next": next,
    })
}
