//! `countersign broker`: runs a broker from its configuration, says what is wrong with it, or asks
//! one that runs.

use crate::failure::{FAILED, Failure, USAGE};
use crate::operate::broker_admin::{self, AdminCommand};
use crate::provision::broker_certificate::{self, BrokerIssueArgs};
use crate::signals::{self, Ending};
use crate::{logging, runtime};
use broker::{Plan, Running};
use clap::{Args, Subcommand};
use serde_json::json;
use std::net::SocketAddr;
use std::path::PathBuf;
use tokio::signal::unix::{Signal, SignalKind};

/// Run a broker, check its configuration, or ask one that runs.
#[derive(Debug, Subcommand)]
pub(crate) enum BrokerCommand {
    /// Run a broker until SIGTERM or SIGINT.
    ///
    /// On SIGHUP, and whenever one of its files changes, it reads certificates, anchors, revocation
    /// lists, policy and limits again; what is not good is named, and what was there stays.
    /// On a signal to end it stops accepting, tells every client (DISCONNECT 0x8B), and waits for
    /// them within the configured limit. A second signal ends it at once.
    #[command(after_help = "Example:\n  countersign broker run --config certs/dev/broker.toml")]
    Run(RunArgs),
    /// Read the configuration and every file it names, and report all mistakes at once.
    ///
    /// Exit code 0 if a broker could run with it, 2 if not. No port is opened.
    #[command(after_help = "Example:\n  countersign broker check --config certs/dev/broker.toml")]
    Check(ConfigArgs),
    /// Issue a certificate to the broker of a directory.
    ///
    /// Writes DIR/broker/{cert,key,ca}.pem, with a new key. It is for the names of this machine and
    /// those given. A broker that runs in DIR goes by it from the next handshake on.
    #[command(after_help = broker_certificate::HELP)]
    Issue(BrokerIssueArgs),
    #[command(flatten)]
    Admin(AdminCommand),
}

/// What to run.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Print one line of JSON on stdout once the broker serves.
    #[arg(long)]
    json: bool,
}

/// Where the configuration is.
#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    /// The broker's configuration; paths in it are relative to its directory.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

pub(crate) fn run(command: BrokerCommand) -> Result<(), Failure> {
    match command {
        BrokerCommand::Run(args) => {
            let plan = load(&args.config)?;
            logging::start(plan.log());
            runtime()?.block_on(async {
                let serving = start(plan).await?;
                if args.json {
                    println!("{}", json!({ "listening": serving.address() }));
                }
                serving.until_signalled().await
            })
        }
        BrokerCommand::Issue(args) => broker_certificate::issue(&args),
        BrokerCommand::Admin(command) => broker_admin::run(command),
        BrokerCommand::Check(args) => {
            load(&args)?;
            println!("{}: good", args.config.display());
            Ok(())
        }
    }
}

fn load(args: &ConfigArgs) -> Result<Plan, Failure> {
    Plan::load(&args.config).map_err(|mistakes| Failure::mistakes(USAGE, &mistakes))
}

/// A broker that serves, and the signals that end it: it listens to them before anybody is told
/// that it serves.
pub(crate) struct Serving {
    running: Running,
    ending: Ending,
    /// Everything is to be read again.
    hangup: Signal,
}

/// Starts a broker.
pub(crate) async fn start(plan: Plan) -> Result<Serving, Failure> {
    let ending = Ending::listen()?;
    let hangup = signals::listen(SignalKind::hangup())?;
    let running = broker::start(plan).await;
    let running = running.map_err(|error| Failure::from_error(FAILED, &error))?;
    for address in running.addresses() {
        tracing::info!(%address, "listening");
    }
    Ok(Serving {
        running,
        ending,
        hangup,
    })
}

impl Serving {
    /// Where its first listener listens.
    pub(crate) fn address(&self) -> Option<&SocketAddr> {
        self.running.addresses().first()
    }

    /// Serves until a signal, then stops in good order.
    pub(crate) async fn until_signalled(mut self) -> Result<(), Failure> {
        loop {
            tokio::select! {
                () = self.ending.asked() => break,
                // What came of it stands in the log.
                _ = self.hangup.recv() => drop(self.running.reload().await),
                error = self.running.failure() => {
                    return Err(Failure::from_error(FAILED, &*error));
                }
            }
        }
        tracing::info!("stopping");
        let stopped = tokio::select! {
            stopped = self.running.stop() => stopped,
            () = self.ending.asked() => return Ok(()),
        };
        tracing::info!(?stopped, "stopped");
        Ok(())
    }
}
