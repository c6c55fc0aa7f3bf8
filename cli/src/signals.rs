//! The signals that end a command which otherwise goes on: SIGTERM and SIGINT.
//!
//! They are listened to before anybody is told that the command does its work, so that none of them
//! ends it halfway.

use crate::failure::{FAILED, Failure};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What ends a command.
pub(crate) struct Ending {
    terminate: Signal,
    interrupt: Signal,
}

impl Ending {
    pub(crate) fn listen() -> Result<Self, Failure> {
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    /// Resolves at the next of the signals; none is lost when it is dropped before.
    pub(crate) async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Listens to one signal.
pub(crate) fn listen(kind: SignalKind) -> Result<Signal, Failure> {
    signal(kind).map_err(|error| Failure::new(FAILED, "listening to signals").because(&error))
}
