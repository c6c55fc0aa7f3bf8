//! Distrust: whoever may not be here any more goes, when that changes and when its proof expires.
//!
//! What is asked at the door is asked again at CONNECT, so that nobody slips in between a change
//! and the turn that heeds it.

use super::Engine;
use super::close_reason::{CloseReason, ConnectRefusal};
use super::deadlines::Deadline;
use super::effect::Judged;
use super::input::Verdicts;
use super::session::SessionId;
use super::time::Time;
use certs::{Refusal, VerifiedDevice};
use rustls_pki_types::UnixTime;
use std::time::Duration;

impl Engine {
    /// Judges everybody who is here by a new standing.
    pub(super) fn change_standing(&mut self, verdicts: Verdicts) {
        let version = verdicts.version;
        self.verdicts = Some(verdicts);
        let here: Vec<SessionId> = self.sessions.connected().collect();
        let closed = here.into_iter().filter_map(|id| self.judge_here(id));
        let closed = closed.collect();
        self.effects.judged.push(Judged { version, closed });
    }

    /// The last second of a session's proof is over.
    pub(super) fn proof_ended(&mut self, id: SessionId) {
        self.judge_here(id);
    }

    /// Judges a device at its CONNECT.
    pub(super) fn judge_newcomer(&self, device: &VerifiedDevice) -> Result<(), ConnectRefusal> {
        let Some(verdicts) = &self.verdicts else {
            return Ok(());
        };
        let now = unix_time(self.now);
        let judged = verdicts.standing.judge_newcomer(device, now);
        judged.map_err(ConnectRefusal::Distrusted)
    }

    /// When the proof of a device ends.
    pub(super) fn watch_proof(&mut self, id: SessionId, device: &VerifiedDevice) {
        self.deadlines.add(end_of(device), Deadline::Proof(id));
    }

    /// A session's connection is gone.
    pub(super) fn forget_proof(&mut self, id: SessionId) {
        let session = self.sessions.get(id);
        let Some(connected) = session.and_then(|it| it.connected()) else {
            return;
        };
        let end = end_of(&connected.device);
        self.deadlines.remove(end, Deadline::Proof(id));
    }

    /// Judges who has a session's connection. The connection, where it is closed for it.
    fn judge_here(&mut self, id: SessionId) -> Option<super::ConnectionId> {
        let connected = self.sessions.get(id)?.connected()?;
        let (connection, device) = (connected.id, &connected.device);
        let now = unix_time(self.now);
        let refusal = match &self.verdicts {
            Some(verdicts) => verdicts.standing.judge(device, now).err(),
            None => has_expired(device, now),
        };
        self.cut(id, refusal?);
        Some(connection)
    }

    fn cut(&mut self, id: SessionId, refusal: Refusal) {
        self.counters.sessions_cut += 1;
        let leaves = self.verdicts.as_ref().map(|it| it.leaves);
        let leaves = leaves.unwrap_or_default();
        if !leaves.publishes_will {
            self.discard_will(id);
        }
        self.close(id, CloseReason::Distrusted(refusal));
        if leaves.ends_session {
            self.end_session(id);
        }
    }
}

fn has_expired(device: &VerifiedDevice, now: UnixTime) -> Option<Refusal> {
    let since = now.as_secs().checked_sub(device.not_after().as_secs())?;
    (since > 0).then(|| Refusal::Expired {
        since: Duration::from_secs(since),
    })
}

/// The first moment behind a proof: of its last second all counts.
fn end_of(device: &VerifiedDevice) -> Time {
    let seconds = device.not_after().as_secs().saturating_add(1);
    Time::from_millis(seconds.saturating_mul(1000))
}

fn unix_time(time: Time) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_millis(time.millis()))
}
