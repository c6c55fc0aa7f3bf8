//! `countersign`, the one binary: reads what was asked for and hands it to the crate that does it.

mod bench;
mod client;
mod failure;
mod fleet_commands;
mod logging;
mod operate;
mod provision;
mod shell_commands;
mod signals;
mod up;

use clap::{CommandFactory, Parser, Subcommand};
use client::{publish, subscribe};
use failure::Failure;
use mimalloc::MiMalloc;
use operate::{audit_commands, broker_commands, policy_commands, storage_commands};
use provision::enrolment_commands::{pending, token};
use provision::{
    batch_commands, ca_commands, cert_commands, device_commands, key_commands, revocation_commands,
    trust_commands,
};
use std::process::ExitCode;

/// A message is made by one thread and freed by another: this allocator takes a quarter less of a
/// broker's processor time than the C library's (docs/performance.md).
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// MQTT over mutual TLS in which the certificate is the identity.
#[derive(Debug, Parser)]
#[command(name = "countersign", version, arg_required_else_help = true, after_help = FIRST_STEPS)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const FIRST_STEPS: &str = "\
First steps:
  countersign up                  make a CA, a broker and three devices here, and serve them
  countersign sub --identity certs/dev/apps/app-1 -t 'devices/+/#' -v
  countersign pub --identity certs/dev/devices/dev-1 -t devices/dev-1/temperature -m 21.5

Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 partly done, 4 not found,
5 refused by policy.";

#[derive(Debug, Subcommand)]
enum Command {
    Up(up::UpArgs),
    #[command(subcommand)]
    Audit(audit_commands::AuditCommand),
    #[command(subcommand)]
    Broker(broker_commands::BrokerCommand),
    #[command(subcommand)]
    Ca(ca_commands::CaCommand),
    #[command(subcommand)]
    Cert(cert_commands::CertCommand),
    #[command(subcommand)]
    Device(device_commands::DeviceCommand),
    #[command(subcommand)]
    Batch(batch_commands::BatchCommand),
    #[command(subcommand)]
    Token(token::TokenCommand),
    #[command(subcommand)]
    Pending(pending::PendingCommand),
    #[command(subcommand)]
    Key(key_commands::KeyCommand),
    #[command(subcommand)]
    Crl(revocation_commands::CrlCommand),
    #[command(subcommand)]
    Registry(revocation_commands::RegistryCommand),
    #[command(subcommand)]
    Trust(trust_commands::TrustCommand),
    #[command(subcommand)]
    Policy(policy_commands::PolicyCommand),
    #[command(subcommand)]
    Storage(storage_commands::StorageCommand),
    Pub(publish::PubArgs),
    #[command(subcommand)]
    Bench(bench::BenchCommand),
    #[command(subcommand)]
    Fleet(fleet_commands::FleetCommand),
    Sub(subscribe::SubArgs),
    Completions(shell_commands::CompletionsArgs),
    Man(shell_commands::ManArgs),
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Up(args) => runtime()?.block_on(up::run(args)),
        Command::Audit(command) => audit_commands::run(command),
        Command::Broker(command) => broker_commands::run(command),
        Command::Ca(command) => ca_commands::run(command),
        Command::Cert(command) => cert_commands::run(&command),
        Command::Device(command) => device_commands::run_device(command),
        Command::Batch(command) => batch_commands::run(command),
        Command::Token(command) => token::run(command),
        Command::Pending(command) => pending::run(command),
        Command::Key(command) => key_commands::run(&command),
        Command::Crl(command) => revocation_commands::run_crl(command),
        Command::Registry(command) => revocation_commands::run_registry(command),
        Command::Trust(command) => trust_commands::run(command),
        Command::Policy(command) => policy_commands::run(command),
        Command::Storage(command) => storage_commands::run(command),
        Command::Bench(command) => bench::run(command),
        Command::Fleet(command) => runtime()?.block_on(fleet_commands::run(command)),
        Command::Pub(args) => runtime()?.block_on(publish::run(args)),
        Command::Completions(args) => shell_commands::completions(&args, Arguments::command()),
        Command::Man(args) => shell_commands::man(&args, Arguments::command()),
        Command::Sub(args) => runtime()?.block_on(subscribe::run(args)),
    }
}

/// The one asynchronous runtime, with a thread for each core.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    runtime.map_err(|error| Failure::new(failure::FAILED, "starting the runtime").because(&error))
}
