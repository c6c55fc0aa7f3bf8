//! Virtual devices, each with its own key, certificate, session and connection.
//!
//! They speak over raw connections, so that one can fall silent, stop reading or be cut in the
//! middle of a packet, and are small: one task each, and no buffer while nothing comes.

mod app;
mod dial;
mod intruder;
mod life;
mod talk;
mod tls;

pub(crate) use app::ID as APP_ID;
pub(crate) use dial::Target;
pub(crate) use tls::{Tls, Unusable};

use crate::run::World;
use crate::scenario::{Chance, Group, Scenario, Schedule};
use crate::verdict::{Ledger, Way};
use crate::wire::{Delivery, Stamp, Template};
use protocol::packet::{QoS, Version};
use rustls::ClientConfig;
use std::sync::Arc;
use std::time::Duration;
use talk::{Again, Ear, Post, Sent};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Things happen.
    Running,
    /// Nothing more happens; all come back and take what waits for them.
    Settling,
    /// Everyone leaves.
    Over,
}

/// What all devices of a run have in common.
#[derive(Debug)]
pub(crate) struct Fleet {
    pub(crate) scenario: Scenario,
    /// Each device's id.
    pub(crate) ids: Vec<Box<str>>,
    /// Each device's group, by its place in the scenario.
    pub(crate) groups: Vec<usize>,
    pub(crate) target: Target,
    pub(crate) world: World,
    pub(crate) ledger: Ledger,
    pub(crate) stage: watch::Receiver<Stage>,
    /// Whether the authorities that follow issue.
    pub(crate) switched: watch::Receiver<bool>,
    /// Who is to be told something.
    pub(crate) commands: mpsc::Sender<u32>,
    /// What an earlier run left behind is not this one's.
    pub(crate) run: u32,
    pub(crate) begun: Instant,
    pub(crate) seed: u64,
}

/// How long the application may take to come in.
const APP_TIME_MAX: Duration = Duration::from_secs(20);

/// Starts the application, and all devices once it hears; nothing where it does not.
pub(crate) async fn start(
    fleet: &Arc<Fleet>,
    (schedule, commands): (Schedule, mpsc::Receiver<u32>),
    (app, devices): (Arc<ClientConfig>, Vec<Arc<ClientConfig>>),
) -> Option<JoinSet<()>> {
    let mut tasks = JoinSet::new();
    let (ready, is_ready) = oneshot::channel();
    tasks.spawn(app::App::new(Arc::clone(fleet), app, ready).live(commands));
    timeout(APP_TIME_MAX, is_ready).await.ok()?.ok()?;
    for ((script, tls), number) in schedule.devices.into_iter().zip(devices).zip(0..) {
        let life = life::Life::new((Arc::clone(fleet), number), tls, script.steps);
        tasks.spawn(life.live());
    }
    Some(tasks)
}

impl Fleet {
    pub(crate) fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Waits for a moment of the run; for ever where there is none.
    async fn until(&self, moment: Option<Duration>) {
        match moment {
            Some(moment) => sleep_until(self.begun + moment).await,
            None => std::future::pending().await,
        }
    }

    pub(crate) fn id(&self, device: u32) -> &str {
        let index = usize::try_from(device).unwrap_or(usize::MAX);
        self.ids.get(index).map_or("", |id| id)
    }

    fn group(&self, device: u32) -> Option<&Group> {
        let index = usize::try_from(device).unwrap_or(usize::MAX);
        self.scenario.groups.get(*self.groups.get(index)?)
    }

    fn chance(&self, device: u32) -> Chance {
        // Not that of the schedule: when a device tries again depends on what befalls it.
        Chance::of(!self.seed, device.into())
    }

    fn topic(&self, device: u32, way: Way) -> String {
        let id = self.id(device);
        match way {
            Way::Up => format!("devices/{id}/said"),
            Way::Down => format!("devices/{id}/commands/do"),
        }
    }

    /// What is heard on the topics of one way.
    fn filter(&self, device: u32) -> String {
        format!("devices/{}/commands/#", self.id(device))
    }

    /// Which message it is, if it is one of this run and for who hears it.
    fn heard(&self, delivery: &Delivery<'_>, way: Way, by: Option<u32>) {
        let Some(stamp) = Stamp::read(delivery.payload).filter(|stamp| stamp.run == self.run)
        else {
            return;
        };
        let (device, number) = (stamp.publisher, u32::try_from(stamp.sequence));
        let is_ours = by.is_none_or(|by| by == device);
        if !is_ours || delivery.topic != self.topic(device, way).as_bytes() {
            let topic = String::from_utf8_lossy(delivery.topic);
            let by = by.map_or("the application", |by| self.id(by));
            let of = self.id(device);
            self.ledger
                .leaked(|| format!("{by} heard what is of {of}, under {topic}"));
            return;
        }
        if let Ok(number) = number {
            self.ledger.heard(device, (way, number));
        }
    }
}

/// How messages of one way are encoded.
struct Mail<'f> {
    fleet: &'f Fleet,
    way: Way,
}

impl Post for Mail<'_> {
    fn qos(&self, device: u32) -> QoS {
        self.fleet
            .group(device)
            .map_or(QoS::AtMostOnce, |group| group.qos)
    }

    fn push(&self, out: &mut Vec<u8>, sent: &Sent, again: Again) {
        let payload = self
            .fleet
            .group(sent.device)
            .map_or(0, |group| group.payload);
        let topic = self.fleet.topic(sent.device, self.way);
        let template = Template::new((Version::V5, self.qos(sent.device)), &topic, payload);
        let mut template = match again {
            Again::No => template,
            Again::Yes => template.again(),
        };
        let stamp = Stamp {
            run: self.fleet.run,
            publisher: sent.device,
            sequence: sent.number.into(),
            nanos: 0,
        };
        template.push(out, sent.id, &stamp);
    }
}

/// What a device hears, or who has taken its place.
struct DeviceEar<'f> {
    fleet: &'f Fleet,
    number: u32,
    /// Commands that ask for an answer.
    commands: u32,
}

impl Ear for DeviceEar<'_> {
    fn acknowledged(&mut self, device: u32, number: u32) {
        self.fleet.ledger.acknowledged(device, (Way::Up, number));
    }

    fn heard(&mut self, delivery: &Delivery<'_>) {
        self.commands += 1;
        self.fleet.heard(delivery, Way::Down, Some(self.number));
    }

    fn subscribed(&mut self) {
        self.fleet.ledger.ready(self.number);
    }
}
