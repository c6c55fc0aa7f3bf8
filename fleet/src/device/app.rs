//! The application that hears all devices and tells them what to do.

use super::dial::{Caller, KEEP_ALIVE, Link, NotIn};
use super::talk::{Ear, Ended, Talk};
use super::{Fleet, Mail, Stage};
use crate::verdict::Way;
use crate::wire::{DISCONNECT, DISCONNECT_FOR_GOOD, Delivery, PINGREQ, Start, subscribe};
use protocol::packet::{QoS, Version};
use rustls::ClientConfig;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

/// It is one, so that it may ask again at once.
const AGAIN: Duration = Duration::from_millis(100);

const PING_EVERY: Duration = Duration::from_secs(KEEP_ALIVE as u64 / 2);

/// How long leaving may take.
const LEAVE_TIME_MAX: Duration = Duration::from_secs(2);

/// Its id, as `countersign up` names it.
pub(crate) const ID: &str = "app-1";

/// The application.
#[derive(Debug)]
pub(super) struct App {
    fleet: Arc<Fleet>,
    tls: Arc<ClientConfig>,
    talk: Talk,
    /// Is told when it hears for the first time.
    ready: Option<oneshot::Sender<()>>,
    switched: watch::Receiver<bool>,
    is_known: bool,
}

struct AppEar<'a> {
    fleet: &'a Fleet,
    ready: &'a mut Option<oneshot::Sender<()>>,
}

impl Ear for AppEar<'_> {
    fn acknowledged(&mut self, device: u32, number: u32) {
        let ledger = &self.fleet.ledger;
        ledger.acknowledged(device, (Way::Down, number));
    }

    fn heard(&mut self, delivery: &Delivery<'_>) {
        self.fleet.heard(delivery, Way::Up, None);
    }

    fn subscribed(&mut self) {
        if let Some(ready) = self.ready.take() {
            // Nobody waits where the run was given up.
            let _ = ready.send(());
        }
    }
}

impl App {
    pub(super) fn new(
        fleet: Arc<Fleet>,
        tls: Arc<ClientConfig>,
        ready: oneshot::Sender<()>,
    ) -> Self {
        Self {
            switched: fleet.switched.clone(),
            fleet,
            tls,
            talk: Talk::new(),
            ready: Some(ready),
            is_known: false,
        }
    }

    pub(super) async fn live(mut self, mut commands: mpsc::Receiver<u32>) {
        let mut stages = self.fleet.stage.clone();
        let over = async move {
            // Who says when it is over may be gone.
            let _ = stages.wait_for(|stage| *stage == Stage::Over).await;
        };
        tokio::pin!(over);
        loop {
            let entered = tokio::select! {
                () = &mut over => return,
                entered = Box::pin(self.enter()) => entered,
            };
            let Some(mut link) = entered else {
                sleep(AGAIN).await;
                continue;
            };
            let served = tokio::select! {
                () = &mut over => None,
                ended = self.serve(&mut link, &mut commands) => Some(ended),
            };
            match served {
                None => return leave(link).await,
                Some(Ok(())) => self.follow(link).await,
                Some(Err(ended)) => self.fleet.ledger.app_sent_away(ended.cause()),
            }
        }
    }

    /// Until the connection is lost, or other authorities issue.
    async fn serve(
        &mut self,
        link: &mut Link,
        commands: &mut mpsc::Receiver<u32>,
    ) -> Result<(), Ended> {
        let mut pings = interval(PING_EVERY);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let may_tell = self.talk.has_room();
            let Self {
                talk,
                fleet,
                ready,
                switched,
                ..
            } = self;
            let mut ear = AppEar { fleet, ready };
            tokio::select! {
                Ok(()) = switched.changed() => return Ok(()),
                heard = link.wire.turn(|bytes, out| talk.take(bytes, out, &mut ear)) => heard?,
                Some(device) = commands.recv(), if may_tell => {
                    let number = fleet.ledger.say(device, Way::Down);
                    talk.say(device, number);
                    let way = Way::Down;
                    talk.flush(link.wire.out(), &Mail { fleet, way });
                    link.wire.send().await?;
                }
                _ = pings.tick() => {
                    link.wire.out().extend(PINGREQ);
                    link.wire.send().await?;
                }
            }
            self.fleet.ledger.app_rests(self.talk.is_at_rest());
        }
    }

    /// Leaves, to come back with a certificate of the authority that follows.
    async fn follow(&mut self, mut link: Box<Link>) {
        // Without one, the authority before is not retired.
        if let Ok(tls) = self.fleet.world.app().await {
            self.tls = tls;
            self.fleet.ledger.app_followed();
        }
        link.wire.out().extend(DISCONNECT);
        let _ = timeout(LEAVE_TIME_MAX, link.wire.drain()).await;
    }

    /// A connection on which its session goes on.
    async fn enter(&mut self) -> Option<Box<Link>> {
        let Self {
            talk, fleet, ready, ..
        } = self;
        let caller = Caller {
            tls: &self.tls,
            client_id: ID,
            start: if self.is_known {
                Start::Lasting
            } else {
                Start::Fresh
            },
            from: None,
        };
        let mut ear = AppEar { fleet, ready };
        let rest = |bytes: &[u8], out: &mut Vec<u8>| talk.take(bytes, out, &mut ear);
        let mut link = match fleet.target.call(caller, rest).await {
            Ok(link) => link,
            Err(NotIn::Nobody(_)) => return None,
            Err(NotIn::Refused(ended)) => {
                fleet.ledger.app_sent_away(ended.cause());
                return None;
            }
        };
        let way = Way::Down;
        let (is_present, out) = (link.is_session_present, link.wire.out());
        talk.resume(is_present, out, &Mail { fleet, way });
        if !is_present {
            out.extend(subscribe(Version::V5, "devices/+/said", QoS::ExactlyOnce));
        }
        if std::mem::replace(&mut self.is_known, true) && !is_present {
            fleet.ledger.app_session_lost();
        }
        link.wire.send().await.ok()?;
        Some(Box::new(link))
    }
}

async fn leave(mut link: Box<Link>) {
    link.wire.out().extend(DISCONNECT_FOR_GOOD);
    let _ = timeout(LEAVE_TIME_MAX, link.wire.drain()).await;
}
