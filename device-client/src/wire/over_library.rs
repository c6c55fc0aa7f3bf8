//! A wire over a library that speaks MQTT.
//!
//! What it needs is asked of its engine, and what comes of it is told in our words. A broker that
//! cannot be told how much we take at once is held back here.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use futures_util::StreamExt;
use futures_util::future::{BoxFuture, FutureExt, pending, ready};
use futures_util::stream::FuturesUnordered;
use tracing::warn;

use super::adopt::{Adopted, Others};
use super::engine::{Attempt, Engine, Kept, Known, Order, Said};
use super::forgetting::{Forgetting, Then};
use super::ledger::Ledger;
use super::library::{Asker, Condition, Library, Limits, Welcome};
use super::settings::{FirstSession, Settings};
use super::version::Version;
use super::{
    Event, Failure, Incoming, Leave, Receipt, Session, SessionAfter, Subscribe, Ticket, Unsendable,
    Wire,
};
use crate::error::ConnectError;
use crate::identity::Identity;
use crate::message::Publish;
use crate::reconnect::Broker;

/// A broker that sends so many messages more than are taken at once is not listened to.
const HELD_BACK_MAX: usize = 1000;

/// The wire of a device.
pub(crate) struct OverLibrary<L: Library> {
    settings: Settings,
    engine: Engine<L>,
    answers: FuturesUnordered<BoxFuture<'static, Event>>,
    /// Handed to an engine that had stopped: told once it is known that it has.
    late: Vec<Event>,
    limits: Limits,
    next_session: FirstSession,
    packet_id_max: u16,
    /// What an earlier life left, by packet id, as long as the broker may know of it.
    restored: BTreeMap<u16, Ticket>,
    origin: Origin,
    incoming: HeldBack,
    forgetting: Option<Forgetting<L>>,
    session_after: SessionAfter,
}

/// Messages of a broker that knows no receive maximum.
#[derive(Debug, Default)]
struct HeldBack {
    waiting: VecDeque<Incoming>,
    /// Packet ids of what was given out and is not acknowledged.
    given: BTreeSet<u16>,
    /// What comes now comes again with the next connection.
    is_too_much: bool,
}

/// Where the session of an engine comes from that has not been connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// It is not known, if there is one.
    Unknown,
    /// It was written down.
    Disk,
}

impl<L: Library> OverLibrary<L> {
    /// A wire that is not connected. To be called in a runtime.
    pub(crate) fn new(settings: Settings) -> Self {
        let packet_id_max = settings.in_flight_max;
        let restored = settings
            .ledger
            .as_deref()
            .map(under_way)
            .unwrap_or_default();
        let origin = match settings.ledger {
            Some(_) => Origin::Disk,
            None => Origin::Unknown,
        };
        Self {
            engine: start(&settings, (packet_id_max, Others::Unknown), &restored),
            restored,
            origin,
            next_session: settings.first_session,
            limits: Limits::default(),
            answers: FuturesUnordered::new(),
            late: Vec::new(),
            packet_id_max,
            incoming: HeldBack::default(),
            forgetting: None,
            session_after: SessionAfter::Kept,
            settings,
        }
    }

    /// Begins again with an engine that knows of no session.
    fn replace_engine(&mut self) {
        self.forget_session();
        self.origin = Origin::Unknown;
        self.engine = start(
            &self.settings,
            (self.packet_id_max, Others::Unknown),
            &self.restored,
        );
    }

    /// An engine whose session is written down ends with its connection, and the next one goes on
    /// from what was written: in order, whatever had been sent again when the connection was lost.
    fn go_on(&mut self) {
        let Some(ledger) = self.settings.ledger.clone() else {
            return;
        };
        ledger.connection_lost();
        let knows_session = self.engine.knows_session;
        let others = if knows_session {
            Others::Free
        } else {
            Others::Unknown
        };
        self.restored = under_way(&ledger);
        self.engine = start(&self.settings, (self.packet_id_max, others), &self.restored);
        self.engine.knows_session = knows_session;
    }

    fn forget_session(&mut self) {
        self.restored.clear();
        if let Some(ledger) = &self.settings.ledger {
            ledger.session_lost();
        }
    }

    /// Connects once more with as many packet ids as the broker takes. Those of messages of an
    /// earlier life stay, if it takes them.
    fn narrow(&mut self, receive_max: u16) {
        self.packet_id_max = receive_max;
        if self.restored.keys().any(|id| *id > receive_max) {
            self.replace_engine();
        } else {
            self.engine = start(
                &self.settings,
                (receive_max, Others::Unknown),
                &self.restored,
            );
        }
        self.connect_where_chosen();
    }

    /// Connects to the broker that is chosen.
    pub(crate) fn connect_where_chosen(&mut self) {
        if self.needs_forgetting() && self.next_session == FirstSession::New {
            self.forgetting = Some(Forgetting::begin(&self.settings, Then::Connect));
        } else {
            self.attempt();
        }
    }

    fn attempt(&self) {
        let clean_start = match L::VERSION {
            Version::V5 => self.next_session == FirstSession::New,
            Version::V3_1_1 => self.settings.is_session_brief(),
        };
        let keep_alive = self.settings.keep_alive;
        self.engine.connect(Attempt {
            clean_start,
            keep_alive,
        });
    }

    /// Whether a session of ours ends only by a connection of its own.
    fn needs_forgetting(&self) -> bool {
        L::VERSION == Version::V3_1_1 && !self.settings.is_session_brief()
    }

    /// The broker has forgotten the session, or has not.
    fn forgotten(&mut self, result: Result<(), ConnectError>) -> Option<Event> {
        match (self.forgetting.take()?.then, result) {
            (Then::Connect, Ok(())) => {
                self.attempt();
                None
            }
            (Then::Connect, Err(error)) => Some(Event::Down(error)),
            (Then::Closed, _) => Some(Event::Closed),
        }
    }

    fn closed(&mut self) -> Option<Event> {
        if !self.needs_forgetting() || self.session_after == SessionAfter::Kept {
            return Some(Event::Closed);
        }
        self.forgetting = Some(Forgetting::begin(&self.settings, Then::Closed));
        None
    }

    /// A message that is given out now, or waits until others have been acknowledged.
    fn take_in(&mut self, incoming: Incoming) -> Option<Event> {
        if L::VERSION == Version::V5 || incoming.receipt.is_none() {
            return Some(Event::Message(incoming));
        }
        if self.incoming.is_too_much {
            return None;
        }
        self.incoming.waiting.push_back(incoming);
        if self.incoming.waiting.len() > HELD_BACK_MAX {
            warn!("the broker sends more messages than can be held: another connection is made");
            self.incoming.is_too_much = true;
            self.incoming.waiting.clear();
            self.hang_up();
        }
        self.give_out()
    }

    fn give_out(&mut self) -> Option<Event> {
        let HeldBack { waiting, given, .. } = &mut self.incoming;
        if given.len() >= usize::from(self.settings.receive_max) {
            return None;
        }
        let incoming = waiting.pop_front()?;
        given.extend(incoming.receipt.map(|receipt| receipt.packet_id));
        Some(Event::Message(incoming))
    }

    /// What the engine said, if it concerns anybody.
    fn heard(&mut self, said: Option<Said>) -> Option<Event> {
        match said {
            Some(Said::Up(welcome)) => Some(Event::Up(self.up(&welcome))),
            Some(Said::Answered(packet_id, result)) => {
                let ticket = self.restored.remove(&packet_id)?;
                Some(Event::Published(ticket, result))
            }
            Some(Said::Narrow(receive_max)) => {
                self.narrow(receive_max);
                None
            }
            Some(Said::Message(incoming)) => self.take_in(*incoming),
            Some(Said::Closed) => self.closed(),
            Some(Said::Down(error, Condition::Sound)) => {
                self.incoming = HeldBack::default();
                self.go_on();
                Some(Event::Down(error))
            }
            Some(Said::Down(error, Condition::Spoiled)) => {
                self.replace_engine();
                Some(Event::Down(error))
            }
            None => {
                self.replace_engine();
                let what = "the MQTT engine stopped on what was received".into();
                Some(Event::Down(ConnectError::Protocol { what }))
            }
        }
    }

    fn up(&mut self, welcome: &Welcome) -> Session {
        self.settings.identity.identity().note_welcome();
        let session = match (welcome.session_present, self.engine.knows_session) {
            (false, _) => Session::New,
            (true, true) => Session::Resumed,
            (true, false) if self.origin == Origin::Disk => Session::Restored,
            (true, false) => Session::Adopted,
        };
        if session == Session::New {
            self.forget_session();
        }
        self.engine.knows_session = true;
        self.engine.connections = self.engine.connections.wrapping_add(1);
        self.next_session = FirstSession::Resumed;
        self.limits = welcome.limits;
        self.incoming = HeldBack::default();
        session
    }

    /// Whether this is forgotten by one engine only, and the next one sends it again.
    fn goes_on(&self, answer: &Event) -> bool {
        let Event::Published(ticket, Err(Failure::Forgotten | Failure::MaybeSent)) = answer else {
            return false;
        };
        let ledger = self.settings.ledger.as_ref();
        ledger.is_some_and(|ledger| ledger.is_under_way(*ticket))
    }

    /// Answers `ticket` as soon as `notice` does.
    fn await_answer(&mut self, answer: impl Future<Output = Event> + Send + 'static) {
        self.answers.push(answer.boxed());
    }
}

/// How the session was forgotten; never ready where it is not to be.
async fn done<L: Library>(forgetting: &mut Option<Forgetting<L>>) -> Result<(), ConnectError> {
    match forgetting {
        Some(forgetting) => forgetting.done().await,
        None => pending().await,
    }
}

fn under_way(ledger: &Ledger) -> BTreeMap<u16, Ticket> {
    let under_way = ledger.under_way().into_iter();
    under_way.map(|it| (it.packet_id, it.ticket)).collect()
}

fn start<L: Library>(
    settings: &Settings,
    (packet_id_max, others): (u16, Others),
    restored: &BTreeMap<u16, Ticket>,
) -> Engine<L> {
    let adopted = Adopted::new(packet_id_max, others, settings.ledger.clone());
    let session = Known {
        packet_id_max,
        is_kept: match settings.ledger {
            Some(_) => Kept::OnDisk,
            None => Kept::InMemory,
        },
        restored: restored.keys().copied().collect(),
    };
    Engine::start(settings, adopted, session)
}

#[cfg(test)]
impl<L: Library> OverLibrary<L> {
    pub(super) fn kill_engine(&self) {
        self.engine.kill();
    }
}

impl<L: Library> Wire for OverLibrary<L> {
    fn connect(&mut self, broker: &Broker) {
        self.settings.whereto.choose(broker);
        self.connect_where_chosen();
    }

    fn publish(&mut self, ticket: Ticket, publish: &Publish) -> Result<(), Unsendable> {
        let check = L::VERSION.check_publish(publish);
        check.map_err(|what| Unsendable::NeedsMqtt5 { what })?;
        let packet = L::Asker::packet(publish);
        self.limits.check(publish, L::Asker::len(&packet))?;
        if let Some(ledger) = &self.settings.ledger {
            ledger.handed_over(ticket, publish);
        }
        match self.engine.library.publish(&publish.topic, packet) {
            Some(answer) => {
                self.await_answer(async move { Event::Published(ticket, answer.await) });
            }
            None => self
                .late
                .push(Event::Published(ticket, Err(Failure::Forgotten))),
        }
        Ok(())
    }

    fn subscribe(&mut self, ticket: Ticket, request: &Subscribe) {
        let knows_identifiers = self.limits.subscription_identifiers;
        let identifier = knows_identifiers.then_some(request.identifier);
        match self.engine.library.subscribe(request, identifier) {
            Some(answer) => {
                self.await_answer(async move { Event::Subscribed(ticket, answer.await) });
            }
            None => self
                .late
                .push(Event::Subscribed(ticket, Err(Failure::Forgotten))),
        }
    }

    fn unsubscribe(&mut self, filter: &str) {
        self.engine.library.unsubscribe(filter);
    }

    fn acknowledge(&mut self, receipt: Receipt) {
        self.incoming.given.remove(&receipt.packet_id);
        self.engine
            .order(Order::Acknowledge(self.engine.connections, receipt));
    }

    fn renew(&mut self, identity: Identity) {
        self.settings.identity.replace(identity);
    }

    fn hang_up(&mut self) {
        let farewell = self.settings.farewell.clone();
        self.engine.order(Order::HangUp(farewell));
    }

    fn close(&mut self, leave: Leave) {
        self.session_after = leave.session;
        self.engine.order(Order::Leave(leave));
    }

    async fn next(&mut self) -> Event {
        loop {
            if let Some(event) = self.give_out() {
                return event;
            }
            tokio::select! {
                // What was answered before a connection was lost is heard before that.
                biased;
                Some(answer) = self.answers.next() => {
                    if !self.goes_on(&answer) {
                        return answer;
                    }
                }
                result = done(&mut self.forgetting) => {
                    if let Some(event) = self.forgotten(result) {
                        return event;
                    }
                }
                said = self.engine.said.recv() => {
                    for event in self.late.drain(..) {
                        self.answers.push(ready(event).boxed());
                    }
                    if let Some(event) = self.heard(said) {
                        return event;
                    }
                }
            }
        }
    }
}
