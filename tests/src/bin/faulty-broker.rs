//! The broker as a process whose disk fails where `COUNTERSIGN_TEST_FAULT` says.
//!
//! The broker is the one that everybody runs: it is handed another disk and knows of no fault.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
#![allow(clippy::panic, clippy::indexing_slicing, reason = "tests")]

use broker::Plan;
use countersign_tests::faulty_disk;
use std::error::Error;
use std::io::{Write, stderr, stdout};
use std::path::Path;
use std::process::ExitCode;

/// `faulty-broker CONFIG`: prints its address once it serves, and serves until its storage fails.
#[tokio::main]
async fn main() -> ExitCode {
    let config = std::env::args_os().nth(1).expect("a configuration file");
    let plan = Plan::load(Path::new(&config)).unwrap_or_else(|mistakes| panic!("{mistakes:#?}"));
    let level = tracing_subscriber::EnvFilter::new(plan.log().level.as_str());
    let log = tracing_subscriber::fmt()
        .with_env_filter(level)
        .with_writer(stderr);
    log.with_ansi(false).with_target(false).init();
    let running = match broker::start(plan.on_disk(faulty_disk::open)).await {
        Ok(running) => running,
        Err(error) => return fail(&error),
    };
    println!("{}", running.addresses()[0]);
    stdout().flush().unwrap();
    fail(&*running.failure().await)
}

fn fail(mut error: &dyn Error) -> ExitCode {
    eprint!("faulty-broker: {error}");
    while let Some(cause) = error.source() {
        eprint!(": {cause}");
        error = cause;
    }
    eprintln!();
    ExitCode::FAILURE
}
