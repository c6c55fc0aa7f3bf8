//! Addresses: how many connections each has, finished or not.
//!
//! An address is an IPv4 address or an IPv6 /64; who counts as one is the same everywhere.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Where somebody comes from, as far as one may be told from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Network(IpAddr);

/// The addresses that have connections.
#[derive(Debug, Default)]
pub(crate) struct Addresses {
    connections: Mutex<HashMap<Network, usize>>,
}

/// One connection of an address; counted until it is dropped.
#[derive(Debug)]
pub(crate) struct Counted {
    addresses: Arc<Addresses>,
    network: Network,
}

impl Network {
    /// The network of an address. One IPv6 customer commonly has a whole /64; of IPv4 each address
    /// stands for itself, for the neighbours in a /24 may be anybody.
    pub(crate) fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(v4) => IpAddr::V4(v4),
            IpAddr::V6(v6) => {
                let [a, b, c, d, ..] = v6.segments();
                IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
            }
        })
    }
}

impl Addresses {
    /// Counts one more connection; none if there are `connections_max`.
    pub(crate) fn enter(
        self: &Arc<Self>,
        network: Network,
        connections_max: usize,
    ) -> Option<Counted> {
        let mut connections = self.lock();
        let count = connections.entry(network).or_default();
        if *count >= connections_max {
            return None;
        }
        *count += 1;
        Some(Counted {
            addresses: Arc::clone(self),
            network,
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Network, usize>> {
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut connections = self.addresses.lock();
        if let Some(count) = connections.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                connections.remove(&self.network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(address: &str) -> Network {
        Network::of(address.parse().unwrap())
    }

    #[test]
    fn an_address_has_so_many_connections_and_no_more_until_one_goes() {
        let addresses = Arc::<Addresses>::default();
        let one = addresses.enter(network("192.0.2.1"), 2).unwrap();
        let _two = addresses.enter(network("192.0.2.1"), 2).unwrap();
        assert!(addresses.enter(network("192.0.2.1"), 2).is_none());
        assert!(addresses.enter(network("192.0.2.2"), 2).is_some());
        drop(one);
        assert!(addresses.enter(network("::ffff:192.0.2.1"), 2).is_some());
        assert_eq!(addresses.lock().len(), 1, "who has none is forgotten");
    }

    #[test]
    fn an_ipv6_customer_is_one_and_ipv4_neighbours_are_two() {
        assert_eq!(network("2001:db8:1:2::1"), network("2001:db8:1:2:ffff::9"));
        assert_ne!(network("2001:db8:1:2::1"), network("2001:db8:1:3::1"));
        assert_ne!(network("192.0.2.1"), network("192.0.2.2"));
    }
}
