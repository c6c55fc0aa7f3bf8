//! Who takes part in a scenario: client ids, topics and filters.
//!
//! All of it is what the default policy permits: a device publishes under `devices/<its id>/` and
//! may use any client id that begins with its own id and a colon.

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

/// All clients of a run, publishers by their number.
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
                let mut subscribers =
                    devices(&devices_of(traffic.subscribers)?, traffic.subscribers, 's');
                for role in &mut subscribers {
                    BROADCAST.clone_into(&mut role.topic);
                }
                Self {
                    publishers: apps(&app()?, traffic.publishers, 'p', BROADCAST),
                    subscribers,
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

const BROADCAST: &str = "broadcast/bench";

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
