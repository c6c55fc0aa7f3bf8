//! `countersign cert`: certificates in words, ours and those of others.

mod explain;
mod input;
mod lint;

use crate::failure::Failure;
use clap::Subcommand;
use explain::ExplainArgs;
use lint::LintArgs;

/// Certificates in words, whoever issued them.
#[derive(Debug, Subcommand)]
pub(crate) enum CertCommand {
    /// Say what a certificate is: whose, from whom, for what, for how long, on which lists.
    ///
    /// FILE holds certificates in PEM or one in DER. With --dir, ID stands for the certificate that
    /// a device uses, and the registry says how a certificate stands. Nothing is verified. Exit
    /// code 4 if there is no such file or certificate.
    #[command(after_help = explain::HELP)]
    Explain(ExplainArgs),
    /// Say what is wrong with certificates, by RFC 5280 and by our own profiles.
    ///
    /// With --profile, the first certificate of each FILE is compared with that profile too; the
    /// others, its issuers, are not. No signature is verified. Exit code 0 if all are clean, 1 if
    /// something was found.
    #[command(after_help = lint::HELP)]
    Lint(LintArgs),
}

pub(crate) fn run(command: &CertCommand) -> Result<(), Failure> {
    match command {
        CertCommand::Explain(args) => explain::explain(args),
        CertCommand::Lint(args) => lint::lint(args),
    }
}
