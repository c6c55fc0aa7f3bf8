//! Bystanders: clients whose messages are not counted, there for what they do to the others.
//!
//! Some subscribe like the others and then never read again. One asks for all retained messages,
//! again and again.

use super::cast::{BROADCAST, Role};
use super::run::Counter;
use crate::load::LoadError;
use crate::load::client::{Dialer, Link, connect_all};
use crate::load::plan::{Traffic, count};
use crate::wire::{Frame, PacketType, Stamp, Template, ack_id, refusal, subscribe};
use protocol::packet::{QoS, Version};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// So many messages are laid down at once.
const TOGETHER: u16 = 100;

/// What was asked for and has not come by then does not.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(20);

/// Who they are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Roles {
    /// Each subscribes to its topic.
    pub(crate) stalled: Vec<Role>,
    /// Who lays retained messages down below its topic, and who asks for them.
    pub(crate) retained: Option<(Role, Role)>,
}

/// The bystanders of a run.
#[derive(Debug, Default)]
pub(crate) struct Bystanders {
    /// Nobody reads from them.
    stalled: Vec<Link>,
    asking: Option<Asking>,
}

/// The task of who asks for retained messages.
#[derive(Debug)]
struct Asking {
    client_id: String,
    /// How many retained messages have come.
    came: Arc<Counter>,
    task: JoinHandle<Result<(), LoadError>>,
}

impl Bystanders {
    /// Connects them. Those who stall have stalled then, and retained messages are laid down and
    /// asked for.
    pub(crate) async fn connect(
        dialer: &Dialer,
        roles: Roles,
        traffic: &Traffic,
    ) -> Result<Self, LoadError> {
        let clients = roles.stalled.iter().map(Role::client).collect();
        let mut stalled = connect_all(dialer, clients, &|_| ()).await?;
        for (role, link) in roles.stalled.iter().zip(&mut stalled) {
            let subscribed = link.subscribe(dialer.version, &role.topic, traffic.qos);
            subscribed
                .await
                .map_err(|error| error.of(&role.client_id))?;
        }
        let asking = match &roles.retained {
            Some(roles) => Some(Asking::begin(dialer, roles, traffic).await?),
            None => None,
        };
        Ok(Self { stalled, asking })
    }

    /// How many retained messages were asked for and have come, where any are.
    pub(crate) fn retained(&self) -> Option<u64> {
        self.asking.as_ref().map(|asking| asking.came.read())
    }

    /// Lets them go.
    pub(crate) async fn end(self) -> Result<(), LoadError> {
        // They end without a word, for what waits for them would come first.
        drop(self.stalled);
        let Some(asking) = self.asking else {
            return Ok(());
        };
        asking.came.done.notify_one();
        asking
            .task
            .await?
            .map_err(|error| error.of(&asking.client_id))
    }
}

impl Asking {
    async fn begin(
        dialer: &Dialer,
        (layer, reader): &(Role, Role),
        traffic: &Traffic,
    ) -> Result<Self, LoadError> {
        let link = dialer.connect(&layer.identity, &layer.client_id).await?;
        let laid_down = lay_down(link, dialer.version, traffic).await;
        laid_down.map_err(|error| error.of(&layer.client_id))?;
        let came = Arc::<Counter>::default();
        let asker = Asker {
            link: dialer.connect(&reader.identity, &reader.client_id).await?,
            question: subscribe(dialer.version, &reader.topic, QoS::AtMostOnce),
            messages: count(traffic.retained),
            came: Arc::clone(&came),
        };
        Ok(Self {
            client_id: reader.client_id.clone(),
            came,
            task: tokio::spawn(asker.ask_on()),
        })
    }
}

/// Publishes all retained messages, each to a topic of its own below the broadcasts.
async fn lay_down(mut link: Link, version: Version, traffic: &Traffic) -> Result<(), LoadError> {
    let together = TOGETHER.min(link.receive_maximum.max(1));
    let numbers: Vec<usize> = (0..traffic.retained).collect();
    for numbers in numbers.chunks(together.into()) {
        let mut packets = Vec::new();
        for (number, id) in numbers.iter().zip(1..) {
            let topic = format!("{BROADCAST}/{number}");
            let speech = (version, QoS::AtLeastOnce);
            let mut template = Template::new(speech, &topic, traffic.payload).retained();
            template.push(&mut packets, id, &Stamp::default());
        }
        let mut open = numbers.len();
        let acknowledged = link.ask(packets, |frame| {
            open -= usize::from(is_puback(frame)?);
            Ok((open == 0).then_some(()))
        });
        within_time(acknowledged).await?;
    }
    link.close().await
}

fn is_puback(frame: &Frame<'_>) -> Result<bool, LoadError> {
    let refused = |reason| LoadError::Refused {
        what: "a retained PUBLISH",
        reason,
    };
    match frame.packet_type() {
        PacketType::Puback => Ok(ack_id(frame)?.map_err(refused).map(|_| true)?),
        PacketType::Disconnect => Err(refused(refusal(frame).unwrap_or(0))),
        _ => Ok(false),
    }
}

/// Subscribes again and again: each time all retained messages are due [MQTT-3.8.4-4].
#[derive(Debug)]
struct Asker {
    link: Link,
    /// The SUBSCRIBE.
    question: Vec<u8>,
    /// How many are due each time.
    messages: u64,
    came: Arc<Counter>,
}

impl Asker {
    async fn ask_on(mut self) -> Result<(), LoadError> {
        let came = Arc::clone(&self.came);
        loop {
            tokio::select! {
                answered = within_time(self.ask_once()) => answered?,
                () = came.done.notified() => return Ok(()),
            }
        }
    }

    async fn ask_once(&mut self) -> Result<(), LoadError> {
        let due = self.came.read() + self.messages;
        let came = &self.came;
        let all = self.link.ask(self.question.clone(), |frame| {
            came.set(came.read() + u64::from(is_retained(frame)?));
            Ok((came.read() >= due).then_some(()))
        });
        all.await
    }
}

/// Whether it is a message that was there before the subscription [MQTT-3.3.1-8].
fn is_retained(frame: &Frame<'_>) -> Result<bool, LoadError> {
    match (frame.packet_type(), refusal(frame)) {
        (PacketType::Publish, _) => Ok(frame.is_retained()),
        (PacketType::Suback, Some(reason @ 0x80..)) => Err(LoadError::Refused {
            what: "SUBSCRIBE",
            reason,
        }),
        (PacketType::Disconnect, reason) => Err(LoadError::Disconnected {
            reason: reason.unwrap_or(0),
        }),
        _ => Ok(false),
    }
}

async fn within_time<T>(
    answer: impl Future<Output = Result<T, LoadError>>,
) -> Result<T, LoadError> {
    let silent = Err(LoadError::Silent {
        time: ANSWER_TIME_MAX,
    });
    timeout(ANSWER_TIME_MAX, answer).await.unwrap_or(silent)
}
