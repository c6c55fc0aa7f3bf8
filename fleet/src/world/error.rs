//! Why there is no broker to test with, or no device at it.

use broker::server::{PlanError, StartError};
use certs::WithCauses;
use certs::admin::AdminError;
use device_client::{BuildError, ConnectError, IdentityError};
use provisioning::CommandError;
use std::io;
use thiserror::Error;

/// Why there is no broker to test with, or no device at it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WorldError {
    /// This is no id of a device.
    #[error("{0:?} is no id of a device: letters, digits, `.`, `_` and `-`, at most 64")]
    Id(String),
    /// The settings or the policy of the broker are not as they must be: all that is wrong.
    #[error("the settings of the broker: {0}")]
    Settings(String),
    /// The broker cannot start.
    #[error("the broker cannot start")]
    Start(#[from] Box<StartError>),
    /// A file of the broker cannot be written, or there is no thread for it.
    #[error("the broker's files and threads")]
    System(#[from] io::Error),
    /// No certificate could be issued.
    #[error("no certificate could be issued")]
    Issue(#[from] Box<CommandError>),
    /// A certificate that was issued cannot be used; one that is over, for example.
    #[error("the certificate cannot be used")]
    Identity(#[from] Box<IdentityError>),
    /// The device could not connect.
    #[error(transparent)]
    Connect(Box<BuildError>),
    /// A revocation was not kept.
    #[error("{}", .0.message)]
    Revoke(AdminError),
    /// The broker has stopped, or its threads were ended.
    #[error("the broker does not run")]
    Stopped,
}

impl From<BuildError> for WorldError {
    fn from(error: BuildError) -> Self {
        Self::Connect(Box::new(error))
    }
}

impl From<ConnectError> for WorldError {
    fn from(error: ConnectError) -> Self {
        BuildError::Connect(error).into()
    }
}

impl WorldError {
    pub(super) fn settings(errors: &[PlanError]) -> Self {
        let words = errors.iter().map(|error| WithCauses(error).to_string());
        Self::Settings(words.collect::<Vec<_>>().join("; "))
    }
}
