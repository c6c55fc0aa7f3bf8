//! How a device ends: in good order, or with the reason why it cannot go on.
//!
//! Everybody who waits is told, and nothing that was accepted is left without an answer.

use std::ops::ControlFlow;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::{info, warn};

use super::driver::{Driver, Phase};
use super::status::Link;
use crate::error::{ConnectError, DisconnectError, PublishError, SubscribeError};
use crate::wire::{Leave, WillAfter, Wire};

/// How long a DISCONNECT may take to leave.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(1);

/// The application wants to go.
pub(super) struct Leaving {
    pub(super) until: Instant,
    pub(super) closing: bool,
    answers: Vec<oneshot::Sender<Result<(), DisconnectError>>>,
}

/// Why a device ends.
pub(super) enum End {
    /// Nobody holds it any more.
    Abandoned,
    /// The application asked for it.
    Left,
    /// There is no hope of a connection.
    GivenUp(ConnectError),
}

impl<W: Wire> Driver<W> {
    pub(super) fn disconnect(
        &mut self,
        within: Duration,
        answer: oneshot::Sender<Result<(), DisconnectError>>,
    ) {
        let until = Instant::now() + within.min(Duration::from_secs(u32::MAX.into()));
        let leaving = self.leaving.get_or_insert(Leaving {
            until,
            closing: false,
            answers: vec![],
        });
        leaving.until = leaving.until.min(until);
        leaving.answers.push(answer);
    }

    /// Leaves as soon as all is acknowledged, if the application wants to.
    pub(super) fn leave_if_done(&mut self) -> ControlFlow<End> {
        if !self.outbox.is_empty() {
            return ControlFlow::Continue(());
        }
        self.leave(Some(CLOSE_TIME_MAX))
    }

    /// Says goodbye, if the application wants to leave and there is somebody to say it to.
    pub(super) fn leave(&mut self, wait: Option<Duration>) -> ControlFlow<End> {
        let Some(leaving) = self.leaving.as_mut().filter(|leaving| !leaving.closing) else {
            return ControlFlow::Continue(());
        };
        if self.phase != Phase::Up {
            return ControlFlow::Break(End::Left);
        }
        leaving.closing = true;
        leaving.until = Instant::now() + CLOSE_TIME_MAX * 2;
        // What was taken before is acknowledged before.
        while let Some(receipt) = self.inbox.try_taken() {
            self.wire.acknowledge(receipt);
        }
        self.wire.close(Leave {
            session: self.session_after,
            wait,
            will: match self.presence {
                Some(_) => WillAfter::Published,
                None => WillAfter::Forgotten,
            },
        });
        ControlFlow::Continue(())
    }

    /// The last word to everybody who waits.
    pub(super) fn end(mut self, end: End) {
        let unacknowledged = self.outbox.len();
        let (publish, subscribe, link) = match end {
            End::Abandoned | End::Left => {
                info!("disconnected");
                (
                    PublishError::Disconnected,
                    SubscribeError::Disconnected,
                    Link::Disconnected,
                )
            }
            End::GivenUp(cause) => {
                warn!(error = %cause, "stopped");
                let (publish, subscribe) = (
                    PublishError::Stopped(cause.clone()),
                    SubscribeError::Stopped(cause.clone()),
                );
                (publish, subscribe, Link::Stopped { cause })
            }
        };
        for done in self.outbox.take_all() {
            if let Some(answer) = done.answer {
                let _ = answer.send(Err(publish.clone()));
            }
        }
        self.inbox.routes.end_all(&subscribe);
        let left = match (&link, unacknowledged) {
            (Link::Stopped { cause }, _) => Err(DisconnectError::Stopped(cause.clone())),
            (_, 0) => Ok(()),
            (_, messages) => Err(DisconnectError::Unacknowledged { messages }),
        };
        self.set_link(link);
        for answer in self.leaving.into_iter().flat_map(|leaving| leaving.answers) {
            let _ = answer.send(left.clone());
        }
    }
}
