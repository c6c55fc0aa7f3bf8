//! Which broker is asked: those that the application lists, one after the other, and those that a
//! broker sends us to (MQTT 5.0 §4.11).
//!
//! A reference is a hint and proves nothing: whoever it names is spoken to over TLS only and must
//! bear its name, and without the word of the application nobody is asked that it has not listed.
//! However brokers send us around, those that are listed are asked again.

use std::fmt;

use rustls_pki_types::ServerName;

use crate::client::{BrokerAddress, InvalidAddress};

/// Brokers that send us from one to the other are not followed further in a row.
const HOPS_MAX: u32 = 5;

/// So many brokers that are not listed are remembered in the place of others.
const MOVED_MAX: usize = 8;

/// So many of the places that a broker names are looked at.
const REFERENCES_MAX: usize = 8;

/// To whom a device goes when a broker names others: that it is to use another server (0x9C), or
/// that the server has moved (0x9D), which is remembered as long as the device lives.
///
/// There is no way to anything but TLS, and a broker must bear the name it is asked under, or the
/// one of [`crate::Builder::server_name`], whoever has named it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServerReferences {
    /// To brokers that the application lists too.
    #[default]
    Listed,
    /// To any.
    Any,
    /// To nobody: the next of the list is asked.
    Ignored,
}

/// A broker, and the name that its certificate must bear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Broker {
    pub(crate) address: BrokerAddress,
    pub(crate) name: ServerName<'static>,
}

/// Where a broker says that the device is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Referral<'a> {
    /// Its server reference: addresses, with a space between them.
    pub(crate) to: &'a str,
    pub(crate) term: Term,
}

/// For how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Term {
    ForNow,
    ForGood,
}

/// What became of a referral.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Followed {
    To,
    /// It names nobody who may be asked.
    Nobody,
    /// Brokers go on sending us around.
    TooOften,
}

/// All brokers that a device knows, and whose turn it is.
#[derive(Clone, Debug)]
pub(crate) struct Brokers {
    all: Vec<Broker>,
    turn: usize,
    /// Asked in the place of the one whose turn it is, and forgotten after that.
    guest: Option<Broker>,
    /// Borne by all, where it is not the host of each.
    common_name: Option<ServerName<'static>>,
    references: ServerReferences,
    hops: u32,
    moved_left: usize,
}

impl Brokers {
    pub(crate) fn new(first: BrokerAddress) -> Result<Self, InvalidAddress> {
        let name = first.server_name()?;
        let first = Broker {
            address: first,
            name,
        };
        Ok(Self {
            all: vec![first],
            turn: 0,
            guest: None,
            common_name: None,
            references: ServerReferences::default(),
            hops: 0,
            moved_left: MOVED_MAX,
        })
    }

    pub(crate) fn add(&mut self, address: BrokerAddress) -> Result<(), InvalidAddress> {
        let name = address.server_name()?;
        self.all.push(Broker { address, name });
        Ok(())
    }

    /// All bear this name.
    pub(crate) fn name_all(&mut self, name: ServerName<'static>) {
        for broker in &mut self.all {
            broker.name.clone_from(&name);
        }
        self.common_name = Some(name);
    }

    pub(crate) fn follow(&mut self, references: ServerReferences) {
        self.references = references;
    }

    /// Who is asked next.
    pub(crate) fn next(&self) -> Option<&Broker> {
        self.guest.as_ref().or_else(|| self.all.get(self.turn))
    }

    /// So many attempts are one round.
    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.all.len()).unwrap_or(u32::MAX).max(1)
    }

    /// There is nobody else to ask.
    pub(super) fn is_alone(&self) -> bool {
        self.guest.is_none() && self.all.len() <= 1
    }

    /// The turn of another.
    pub(super) fn pass_on(&mut self) {
        self.guest = None;
        self.turn = (self.turn + 1) % self.all.len().max(1);
    }

    /// The one whose turn it was has served us.
    pub(super) fn served(&mut self) {
        self.hops = 0;
    }

    /// The one whose turn it is sends us away.
    pub(super) fn refer(&mut self, referral: Referral<'_>) -> Followed {
        let Some(to) = self.permitted(referral.to) else {
            return Followed::Nobody;
        };
        if self.hops >= HOPS_MAX {
            self.hops = 0;
            return Followed::TooOften;
        }
        self.hops += 1;
        match referral.term {
            Term::ForNow => self.go_to(to),
            Term::ForGood => self.move_to(to),
        }
        Followed::To
    }

    /// The first of the places named that may be asked, other than who names it.
    fn permitted(&self, references: &str) -> Option<Broker> {
        let texts = references.split_ascii_whitespace().take(REFERENCES_MAX);
        let mut named = texts.filter_map(|text| self.read(text));
        named.find(|broker| Some(broker) != self.next())
    }

    fn read(&self, text: &str) -> Option<Broker> {
        if self.references == ServerReferences::Ignored {
            return None;
        }
        // Without a port, that of the list is meant.
        let is_meant = |listed: &&Broker| {
            let address = BrokerAddress::parse(text, listed.address.port());
            address.is_ok_and(|address| address.is_same_as(&listed.address))
        };
        let listed = self.all.iter().find(is_meant).cloned();
        listed.or_else(|| self.read_any(text))
    }

    fn read_any(&self, text: &str) -> Option<Broker> {
        if self.references != ServerReferences::Any {
            return None;
        }
        let address: BrokerAddress = text.parse().ok()?;
        let name = match &self.common_name {
            Some(name) => name.clone(),
            None => address.server_name().ok()?,
        };
        Some(Broker { address, name })
    }

    fn go_to(&mut self, to: Broker) {
        self.guest = None;
        match self.place(&to) {
            Some(place) => self.turn = place,
            None => self.guest = Some(to),
        }
    }

    /// Who has moved is asked last from now on, should the other one fail.
    fn move_to(&mut self, to: Broker) {
        let is_listed = self.place(&to).is_some();
        if self.guest.is_some() || (!is_listed && self.moved_left == 0) {
            return self.go_to(to);
        }
        let from = self.all.remove(self.turn);
        if !is_listed {
            self.moved_left -= 1;
            self.all.insert(self.turn, to.clone());
        }
        self.all.push(from);
        self.go_to(to);
    }

    fn place(&self, broker: &Broker) -> Option<usize> {
        self.all.iter().position(|it| it == broker)
    }
}

impl fmt::Display for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn brokers(references: ServerReferences, all: &[&str]) -> Brokers {
        let mut brokers = Brokers::new(all[0].parse().unwrap()).unwrap();
        for text in &all[1..] {
            brokers.add(text.parse().unwrap()).unwrap();
        }
        brokers.follow(references);
        brokers
    }

    fn next(brokers: &Brokers) -> String {
        let address = &brokers.next().unwrap().address;
        format!("{}:{}", address.host(), address.port())
    }

    fn refer(brokers: &mut Brokers, to: &str, term: Term) -> Followed {
        brokers.refer(Referral { to, term })
    }

    #[test]
    fn of_the_places_named_the_first_that_may_be_asked_is_followed() {
        let (listed, any) = (ServerReferences::Listed, ServerReferences::Any);
        for (references, to, expected) in [
            (listed, "b", Some("b:7")),
            (listed, "B:7", Some("b:7")),
            (listed, "mqtts://b:7", Some("b:7")),
            (listed, "x:1 a:8883 c b", Some("c:8883")),
            (listed, "[::1]", Some("::1:9")),
            (listed, "b:8", None),
            (listed, "x", None),
            (listed, "", None),
            (listed, "a", None),
            (any, "x", Some("x:8883")),
            (any, "x:1 b", Some("x:1")),
            (any, "mqtt://x ws://x http://x/y me@x", None),
            (any, "a:8883", None),
            (ServerReferences::Ignored, "b", None),
        ] {
            let mut brokers = brokers(references, &["a", "b:7", "c", "[::1]:9"]);
            let followed = refer(&mut brokers, to, Term::ForNow);
            let (became, at) = match expected {
                Some(expected) => (Followed::To, expected),
                None => (Followed::Nobody, "a:8883"),
            };
            assert_eq!((followed, &*next(&brokers)), (became, at), "{to}");
        }
    }

    #[test]
    fn whoever_is_followed_must_bear_the_name_that_all_must_bear() {
        for (common, expected) in [(Some("broker.example"), "broker.example"), (None, "x")] {
            let mut brokers = brokers(ServerReferences::Any, &["a"]);
            if let Some(name) = common {
                brokers.name_all(ServerName::try_from(name).unwrap());
            }
            refer(&mut brokers, "x:1", Term::ForNow);
            assert_eq!(brokers.next().unwrap().name.to_str(), expected);
        }
    }

    #[test]
    fn one_that_is_not_listed_is_forgotten_when_it_fails() {
        let mut brokers = brokers(ServerReferences::Any, &["a", "b"]);
        refer(&mut brokers, "x", Term::ForNow);
        assert!(!brokers.is_alone());
        let mut asked = Vec::new();
        for _ in 0..4 {
            asked.push(next(&brokers));
            brokers.pass_on();
        }
        assert_eq!(asked, ["x:8883", "b:8883", "a:8883", "b:8883"]);
    }

    #[test]
    fn one_that_has_moved_is_asked_last_from_then_on() {
        for (to, expected) in [
            ("x", ["x:8883", "b:8883", "c:8883", "a:8883", "x:8883"]),
            ("c", ["c:8883", "a:8883", "b:8883", "c:8883", "a:8883"]),
        ] {
            let mut brokers = brokers(ServerReferences::Any, &["a", "b", "c"]);
            refer(&mut brokers, to, Term::ForGood);
            let mut asked = Vec::new();
            for _ in 0..5 {
                asked.push(next(&brokers));
                brokers.pass_on();
            }
            assert_eq!(asked, expected);
        }
    }

    #[test]
    fn brokers_that_send_us_around_are_not_followed_for_ever() {
        let mut brokers = brokers(ServerReferences::Listed, &["a", "b"]);
        let around = |brokers: &mut Brokers| {
            let to = if next(brokers) == "a:8883" { "b" } else { "a" };
            refer(brokers, to, Term::ForNow)
        };
        for _ in 0..3 {
            for _ in 0..HOPS_MAX {
                assert_eq!(around(&mut brokers), Followed::To);
            }
            assert_eq!(around(&mut brokers), Followed::TooOften);
        }
        assert_eq!(around(&mut brokers), Followed::To);
        brokers.served();
        for _ in 0..HOPS_MAX {
            assert_eq!(around(&mut brokers), Followed::To, "one has served since");
        }
    }

    #[test]
    fn no_more_places_are_remembered_than_there_is_room_for() {
        let mut brokers = brokers(ServerReferences::Any, &["a"]);
        for n in 0..100 {
            brokers.served();
            let to = format!("x{n}");
            assert_eq!(refer(&mut brokers, &to, Term::ForGood), Followed::To);
            assert_eq!(next(&brokers), format!("x{n}:8883"));
        }
        assert_eq!(brokers.all.len(), 1 + MOVED_MAX);
    }
}
