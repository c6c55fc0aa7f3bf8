//! The life of one device: it does what its script says, and comes back when it is lost.

mod arrival;

use super::dial::{KEEP_ALIVE, Link};
use super::intruder::Intrusion;
use super::talk::{Ended, Talk};
use super::{DeviceEar, Fleet, Mail, Stage};
use crate::scenario::{Action, Chance, Step, What};
use crate::verdict::Way;
use crate::wire::{DISCONNECT, DISCONNECT_FOR_GOOD, PINGREQ};
use arrival::Search;
use rustls::ClientConfig;
use std::collections::VecDeque;
use std::future::pending;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// How long leaving may take.
const LEAVE_TIME_MAX: Duration = Duration::from_secs(2);

/// How often a device pings.
const PING_EVERY: Duration = Duration::from_secs(KEEP_ALIVE as u64 / 2);

/// A switch to other authorities that is late is looked for so often.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// A device.
#[derive(Debug)]
pub(super) struct Life {
    number: u32,
    fleet: Arc<Fleet>,
    tls: Arc<ClientConfig>,
    steps: VecDeque<Step>,
    talk: Talk,
    place: Place,
    /// The connection it had, which the broker may not know to be over.
    old: Option<Box<Link>>,
    chance: Chance,
    /// Attempts since it was last in.
    attempts: u32,
    refusals: u32,
    is_known: bool,
    /// New certificates it has not come with yet.
    renewing: u32,
}

/// Where a device is.
#[derive(Debug)]
enum Place {
    /// It does not want to be connected.
    Away,
    /// On its way.
    Seeking(Search),
    /// Connected.
    In { link: Box<Link>, ping_at: Duration },
    /// Connected, and neither reading nor writing.
    Silent {
        link: Box<Link>,
        until: Duration,
        then: Then,
    },
    /// It does not come again.
    Gone,
}

/// What comes after silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    GoOn,
    ComeAnew,
}

/// What a device waited for.
enum Happened {
    Due,
    Heard(Result<(), Ended>),
    Stage(Stage),
}

impl Life {
    pub(super) fn new(
        (fleet, number): (Arc<Fleet>, u32),
        tls: Arc<ClientConfig>,
        steps: Vec<Step>,
    ) -> Self {
        Self {
            number,
            chance: fleet.chance(number),
            fleet,
            tls,
            steps: steps.into(),
            talk: Talk::new(),
            place: Place::Away,
            old: None,
            attempts: 0,
            refusals: 0,
            is_known: false,
            renewing: 0,
        }
    }

    pub(super) async fn live(mut self) {
        let mut stages = self.fleet.stage.clone();
        let mut stage = Stage::Running;
        while stage != Stage::Over {
            let due = self.due();
            let mut ear = DeviceEar {
                fleet: &self.fleet,
                number: self.number,
                commands: 0,
            };
            let happened = tokio::select! {
                heard = hear(&mut self.place, &mut self.talk, &mut ear) => Happened::Heard(heard),
                () = self.fleet.until(due) => Happened::Due,
                changed = stages.wait_for(|next| *next != stage) => {
                    Happened::Stage(changed.map_or(Stage::Over, |stage| *stage))
                }
            };
            let commands = ear.commands;
            match happened {
                Happened::Due => self.act().await,
                Happened::Heard(Ok(())) => {}
                Happened::Heard(Err(ended)) => {
                    self.fleet.ledger.sent_away(self.number, ended.cause());
                    self.lose();
                }
                Happened::Stage(next) => {
                    stage = next;
                    self.settle();
                }
            }
            if stage == Stage::Running {
                self.answer(commands).await;
            } else {
                let is_at_rest = self.talk.is_at_rest();
                self.fleet.ledger.rests(self.number, is_at_rest);
            }
        }
        self.leave().await;
    }

    /// When there is something to do.
    fn due(&self) -> Option<Duration> {
        let of_place = match &self.place {
            Place::Away | Place::Gone => None,
            Place::Seeking(search) => Some(search.at),
            Place::In { ping_at, .. } => Some(*ping_at),
            Place::Silent { until, .. } => Some(*until),
        };
        let step = self.steps.front().map(|step| step.at);
        of_place.into_iter().chain(step).min()
    }

    async fn act(&mut self) {
        let now = self.fleet.now();
        if let Some(step) = self.steps.pop_front_if(|step| step.at <= now) {
            return self.step(step.action, now).await;
        }
        match &mut self.place {
            Place::Seeking(search) if search.at <= now => {
                let search = *search;
                // The handshake's memory goes back when it is done.
                Box::pin(self.come(search)).await;
            }
            Place::Silent { until, .. } if *until <= now => self.end_silence().await,
            Place::In { link, ping_at } if *ping_at <= now => {
                *ping_at = now + PING_EVERY;
                link.wire.out().extend(PINGREQ);
                self.send().await;
            }
            Place::Away
            | Place::Gone
            | Place::Seeking(_)
            | Place::In { .. }
            | Place::Silent { .. } => {}
        }
    }

    async fn step(&mut self, action: Action, now: Duration) {
        match action {
            Action::Come if matches!(self.place, Place::Away) => self.seek(None),
            Action::Come => {}
            Action::Publish => self.say().await,
            Action::Command => {
                if self.fleet.ledger.is_ready(self.number) {
                    // With too many on their way, this one is not given.
                    let _ = self.fleet.commands.try_send(self.number);
                }
            }
            Action::Sleep => self.sleep().await,
            Action::Roam => {
                // Any address of the loopback network is ours.
                let last = u8::try_from(2 + self.chance.below(8)).unwrap_or(2);
                let from = Ipv4Addr::new(127, 0, 0, last);
                let is_local = self.fleet.target.address.ip().is_loopback();
                self.move_on(is_local.then_some(from.into()));
            }
            Action::Undergo(what, lasting) => self.undergo(what, now + lasting).await,
        }
    }

    async fn undergo(&mut self, what: What, until: Duration) {
        match what {
            What::Flap => self.cut(),
            What::HalfOpen => self.fall_silent(until, Then::ComeAnew),
            What::SlowReader => self.fall_silent(until, Then::GoOn),
            What::CutPublish => self.cut_in_the_middle().await,
            What::Revoked => {
                tokio::spawn(revoke(Arc::clone(&self.fleet), self.number));
            }
            What::TicketReuse => {
                if let Place::In { link, .. } = &mut self.place {
                    link.wire.out().extend(DISCONNECT);
                    self.send().await;
                    self.seek(None);
                }
            }
            What::Renew => self.renew().await,
            What::CaRotation => self.follow().await,
            What::Expired
            | What::ClockSkew
            | What::Cloned
            | What::DuplicateClientId
            | What::Eavesdrop => {
                let (fleet, tls) = (Arc::clone(&self.fleet), Arc::clone(&self.tls));
                let number = self.number;
                tokio::spawn(Intrusion { fleet, number, tls }.attempt(what));
            }
            What::RestartBroker | What::KillBroker => {}
        }
    }

    /// Says one more thing, now or when it is back.
    async fn say(&mut self) {
        if self.talk.has_room() {
            let number = self.fleet.ledger.say(self.number, Way::Up);
            self.talk.say(self.number, number);
            self.flush().await;
        }
    }

    /// Answers each command with a message.
    async fn answer(&mut self, commands: u32) {
        for _ in 0..commands {
            self.say().await;
        }
    }

    async fn flush(&mut self) {
        if let Place::In { link, .. } = &mut self.place {
            let mail = Mail {
                fleet: &self.fleet,
                way: Way::Up,
            };
            self.talk.flush(link.wire.out(), &mail);
            self.send().await;
        }
    }

    async fn send(&mut self) {
        if let Place::In { link, .. } = &mut self.place
            && link.wire.send().await.is_err()
        {
            self.lose();
        }
    }

    /// Who is silent does not see when he is cut: he is out meanwhile.
    fn fall_silent(&mut self, until: Duration, then: Then) {
        if self.fleet.ledger.is_revoked(self.number) {
            return;
        }
        self.place = match std::mem::replace(&mut self.place, Place::Away) {
            Place::In { link, .. } => {
                let now = self.fleet.now();
                self.fleet.ledger.disconnected(self.number, now);
                Place::Silent { link, until, then }
            }
            place => place,
        };
    }

    async fn end_silence(&mut self) {
        let Place::Silent { link, then, .. } = std::mem::replace(&mut self.place, Place::Away)
        else {
            return;
        };
        let ping_at = self.fleet.now() + PING_EVERY;
        self.place = Place::In { link, ping_at };
        match then {
            Then::GoOn if self.renewing == 0 => {
                self.fleet.ledger.speaks_again(self.number);
                self.flush().await;
            }
            // What it has is of a certificate that was replaced meanwhile.
            Then::GoOn | Then::ComeAnew => self.move_on(None),
        }
    }

    /// Leaves in good order; its session waits.
    async fn sleep(&mut self) {
        if let Place::In { link, .. } = &mut self.place {
            link.wire.out().extend(DISCONNECT);
            let _ = timeout(LEAVE_TIME_MAX, link.wire.drain()).await;
        }
        if !matches!(self.place, Place::Gone) {
            self.put(Place::Away);
        }
    }

    /// Half of a PUBLISH is sent.
    async fn cut_in_the_middle(&mut self) {
        if let Place::In { link, .. } = &mut self.place
            && self.talk.has_room()
        {
            let number = self.fleet.ledger.say(self.number, Way::Up);
            self.talk.say(self.number, number);
            let (mut whole, mail) = (
                Vec::new(),
                Mail {
                    fleet: &self.fleet,
                    way: Way::Up,
                },
            );
            self.talk.flush(&mut whole, &mail);
            whole.truncate(whole.len() / 2);
            link.wire.out().extend(whole);
            let _ = timeout(LEAVE_TIME_MAX, link.wire.drain()).await;
            self.cut();
        }
    }

    async fn renew(&mut self) {
        // Without a certificate there is nothing to come with; the ledger finds it missing.
        self.fleet.ledger.renewing(self.number);
        let is_switched = *self.fleet.switched.borrow();
        if let Ok(tls) = self.fleet.world.renewed(self.fleet.id(self.number)).await {
            self.tls = tls;
            self.renewing += 1;
            self.move_on(None);
            if is_switched {
                self.fleet.ledger.followed(self.number);
            }
        }
    }

    /// Comes with a certificate of the authority that follows, as soon as it issues.
    async fn follow(&mut self) {
        if *self.fleet.switched.borrow() {
            return self.renew().await;
        }
        let at = self.fleet.now() + LOOK_AGAIN;
        let action = Action::Undergo(What::CaRotation, Duration::ZERO);
        let place = self.steps.partition_point(|step| step.at <= at);
        self.steps.insert(place, Step { at, action });
    }

    /// Nothing more happens: whoever is away comes, whoever is silent speaks.
    fn settle(&mut self) {
        self.steps.clear();
        match &mut self.place {
            Place::Away => self.seek(None),
            Place::Silent { until, .. } => *until = Duration::ZERO,
            Place::Seeking(_) | Place::In { .. } | Place::Gone => {}
        }
    }

    async fn leave(mut self) {
        if let Place::In { link, .. } = &mut self.place {
            link.wire.out().extend(DISCONNECT_FOR_GOOD);
            let _ = timeout(LEAVE_TIME_MAX, link.wire.drain()).await;
        }
    }
}

/// Hears what comes to a device that is in; never ends for another.
async fn hear(place: &mut Place, talk: &mut Talk, ear: &mut DeviceEar<'_>) -> Result<(), Ended> {
    let Place::In { link, .. } = place else {
        return pending().await;
    };
    link.wire
        .turn(|bytes, out| talk.take(bytes, out, ear))
        .await
}

/// Revokes a device, and notes when that was asked for and when it was done.
async fn revoke(fleet: Arc<Fleet>, number: u32) {
    if let Some(broker) = fleet.world.broker().await {
        fleet.ledger.revoking(number, fleet.now());
        if broker.revoke(fleet.id(number)).await.is_ok() {
            fleet.ledger.revoked(number, fleet.now());
        }
    }
}
