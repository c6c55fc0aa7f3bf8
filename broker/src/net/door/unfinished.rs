//! Unfinished connections: those that have not yet sent their CONNECT.
//!
//! Bounded in all and per address, so that peers who promise and do not come cost a slot for a
//! bounded time and never the accept loop. Where the bound is reached, the oldest connection
//! that has not even sent its ClientHello makes room. A share of the places is for networks from
//! which a device has come in lately: no stranger takes one of these.

use super::addresses::Network;
use super::known::Reputation;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// The register of unfinished connections.
#[derive(Debug, Default)]
pub(crate) struct Unfinished {
    inner: Mutex<Inner>,
}

/// How many there may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Places {
    /// Without a complete ClientHello.
    pub(crate) waiting: usize,
    /// As many of them may be strangers.
    pub(crate) strangers: usize,
    /// Unfinished ones of one address.
    pub(crate) per_address: usize,
}

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    /// Without a complete ClientHello, the oldest first.
    known: BTreeMap<u64, Waiting>,
    strangers: BTreeMap<u64, Waiting>,
    by_address: HashMap<Network, Address>,
}

#[derive(Debug)]
struct Waiting {
    address: Network,
    /// Dropped to close the connection.
    _closer: oneshot::Sender<()>,
}

#[derive(Debug, Default)]
struct Address {
    unfinished: usize,
    waiting: BTreeSet<u64>,
}

/// A place among the unfinished; given back when dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    register: Arc<Unfinished>,
    number: u64,
    address: Network,
    /// What was known of its network when it came.
    pub(in crate::net) reputation: Reputation,
    /// Closed by eviction; none once the handshake has begun.
    stay: Option<oneshot::Receiver<()>>,
}

impl Unfinished {
    /// A slot for a newcomer. None if its address has too many connections under way, none of
    /// which could be closed for it, or if it is a stranger and all places are others'.
    pub(crate) fn admit(
        self: &Arc<Self>,
        (address, reputation): (Network, Reputation),
        places: Places,
    ) -> Option<Slot> {
        let mut inner = self.lock();
        if let Some(entry) = inner.by_address.get(&address)
            && entry.unfinished >= places.per_address
        {
            let oldest = *entry.waiting.first()?;
            inner.evict(oldest);
        }
        inner.make_room(reputation, places)?;
        let number = inner.next;
        inner.next += 1;
        let (closer, stay) = oneshot::channel();
        let waiting = Waiting {
            address,
            _closer: closer,
        };
        inner.those(reputation).insert(number, waiting);
        let entry = inner.by_address.entry(address).or_default();
        entry.unfinished += 1;
        entry.waiting.insert(number);
        Some(Slot {
            register: Arc::clone(self),
            number,
            address,
            reputation,
            stay: Some(stay),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Where all places are taken, the oldest stranger goes, and if there is none, for one who is
    /// known the oldest of these.
    fn make_room(&mut self, reputation: Reputation, places: Places) -> Option<()> {
        let is_full = self.known.len() + self.strangers.len() >= places.waiting;
        let oldest_stranger = || self.strangers.first_key_value();
        let oldest = match reputation {
            Reputation::Stranger if is_full || self.strangers.len() >= places.strangers => {
                oldest_stranger()
            }
            Reputation::Known if is_full => {
                oldest_stranger().or_else(|| self.known.first_key_value())
            }
            Reputation::Known | Reputation::Stranger => return Some(()),
        };
        let oldest = *oldest?.0;
        self.evict(oldest);
        Some(())
    }

    fn those(&mut self, reputation: Reputation) -> &mut BTreeMap<u64, Waiting> {
        match reputation {
            Reputation::Known => &mut self.known,
            Reputation::Stranger => &mut self.strangers,
        }
    }

    /// Closes a waiting connection. Its slot still drops later, and then finds itself gone.
    fn evict(&mut self, number: u64) {
        let known = self.known.remove(&number);
        let Some(waiting) = known.or_else(|| self.strangers.remove(&number)) else {
            return;
        };
        self.leave(waiting.address, number);
    }

    fn leave(&mut self, address: Network, number: u64) {
        let Some(entry) = self.by_address.get_mut(&address) else {
            return;
        };
        entry.waiting.remove(&number);
        entry.unfinished -= 1;
        if entry.unfinished == 0 {
            self.by_address.remove(&address);
        }
    }
}

impl Slot {
    /// Resolves when the connection must make room for another; never once
    /// [`Self::begin_handshake`] has succeeded.
    pub(crate) async fn evicted(&mut self) {
        match &mut self.stay {
            // Nothing is ever sent: the sender is dropped.
            Some(stay) => drop(stay.await),
            None => std::future::pending().await,
        }
    }

    /// The peer has shown a complete ClientHello: it is no longer closed for a newcomer. False
    /// if that has happened already.
    pub(crate) fn begin_handshake(&mut self) -> bool {
        let mut inner = self.register.lock();
        let waiting = inner.those(self.reputation);
        if waiting.remove(&self.number).is_none() {
            return false;
        }
        if let Some(entry) = inner.by_address.get_mut(&self.address) {
            entry.waiting.remove(&self.number);
        }
        self.stay = None;
        true
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut inner = self.register.lock();
        let waiting = inner.those(self.reputation);
        let was_waiting = waiting.remove(&self.number).is_some();
        let handshake_began = self.stay.is_none();
        // Neither: it was evicted, and is out of the count already.
        if was_waiting || handshake_began {
            inner.leave(self.address, self.number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::net::IpAddr;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    impl Unfinished {
        fn len(&self) -> usize {
            self.lock()
                .by_address
                .values()
                .map(|address| address.unfinished)
                .sum()
        }
    }

    fn address(last: u8) -> Network {
        Network::of(IpAddr::from([127, 0, 0, last]))
    }

    /// An empty register of so many places, of which strangers take so many.
    fn register(waiting: usize, strangers: usize, per_address: usize) -> Register {
        Register {
            register: Arc::default(),
            places: Places {
                waiting,
                strangers,
                per_address,
            },
        }
    }

    struct Register {
        register: Arc<Unfinished>,
        places: Places,
    }

    impl std::ops::Deref for Register {
        type Target = Unfinished;

        fn deref(&self) -> &Unfinished {
            &self.register
        }
    }

    fn stranger(register: &Register, last: u8) -> Option<Slot> {
        let from = (address(last), Reputation::Stranger);
        register.register.admit(from, register.places)
    }

    fn known(register: &Register, last: u8) -> Option<Slot> {
        let from = (address(last), Reputation::Known);
        register.register.admit(from, register.places)
    }

    fn is_evicted(slot: &mut Slot) -> bool {
        let evicted = pin!(slot.evicted());
        evicted.poll(&mut Context::from_waker(Waker::noop())) == Poll::Ready(())
    }

    #[test]
    fn a_full_register_closes_the_oldest_that_has_shown_no_hello() {
        let register = register(2, 2, 10);
        let mut oldest = stranger(&register, 1).unwrap();
        let mut second = stranger(&register, 2).unwrap();
        let mut third = stranger(&register, 3).unwrap();
        assert!(is_evicted(&mut oldest) && !oldest.begin_handshake());
        assert!(!is_evicted(&mut second) && !is_evicted(&mut third));
        drop(oldest);
        assert_eq!(register.len(), 2);
    }

    #[test]
    fn a_connection_that_shakes_hands_is_never_closed_for_another() {
        let register = register(1, 1, 10);
        let mut first = stranger(&register, 1).unwrap();
        assert!(first.begin_handshake());
        let _second = stranger(&register, 2).unwrap();
        let _third = stranger(&register, 3).unwrap();
        assert!(!is_evicted(&mut first));
    }

    #[test]
    fn an_address_with_too_many_handshakes_is_refused_another() {
        let register = register(10, 10, 1);
        let mut first = stranger(&register, 1).unwrap();
        assert!(first.begin_handshake());
        assert!(stranger(&register, 1).is_none());
        assert!(stranger(&register, 2).is_some());
        drop(first);
        assert!(stranger(&register, 1).is_some());
    }

    #[test]
    fn an_address_closes_its_own_oldest_before_anybody_elses() {
        let register = register(10, 10, 2);
        let mut other = stranger(&register, 9).unwrap();
        let mut first = stranger(&register, 1).unwrap();
        let mut second = stranger(&register, 1).unwrap();
        let _third = stranger(&register, 1).unwrap();
        assert!(is_evicted(&mut first));
        assert!(!is_evicted(&mut second) && !is_evicted(&mut other));
    }

    #[test]
    fn nothing_is_left_when_all_have_gone() {
        let register = register(10, 10, 2);
        let slots: Vec<_> = (0..20).filter_map(|n| stranger(&register, n % 3)).collect();
        drop(slots);
        assert_eq!(register.len(), 0);
        assert!(register.lock().by_address.is_empty());
        assert!(register.lock().known.is_empty() && register.lock().strangers.is_empty());
    }

    #[test]
    fn strangers_take_no_place_that_is_reserved() {
        let register = register(4, 3, 10);
        let mut strangers: Vec<_> = (1..=3).map(|n| stranger(&register, n).unwrap()).collect();
        let mut fourth = stranger(&register, 4).unwrap();
        assert!(is_evicted(&mut strangers[0]), "three places are theirs");
        let mut one = known(&register, 9).unwrap();
        assert!(!is_evicted(&mut strangers[1]), "the fourth was free");
        let mut two = known(&register, 9).unwrap();
        assert!(is_evicted(&mut strangers[1]), "who is known goes first");
        for n in 10..100 {
            drop(stranger(&register, n));
        }
        assert!(!is_evicted(&mut one) && !is_evicted(&mut two) && !is_evicted(&mut fourth));
    }

    #[test]
    fn fewer_places_are_for_those_who_come_from_then_on() {
        let mut register = register(4, 4, 10);
        let mut all: Vec<_> = (1..=4).map(|n| stranger(&register, n).unwrap()).collect();
        register.places.waiting = 1;
        assert!(all.iter_mut().all(|slot| !is_evicted(slot)));
        let _newcomer = stranger(&register, 5).unwrap();
        assert!(is_evicted(&mut all[0]) && !is_evicted(&mut all[1]));
        assert_eq!(register.len(), 4);
    }

    #[test]
    fn where_all_places_are_taken_by_the_known_a_stranger_gets_none() {
        let register = register(2, 1, 10);
        let mut one = known(&register, 1).unwrap();
        let mut two = known(&register, 2).unwrap();
        assert!(stranger(&register, 3).is_none());
        assert_eq!(
            register.lock().by_address.len(),
            2,
            "who has none is forgotten"
        );
        assert!(!is_evicted(&mut one) && !is_evicted(&mut two));
        assert!(known(&register, 3).is_some());
        assert!(is_evicted(&mut one), "of their own the oldest");
    }
}
