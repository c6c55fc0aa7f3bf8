//! What becomes known of the end of a connection: a line in the log, an entry among the refusals,
//! a line in the audit log.
//!
//! Each says the same reason in the same words.

use super::connection::{Ended, LetGo};
use super::door::{Door, TurnedAway};
use super::handshake::{Refused, Why, tls_code};
use crate::audit::Event;
use crate::engine::CloseReason;
use crate::refusals::{Code, Outcome, Reason, Refusal, Whom};
use crate::shard::wall_time;
use certs::{Certificate, VerifiedDevice};
use protocol::Text;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tracing::field::display;

/// A device that came in, for as long as its connection is there.
#[derive(Debug)]
pub(super) struct Guest {
    pub(super) peer: SocketAddr,
    pub(super) device: VerifiedDevice,
    /// Empty before its CONNECT.
    pub(super) client_id: Text,
}

impl Guest {
    fn whom(&self) -> Whom {
        Whom::of_device(&self.device).under(self.client_id.as_str())
    }
}

impl Door {
    /// It was closed as soon as it came.
    pub(super) fn note_turned_away(&self, peer: SocketAddr, why: TurnedAway) {
        self.count(why);
        tracing::debug!(%peer, reason = %why, "turned away");
        let reason = Reason::new(why.code(), why.to_string());
        self.note_refused(peer, Whom::default(), reason);
    }

    /// Its handshake failed.
    pub(super) fn note_refusal(&self, peer: SocketAddr, refused: &Refused) {
        self.counters.refused.fetch_add(1, Ordering::Relaxed);
        let Refused { why, certificate } = refused;
        let certificate = certificate.as_deref();
        let reason = why.reason(certificate);
        let whom = certificate.map(Whom::of_certificate).unwrap_or_default();
        let subject = certificate.map(|certificate| display(&*certificate.subject));
        // Whoever has read the line may ask.
        self.note_refused(peer, whom.clone(), reason.clone());
        let sha256 = whom.sha256.as_deref();
        let Some(untold) = self.lines.take(Instant::now()) else {
            self.counters.refused_untold.fetch_add(1, Ordering::Relaxed);
            return;
        };
        if untold > 0 {
            tracing::warn!(untold, "more were refused than are told of here");
        }
        tracing::warn!(%peer, subject, sha256, reason = %reason.words, "refused");
    }

    /// Its CONNECT came.
    pub(super) fn note_connected(&self, guest: &Guest) {
        self.counters.connected.fetch_add(1, Ordering::Relaxed);
        self.audit.note(|| Event::Connected {
            peer: guest.peer,
            whom: guest.whom(),
        });
    }

    /// No CONNECT came in time.
    pub(super) fn note_no_connect(&self, guest: &Guest, limit: Duration) {
        let words = format!("no CONNECT within {limit:?}");
        tracing::warn!(
            peer = %guest.peer, device = %guest.device.subject(), reason = %words,
            "connection closed"
        );
        self.note_refused(
            guest.peer,
            guest.whom(),
            Reason::new(Code::NoConnect, words),
        );
    }

    /// Counts one that had not gone when we let go of it.
    pub(super) fn note_let_go(&self, let_go: LetGo) {
        if let_go == LetGo::Reset {
            self.counters.cut_off.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Its connection ended.
    pub(super) fn note_end(&self, guest: &Guest, ended: &Ended) {
        log_end(guest, ended);
        let reason = ended.code().map(|code| Reason::new(code, words_of(ended)));
        if let Ended::Closed(CloseReason::Refused(_)) = ended
            && let Some(reason) = reason
        {
            return self.note_refused(guest.peer, guest.whom(), reason);
        }
        if let Some(reason) = reason.clone() {
            self.refusals
                .note(refusal(Outcome::Closed, guest.peer, (guest.whom(), reason)));
        }
        self.audit.note(|| Event::Closed {
            peer: guest.peer,
            whom: guest.whom(),
            reason,
        });
    }

    fn note_refused(&self, peer: SocketAddr, whom: Whom, reason: Reason) {
        self.audit.note(|| Event::Refused {
            peer,
            whom: whom.clone(),
            reason: reason.clone(),
        });
        self.refusals
            .note(refusal(Outcome::Refused, peer, (whom, reason)));
    }
}

fn refusal(outcome: Outcome, peer: SocketAddr, (whom, reason): (Whom, Reason)) -> Refusal {
    let at_ms = wall_time().millis();
    Refusal {
        at_ms,
        first_at_ms: at_ms,
        count: 1,
        outcome,
        peer,
        whom,
        reason,
    }
}

fn words_of(ended: &Ended) -> String {
    match std::error::Error::source(ended) {
        Some(cause) => format!("{ended}: {cause}"),
        None => ended.to_string(),
    }
}

fn log_end(guest: &Guest, ended: &Ended) {
    let (peer, device) = (guest.peer, guest.device.subject());
    let cause = std::error::Error::source(ended).map(display);
    match ended {
        Ended::Closed(CloseReason::Disconnected | CloseReason::Shutdown) => {
            tracing::debug!(%peer, %device, reason = %ended, "connection closed");
        }
        Ended::Closed(CloseReason::TakenOver) => {
            tracing::info!(%peer, %device, reason = %ended, "connection closed");
        }
        Ended::Closed(CloseReason::Refused(_)) => {
            tracing::warn!(%peer, %device, reason = %ended, "refused");
        }
        Ended::Closed(
            CloseReason::PublishDenied(_)
            | CloseReason::PublishRefused { .. }
            | CloseReason::TooFast
            | CloseReason::Broke(_)
            | CloseReason::NoRoomForConnack
            | CloseReason::Distrusted(_)
            | CloseReason::PolicyChanged,
        )
        | Ended::Broke(_)
        | Ended::ShardFailed => {
            tracing::warn!(%peer, %device, cause, reason = %ended, "connection closed");
        }
        Ended::EndOfStream | Ended::Failed(_) | Ended::Silent => {
            tracing::info!(%peer, %device, cause, reason = %ended, "connection lost");
        }
    }
}

impl Ended {
    /// What kind of reason it is; none where the peer or the network ended it.
    fn code(&self) -> Option<Code> {
        match self {
            Self::Closed(CloseReason::Disconnected) | Self::EndOfStream | Self::Failed(_) => None,
            Self::Closed(reason) => Some(reason.into()),
            Self::Broke(_) => Some(Code::Protocol),
            Self::Silent => Some(Code::KeepAlive),
            Self::ShardFailed => Some(Code::Broker),
        }
    }
}

impl Why {
    /// The same for programs and people.
    fn reason(&self, certificate: Option<&Certificate>) -> Reason {
        let code = match self {
            Self::Evicted => Code::MadeRoom,
            Self::NoHello(_) => Code::NoClientHello,
            Self::Unfinished(_) => Code::HandshakeTime,
            Self::Certificate(refusal) => return Reason::of_certificate(refusal, certificate),
            Self::Tls(error) => tls_code(error),
        };
        Reason::new(code, self.to_string())
    }
}
