//! How a device presents itself to its broker.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::timeout;
use tracing::{Instrument, info_span};

use super::gated::{Farewell, Gated};
use super::ledger::Ledger;
use super::overheard::Overheard;
use super::version::Version;
use crate::identity::Identity;
use crate::message::Will;
use crate::reconnect::Broker;

/// How a device presents itself to its broker. Clones are of the same device.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) version: Version,
    pub(crate) whereto: Whereto,
    pub(crate) identity: Bearer,
    pub(crate) client_id: String,
    pub(crate) keep_alive: Duration,
    pub(crate) session_expiry: Duration,
    pub(crate) first_session: FirstSession,
    pub(crate) will: Option<Will>,
    pub(crate) connect_time_max: Duration,
    pub(crate) receive_max: u16,
    pub(crate) in_flight_max: u16,
    pub(crate) packet_len_max: u32,
    /// Where packet ids are written down, if anywhere.
    pub(crate) ledger: Option<Arc<Ledger>>,
    pub(crate) farewell: Farewell,
    pub(crate) overheard: Overheard,
}

/// The identity by which connections are made from now on.
#[derive(Clone, Debug)]
pub(crate) struct Bearer(Arc<Mutex<Identity>>);

/// What the first connection does with a session of this client id that the broker may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FirstSession {
    /// Ends it and begins another.
    New,
    /// Goes on with it.
    Resumed,
}

/// The broker that a connection is made to. Clones are of the same device: the connector of an
/// engine is made before the choice.
#[derive(Clone, Debug, Default)]
pub(crate) struct Whereto(Arc<Mutex<Option<Broker>>>);

impl Whereto {
    /// The same place, of which somebody else chooses.
    fn apart(&self) -> Self {
        Self(Arc::new(Mutex::new(self.chosen())))
    }

    pub(super) fn choose(&self, broker: &Broker) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(broker.clone());
    }

    pub(super) fn chosen(&self) -> Option<Broker> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Bearer {
    pub(crate) fn new(identity: Identity) -> Self {
        Self(Arc::new(Mutex::new(identity)))
    }

    pub(crate) fn identity(&self) -> Identity {
        let identity = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        identity.clone()
    }

    pub(super) fn replace(&self, by: Identity) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = by;
    }
}

impl Settings {
    /// The same for another device: what becomes of one of them is no matter of the other.
    pub(crate) fn apart(&self) -> Self {
        Self {
            whereto: self.whereto.apart(),
            identity: Bearer::new(self.identity.identity()),
            farewell: Farewell::default(),
            overheard: Overheard::default(),
            ..self.clone()
        }
    }

    /// For a connection of its own that leaves no trace, to the broker that the device is at.
    pub(crate) fn for_probe(&self, identity: Identity, client_id: String) -> Self {
        Self {
            identity: Bearer::new(identity),
            client_id,
            session_expiry: Duration::ZERO,
            first_session: FirstSession::New,
            will: None,
            ledger: None,
            ..self.apart()
        }
    }

    /// For a connection of its own by which a broker forgets the session [MQTT-3.1.2-6].
    pub(super) fn for_forgetting(&self) -> Self {
        let identity = self.identity.identity();
        self.for_probe(identity, self.client_id.clone())
    }

    /// Whether a session of MQTT 3.1.1 ends with each connection.
    pub(super) fn is_session_brief(&self) -> bool {
        self.session_expiry.is_zero() && self.first_session == FirstSession::New
    }

    /// The same, for a library that does not keep to our time.
    pub(super) async fn connect_in_time(self) -> io::Result<Gated> {
        let connected = timeout(self.connect_time_max, self.connect()).await;
        connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    pub(super) async fn connect(self) -> io::Result<Gated> {
        let broker = self.whereto.chosen();
        let Broker { address, name } = broker.ok_or(io::ErrorKind::AddrNotAvailable)?;
        let identity = self.identity.identity();
        let attempt = info_span!("attempt", broker = %address);
        let host = (address.host(), address.port());
        let stream = identity.connect(host, name).instrument(attempt).await?;
        Ok(Gated::new(
            stream,
            self.ledger,
            (self.farewell, self.overheard),
        ))
    }
}
