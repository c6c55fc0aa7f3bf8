//! The log: one line an event on stderr, coloured on a terminal, JSON where it was set.

use broker::config::{Log, LogFormat};
use std::io::{IsTerminal, stderr};
use tracing_subscriber::EnvFilter;

/// Starts logging for the process. `RUST_LOG` overrides the level that was set.
pub(crate) fn start(config: &Log) {
    let level =
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(config.level.as_str()));
    let lines = tracing_subscriber::fmt()
        .with_env_filter(level)
        .with_writer(stderr);
    match config.format {
        LogFormat::Json => lines.json().flatten_event(true).init(),
        LogFormat::Text => lines
            .with_target(false)
            .with_ansi(stderr().is_terminal())
            .init(),
    }
}
