//! Messages from coming in to being acknowledged.
//!
//! Each is given out once, to all who asked for it, and acknowledged when all of them have taken
//! it. Messages of an earlier life of the device wait for their subscription to be made again, for
//! a limited time; the receive maximum limits their number.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::deliveries::{Arrival, Deliveries, Delivery, Sent};
use super::routes::Routes;
use super::subscription::Claim;
use crate::wire::{Incoming, Receipt, Session, Wire};

/// How long the messages of an earlier life wait for their subscription.
pub(super) const CLAIM_TIME_MAX: Duration = Duration::from_secs(5);

/// What came in and is not taken care of.
pub(super) struct Inbox {
    pub(super) routes: Routes,
    deliveries: Deliveries,
    unclaimed: Vec<(Incoming, Arc<Claim>)>,
    claims_until: Option<Instant>,
    /// The way back of what the application took.
    taken: mpsc::UnboundedReceiver<Delivery>,
    take: mpsc::UnboundedSender<Delivery>,
}

/// What became of a message, counted in subscriptions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Delivered {
    pub(super) taken: u32,
    /// There was no place for it.
    pub(super) dropped: u32,
    /// The application has dropped them.
    pub(super) gone: u32,
    /// There was none.
    pub(super) unclaimed: u32,
}

impl Inbox {
    pub(super) fn new(receive_max: u16) -> Self {
        let (take, taken) = mpsc::unbounded_channel();
        Self {
            routes: Routes::new(receive_max),
            deliveries: Deliveries::new(receive_max),
            unclaimed: Vec::new(),
            claims_until: None,
            taken,
            take,
        }
    }

    pub(super) fn connected(&mut self, session: Session, now: Instant) {
        match session {
            Session::New => {
                self.deliveries.session_is_new();
                self.unclaimed.clear();
            }
            Session::Adopted | Session::Restored => {
                self.deliveries.session_goes_on();
                self.claims_until = Some(now + CLAIM_TIME_MAX);
            }
            Session::Resumed => self.deliveries.session_goes_on(),
        }
    }

    /// Deals with one message.
    pub(super) fn receive(&mut self, incoming: Incoming, wire: &mut impl Wire) -> Delivered {
        let Some(receipt) = incoming.receipt else {
            return self.deliver(&incoming, None);
        };
        let sent = if incoming.message.duplicate {
            Sent::Again
        } else {
            Sent::First
        };
        match self.deliveries.arrived(receipt, sent) {
            Arrival::Known => Delivered::default(),
            Arrival::Taken => {
                wire.acknowledge(receipt);
                Delivered::default()
            }
            Arrival::New(delivery) => {
                let claim = Arc::new(Claim {
                    delivery,
                    taken: self.take.clone(),
                });
                if self.claims_until.is_some() && !self.routes.want(&incoming) {
                    self.unclaimed.push((incoming, claim));
                    return Delivered::default();
                }
                self.deliver(&incoming, Some(&claim))
            }
        }
    }

    /// Gives out what waited for the subscription that was just made.
    pub(super) fn claim(&mut self) -> Delivered {
        let routes = &self.routes;
        let wanted = self
            .unclaimed
            .extract_if(.., |(incoming, _)| routes.want(incoming));
        let wanted: Vec<_> = wanted.collect();
        self.deliver_all(wanted)
    }

    pub(super) fn claims_until(&self) -> Option<Instant> {
        self.claims_until
    }

    /// Gives up waiting: what nobody has claimed is dropped.
    pub(super) fn end_claims(&mut self) -> Delivered {
        self.claims_until = None;
        let unclaimed = std::mem::take(&mut self.unclaimed);
        if !unclaimed.is_empty() {
            warn!(
                messages = unclaimed.len(),
                "of an earlier session, and nobody subscribed again"
            );
        }
        self.deliver_all(unclaimed)
    }

    /// The next message to acknowledge, as the application takes them. Loses nothing when dropped.
    pub(super) async fn taken(&mut self) -> Receipt {
        loop {
            match self.taken.recv().await {
                Some(delivery) if self.deliveries.taken(delivery) => return delivery.receipt,
                Some(_) => {}
                // Never: we hold the other end ourselves.
                None => std::future::pending().await,
            }
        }
    }

    /// The next message to acknowledge, if there is one now.
    pub(super) fn try_taken(&mut self) -> Option<Receipt> {
        loop {
            let delivery = self.taken.try_recv().ok()?;
            if self.deliveries.taken(delivery) {
                return Some(delivery.receipt);
            }
        }
    }

    fn deliver_all(&mut self, messages: Vec<(Incoming, Arc<Claim>)>) -> Delivered {
        let mut sum = Delivered::default();
        for (incoming, claim) in messages {
            let delivered = self.deliver(&incoming, Some(&claim));
            sum.taken += delivered.taken;
            sum.dropped += delivered.dropped;
            sum.gone += delivered.gone;
            sum.unclaimed += delivered.unclaimed;
        }
        sum
    }

    /// What nobody takes is acknowledged as its claim goes.
    fn deliver(&self, incoming: &Incoming, claim: Option<&Arc<Claim>>) -> Delivered {
        let mut delivered = self.routes.deliver(incoming, claim);
        let topic = &incoming.message.topic;
        if delivered.dropped > 0 {
            debug!(?topic, "dropped: the subscription is not read");
        } else if delivered.taken == 0 {
            debug!(?topic, "dropped: nobody has subscribed to it");
            delivered.unclaimed = 1;
        }
        delivered
    }
}
