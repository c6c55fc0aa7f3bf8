//! Distrust: whoever may not be here any more goes, when that changes and when its proof expires.
//!
//! What is asked at the door is asked again at CONNECT, so that nobody slips in between a change
//! and the turn that heeds it.

use crate::engine::Engine;
use crate::engine::close_reason::{CloseReason, ConnectRefusal};
use crate::engine::deadlines::Deadline;
use crate::engine::effect::Judged;
use crate::engine::input::Verdicts;
use crate::engine::session::{Session, SessionId};
use crate::engine::time::Time;
use certs::{Refusal, VerifiedDevice};
use rustls_pki_types::UnixTime;
use std::time::Duration;

impl Engine {
    /// Judges everybody who is here by a new standing.
    pub(in crate::engine) fn change_standing(&mut self, verdicts: Verdicts) {
        let version = verdicts.version;
        self.verdicts = Some(verdicts);
        let here: Vec<SessionId> = self.sessions.connected().collect();
        let closed = here.into_iter().filter_map(|id| self.judge_here(id));
        let closed = closed.collect();
        self.judge_away();
        self.effects.judged.push(Judged { version, closed });
    }

    /// What devices left behind that were revoked while they are away. Who left after that came
    /// with a certificate that is good again.
    fn judge_away(&mut self) {
        let Some(verdicts) = &self.verdicts else {
            return;
        };
        let (leaves, revoked) = (verdicts.leaves, &verdicts.standing.revoked);
        let is_lost = |session: &Session| {
            let found = revoked.find_subject(&session.key.subject);
            session.connected().is_none()
                && found.is_some_and(|it| it.at >= unix_time(session.since()))
        };
        let lost = self.sessions.iter().filter(|(_, it)| is_lost(it));
        let lost: Vec<SessionId> = lost.map(|(id, _)| id).collect();
        for id in lost {
            if !leaves.publishes_will {
                self.discard_will(id);
            }
            if leaves.ends_session {
                self.counters.sessions_cut += 1;
                self.end_session(id);
            }
        }
    }

    /// The last second of a session's proof is over.
    pub(in crate::engine) fn proof_ended(&mut self, id: SessionId) {
        self.judge_here(id);
    }

    /// Judges a device at its CONNECT.
    pub(in crate::engine) fn judge_newcomer(
        &self,
        device: &VerifiedDevice,
    ) -> Result<(), ConnectRefusal> {
        let Some(verdicts) = &self.verdicts else {
            return Ok(());
        };
        let now = unix_time(self.now);
        let judged = verdicts.standing.judge_newcomer(device, now);
        judged.map_err(ConnectRefusal::Distrusted)
    }

    /// When the proof of a device ends.
    pub(in crate::engine) fn watch_proof(&mut self, id: SessionId, device: &VerifiedDevice) {
        self.deadlines.add(end_of(device), Deadline::Proof(id));
    }

    /// A session's connection is gone.
    pub(in crate::engine) fn forget_proof(&mut self, id: SessionId) {
        let session = self.sessions.get(id);
        let Some(connected) = session.and_then(|it| it.connected()) else {
            return;
        };
        let end = end_of(&connected.device);
        self.deadlines.remove(end, Deadline::Proof(id));
    }

    /// Judges who has a session's connection. The connection, where it is closed for it.
    fn judge_here(&mut self, id: SessionId) -> Option<crate::engine::ConnectionId> {
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

#[cfg(test)]
mod tests {
    use crate::engine::test_world::*;
    use crate::engine::{ConnectionId, Input, Leaves, Verdicts};
    use certs::{Anchor, IdFrom, RevocationReason, Revoked, Standing, TrustDomain};
    use protocol::packet::{Connect, QoS};
    use rustls_pki_types::UnixTime;
    use std::sync::Arc;
    use std::time::Duration;

    /// A standing that trusts the issuers of these devices.
    fn trusting(devices: &[&str]) -> Standing {
        let anchor = |device: &&str| {
            let certificate = Arc::clone(verified(device).certificate());
            Arc::new(Anchor {
                name: None,
                key_id: certificate.extensions.issuer_key_id.clone().unwrap(),
                trust_domain: TrustDomain::parse("test.example").unwrap(),
                id_from: IdFrom::Uri,
                id_prefix: Box::default(),
            })
        };
        Standing {
            anchors: devices.iter().map(anchor).collect(),
            ..Standing::default()
        }
    }

    fn revoking(device: &str) -> Standing {
        let mut standing = trusting(&["dev-1", "dev-2"]);
        let revoked = Revoked {
            at: UnixTime::since_unix_epoch(Duration::from_secs(2_000_000_000)),
            reason: RevocationReason::KeyCompromise,
        };
        let subject = verified(device).subject().clone();
        standing.revoked.revoke_subject(subject, revoked);
        standing
    }

    /// Those who are closed for a new standing.
    fn judge(world: &mut World, standing: Standing, leaves: Leaves) -> Vec<ConnectionId> {
        let standing = Arc::new(standing);
        let version = 1;
        world.input(Input::Standing(Verdicts {
            version,
            standing,
            leaves,
        }));
        let judged = world.judged();
        assert_eq!(judged.len(), 1);
        judged[0].closed.clone()
    }

    fn with_will(connect: &mut Connect) {
        lasting(connect);
        connect.will = Some(will("b"));
    }

    fn with_delayed_will(connect: &mut Connect) {
        with_will(connect);
        connect.will.as_mut().unwrap().delay_interval = 30;
    }

    #[test]
    fn who_is_revoked_is_told_and_closed_at_once_and_nobody_else() {
        let mut world = World::open();
        let revoked = world.enter("dev-1");
        let other = world.enter("dev-2");
        let closed = judge(&mut world, revoking("dev-1"), Leaves::default());
        assert_eq!(closed, [revoked]);
        assert_eq!(world.heard(revoked), ["CLOSE 98"]);
        assert_eq!(world.heard(other), [""; 0]);
        assert_eq!(world.counters().sessions_cut, 1);
        // Nor does it come in by a handshake of a moment ago.
        let again = world.knock("dev-1", |_| {});
        assert_eq!(world.heard(again), ["CONNACK 87", "refused"]);
    }

    #[test]
    fn whose_anchor_has_gone_goes() {
        let mut world = World::open();
        let gone = world.enter("dev-1");
        world.enter("dev-2");
        let closed = judge(&mut world, trusting(&["dev-2"]), Leaves::default());
        assert_eq!(closed, [gone]);
        assert_eq!(world.heard(gone), ["CLOSE 87"]);
        assert_eq!(
            judge(&mut world, trusting(&["dev-2"]), Leaves::default()),
            []
        );
    }

    #[test]
    fn what_a_revoked_device_leaves_is_as_the_setting_says() {
        for publishes_will in [false, true] {
            for ends_session in [false, true] {
                let mut world = World::open();
                let watcher = world.enter("dev-2");
                world.subscribe(watcher, "b", QoS::AtMostOnce);
                world.enter_with("dev-1", with_will);
                let leaves = Leaves {
                    publishes_will,
                    ends_session,
                };
                judge(&mut world, revoking("dev-1"), leaves);
                assert_eq!(!world.heard(watcher).is_empty(), publishes_will);
                let left = if ends_session { 1 } else { 2 };
                assert_eq!(world.engine.sessions_len(), left);
            }
        }
    }

    #[test]
    fn what_a_device_has_left_that_is_revoked_while_away_is_as_the_setting_says() {
        for publishes_will in [false, true] {
            for ends_session in [false, true] {
                let mut world = World::open();
                let watcher = world.enter("dev-2");
                world.subscribe(watcher, "b", QoS::AtMostOnce);
                let away = world.enter_with("dev-1", with_delayed_will);
                world.subscribe(away, "a", QoS::AtLeastOnce);
                world.lose(away);
                world.send(watcher, qos1("a", "waits", 1));
                world.heard(watcher);
                let leaves = Leaves {
                    publishes_will,
                    ends_session,
                };
                assert_eq!(judge(&mut world, revoking("dev-1"), leaves), []);
                // A session that ends publishes its will at once [MQTT-3.1.2-8].
                let at_once = publishes_will && ends_session;
                assert_eq!(!world.heard(watcher).is_empty(), at_once);
                let left = if ends_session { 1 } else { 2 };
                assert_eq!(world.engine.sessions_len(), left);
                assert_eq!(
                    world.engine.sessions().any(|it| it.queue_len > 0),
                    left == 2
                );
                world.wait(60);
                let later = publishes_will && !ends_session;
                assert_eq!(!world.heard(watcher).is_empty(), later);
            }
        }
    }

    #[test]
    fn who_left_after_it_was_revoked_had_a_better_certificate_and_keeps_what_it_left() {
        let mut world = World::open();
        let away = world.enter_with("dev-1", with_delayed_will);
        world.lose(away);
        let left = world.now.millis() / 1000;
        let leaves = Leaves {
            publishes_will: false,
            ends_session: true,
        };
        for (since, sessions_len) in [(left - 1, 1), (left, 0)] {
            let mut standing = trusting(&["dev-1"]);
            let revoked = Revoked {
                at: UnixTime::since_unix_epoch(Duration::from_secs(since)),
                reason: RevocationReason::Superseded,
            };
            let subject = verified("dev-1").subject().clone();
            standing.revoked.revoke_subject(subject, revoked);
            judge(&mut world, standing, leaves);
            assert_eq!(world.engine.sessions_len(), sessions_len, "{since}");
        }
    }

    #[test]
    fn who_is_there_when_its_certificate_expires_goes() {
        let mut world = World::open();
        let client = world.enter_with("dev-1", lasting);
        let end = proof_end("dev-1");
        world.now = end.before_seconds(1);
        world.input(Input::Tick);
        assert_eq!(world.heard(client), [""; 0]);
        world.now = end;
        world.input(Input::Tick);
        assert_eq!(world.heard(client), ["CLOSE 87"]);
        assert_eq!(world.engine.sessions_len(), 1);
    }

    #[test]
    fn who_has_left_has_no_proof_to_end() {
        let mut world = World::open();
        for _ in 0..3 {
            let client = world.enter_with("dev-1", lasting);
            assert_eq!(world.engine.deadline(), Some(proof_end("dev-1")));
            world.lose(client);
            assert!(world.engine.deadline() < Some(proof_end("dev-1")));
        }
        world.wait(3600);
        assert_eq!(world.engine.deadline(), None);
    }
}
