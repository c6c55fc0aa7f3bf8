//! `countersign ca serve`: enrolment over HTTPS until a signal.

use crate::failure::{FAILED, Failure};
use crate::logging;
use crate::provision::inventory_commands::lifetime;
use crate::provision::passphrase::PassphraseArgs;
use crate::signals::Ending;
use broker::config::{Log, LogFormat, LogLevel};
use clap::{Args, ValueEnum};
use provisioning::{Approval, EnrolmentServer, Layout, Limits, ServeRequest, ca_serve};
use rustls_pki_types::{ServerName, UnixTime};
use serde_json::json;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// What `ca serve` serves.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// The directory of the authority.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Where to listen; port 0 takes any that is free.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8443")]
    listen: SocketAddr,
    /// A name or an address under which devices reach the server, besides those of this machine;
    /// may be given several times.
    #[arg(long = "name", value_name = "NAME", value_parser = server_name)]
    names: Vec<ServerName<'static>>,
    /// Who is issued a first certificate.
    #[arg(long, value_name = "HOW", default_value = "auto-with-token")]
    approve: Approve,
    /// How long the certificates issued here are valid, such as 7d or 12h, where that is less than
    /// the profile of devices says: for devices that renew by themselves.
    #[arg(long, value_name = "TIME", value_parser = lifetime)]
    lifetime: Option<Duration>,
    /// Renew certificates that expired up to so many days ago; no broker accepts them.
    #[arg(long, value_name = "DAYS", default_value_t = 0)]
    renew_expired_days: u16,
    /// Connections at once.
    #[arg(long, value_name = "N", default_value_t = Limits::default().connections_max)]
    connections_max: usize,
    /// Connections of one address at once.
    #[arg(long, value_name = "N", default_value_t = Limits::default().connections_of_address_max)]
    connections_of_address_max: usize,
    /// Connections and requests of one address in a second, in the long run.
    #[arg(long, value_name = "N", default_value_t = Limits::default().rate_of_address)]
    rate_of_address: u32,
    #[command(flatten)]
    passphrase: PassphraseArgs,
    /// Print one line of JSON on stdout once the server serves, instead of words.
    #[arg(long)]
    json: bool,
}

pub(crate) const SERVE_HELP: &str = "\
  GET  /.well-known/est/cacerts          the certificates of the authorities
  POST /.well-known/est/simpleenroll     a first certificate, with the device id and a token
  POST /.well-known/est/simplereenroll   a new certificate, over mutual TLS with the old one
  GET  /.well-known/est/csrattrs         what a request had best ask for
  GET  /healthz                          whether the server works

Examples:
  countersign ca serve --dir certs/dev
  countersign ca serve --dir /srv/ca --listen 0.0.0.0:8443 --name est.acme.example \\
    --passphrase-file /run/credentials/ca --renew-expired-days 14";

/// Who is issued a first certificate.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Approve {
    /// Whoever has a token; whoever has none waits for `countersign pending approve`.
    Manual,
    /// Whoever has a token, and nobody else.
    AutoWithToken,
}

pub(crate) fn server_name(text: &str) -> Result<ServerName<'static>, String> {
    let parsed = ServerName::try_from(text.to_owned());
    parsed.map_err(|_| "a DNS name or an address is needed".to_owned())
}

pub(crate) async fn run(args: &ServeArgs) -> Result<(), Failure> {
    let passphrase = args.passphrase.open(&args.dir)?;
    logging::start(&Log {
        format: LogFormat::Text,
        level: LogLevel::Info,
    });
    // Before anybody is told that it serves.
    let ending = Ending::listen()?;
    let request = ServeRequest {
        dir: &args.dir,
        passphrase: passphrase.as_ref(),
        listen: args.listen,
        server_names: &args.names,
        approval: match args.approve {
            Approve::Manual => Approval::Manual,
            Approve::AutoWithToken => Approval::AutoWithToken,
        },
        lifetime: args.lifetime,
        renew_expired: Duration::from_hours(24) * u32::from(args.renew_expired_days),
        limits: Limits {
            connections_max: args.connections_max,
            connections_of_address_max: args.connections_of_address_max,
            rate_of_address: args.rate_of_address,
            ..Limits::default()
        },
    };
    let server = ca_serve(request, UnixTime::now()).await?;
    say(args, &server);
    until_signalled(server, ending).await
}

fn say(args: &ServeArgs, server: &EnrolmentServer) {
    let address = server.address();
    let (url, ca) = (
        format!("https://{address}"),
        Layout::new(&args.dir).ca_pem(),
    );
    if args.json {
        println!("{}", json!({ "listening": address, "url": url, "ca": ca }));
    } else {
        let dir = args.dir.display();
        println!(
            "enrolment at {url}/.well-known/est; devices trust {}",
            ca.display()
        );
        println!("next: countersign token create DEVICE --dir {dir}");
    }
    // Whoever waits for the line waits for it now.
    let _ = std::io::stdout().flush();
}

async fn until_signalled(mut server: EnrolmentServer, mut ending: Ending) -> Result<(), Failure> {
    tokio::select! {
        () = ending.asked() => {}
        () = server.failure() => {
            return Err(Failure::new(FAILED, "the authority cannot go on; the log says why"));
        }
    }
    tokio::select! {
        () = server.stop() => {}
        () = ending.asked() => {}
    }
    Ok(())
}
