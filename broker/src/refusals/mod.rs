//! Refusals: who was turned away or cut off lately, and why, for whoever is asked about it.
//!
//! Bounded, and a flood cannot wash out what an operator looks for: what happens again to the same
//! peer for the same reason is one entry with a count, and those who showed a certificate have
//! places of their own beside those who showed none.

mod reason;
mod ring;

pub use reason::{Code, Reason};

use certs::{Certificate, CommonName, Hex, VerifiedDevice};
use ring::Ring;
use serde::Serialize;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What is remembered of refusals and cuts.
#[derive(Debug)]
pub struct Refusals {
    rings: Mutex<Rings>,
}

#[derive(Debug)]
struct Rings {
    /// Of those who showed a certificate, good or not.
    named: Ring,
    nameless: Ring,
}

/// Somebody was turned away or cut off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// When it happened last, in milliseconds of Unix time.
    pub at_ms: u64,
    /// When it happened first without anything else in between that was noted of this peer.
    pub first_at_ms: u64,
    /// How often.
    pub count: u64,
    /// Whether it was let in before.
    pub outcome: Outcome,
    /// Its address, and the port it came from the last time.
    pub peer: SocketAddr,
    /// Who it said it was.
    #[serde(flatten)]
    pub whom: Whom,
    /// Why.
    #[serde(flatten)]
    pub reason: Reason,
}

/// Whether somebody was in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It was not let in.
    Refused,
    /// It was let in, and its connection ended by us.
    Closed,
}

/// Who a peer says it is, as far as it showed that. Escaped and bounded where it is a peer's text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Whom {
    /// The device, or what its certificate calls it where that is not good enough.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<Box<str>>,
    /// The serial number of its certificate, in hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial: Option<Box<str>>,
    /// The SHA-256 of its certificate, in hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Box<str>>,
    /// The client id it asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<Box<str>>,
}

/// Whom somebody asks about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// All connections from there.
    Address(IpAddr),
    /// A device id, a client id, a serial number or a SHA-256.
    Name(String),
}

impl Refusals {
    /// Nothing has happened yet; `len_max` peers are remembered.
    pub fn new(len_max: usize) -> Self {
        let named = len_max.div_ceil(2);
        Self {
            rings: Mutex::new(Rings {
                named: Ring::new(named),
                nameless: Ring::new(len_max - named),
            }),
        }
    }

    /// Notes one.
    pub(crate) fn note(&self, refusal: Refusal) {
        let mut rings = self.lock();
        if refusal.whom.sha256.is_some() {
            rings.named.note(refusal);
        } else {
            rings.nameless.note(refusal);
        }
    }

    /// What is known of this device or address, the latest first.
    pub fn why(&self, asked: &Asked) -> Vec<Refusal> {
        self.all(|refusal| asked.is(refusal))
    }

    /// The latest, at most so many.
    pub fn latest(&self, len_max: usize) -> Vec<Refusal> {
        let mut all = self.all(|_| true);
        all.truncate(len_max);
        all
    }

    fn all(&self, is_wanted: impl Fn(&Refusal) -> bool) -> Vec<Refusal> {
        let rings = self.lock();
        let both = rings.named.iter().chain(rings.nameless.iter());
        let mut found: Vec<_> = both.filter(|it| is_wanted(it)).cloned().collect();
        found.sort_by_key(|refusal| std::cmp::Reverse(refusal.at_ms));
        found
    }

    fn lock(&self) -> MutexGuard<'_, Rings> {
        self.rings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Asked {
    /// An address where `text` is one, else a name.
    pub fn parse(text: &str) -> Self {
        text.parse()
            .map_or_else(|_| Self::Name(text.to_owned()), Self::Address)
    }

    fn is(&self, refusal: &Refusal) -> bool {
        match self {
            Self::Address(address) => refusal.peer.ip().to_canonical() == address.to_canonical(),
            Self::Name(name) => {
                let Whom {
                    device,
                    serial,
                    sha256,
                    client_id,
                } = &refusal.whom;
                let exact = [device, client_id].into_iter().flatten();
                let hex = [serial, sha256].into_iter().flatten();
                exact.into_iter().any(|it| **it == **name)
                    || hex.into_iter().any(|it| it.eq_ignore_ascii_case(name))
            }
        }
    }
}

impl Whom {
    /// Somebody whose certificate was not good enough.
    pub(crate) fn of_certificate(certificate: &Certificate) -> Self {
        let mut named = certificate.extensions.uri_names.iter();
        let subject = named.find_map(|uri| certs::parse_spiffe_uri(uri).ok());
        let device = match (subject, &certificate.common_name) {
            (Some((_, subject)), _) => subject.to_string(),
            (None, CommonName::One(name)) => name.escape_debug().take(64).collect(),
            (None, CommonName::Absent | CommonName::Several | CommonName::Unreadable) => {
                certificate.subject.to_string()
            }
        };
        Self::named(device, certificate)
    }

    /// A device that proved who it is.
    pub(crate) fn of_device(device: &VerifiedDevice) -> Self {
        Self::named(device.subject().to_string(), device.certificate())
    }

    fn named(device: String, certificate: &Certificate) -> Self {
        Self {
            device: Some(device.into()),
            serial: Some(certificate.serial.to_string().into()),
            sha256: Some(Hex(&certificate.sha256).to_string().into()),
            client_id: None,
        }
    }

    /// The same under this client id.
    #[must_use]
    pub(crate) fn under(self, client_id: &str) -> Self {
        let escaped: String = client_id.escape_debug().take(CLIENT_ID_LEN_MAX).collect();
        let client_id = (!escaped.is_empty()).then(|| escaped.into());
        Self { client_id, ..self }
    }
}

/// So many characters of a client id are shown.
const CLIENT_ID_LEN_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(at_ms: u64, peer: &str, device: Option<&str>) -> Refusal {
        Refusal {
            at_ms,
            first_at_ms: at_ms,
            count: 1,
            outcome: Outcome::Refused,
            peer: peer.parse().unwrap(),
            whom: Whom {
                device: device.map(Into::into),
                serial: device.map(|_| "0a1b".into()),
                sha256: device.map(|it| format!("{it}-hash").into()),
                client_id: None,
            },
            reason: Reason::new(Code::Rate, "too fast"),
        }
    }

    #[test]
    fn what_happened_to_a_device_or_an_address_is_found_by_whatever_is_known_of_it() {
        let refusals = Refusals::new(100);
        refusals.note(refusal(1, "192.0.2.1:5", Some("dev-1")));
        refusals.note(refusal(2, "192.0.2.2:5", Some("dev-2")));
        refusals.note(refusal(3, "192.0.2.1:6", None));
        let times = |asked: &str| -> Vec<u64> {
            let found = refusals.why(&Asked::parse(asked));
            found.iter().map(|it| it.at_ms).collect()
        };
        assert_eq!(times("dev-1"), [1]);
        assert_eq!(times("dev-2-HASH"), [2]);
        assert_eq!(times("0A1B"), [2, 1]);
        assert_eq!(times("192.0.2.1"), [3, 1]);
        assert_eq!(times("::ffff:192.0.2.2"), [2]);
        assert_eq!(times("dev"), [0; 0]);
        assert_eq!(refusals.latest(2).len(), 2);
    }

    #[test]
    fn a_flood_of_strangers_washes_out_nothing_that_is_known_of_devices() {
        let refusals = Refusals::new(10);
        refusals.note(refusal(1, "192.0.2.1:5", Some("dev-1")));
        for number in 0..1000_u32 {
            let peer = format!("10.0.{}.{}:7", number / 256, number % 256);
            refusals.note(refusal(2, &peer, None));
        }
        assert_eq!(refusals.why(&Asked::parse("dev-1")).len(), 1);
        assert_eq!(refusals.latest(1000).len(), 6);
    }

    #[test]
    fn an_entry_reads_as_one_object() {
        let json = serde_json::to_string(&refusal(7, "192.0.2.1:5", Some("dev-1"))).unwrap();
        assert_eq!(
            json,
            concat!(
                r#"{"at_ms":7,"first_at_ms":7,"count":1,"outcome":"refused","#,
                r#""peer":"192.0.2.1:5","device":"dev-1","serial":"0a1b","sha256":"dev-1-hash","#,
                r#""code":"rate","reason":"too fast"}"#
            )
        );
    }
}
