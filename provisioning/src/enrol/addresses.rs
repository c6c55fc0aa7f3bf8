//! Addresses: how many connections each has, and how fast it asks.
//!
//! An address is an IPv4 address or an IPv6 /64. One that has no connection and has not asked for
//! a while is forgotten, and there are so many at most: a newcomer beyond is turned away.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::limits::{Counted, Limits};

/// So many addresses are known at once.
const ADDRESSES_MAX: usize = 20_000;

/// An address may ask for so many times its rate of a second at once.
const BURST: u32 = 10;

/// All addresses that have connections, or asked of late.
#[derive(Debug)]
pub(super) struct Addresses {
    connections_max: usize,
    connections_of_address_max: usize,
    /// Between two requests of one address in the long run.
    interval: Duration,
    all: Mutex<All>,
}

#[derive(Debug, Default)]
struct All {
    connections: usize,
    addresses: HashMap<IpAddr, Address>,
}

#[derive(Clone, Copy, Debug)]
struct Address {
    connections: usize,
    /// When all that it has asked for so far would have been asked at its rate.
    paid_until: Instant,
}

/// A connection; counted until it is dropped.
#[derive(Debug)]
pub(super) struct Entered {
    addresses: Arc<Addresses>,
    address: IpAddr,
}

impl Addresses {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            connections_max: limits.connections_max,
            connections_of_address_max: limits.connections_of_address_max,
            interval: Duration::from_secs(1) / limits.rate_of_address.max(1),
            all: Mutex::default(),
        }
    }

    /// Counts one more connection.
    ///
    /// # Errors
    /// The limit that it is beyond.
    pub(super) fn enter(self: &Arc<Self>, from: IpAddr, now: Instant) -> Result<Entered, Counted> {
        let address = network(from);
        let mut all = self.lock();
        if all.connections >= self.connections_max {
            return Err(Counted::OverConnections);
        }
        let known = self.pay(&mut all, address, now)?;
        if known.connections >= self.connections_of_address_max {
            return Err(Counted::OverConnectionsOfAddress);
        }
        known.connections += 1;
        all.connections += 1;
        Ok(Entered {
            addresses: Arc::clone(self),
            address,
        })
    }

    /// Lets an address ask once more.
    fn pay<'a>(
        &self,
        all: &'a mut All,
        address: IpAddr,
        now: Instant,
    ) -> Result<&'a mut Address, Counted> {
        if all.addresses.len() >= ADDRESSES_MAX && !all.addresses.contains_key(&address) {
            let idle = |it: &Address| it.connections == 0 && it.paid_until <= now;
            all.addresses.retain(|_, it| !idle(it));
            if all.addresses.len() >= ADDRESSES_MAX {
                return Err(Counted::OverConnections);
            }
        }
        let newcomer = Address {
            connections: 0,
            paid_until: now,
        };
        let known = all.addresses.entry(address).or_insert(newcomer);
        let paid_until = known.paid_until.max(now) + self.interval;
        // As many intervals as make a second, times the burst.
        if paid_until > now + Duration::from_secs(1) * BURST {
            return Err(Counted::OverRate);
        }
        known.paid_until = paid_until;
        Ok(known)
    }

    fn lock(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entered {
    /// Where it is from.
    pub(super) fn address(&self) -> IpAddr {
        self.address
    }

    /// Counts a request.
    ///
    /// # Errors
    /// The limit that it is beyond.
    pub(super) fn ask(&self, now: Instant) -> Result<(), Counted> {
        let mut all = self.addresses.lock();
        self.addresses.pay(&mut all, self.address, now).map(drop)
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut all = self.addresses.lock();
        all.connections -= 1;
        if let Some(known) = all.addresses.get_mut(&self.address) {
            known.connections -= 1;
        }
    }
}

/// One IPv6 customer commonly has a whole /64; of IPv4 each address stands for itself.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.into(),
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(limits: &Limits) -> Arc<Addresses> {
        Arc::new(Addresses::new(limits))
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn there_are_so_many_connections_in_all_and_of_one_address() {
        let addresses = addresses(&Limits {
            connections_max: 3,
            connections_of_address_max: 2,
            ..Limits::default()
        });
        let now = Instant::now();
        let one = addresses.enter(ip("2001:db8::1"), now).unwrap();
        let _two = addresses.enter(ip("2001:db8::2"), now).unwrap();
        let over = |from| addresses.enter(ip(from), now).err();
        assert_eq!(over("2001:db8::3"), Some(Counted::OverConnectionsOfAddress));
        let _three = addresses.enter(ip("192.0.2.1"), now).unwrap();
        assert_eq!(over("192.0.2.2"), Some(Counted::OverConnections));
        drop(one);
        assert_eq!(over("::ffff:192.0.2.2"), None);
    }

    #[test]
    fn an_address_asks_ten_times_its_rate_at_once_and_its_rate_from_then_on() {
        let addresses = addresses(&Limits {
            rate_of_address: 2,
            ..Limits::default()
        });
        let start = Instant::now();
        let entered = addresses.enter(ip("192.0.2.1"), start).unwrap();
        let asked = |seconds| {
            let now = start + Duration::from_secs(seconds);
            (0..100).take_while(|_| entered.ask(now).is_ok()).count()
        };
        assert_eq!([asked(0), asked(0), asked(3), asked(1_000)], [19, 0, 6, 20]);
        let other = addresses.enter(ip("192.0.2.2"), start);
        assert!(other.is_ok(), "the others ask as they please");
    }

    #[test]
    fn so_many_addresses_are_known_and_the_idle_make_room() {
        let addresses = addresses(&Limits::default());
        let start = Instant::now();
        let nth = |n: usize| IpAddr::from(u32::try_from(n).unwrap().to_be_bytes());
        for n in 0..ADDRESSES_MAX {
            drop(addresses.enter(nth(n), start).unwrap());
        }
        let newcomer = addresses.enter(nth(ADDRESSES_MAX), start);
        assert_eq!(newcomer.err(), Some(Counted::OverConnections));
        let later = start + Duration::from_secs(1);
        assert!(addresses.enter(nth(ADDRESSES_MAX), later).is_ok());
        assert_eq!(addresses.lock().addresses.len(), 1);
    }
}
