//! How a device presents itself to its broker, and that in the terms of `rumqttc`.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rumqttc::{AckMode, Broker, ConnectProperties, MqttOptions};
use rustls::pki_types::ServerName;
use tracing::{Instrument, info_span};

use super::adopt::Adopted;
use super::gated::{Farewell, Gated};
use super::ledger::Ledger;
use super::translate;
use crate::client::{BrokerAddress, InvalidAddress};
use crate::identity::Identity;
use crate::message::Will;

/// Requests that are written with one flush.
const REQUEST_BATCH_MAX: usize = 32;

/// How a device presents itself to its broker. Clones are of the same device.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) brokers: Brokers,
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

/// Where brokers are, and the names their certificates must bear.
#[derive(Clone, Debug)]
pub(crate) struct Brokers {
    all: Vec<(BrokerAddress, ServerName<'static>)>,
    /// Shared with the connector of an engine, which is made before the choice.
    chosen: Arc<AtomicU32>,
}

impl Brokers {
    pub(crate) fn new(first: BrokerAddress) -> Result<Self, InvalidAddress> {
        let mut brokers = Self {
            all: Vec::new(),
            chosen: Arc::default(),
        };
        brokers.add(first)?;
        Ok(brokers)
    }

    pub(crate) fn add(&mut self, broker: BrokerAddress) -> Result<(), InvalidAddress> {
        let name = broker.server_name()?;
        self.all.push((broker, name));
        Ok(())
    }

    /// The same, of which somebody else chooses.
    fn apart(&self) -> Self {
        Self {
            all: self.all.clone(),
            chosen: Arc::new(self.chosen().into()),
        }
    }

    /// All bear this name.
    pub(crate) fn name_all(&mut self, server_name: &ServerName<'static>) {
        for (_, name) in &mut self.all {
            name.clone_from(server_name);
        }
    }

    pub(crate) fn len(&self) -> u32 {
        u32::try_from(self.all.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn choose(&self, broker: u32) {
        self.chosen.store(broker, Ordering::Relaxed);
    }

    pub(super) fn chosen(&self) -> u32 {
        self.chosen.load(Ordering::Relaxed)
    }

    fn get(&self) -> Option<&(BrokerAddress, ServerName<'static>)> {
        self.all.get(usize::try_from(self.chosen()).ok()?)
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
            brokers: self.brokers.apart(),
            identity: Bearer::new(self.identity.identity()),
            farewell: Farewell::default(),
            ..self.clone()
        }
    }

    /// For a connection of its own that leaves no trace, and the broker it goes to: the one that
    /// the device is at.
    pub(crate) fn for_probe(&self, identity: Identity, client_id: String) -> (Self, u32) {
        let settings = Self {
            identity: Bearer::new(identity),
            client_id,
            session_expiry: Duration::ZERO,
            first_session: FirstSession::New,
            will: None,
            ledger: None,
            ..self.apart()
        };
        let broker = settings.brokers.chosen();
        (settings, broker)
    }

    /// For an engine that gives its messages packet ids up to `packet_id_max`.
    pub(super) fn options(&self, packet_id_max: u16, adopted: Adopted) -> MqttOptions {
        // Whereto is chosen when it connects.
        let nowhere = Broker::tcp("localhost", 0);
        let mut options = MqttOptions::new(self.client_id.clone(), nowhere);
        options
            .set_connect_timeout(self.connect_time_max)
            .set_connect_properties(self.connect_properties())
            .set_ack_mode(AckMode::Manual)
            .set_max_request_batch(REQUEST_BATCH_MAX)
            .set_outgoing_inflight_upper_limit(packet_id_max);
        if let Some(will) = &self.will {
            options.set_last_will(translate::will(will));
        }
        options.set_session_store(adopted);
        // TLS is ours, so that its refusals come through as they are.
        let settings = self.clone();
        options.set_socket_connector(move |_, _| settings.clone().connect());
        options
    }

    fn connect_properties(&self) -> ConnectProperties {
        let mut properties = ConnectProperties::new();
        properties.session_expiry_interval = Some(translate::seconds(self.session_expiry));
        properties.receive_maximum = Some(self.receive_max);
        properties.max_packet_size = Some(self.packet_len_max);
        properties
    }

    async fn connect(self) -> io::Result<Gated> {
        let (broker, name) = self.brokers.get().ok_or(io::ErrorKind::AddrNotAvailable)?;
        let address = (broker.host(), broker.port());
        let identity = self.identity.identity();
        let attempt = info_span!("attempt", %broker);
        let stream = identity.connect(address, name.clone()).instrument(attempt);
        let stream = stream.await?;
        Ok(Gated::new(stream, self.ledger, self.farewell))
    }
}
