//! Somebody who must not come in, or must not hear, and tries.

use super::dial::{Caller, Link, NotIn};
use super::talk::{Ear, Ended, Talk};
use super::{DeviceEar, Fleet};
use crate::run::Span;
use crate::scenario::What;
use crate::wire::{Delivery, Start, subscribe};
use protocol::packet::{QoS, Version};
use rustls::ClientConfig;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// How long a second machine stays in the place of the first.
const CLONE_TIME: Duration = Duration::from_secs(1);
/// How long somebody listens who may not.
const LISTEN_TIME: Duration = Duration::from_millis(500);

/// A broker that is not there is asked again after this time, so often.
const AGAIN: (Duration, u32) = (Duration::from_millis(500), 10);

/// What somebody has to try it with.
#[derive(Debug)]
pub(super) struct Intrusion {
    pub(super) fleet: Arc<Fleet>,
    /// The device that he is, or says he is.
    pub(super) number: u32,
    /// That device's key and certificate.
    pub(super) tls: Arc<ClientConfig>,
}

/// Whom one hears that has asked for what is others'.
#[derive(Debug, Default)]
struct Spy {
    is_subscribed: bool,
    heard: u64,
}

impl Ear for Spy {
    fn acknowledged(&mut self, _: u32, _: u32) {}

    fn heard(&mut self, _: &Delivery<'_>) {
        self.heard += 1;
    }

    fn subscribed(&mut self) {
        self.is_subscribed = true;
    }
}

impl Intrusion {
    pub(super) async fn attempt(self, what: What) {
        let fleet = Arc::clone(&self.fleet);
        if what == What::Cloned {
            fleet.ledger.cloned(self.number);
            return self.live_twice().await;
        }
        fleet.ledger.intruding();
        let let_in = self.find_out(what).await;
        fleet.ledger.intruded(let_in);
    }

    /// In what way it was let in, if it was.
    async fn find_out(&self, what: What) -> Option<String> {
        let (fleet, id) = (&self.fleet, self.fleet.id(self.number));
        let own = format!("{id}:intruder");
        match what {
            What::Expired | What::ClockSkew => {
                let span = if what == What::Expired {
                    Span::Past
                } else {
                    Span::Future
                };
                let tls = fleet.world.out_of_time(id, span).await?.ok()?;
                self.call(&tls, &own).await?;
                Some(format!("{id} came in with a certificate of the {span:?}"))
            }
            What::DuplicateClientId => {
                let all = u32::try_from(fleet.ids.len()).ok().filter(|all| *all > 1)?;
                let neighbour = fleet.id((self.number + 1) % all);
                self.call(&self.tls, neighbour).await?;
                Some(format!("{id} was given the session of {neighbour}"))
            }
            What::Eavesdrop => {
                let link = self.call(&self.tls, &own).await?;
                let heard = listen(link).await?;
                Some(format!(
                    "{id} may hear all others, and heard {heard} messages"
                ))
            }
            What::Flap
            | What::HalfOpen
            | What::SlowReader
            | What::CutPublish
            | What::Revoked
            | What::Cloned
            | What::TicketReuse
            | What::Renew
            | What::RestartBroker
            | What::KillBroker
            | What::CaRotation => None,
        }
    }

    /// Asks for a session of its own; nothing where that is refused.
    async fn call(&self, tls: &Arc<ClientConfig>, client_id: &str) -> Option<Link> {
        let caller = Caller {
            tls,
            client_id,
            start: Start::Clean,
            from: None,
        };
        let (pause, times) = AGAIN;
        for _ in 0..times {
            match Box::pin(self.fleet.target.call(caller, skip)).await {
                Ok(link) => return Some(link),
                Err(NotIn::Refused(_)) => return None,
                Err(NotIn::Nobody(_)) => sleep(pause).await,
            }
        }
        None
    }

    /// A second machine takes the session over, and is silent after a while.
    async fn live_twice(self) {
        let (fleet, number) = (&*self.fleet, self.number);
        let caller = Caller {
            tls: &self.tls,
            client_id: fleet.id(number),
            start: Start::Lasting,
            from: None,
        };
        let mut talk = Talk::new();
        let mut ear = DeviceEar {
            fleet,
            number,
            commands: 0,
        };
        let rest = |bytes: &[u8], out: &mut Vec<u8>| talk.take(bytes, out, &mut ear);
        let Ok(mut link) = Box::pin(fleet.target.call(caller, rest)).await else {
            return;
        };
        let listen = async {
            let mut take = |bytes: &[u8], out: &mut Vec<u8>| talk.take(bytes, out, &mut ear);
            while link.wire.turn(&mut take).await.is_ok() {}
        };
        // The first machine takes it back, or this one leaves.
        let _ = timeout(CLONE_TIME, listen).await;
    }
}

/// How much one hears that asked for what all others are told; nothing where that is refused.
async fn listen(mut link: Link) -> Option<u64> {
    let (mut talk, mut spy) = (Talk::new(), Spy::default());
    let filter = subscribe(Version::V5, "devices/+/commands/#", QoS::AtLeastOnce);
    link.wire.out().extend(filter);
    let listen = async {
        let mut take = |bytes: &[u8], out: &mut Vec<u8>| talk.take(bytes, out, &mut spy);
        while link.wire.turn(&mut take).await.is_ok() {}
    };
    let _ = timeout(LISTEN_TIME, listen).await;
    (spy.is_subscribed || spy.heard > 0).then_some(spy.heard)
}

#[allow(clippy::unnecessary_wraps, reason = "as `call` wants it")]
fn skip(bytes: &[u8], _: &mut Vec<u8>) -> Result<usize, Ended> {
    Ok(bytes.len())
}
