//! Why a load did not come to figures.
//!
//! What the broker did wrong with messages is a [`Fault`] with its counts; anything else names
//! what was tried.

use crate::wire::Malformed;
use std::io;
use std::ops::AddAssign;
use std::path::PathBuf;
use std::time::Duration;

/// A run that has no figures.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum LoadError {
    #[error("there are no devices/*/cert.pem below {}: make them with \
             `countersign up --dir {} --devices 100`", dir.display(), dir.display())]
    NoIdentities { dir: PathBuf },
    #[error("{}: {cause}", path.display())]
    UnusableIdentity { path: PathBuf, cause: String },
    #[error("{address:?} is not HOST:PORT")]
    BadAddress { address: String },
    #[error("{what} must be {must}")]
    BadSetting { what: &'static str, must: String },
    #[error("process {pid} cannot be looked at")]
    Process { pid: u32, source: io::Error },
    #[error("counting system calls with `perf stat`")]
    SystemCalls { source: io::Error },
    #[error("{what} was refused with reason {reason:#04x}")]
    Refused { what: &'static str, reason: u8 },
    #[error("the broker sent DISCONNECT with reason {reason:#04x}")]
    Disconnected { reason: u8 },
    #[error("a packet came that was not asked for, beginning with {first:#04x}")]
    Unexpected { first: u8 },
    #[error("packet id {came} was acknowledged where {due} was due [MQTT-4.6.0-2]")]
    AckOutOfOrder { came: u16, due: u16 },
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("the broker did not answer within {time:?}")]
    Silent { time: Duration },
    #[error("no TLS session was resumed")]
    NotResumed,
    #[error("the connection")]
    Connection(#[from] io::Error),
    #[error("client {client_id}")]
    Of {
        client_id: String,
        source: Box<LoadError>,
    },
    #[error(transparent)]
    Fault(#[from] Fault),
    #[error("a task of the load stopped")]
    Task(#[from] tokio::task::JoinError),
}

impl LoadError {
    /// The same, with the client it happened to.
    pub(super) fn of(self, client_id: &str) -> Self {
        Self::Of {
            client_id: client_id.to_owned(),
            source: Box::new(self),
        }
    }
}

/// Messages that did not come once and in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, thiserror::Error)]
#[error(
    "of {expected} deliveries {lost} were lost, {duplicated} came again and {reordered} came late"
)]
pub struct Fault {
    /// How many there should have been.
    pub expected: u64,
    /// Never came.
    pub lost: u64,
    /// Came more than once, counted each further time.
    pub duplicated: u64,
    /// Came after a later one of the same publisher.
    pub reordered: u64,
}

impl Fault {
    /// Good, unless anything went wrong.
    pub(super) fn verdict(self) -> Result<(), Self> {
        match self {
            Self {
                lost: 0,
                duplicated: 0,
                reordered: 0,
                ..
            } => Ok(()),
            _ => Err(self),
        }
    }
}

impl AddAssign for Fault {
    fn add_assign(&mut self, other: Self) {
        self.expected += other.expected;
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.reordered += other.reordered;
    }
}
