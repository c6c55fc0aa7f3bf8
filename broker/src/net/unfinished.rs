//! Unfinished connections: those that have not yet sent their CONNECT.
//!
//! Bounded in all and per address, so that peers who promise and do not come cost a slot for a
//! bounded time and never the accept loop. Where the bound is reached, the oldest connection
//! that has not even sent its ClientHello makes room.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// The register of unfinished connections.
#[derive(Debug)]
pub(crate) struct Unfinished {
    waiting_max: usize,
    per_address_max: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    /// Without a complete ClientHello, the oldest first.
    waiting: BTreeMap<u64, Waiting>,
    by_address: HashMap<IpAddr, Address>,
}

#[derive(Debug)]
struct Waiting {
    address: IpAddr,
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
    address: IpAddr,
    /// Closed by eviction; none once the handshake has begun.
    stay: Option<oneshot::Receiver<()>>,
}

impl Unfinished {
    /// An empty register.
    ///
    /// `waiting_max` bounds connections without a complete ClientHello; `per_address_max` bounds
    /// the unfinished ones of one IPv4 address or IPv6 /64.
    pub(crate) fn new(waiting_max: usize, per_address_max: usize) -> Arc<Self> {
        Arc::new(Self {
            waiting_max,
            per_address_max,
            inner: Mutex::default(),
        })
    }

    /// A slot for a newcomer. None if its address has too many connections under way, none of
    /// which could be closed for it.
    pub(crate) fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Slot> {
        let address = network_of(address);
        let mut inner = self.lock();
        let entry = inner.by_address.entry(address).or_default();
        if entry.unfinished >= self.per_address_max {
            let oldest = *entry.waiting.first()?;
            inner.evict(oldest);
        }
        if inner.waiting.len() >= self.waiting_max {
            let oldest = *inner.waiting.first_key_value()?.0;
            inner.evict(oldest);
        }
        let number = inner.next;
        inner.next += 1;
        let (closer, stay) = oneshot::channel();
        inner.waiting.insert(
            number,
            Waiting {
                address,
                _closer: closer,
            },
        );
        let entry = inner.by_address.entry(address).or_default();
        entry.unfinished += 1;
        entry.waiting.insert(number);
        Some(Slot {
            register: Arc::clone(self),
            number,
            address,
            stay: Some(stay),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Closes a waiting connection. Its slot still drops later, and then finds itself gone.
    fn evict(&mut self, number: u64) {
        let Some(waiting) = self.waiting.remove(&number) else {
            return;
        };
        self.leave(waiting.address, number);
    }

    fn leave(&mut self, address: IpAddr, number: u64) {
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
        if inner.waiting.remove(&self.number).is_none() {
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
        let was_waiting = inner.waiting.remove(&self.number).is_some();
        let handshake_began = self.stay.is_none();
        // Neither: it was evicted, and is out of the count already.
        if was_waiting || handshake_began {
            inner.leave(self.address, self.number);
        }
    }
}

/// One IPv6 customer commonly has a whole /64.
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
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

    fn address(last: u8) -> IpAddr {
        IpAddr::from([127, 0, 0, last])
    }

    fn is_evicted(slot: &mut Slot) -> bool {
        let evicted = pin!(slot.evicted());
        evicted.poll(&mut Context::from_waker(Waker::noop())) == Poll::Ready(())
    }

    #[test]
    fn a_full_register_closes_the_oldest_that_has_shown_no_hello() {
        let register = Unfinished::new(2, 10);
        let mut oldest = register.admit(address(1)).unwrap();
        let mut second = register.admit(address(2)).unwrap();
        let mut third = register.admit(address(3)).unwrap();
        assert!(is_evicted(&mut oldest) && !oldest.begin_handshake());
        assert!(!is_evicted(&mut second) && !is_evicted(&mut third));
        drop(oldest);
        assert_eq!(register.len(), 2);
    }

    #[test]
    fn a_connection_that_shakes_hands_is_never_closed_for_another() {
        let register = Unfinished::new(1, 10);
        let mut first = register.admit(address(1)).unwrap();
        assert!(first.begin_handshake());
        let _second = register.admit(address(2)).unwrap();
        let _third = register.admit(address(3)).unwrap();
        assert!(!is_evicted(&mut first));
    }

    #[test]
    fn an_address_with_too_many_handshakes_is_refused_another() {
        let register = Unfinished::new(10, 1);
        let mut first = register.admit(address(1)).unwrap();
        assert!(first.begin_handshake());
        assert!(register.admit(address(1)).is_none());
        assert!(register.admit(address(2)).is_some());
        drop(first);
        assert!(register.admit(address(1)).is_some());
    }

    #[test]
    fn an_address_closes_its_own_oldest_before_anybody_elses() {
        let register = Unfinished::new(10, 2);
        let mut other = register.admit(address(9)).unwrap();
        let mut first = register.admit(address(1)).unwrap();
        let mut second = register.admit(address(1)).unwrap();
        let _third = register.admit(address(1)).unwrap();
        assert!(is_evicted(&mut first));
        assert!(!is_evicted(&mut second) && !is_evicted(&mut other));
    }

    #[test]
    fn nothing_is_left_when_all_have_gone() {
        let register = Unfinished::new(10, 2);
        let slots: Vec<_> = (0..20)
            .filter_map(|n| register.admit(address(n % 3)))
            .collect();
        drop(slots);
        assert_eq!(register.len(), 0);
        assert!(register.lock().by_address.is_empty() && register.lock().waiting.is_empty());
    }
}
