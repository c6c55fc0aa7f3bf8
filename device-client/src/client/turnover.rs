//! How a device goes over to a renewed identity: on its own connection, in good order, once.
//!
//! What is under way is answered first, so that nothing is sent twice; what is accepted meanwhile
//! waits. The session stays at the broker and here. A connection that is lost before that is made
//! again with the new identity, and nothing more is to be done. Should a broker refuse it, the one
//! before is gone back to.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::{info, warn};

use super::driver::{Driver, Phase};
use super::status::Link;
use crate::chance::drawn;
use crate::error::ConnectError;
use crate::identity::Identity;
use crate::renewal::Replacement;
use crate::wire::Wire;

/// Devices that were renewed together do not come together.
const SPREAD_MAX: Duration = Duration::from_secs(10);

/// How long what is under way may take to be answered. Then the device goes on as it was, and
/// tries again.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(5);

/// A renewed identity on its way into use.
#[derive(Debug)]
pub(super) struct Turnover {
    used: oneshot::Sender<Result<(), ConnectError>>,
    before: Identity,
    spread: Duration,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The next connection is made with it; the one that is under way, if any, was not.
    Waiting,
    /// The same, and an attempt has failed for other reasons.
    Tried,
    /// Connected as before, until then.
    Connected { until: Instant },
    /// Nothing more is sent until all is answered, or it is too late.
    Draining { until: Instant },
    /// Goodbye is being said.
    Parting,
    /// A connection is being made with it.
    Trying,
}

impl Turnover {
    /// Whether new messages are held back.
    pub(super) fn holds_back(&self) -> bool {
        matches!(self.stage, Stage::Draining { .. } | Stage::Parting)
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.stage {
            Stage::Connected { until } | Stage::Draining { until } => Some(until),
            Stage::Waiting | Stage::Tried | Stage::Parting | Stage::Trying => None,
        }
    }
}

impl<W: Wire> Driver<W> {
    /// There is a renewed identity.
    pub(super) fn replace(&mut self, replacement: Replacement) {
        let spread = self.spread(&replacement.identity);
        let now = Instant::now();
        let stage = match self.phase {
            Phase::Up => Stage::Connected {
                until: now + spread,
            },
            Phase::Connecting => Stage::Waiting,
            Phase::Waiting { until } => {
                // The one before may be why there is no connection.
                self.wait_until(until.min(now + spread));
                Stage::Waiting
            }
        };
        self.wire.renew(replacement.identity);
        self.turnover = Some(Turnover {
            used: replacement.used,
            before: replacement.before,
            spread,
            stage,
        });
    }

    /// Waits no longer than that for the next attempt.
    fn wait_until(&mut self, next: Instant) {
        self.phase = Phase::Waiting { until: next };
        self.status
            .send_if_modified(|status| match &mut status.link {
                Link::Waiting { until, .. } => {
                    *until = next.into_std();
                    true
                }
                _ => false,
            });
    }

    /// A hundredth of the time that is left at most.
    fn spread(&self, identity: &Identity) -> Duration {
        let most = (identity.time_left() / 100).min(SPREAD_MAX);
        drawn(most, (self.chance)())
    }

    /// Says goodbye as soon as all that is under way is answered.
    pub(super) fn part_if_drained(&mut self) {
        let is_ready = !self.outbox.has_under_way() && self.leaving.is_none();
        let Some(turnover) = self.turnover.as_mut().filter(|_| is_ready) else {
            return;
        };
        if let Stage::Draining { .. } = turnover.stage {
            turnover.stage = Stage::Parting;
            // What was taken before is acknowledged before.
            while let Some(receipt) = self.inbox.try_taken() {
                self.wire.acknowledge(receipt);
            }
            self.wire.hang_up();
        }
    }

    /// The time of a stage is over.
    pub(super) fn turn_over(&mut self, now: Instant) {
        let until = now + DRAIN_TIME_MAX;
        let Some(turnover) = &mut self.turnover else {
            return;
        };
        turnover.stage = match turnover.stage {
            Stage::Connected { until: due } if due <= now => Stage::Draining { until },
            Stage::Draining { until: due } if due <= now => Stage::Connected { until },
            stage => stage,
        };
    }

    /// A connection is being made.
    pub(super) fn trying(&mut self) {
        if let Some(turnover) = &mut self.turnover {
            turnover.stage = Stage::Trying;
        }
    }

    /// A connection stands.
    pub(super) fn turned_over(&mut self) {
        let is_made_with_it = |turnover: &mut Turnover| turnover.stage == Stage::Trying;
        if let Some(turnover) = self.turnover.take_if(is_made_with_it) {
            info!("connected with the renewed certificate");
            let _ = turnover.used.send(Ok(()));
        }
        if let Some(turnover) = &mut self.turnover {
            let until = Instant::now();
            turnover.stage = Stage::Connected { until };
        }
    }

    /// How long to wait for the next attempt: the identity before may be why the last one failed.
    pub(super) fn hasten(&self, wait: Duration) -> Duration {
        let turnover = self.turnover.as_ref();
        let untried = turnover.filter(|turnover| turnover.stage == Stage::Waiting);
        untried.map_or(wait, |turnover| wait.min(turnover.spread))
    }

    /// A connection was lost or refused. Says whether it was ended by us, and another is being
    /// made.
    pub(super) fn turned_back(&mut self, error: &ConnectError) -> bool {
        let is_refused = |turnover: &mut Turnover| {
            turnover.stage == Stage::Trying
                && error.is_about_certificate()
                && !turnover.before.has_expired()
        };
        if let Some(turnover) = self.turnover.take_if(is_refused) {
            warn!(%error, "the renewed certificate is refused");
            self.wire.renew(turnover.before);
            let _ = turnover.used.send(Err(error.clone()));
        }
        let Some(turnover) = &mut self.turnover else {
            return false;
        };
        turnover.stage = match turnover.stage {
            Stage::Parting => {
                self.connect_again();
                return true;
            }
            Stage::Trying | Stage::Tried => Stage::Tried,
            Stage::Waiting | Stage::Connected { .. } | Stage::Draining { .. } => Stage::Waiting,
        };
        false
    }
}
