//! The task behind a device: takes what the application asks, hands it to the wire, and deals out
//! what comes.
//!
//! It waits for nobody but its own channels: whoever does not read is held back elsewhere. What was
//! accepted is answered in the end, by the broker or by the reason why the device stopped.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use super::inbox::{Delivered, Inbox};
use super::leaving::{End, Leaving};
use super::routes::Granted;
use super::status::{Link, Status};
use super::subscription::Item;
use super::turnover::Turnover;
use crate::error::{ConnectError, DisconnectError, PublishError, SubscribeError};
use crate::message::{Publish, QoS};
use crate::outbox::disk::{Accepted, Answer, Durable, OutboxError, Record, Writer};
use crate::outbox::{Outbox, Place, Room, clock};
use crate::reason_code::ReasonCode;
use crate::reconnect::{Hope, Reconnect, Verdict};
use crate::renewal::{Renewing, Replacement};
use crate::wire::{Event, Failure, Session, SessionAfter, Subscribe, Ticket, Unsendable, Wire};

/// What the application asks.
#[derive(Debug)]
pub(super) enum Command {
    Publish {
        publish: Box<Publish>,
        /// Who waits until it is durable, where the outbox is on disk.
        accepted: Option<Answer>,
        done: Done,
    },
    /// Make room in the outbox, and say whether there was anything to drop.
    DropOldest {
        answer: oneshot::Sender<bool>,
    },
    Subscribe {
        request: Subscribe,
        items: mpsc::Sender<Item>,
        answer: SubscribeAnswer,
    },
    Unsubscribe {
        route: u32,
    },
    Disconnect {
        within: Duration,
        answer: oneshot::Sender<Result<(), DisconnectError>>,
    },
}

pub(super) type SubscribeAnswer = oneshot::Sender<Result<Granted, SubscribeError>>;

/// Who waits for a message to be acknowledged, and its place in the outbox.
#[derive(Debug)]
pub(super) struct Done {
    /// Absent for a message of an earlier life, and one of our own.
    pub(super) answer: Option<oneshot::Sender<Result<(), PublishError>>>,
    /// Absent where an earlier life had more room, and for one of our own.
    pub(super) _place: Option<Place>,
}

/// The state of a device, owned by its task.
pub(super) struct Driver<W> {
    pub(super) wire: W,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) outbox: Outbox<Done>,
    pub(super) room: Arc<Room>,
    /// Where the outbox is on disk.
    pub(super) disk: Option<Writer>,
    pub(super) inbox: Inbox,
    pub(super) reconnect: Reconnect,
    pub(super) status: watch::Sender<Status>,
    /// Drawn evenly from all numbers.
    pub(super) chance: fn() -> u32,
    pub(super) session_after: SessionAfter,
    pub(super) phase: Phase,
    pub(super) leaving: Option<Leaving>,
    /// Where the certificate is renewed: what comes of it, for as long as it goes on.
    pub(super) renewal: Option<(mpsc::Receiver<Replacement>, Renewing)>,
    pub(super) turnover: Option<Turnover>,
    /// What is said first on each connection, where presence is told.
    pub(super) presence: Option<Publish>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Connecting,
    Up,
    Waiting { until: Instant },
}

impl<W: Wire> Driver<W> {
    pub(super) async fn run(mut self) {
        self.connect();
        let end = loop {
            if let ControlFlow::Break(end) = self.turn().await {
                break end;
            }
        };
        // Who is told that we have left may open the outbox again.
        if let Some(disk) = self.disk.take() {
            disk.close().await;
        }
        self.end(end);
    }

    /// Hands over what can be, and deals with the next thing that happens.
    async fn turn(&mut self) -> ControlFlow<End> {
        self.expire();
        self.hand_over();
        self.part_if_drained();
        self.leave_if_done()?;
        let deadline = self.deadline();
        tokio::select! {
            command = self.commands.recv() => match command {
                Some(command) => self.command(command),
                None => return ControlFlow::Break(End::Abandoned),
            },
            receipt = self.inbox.taken() => self.wire.acknowledge(receipt),
            event = self.wire.next() => return self.event(event),
            replacement = replacement(&mut self.renewal) => self.replace(replacement),
            error = failed(&mut self.disk) => {
                return ControlFlow::Break(End::GivenUp(error.into()));
            }
            () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                return self.time_came(Instant::now());
            }
        }
        ControlFlow::Continue(())
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Publish {
                publish,
                accepted,
                done,
            } if self.leaving.is_none() => self.accept(*publish, accepted, done),
            // Its answer goes with it: the device has disconnected.
            Command::Publish { .. } => {}
            Command::DropOldest { answer } => {
                let oldest = self.outbox.oldest_waiting();
                if let Some(oldest) = oldest {
                    self.room.count_dropped();
                    self.settle(oldest, Err(PublishError::Dropped));
                }
                let _ = answer.send(oldest.is_some());
            }
            Command::Subscribe {
                request,
                items,
                answer,
            } => {
                self.inbox.routes.add(request, items, answer);
                let delivered = self.inbox.claim();
                self.count(delivered);
            }
            Command::Unsubscribe { route } => {
                if let Some(filter) = self.inbox.routes.remove(route) {
                    self.wire.unsubscribe(&filter);
                }
            }
            Command::Disconnect { within, answer } => self.disconnect(within, answer),
        }
    }

    fn event(&mut self, event: Event) -> ControlFlow<End> {
        match event {
            Event::Up(session) => self.up(session),
            Event::Down(error) => return self.down(error),
            Event::Published(ticket, result) => self.published(ticket, result),
            Event::Subscribed(ticket, result) => self.subscribed(ticket, result),
            Event::Message(incoming) => {
                self.note(|status| status.received = status.received.wrapping_add(1));
                let delivered = self.inbox.receive(incoming, &mut self.wire);
                self.count(delivered);
            }
            Event::Closed => return ControlFlow::Break(End::Left),
        }
        ControlFlow::Continue(())
    }

    fn up(&mut self, session: Session) {
        let now = Instant::now();
        self.phase = Phase::Up;
        self.reconnect.connected(now.into_std());
        self.inbox.connected(session, now);
        match session {
            Session::New | Session::Adopted => {
                self.outbox.all_forgotten();
                self.inbox.routes.all_forgotten();
            }
            Session::Restored => self.inbox.routes.all_forgotten(),
            Session::Resumed => {}
        }
        info!(?session, "connected");
        if let Some(here) = self.presence.clone() {
            // It arrives or the connection is lost, and then the next one says it.
            let done = Done {
                answer: None,
                _place: None,
            };
            self.accept(here, None, done);
        }
        self.turned_over();
        let resumed = session != Session::New;
        self.set_link(Link::Connected {
            since: now.into_std(),
            resumed,
        });
    }

    fn down(&mut self, error: ConnectError) -> ControlFlow<End> {
        if self.leaving.as_ref().is_some_and(|leaving| leaving.closing) {
            return ControlFlow::Break(End::Left);
        }
        if self.turned_back(&error) {
            return ControlFlow::Continue(());
        }
        let now = Instant::now();
        let hope = match error.hope() {
            // Another certificate is on its way.
            Hope::Lasting if self.renewal.is_some() && error.is_about_certificate() => {
                Hope::Passing
            }
            hope => hope,
        };
        match self.reconnect.lost(now.into_std(), hope, (self.chance)()) {
            Verdict::Stop => ControlFlow::Break(End::GivenUp(error)),
            Verdict::Retry { after } => {
                let after = self.hasten(after);
                let attempts = self.reconnect.attempt();
                warn!(%error, ?after, attempts, "not connected");
                let until = now + after;
                self.phase = Phase::Waiting { until };
                self.set_link(Link::Waiting {
                    until: until.into_std(),
                    attempts,
                    cause: error,
                });
                ControlFlow::Continue(())
            }
        }
    }

    fn published(&mut self, ticket: Ticket, result: Result<(), Failure>) {
        match result {
            Ok(()) => self.settle(ticket.id, Ok(())),
            Err(Failure::Refused(reason)) => {
                self.settle(ticket.id, Err(PublishError::refused(reason)));
            }
            Err(Failure::MaybeSent) if self.outbox.qos(ticket.id) == Some(QoS::AtMostOnce) => {
                self.settle(ticket.id, Err(PublishError::ConnectionLost));
            }
            Err(Failure::MaybeSent | Failure::Forgotten) => self.outbox.forgotten(ticket),
        }
    }

    fn subscribed(&mut self, ticket: Ticket, result: Result<QoS, Failure>) {
        match result {
            Ok(qos) => self.inbox.routes.granted(ticket, qos),
            Err(Failure::Refused(reason)) => {
                self.inbox
                    .routes
                    .refused(ticket, SubscribeError::refused(reason));
            }
            Err(Failure::MaybeSent | Failure::Forgotten) => self.inbox.routes.forgotten(ticket),
        }
    }

    /// Counts what became of messages, and gives up the subscriptions nobody reads.
    fn count(&mut self, delivered: Delivered) {
        if delivered.gone > 0 {
            for filter in self.inbox.routes.remove_dropped() {
                self.wire.unsubscribe(&filter);
            }
        }
        if delivered.dropped > 0 || delivered.unclaimed > 0 {
            self.note(|status| {
                status.dropped = status.dropped.saturating_add(delivered.dropped);
                status.unclaimed = status.unclaimed.saturating_add(delivered.unclaimed);
            });
        }
    }

    fn hand_over(&mut self) {
        let is_held_back = self.turnover.as_ref().is_some_and(Turnover::holds_back);
        if self.phase != Phase::Up || is_held_back {
            return;
        }
        for (ticket, request) in self.inbox.routes.requests() {
            self.wire.subscribe(ticket, &request);
        }
        let now = Instant::now();
        while let Some((ticket, publish)) = self.outbox.hand_over(now) {
            if let Err(unsendable) = self.wire.publish(ticket, publish) {
                self.settle(ticket.id, Err(unsendable.into()));
            }
        }
    }

    fn settle(&mut self, id: u64, result: Result<(), PublishError>) {
        let qos = self.outbox.qos(id);
        let Some(done) = self.outbox.settle(id) else {
            return;
        };
        self.forget_on_disk(id, qos);
        let is_published = result.is_ok();
        match (done.answer, result) {
            // Who does not wait for the answer does not want it.
            (Some(answer), result) => drop(answer.send(result)),
            (None, Err(error)) => warn!(%error, "a message that nobody waits for is not published"),
            (None, Ok(())) => {}
        }
        self.note(|status| {
            let count = if is_published {
                &mut status.published
            } else {
                &mut status.failed
            };
            *count = count.wrapping_add(1);
        });
    }

    fn accept(&mut self, publish: Publish, accepted: Option<Answer>, done: Done) {
        let on_disk = match (&self.disk, accepted) {
            (Some(disk), Some(answer)) => Some((disk.clone(), publish.clone(), answer)),
            _ => None,
        };
        let id = self.outbox.push(publish, done, Instant::now());
        if let Some((disk, publish, answer)) = on_disk {
            let at = clock::wall_now();
            let gets_packet_id = self.phase == Phase::Up && publish.qos == QoS::ExactlyOnce;
            let durable = if gets_packet_id {
                Durable::WithPacketId
            } else {
                Durable::Now
            };
            let record = Record::Accepted(Box::new(Accepted { id, at, publish }));
            disk.append(record, durable, Some(answer));
        }
        self.note(|_| {});
    }

    fn forget_on_disk(&self, id: u64, qos: Option<QoS>) {
        let (Some(disk), Some(qos)) = (&self.disk, qos) else {
            return;
        };
        let durable = match qos {
            QoS::AtMostOnce => return,
            // Until then it would be sent again.
            QoS::AtLeastOnce => Durable::Soon,
            // Until then it would be released again, which the broker knows how to answer.
            QoS::ExactlyOnce => Durable::Sometime,
        };
        disk.append(Record::Settled { id }, durable, None);
    }

    fn expire(&mut self) {
        for id in self.outbox.expired(Instant::now()) {
            self.room.count_expired();
            self.settle(id, Err(PublishError::Expired));
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let retry = match self.phase {
            Phase::Waiting { until } => Some(until),
            Phase::Connecting | Phase::Up => None,
        };
        let leaving = self.leaving.as_ref().map(|leaving| leaving.until);
        let expires = self.outbox.expires();
        let turnover = self.turnover.as_ref().and_then(Turnover::deadline);
        [retry, leaving, expires, turnover, self.inbox.claims_until()]
            .into_iter()
            .flatten()
            .min()
    }

    fn time_came(&mut self, now: Instant) -> ControlFlow<End> {
        if self.inbox.claims_until().is_some_and(|until| until <= now) {
            let delivered = self.inbox.end_claims();
            self.count(delivered);
        }
        self.turn_over(now);
        if let Some(leaving) = self.leaving.as_ref().filter(|leaving| leaving.until <= now) {
            if leaving.closing {
                return ControlFlow::Break(End::Left);
            }
            return self.leave(None);
        }
        if matches!(self.phase, Phase::Waiting { until } if until <= now) {
            self.connect_again();
        }
        ControlFlow::Continue(())
    }

    pub(super) fn connect_again(&mut self) {
        self.phase = Phase::Connecting;
        self.set_link(Link::Connecting);
        self.connect();
    }

    fn connect(&mut self) {
        self.trying();
        if let Some(broker) = self.reconnect.broker() {
            self.wire.connect(broker);
        }
    }

    pub(super) fn set_link(&self, link: Link) {
        let connected = u32::from(matches!(link, Link::Connected { .. }));
        self.status.send_modify(|status| {
            status.connections = status.connections.wrapping_add(connected);
            status.link = link;
        });
    }

    /// Counts something, without waking those who wait for a change of the connection.
    fn note(&self, count: impl FnOnce(&mut Status)) {
        self.status.send_if_modified(|status| {
            status.unacknowledged = self.outbox.len();
            count(status);
            false
        });
    }
}

/// The next identity; never ready where the certificate is not renewed.
async fn replacement(renewal: &mut Option<(mpsc::Receiver<Replacement>, Renewing)>) -> Replacement {
    if let Some((replacements, _)) = renewal
        && let Some(replacement) = replacements.recv().await
    {
        return replacement;
    }
    std::future::pending().await
}

/// Why the outbox cannot be written; never ready as long as it can, or is in memory.
async fn failed(disk: &mut Option<Writer>) -> OutboxError {
    match disk {
        Some(disk) => disk.failed().await,
        None => std::future::pending().await,
    }
}

impl From<Unsendable> for PublishError {
    fn from(unsendable: Unsendable) -> Self {
        match unsendable {
            Unsendable::TooLarge { len, len_max } => Self::TooLarge { len, len_max },
            Unsendable::QosNotSupported => Self::refused(ReasonCode::QOS_NOT_SUPPORTED),
            Unsendable::NeedsMqtt5 { what } => Self::NeedsMqtt5 { what },
            Unsendable::RetainNotSupported => Self::refused(ReasonCode::RETAIN_NOT_SUPPORTED),
        }
    }
}
