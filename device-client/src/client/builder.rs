//! The settings of a device, each with the value that suits most.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls_pki_types::ServerName;
use thiserror::Error;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::Instant;
use tracing::{Instrument, info_span};

use super::address::{BrokerAddress, InvalidAddress, server_name};
use super::driver::{Driver, Phase};
use super::inbox::Inbox;
use super::opening::{OUTBOX_BYTES_MAX, OUTBOX_BYTES_MIN, OutboxSettings};
use super::status::{Link, Status};
use super::{Device, Keeps};
use crate::chance::chance;
use crate::disk::on_disk;
use crate::error::{ConnectError, PublishError};
use crate::identity::{Home, Identity};
use crate::message::{Presence, Publish, Will};
use crate::outbox::WhenFull;
use crate::outbox::disk::WhenDamaged;
use crate::reconnect::{Backoff, Brokers, Reconnect, ServerReferences, WhenRefused};
use crate::renewal::{Prober, Renewal, Renewer, Renewing, Replacement};
use crate::wire::{
    Bearer, Farewell, FirstSession, OverLibrary, Overheard, SessionAfter, Settings, V3_1_1, V5,
    Version, Whereto, Wire,
};

/// Commands on their way to the task of a device; more wait where they are given.
const COMMANDS_MAX: usize = 32;

/// A pause in which neither side is heard of longer than this is no connection.
const KEEP_ALIVE_DEFAULT: Duration = Duration::from_secs(30);

/// Long enough for a broker to restart, or a device to change its network.
const SESSION_EXPIRY_DEFAULT: Duration = Duration::from_hours(1);

/// A device to be connected.
#[derive(Clone, Debug)]
#[must_use = "nothing is connected before `connect`"]
pub struct Builder {
    wire: Settings,
    brokers: Brokers,
    server_name: Option<ServerName<'static>>,
    backoff: Backoff,
    when_refused: WhenRefused,
    connect_within: Duration,
    outbox: OutboxSettings,
    queue_len_max: usize,
    renewal: Option<Renewal>,
    presence: Option<Publish>,
}

/// Why a device could not be set up or connected.
#[derive(Clone, Debug, Error)]
pub enum BuildError {
    /// The address of the broker is none.
    #[error("the address of the broker is not valid")]
    Address(#[from] InvalidAddress),
    /// The last will cannot be written.
    #[error("the last will is not valid")]
    Will(#[source] PublishError),
    /// There is no connection.
    #[error(transparent)]
    Connect(ConnectError),
    /// There is no thread for devices that are waited for.
    #[error("no thread can be started")]
    Thread(#[source] Arc<io::Error>),
}

impl Builder {
    pub(super) fn new(broker: BrokerAddress, identity: Identity) -> Result<Self, InvalidAddress> {
        let brokers = Brokers::new(broker)?;
        let wire = Settings {
            version: Version::default(),
            whereto: Whereto::default(),
            client_id: identity.device_id().into(),
            identity: Bearer::new(identity),
            keep_alive: KEEP_ALIVE_DEFAULT,
            session_expiry: SESSION_EXPIRY_DEFAULT,
            first_session: FirstSession::New,
            will: None,
            connect_time_max: Duration::from_secs(10),
            receive_max: 32,
            in_flight_max: 32,
            packet_len_max: 1024 * 1024,
            ledger: None,
            farewell: Farewell::default(),
            overheard: Overheard::default(),
        };
        Ok(Self {
            wire,
            brokers,
            server_name: None,
            backoff: Backoff::default(),
            when_refused: WhenRefused::Stop,
            connect_within: Duration::from_secs(30),
            outbox: OutboxSettings::default(),
            queue_len_max: 256,
            renewal: None,
            presence: None,
        })
    }

    /// The client id; by default the device id. A broker by default accepts the device id followed
    /// by `/` or `:` and anything too.
    pub fn client_id(mut self, client_id: impl Into<String>) -> Self {
        self.wire.client_id = client_id.into();
        self
    }

    /// The name that the broker's certificate must bear, where it is not the host of its address.
    ///
    /// # Errors
    /// [`BuildError::Address`] when it is neither a host name nor an IP address.
    pub fn server_name(mut self, name: &str) -> Result<Self, BuildError> {
        self.server_name = Some(server_name(name)?);
        Ok(self)
    }

    /// Another broker at which the device may be. One after the other is tried, and the one that
    /// serves is stayed with until its connection is lost and cannot be made again.
    ///
    /// # Errors
    /// [`BuildError::Address`] when `url` is no address of a broker.
    pub fn or_at(mut self, url: &str) -> Result<Self, BuildError> {
        self.brokers.add(url.parse()?)?;
        Ok(self)
    }

    /// To whom the device goes when a broker sends it to another; by default to those that are
    /// listed.
    pub fn server_references(mut self, references: ServerReferences) -> Self {
        self.brokers.follow(references);
        self
    }

    /// Which version of MQTT is spoken; 5.0 by default. What 3.1.1 cannot say is refused:
    /// see [`Version::V3_1_1`].
    pub fn version(mut self, version: Version) -> Self {
        self.wire.version = version;
        self
    }

    /// How long the connection may be silent before it is probed; 30 s by default, in whole
    /// seconds, from 1 s to 65,535 s.
    pub fn keep_alive(mut self, interval: Duration) -> Self {
        self.wire.keep_alive =
            interval.clamp(Duration::from_secs(1), Duration::from_secs(u16::MAX.into()));
        self
    }

    /// How long the broker keeps our subscriptions and messages while we are away; 1 h by default.
    pub fn session_expiry(mut self, expiry: Duration) -> Self {
        self.wire.session_expiry = expiry;
        self
    }

    /// Goes on with the session of an earlier run, and leaves it behind for a later one.
    ///
    /// Messages that waited at the broker come as soon as we are connected: those of quality of
    /// service 1 and 2 are held for 5 s for their subscriptions to be made again. Without this, the
    /// session lives as long as the device, whatever happens to its connections.
    pub fn resume_session(mut self) -> Self {
        self.wire.first_session = FirstSession::Resumed;
        self
    }

    /// What the broker publishes when we go without a word.
    ///
    /// # Errors
    /// [`BuildError::Will`] when it cannot be written.
    pub fn will(mut self, will: Will) -> Result<Self, BuildError> {
        will.publish.check().map_err(BuildError::Will)?;
        self.wire.will = Some(will);
        self.presence = None;
        Ok(self)
    }

    /// Says at each connection that the device is there; that it is gone the broker says, whether
    /// it leaves in good order or without a word. It takes the place of [`Builder::will`].
    ///
    /// # Errors
    /// [`BuildError::Will`] when it cannot be written.
    pub fn presence(mut self, presence: Presence) -> Result<Self, BuildError> {
        self = self.will(presence.gone)?;
        self.presence = Some(presence.here);
        Ok(self)
    }

    /// How long to wait between attempts to connect.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// What to do about refusals that waiting will not mend; by default to stop.
    pub fn when_refused(mut self, when_refused: WhenRefused) -> Self {
        self.when_refused = when_refused;
        self
    }

    /// For how long the first connection is attempted; 30 s by default. [`Duration::ZERO`] makes
    /// one attempt, [`Duration::MAX`] any number.
    pub fn connect_within(mut self, within: Duration) -> Self {
        self.connect_within = within;
        self
    }

    /// How long one attempt may take; 10 s by default.
    pub fn attempt_time_max(mut self, limit: Duration) -> Self {
        self.wire.connect_time_max = limit;
        self
    }

    /// Keeps what is accepted at quality of service 1 and 2 in this directory, until the broker has
    /// acknowledged it: it survives the process and a loss of power, and is sent in order by the
    /// next run. A message of quality of service 2 arrives once even so, as long as the broker
    /// keeps the session (see [`Builder::session_expiry`]), which is resumed as by
    /// [`Builder::resume_session`].
    ///
    /// The directory takes three times the limit of [`Builder::outbox_bytes_max`], all at once when
    /// it is made, so that a disk that fills up later takes nothing from it.
    pub fn outbox(mut self, directory: impl Into<PathBuf>) -> Self {
        self.outbox.directory = Some(directory.into());
        self.resume_session()
    }

    /// How many messages may be accepted and not acknowledged; 1,024 by default. What happens then,
    /// [`Builder::when_outbox_full`] says.
    pub fn outbox_len_max(mut self, messages: usize) -> Self {
        self.outbox.len_max = messages.clamp(1, Semaphore::MAX_PERMITS);
        self
    }

    /// How many bytes the messages that are not acknowledged may take, with all that is said about
    /// them; 4 MiB by default. On disk, a single message may take a quarter of it.
    pub fn outbox_bytes_max(mut self, bytes: u32) -> Self {
        self.outbox.bytes_max = bytes.clamp(OUTBOX_BYTES_MIN, OUTBOX_BYTES_MAX);
        self
    }

    /// What a full outbox does with another message; by default its publisher waits.
    pub fn when_outbox_full(mut self, when_full: WhenFull) -> Self {
        self.outbox.when_full = when_full;
        self
    }

    /// What to do with an outbox on disk that is damaged; by default to report it.
    pub fn when_outbox_damaged(mut self, when_damaged: WhenDamaged) -> Self {
        self.outbox.when_damaged = when_damaged;
        self
    }

    /// How many messages of quality of service 0 may wait in a subscription; 256 by default. Then
    /// more are dropped and counted.
    pub fn queue_len_max(mut self, messages: usize) -> Self {
        self.queue_len_max = messages.clamp(1, Semaphore::MAX_PERMITS / 2);
        self
    }

    /// How many messages of quality of service 1 and 2 the broker may send before the first is
    /// taken from its subscription; 32 by default. Then it keeps them.
    pub fn receive_max(mut self, messages: u16) -> Self {
        self.wire.receive_max = messages.max(1);
        self
    }

    /// The longest packet to receive; 1 MiB by default. The broker drops what is longer.
    pub fn packet_len_max(mut self, bytes: u32) -> Self {
        self.wire.packet_len_max = bytes.max(1);
        self
    }

    /// Renews the certificate of the device before it runs out, and keeps the new one where the
    /// identity was opened. By default it is not renewed.
    ///
    /// The connection is made anew once with it, when all that is under way has been answered; the
    /// session is resumed, and nothing is lost. A refusal of the certificate that the device has
    /// does not stop it then.
    pub fn renew(mut self, renewal: Renewal) -> Self {
        self.renewal = Some(renewal);
        self
    }

    /// Connects, in a task of the tokio runtime this is called in.
    ///
    /// # Errors
    /// [`ConnectError`]: at once for one that waiting cannot mend, otherwise when the time for the
    /// first connection is over.
    pub async fn connect(self) -> Result<Device, ConnectError> {
        match self.wire.version {
            Version::V5 => self.connect_over(OverLibrary::<V5>::new).await,
            Version::V3_1_1 => self.connect_over(OverLibrary::<V3_1_1>::new).await,
        }
    }

    pub(super) async fn connect_over<W: Wire>(
        self,
        wire: impl FnOnce(Settings) -> W,
    ) -> Result<Device, ConnectError> {
        // Whatever is logged of a device says of which; no more of it is anybody's business.
        let span = info_span!(
            "device",
            id = self.device_id(),
            client = self.wire.client_id
        );
        let (mut device, driver) = self.split(wire).instrument(span.clone()).await?;
        tokio::spawn(driver.run().instrument(span));
        let settled = |status: &Status| match status.link {
            Link::Connecting | Link::Waiting { .. } => false,
            Link::Connected { .. } | Link::Disconnected | Link::Stopped { .. } => true,
        };
        // The driver says how it ended before it goes.
        let _ = device.status.wait_for(settled).await;
        match device.stopped() {
            Some(cause) => Err(cause),
            None => Ok(device),
        }
    }

    fn device_id(&self) -> String {
        self.wire.identity.identity().device_id().into()
    }

    /// What was chosen must be sayable.
    fn check_version(&self) -> Result<(), ConnectError> {
        let will = match (self.wire.version, &self.presence, &self.wire.will) {
            (Version::V3_1_1, Some(_), _) => Err("presence"),
            (version, _, Some(will)) => version.check_will(will),
            (Version::V5 | Version::V3_1_1, _, None) => Ok(()),
        };
        will.map_err(|what| ConnectError::NeedsMqtt5 { what })
    }

    pub(super) async fn split<W>(
        mut self,
        wire: impl FnOnce(Settings) -> W,
    ) -> Result<(Device, Driver<W>), ConnectError> {
        self.check_version()?;
        let (commands, receive_commands) = mpsc::channel(COMMANDS_MAX);
        // A clone of the builder may make another device.
        self.wire = self.wire.apart();
        let identity = self.wire.identity.identity();
        let (say_status, status) = watch::channel(Status::new(identity.not_after()));
        if let Some(name) = self.server_name {
            self.brokers.name_all(name);
        }
        let opened = self.outbox.open(self.wire.in_flight_max).await?;
        let keeps = match opened.disk {
            Some(_) => Keeps::OnDisk,
            None => Keeps::InMemory,
        };
        say_status.send_modify(|status| status.unacknowledged = opened.outbox.len());
        self.wire.ledger = opened.ledger;
        let renewal = match self.renewal.take() {
            Some(renewal) => {
                Some(start_renewal(renewal, (identity, &self.wire), &say_status).await?)
            }
            None => None,
        };
        let device = Device {
            commands,
            status,
            room: Arc::clone(&opened.room),
            keeps,
            version: self.wire.version,
            receive_max: self.wire.receive_max,
            queue_len_max: self.queue_len_max,
        };
        // A time too far to be told is no limit.
        let until = Instant::now().into_std().checked_add(self.connect_within);
        let driver = Driver {
            commands: receive_commands,
            outbox: opened.outbox,
            room: opened.room,
            disk: opened.disk,
            inbox: Inbox::new(self.wire.receive_max),
            reconnect: Reconnect::new(self.brokers, (self.backoff, self.when_refused), until),
            status: say_status,
            chance,
            session_after: match self.wire.first_session {
                FirstSession::New => SessionAfter::Ended,
                FirstSession::Resumed => SessionAfter::Kept,
            },
            phase: Phase::Connecting,
            leaving: None,
            renewal,
            turnover: None,
            presence: self.presence,
            wire: wire(self.wire),
        };
        Ok((device, driver))
    }
}

async fn start_renewal(
    renewal: Renewal,
    (present, settings): (Identity, &Settings),
    status: &watch::Sender<Status>,
) -> Result<(mpsc::Receiver<Replacement>, Renewing), ConnectError> {
    let home = match present.directory().map(PathBuf::from) {
        Ok(directory) => on_disk(move || Home::open(&directory)).await,
        Err(why) => Err(why),
    };
    let home = home.map_err(|why| ConnectError::NotRenewable(why.into()))?;
    let (device, replacements) = mpsc::channel(1);
    let renewer = Renewer {
        renewal,
        present,
        home: Arc::new(Mutex::new(home)),
        prober: Prober {
            settings: settings.clone(),
        },
        device,
        status: status.clone(),
        chance,
    };
    Ok((replacements, renewer.start()))
}
