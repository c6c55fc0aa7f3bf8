//! The broker as a process of its own, for tests that look at it from outside.
//!
//! It ends in good order when its standard input does, and so outlives no test.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
#![allow(clippy::panic, clippy::indexing_slicing, reason = "tests")]

use broker::Plan;
use std::io::{Read, Write, stderr, stdin, stdout};
use std::path::Path;

/// `test-broker CONFIG`: prints its address once it serves, and at the end what it has counted.
fn main() {
    let config = std::env::args_os().nth(1).expect("a configuration file");
    let plan = Plan::load(Path::new(&config)).unwrap_or_else(|mistakes| panic!("{mistakes:#?}"));
    let level = tracing_subscriber::EnvFilter::new(plan.log().level.as_str());
    let log = tracing_subscriber::fmt()
        .with_env_filter(level)
        .with_writer(stderr);
    log.with_ansi(false).with_target(false).init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(async {
        let running = broker::start(plan).await.unwrap();
        println!("{}", running.addresses()[0]);
        stdout().flush().unwrap();
        let end = || stdin().read_to_end(&mut Vec::new());
        tokio::task::spawn_blocking(end).await.unwrap().unwrap();
        for refusal in running.refusals().latest(usize::MAX) {
            eprintln!("refusal {}", serde_json::to_string(&refusal).unwrap());
        }
        eprintln!("{:?}", running.statistics());
        running.stop().await;
    });
}
