//! What `pub` and `sub` have in common: who connects, where to, and how that can fail.
//!
//! The exit code is decided here, by the kind of error: 2 for what is wrong on this side of the
//! command line, 5 for what the broker's policy refuses, 1 for the rest.

use std::io::{self, Write as _};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Duration;

use crate::failure::{FAILED, Failure, USAGE};
use clap::Args;
use device_client::{
    BuildError, Builder, ConnectError, Device, Identity, IdentityError, Link, PublishError, QoS,
    SubscribeError,
};

/// The policy of the broker refuses it.
const REFUSED: u8 = 5;

/// How long messages may take to be acknowledged when we leave.
const LEAVE_TIME_MAX: Duration = Duration::from_secs(5);

/// Who connects, and where to.
#[derive(Debug, Args)]
pub(crate) struct ConnectionArgs {
    /// The directory of the device or application: cert.pem, key.pem and ca.pem. A key in a PKCS
    /// #11 token has key.uri in the place of key.pem.
    #[arg(long, value_name = "DIR")]
    identity: PathBuf,
    /// The broker, as mqtts://HOST:PORT or HOST:PORT.
    #[arg(
        long,
        visible_alias = "host",
        value_name = "URL",
        default_value = "mqtts://127.0.0.1:8883"
    )]
    broker: String,
    /// The client id [default: the device id, `:`, the command and a number].
    #[arg(short, long, value_name = "ID")]
    id: Option<String>,
    /// The name in the broker's certificate, where it is not the host of --broker.
    #[arg(long, value_name = "NAME")]
    server_name: Option<String>,
    /// Probe a silent connection after so many seconds.
    #[arg(short, long, value_name = "SECONDS", default_value_t = 30,
          value_parser = clap::value_parser!(u16).range(1..))]
    keep_alive: u16,
    /// Try for so many seconds to reach the broker [default: once].
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 0,
        hide_default_value = true
    )]
    wait: u32,
}

impl ConnectionArgs {
    /// A device to be connected; `command` distinguishes it from others of the same identity.
    pub(crate) fn builder(&self, command: &str) -> Result<Builder, Failure> {
        let identity = Identity::open(&self.identity)
            .map_err(|error| Failure::from_error(identity_code(&error), &error))?;
        let default_id = || format!("{}:{command}-{}", identity.device_id(), std::process::id());
        let client_id = self.id.clone().unwrap_or_else(default_id);
        let mut builder = Device::builder(&self.broker, identity)
            .map_err(|error| not_connected(&self.broker, &error))?
            .client_id(client_id)
            .keep_alive(Duration::from_secs(self.keep_alive.into()))
            .connect_within(Duration::from_secs(self.wait.into()));
        if let Some(name) = &self.server_name {
            builder = builder
                .server_name(name)
                .map_err(|error| not_connected(&self.broker, &error))?;
        }
        Ok(builder)
    }

    /// Connects, and from then on tells on stderr when the connection comes and goes.
    pub(crate) async fn connect(&self, builder: Builder) -> Result<Device, Failure> {
        let device = builder
            .connect()
            .await
            .map_err(|error| not_connected(&self.broker, &BuildError::Connect(error)))?;
        tokio::spawn(tell_changes(device.clone()));
        Ok(device)
    }
}

async fn tell_changes(mut device: Device) {
    while let Some(status) = device.status_changed().await {
        match status.link {
            Link::Waiting { cause, .. } => {
                eprintln!("countersign: {cause}; connecting again");
            }
            Link::Connected { .. } => eprintln!("countersign: connected"),
            _ => {}
        }
    }
}

/// Leaves in good order.
pub(crate) async fn leave(device: &Device) -> Result<(), Failure> {
    let left = device.disconnect(LEAVE_TIME_MAX).await;
    left.map_err(|error| Failure::new(FAILED, "disconnecting").because(&error))
}

/// The quality of service of a digit.
pub(crate) fn parse_qos(text: &str) -> Result<QoS, String> {
    let level = text.parse().ok();
    level
        .and_then(QoS::from_level)
        .ok_or_else(|| "it is 0, 1 or 2".into())
}

/// A line on standard output, at once; [`ControlFlow::Break`] when nobody reads any more.
pub(crate) fn print_line(line: &[u8]) -> Result<ControlFlow<()>, Failure> {
    let mut output = io::stdout().lock();
    let printed = output
        .write_all(line)
        .and_then(|()| output.write_all(b"\n"));
    match printed.and_then(|()| output.flush()) {
        Ok(()) => Ok(ControlFlow::Continue(())),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ControlFlow::Break(())),
        Err(error) => Err(Failure::new(FAILED, "writing to standard output").because(&error)),
    }
}

pub(crate) fn not_published(topic: &str, error: &PublishError) -> Failure {
    Failure::new(publish_code(error), format!("publishing to {topic}")).because(error)
}

pub(crate) fn not_subscribed(filter: &str, error: &SubscribeError) -> Failure {
    Failure::new(subscribe_code(error), format!("subscribing to {filter}")).because(error)
}

fn not_connected(broker: &str, error: &BuildError) -> Failure {
    match error {
        BuildError::Connect(error @ ConnectError::Unreachable { .. }) => {
            let hint = "is a broker running there? `countersign up` starts one";
            Failure::new(FAILED, format!("{broker}: {hint}")).because(error)
        }
        BuildError::Connect(error) => Failure::new(connect_code(error), broker).because(error),
        BuildError::Address(_) | BuildError::Will(_) => Failure::from_error(USAGE, error),
        BuildError::Thread(_) => Failure::from_error(FAILED, error),
    }
}

fn identity_code(error: &IdentityError) -> u8 {
    match error {
        IdentityError::NotValidNow { .. } => FAILED,
        _ => USAGE,
    }
}

fn connect_code(error: &ConnectError) -> u8 {
    match error {
        ConnectError::NotAuthorized | ConnectError::ClientIdRefused => REFUSED,
        _ => FAILED,
    }
}

fn publish_code(error: &PublishError) -> u8 {
    match error {
        PublishError::InvalidTopic(_) | PublishError::InvalidProperty => USAGE,
        PublishError::NotAuthorized => REFUSED,
        PublishError::Stopped(error) => connect_code(error),
        _ => FAILED,
    }
}

fn subscribe_code(error: &SubscribeError) -> u8 {
    match error {
        SubscribeError::InvalidFilter(_) => USAGE,
        SubscribeError::NotAuthorized => REFUSED,
        SubscribeError::Stopped(error) => connect_code(error),
        _ => FAILED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use device_client::ReasonCode;

    #[test]
    fn what_policy_refuses_and_what_is_mistyped_have_exit_codes_of_their_own() {
        let quota = || ReasonCode::QUOTA_EXCEEDED;
        for (code, expected) in [
            (publish_code(&PublishError::NotAuthorized), REFUSED),
            (publish_code(&PublishError::InvalidProperty), USAGE),
            (
                publish_code(&PublishError::Refused { reason: quota() }),
                FAILED,
            ),
            (
                publish_code(&PublishError::Stopped(ConnectError::NotAuthorized)),
                REFUSED,
            ),
            (subscribe_code(&SubscribeError::NotAuthorized), REFUSED),
            (
                subscribe_code(&SubscribeError::Refused { reason: quota() }),
                FAILED,
            ),
            (connect_code(&ConnectError::ClientIdRefused), REFUSED),
            (connect_code(&ConnectError::CertificateRevoked), FAILED),
        ] {
            assert_eq!(code, expected);
        }
    }

    #[test]
    fn a_quality_of_service_is_one_digit() {
        assert_eq!(parse_qos("1"), Ok(QoS::AtLeastOnce));
        for text in ["3", "-1", "one", ""] {
            assert!(parse_qos(text).is_err(), "{text}");
        }
    }
}
