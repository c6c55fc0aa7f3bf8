//! How a device comes in: when it tries, and what it does when it is let in or not.

use super::{Life, PING_EVERY, Place};
use crate::device::dial::{Caller, Link, NotIn};
use crate::device::{DeviceEar, Mail};
use crate::verdict::{Attempt, Way};
use crate::wire::{Start, subscribe};
use protocol::packet::{QoS, Version};
use std::net::IpAddr;
use std::time::Duration;

/// Who is revoked and was refused so often does not come again.
const REFUSALS_MAX: u32 = 2;

/// When a device tries to come in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Search {
    pub(super) at: Duration,
    from: Option<IpAddr>,
    /// Since when, and how long at most, by the law of coming back.
    law: Option<(Duration, Duration)>,
}

impl Life {
    /// Tries to come in at once.
    pub(super) fn seek(&mut self, from: Option<IpAddr>) {
        let search = Search {
            at: self.fleet.now(),
            from,
            law: None,
        };
        self.put(Place::Seeking(search));
    }

    /// Goes elsewhere, and leaves the connection that it has as it is.
    pub(super) fn move_on(&mut self, from: Option<IpAddr>) {
        match std::mem::replace(&mut self.place, Place::Away) {
            Place::In { link, .. } => {
                self.old = Some(link);
                let now = self.fleet.now();
                self.fleet.ledger.disconnected(self.number, now);
                self.seek(from);
            }
            place => self.place = place,
        }
    }

    /// Is in no longer.
    pub(super) fn put(&mut self, place: Place) {
        let was_in = matches!(self.place, Place::In { .. });
        self.place = place;
        if was_in {
            let now = self.fleet.now();
            self.fleet.ledger.disconnected(self.number, now);
        }
    }

    /// The connection is lost, or an attempt has failed: full jitter before the next.
    pub(super) fn lose(&mut self) {
        if self.refusals >= REFUSALS_MAX {
            return self.put(Place::Gone);
        }
        let now = self.fleet.now();
        let ceiling = self.fleet.scenario.reconnect.ceiling(self.attempts);
        self.attempts += 1;
        let search = Search {
            at: now + self.chance.up_to(ceiling),
            from: None,
            law: Some((now, ceiling)),
        };
        self.put(Place::Seeking(search));
    }

    /// Loses its connection, if it has one.
    pub(super) fn cut(&mut self) {
        if matches!(self.place, Place::In { .. }) {
            self.lose();
        }
    }

    pub(super) async fn come(&mut self, search: Search) {
        let began = self.fleet.now();
        if let Some((since, ceiling)) = search.law {
            let waited = began.saturating_sub(since);
            self.fleet.ledger.attempted(Attempt { waited, ceiling });
        }
        let mut ear = DeviceEar {
            fleet: &self.fleet,
            number: self.number,
            commands: 0,
        };
        let caller = Caller {
            tls: &self.tls,
            client_id: self.fleet.id(self.number),
            start: if self.is_known {
                Start::Lasting
            } else {
                Start::Fresh
            },
            from: search.from,
        };
        let rest = |bytes: &[u8], out: &mut Vec<u8>| self.talk.take(bytes, out, &mut ear);
        match self.fleet.target.call(caller, rest).await {
            Ok(link) => self.enter(Box::new(link), began).await,
            Err(NotIn::Nobody(_)) => self.lose(),
            Err(NotIn::Refused(ended)) => {
                self.fleet.ledger.refused();
                self.fleet.ledger.sent_away(self.number, ended.cause());
                self.refusals += u32::from(self.fleet.ledger.is_revoked(self.number));
                self.lose();
            }
        }
    }

    async fn enter(&mut self, mut link: Box<Link>, began: Duration) {
        let ledger = &self.fleet.ledger;
        ledger.connected(self.number, (began, link.is_resumed));
        for _ in 0..std::mem::take(&mut self.renewing) {
            ledger.renewed(self.number);
        }
        let is_present = link.is_session_present;
        if self.is_known && !is_present {
            ledger.session_lost(self.number);
        }
        let mail = Mail {
            fleet: &self.fleet,
            way: Way::Up,
        };
        let out = link.wire.out();
        self.talk.resume(is_present, out, &mail);
        if !is_present {
            let filter = self.fleet.filter(self.number);
            out.extend(subscribe(Version::V5, &filter, QoS::ExactlyOnce));
        }
        (self.is_known, self.attempts, self.old) = (true, 0, None);
        let ping_at = self.fleet.now() + PING_EVERY;
        self.place = Place::In { link, ping_at };
        self.send().await;
    }
}
