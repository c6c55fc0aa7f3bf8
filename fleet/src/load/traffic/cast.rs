//! Who takes part in a scenario: client ids, topics and filters.
//!
//! All of it is what the default policy permits: a device publishes under `devices/<its id>/` and
//! may use any client id that begins with its own id and a colon.

use super::bystanders::Roles;
use crate::load::LoadError;
use crate::load::client::{Identities, Identity, TlsChoice};
use crate::load::plan::{Shape, Traffic};

/// One client.
#[derive(Clone, Debug)]
pub(crate) struct Role {
    pub(crate) identity: Identity,
    pub(crate) client_id: String,
    /// The topic name it publishes to, or the topic filter it subscribes to.
    pub(crate) topic: String,
}

impl Role {
    /// Who connects.
    pub(crate) fn client(&self) -> (Identity, String) {
        (self.identity.clone(), self.client_id.clone())
    }
}

/// All clients of a run whose messages count, publishers by their number.
#[derive(Clone, Debug)]
pub(crate) struct Cast {
    pub(crate) publishers: Vec<Role>,
    pub(crate) subscribers: Vec<Role>,
}

impl Cast {
    pub(crate) fn of(
        traffic: &Traffic,
        identities: &Identities,
        choice: TlsChoice,
    ) -> Result<Self, LoadError> {
        let devices_of = |count| identities.devices(count, choice);
        let app = || identities.app(choice);
        Ok(match traffic.shape {
            Shape::FanIn => Self {
                publishers: devices(&devices_of(traffic.publishers)?, traffic.publishers, 'p'),
                subscribers: apps(&app()?, traffic.subscribers, 's', "devices/+/#"),
            },
            Shape::FanOut => {
                let subscribers = devices_of(traffic.subscribers)?;
                Self {
                    publishers: apps(&app()?, traffic.publishers, 'p', BROADCAST),
                    subscribers: hearers(&subscribers, traffic.subscribers, 's', BROADCAST),
                }
            }
            Shape::Pairs => {
                let identities = devices_of(traffic.publishers)?;
                Self {
                    publishers: devices(&identities, traffic.publishers, 'p'),
                    subscribers: devices(&identities, traffic.publishers, 's'),
                }
            }
        })
    }
}

impl Roles {
    pub(crate) fn of(
        traffic: &Traffic,
        identities: &Identities,
        choice: TlsChoice,
    ) -> Result<Self, LoadError> {
        let stalled = identities.devices(traffic.stalled, choice)?;
        let retained = if traffic.retained > 0 {
            let (app, device) = (identities.app(choice)?, identities.devices(1, choice)?);
            let below = format!("{BROADCAST}/#");
            let layer = apps(&app, 1, 'l', BROADCAST).pop();
            layer.zip(hearers(&device, 1, 'r', &below).pop())
        } else {
            None
        };
        Ok(Self {
            stalled: hearers(&stalled, traffic.stalled, 'z', BROADCAST),
            retained,
        })
    }
}

/// What applications publish to, and devices hear.
pub(crate) const BROADCAST: &str = "broadcast/bench";

/// Devices that all have the same topic filter.
fn hearers(identities: &[Identity], count: usize, letter: char, filter: &str) -> Vec<Role> {
    let mut roles = devices(identities, count, letter);
    for role in &mut roles {
        filter.clone_into(&mut role.topic);
    }
    roles
}

/// Each has a topic of its own under that of its device.
fn devices(identities: &[Identity], count: usize, letter: char) -> Vec<Role> {
    let role = |(number, identity): (usize, &Identity)| Role {
        client_id: format!("{}:{letter}{number}", identity.id),
        topic: format!("devices/{}/bench/{number}", identity.id),
        identity: identity.clone(),
    };
    identities
        .iter()
        .cycle()
        .take(count)
        .enumerate()
        .map(role)
        .collect()
}

fn apps(identity: &Identity, count: usize, letter: char, topic: &str) -> Vec<Role> {
    let role = |number| Role {
        client_id: format!("{}:{letter}{number}", identity.id),
        topic: topic.to_owned(),
        identity: identity.clone(),
    };
    (0..count).map(role).collect()
}
