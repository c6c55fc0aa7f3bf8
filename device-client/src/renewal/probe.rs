//! Whether a broker lets an identity in, before anything depends on it.
//!
//! A connection of its own: TLS and CONNECT, because in TLS 1.3 a client learns that its
//! certificate is refused only when it reads, and because what the broker knows of the device is
//! looked at after the handshake. The client id is another than the device's, so that no session is
//! taken over, and the session ends with the connection. That a broker forbids this client id is
//! no matter of the certificate: whoever is told so has been let in.

use std::time::Duration;

use tokio::time::timeout;

use crate::error::ConnectError;
use crate::identity::Identity;
use crate::wire::{
    Event, Leave, Library, OverLibrary, SessionAfter, Settings, V3_1_1, V5, Version, WillAfter,
    Wire,
};

/// How long saying goodbye may take.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(1);

/// Tries identities at the broker of a device.
#[derive(Debug)]
pub(crate) struct Prober {
    /// As the device presents itself.
    pub(crate) settings: Settings,
}

impl Prober {
    /// Connects as `identity` to the broker that the device is connected to, and leaves again.
    pub(super) async fn probe(&self, identity: &Identity) -> Result<(), ConnectError> {
        let client_id = format!("{}/renewal", identity.device_id());
        let settings = self.settings.for_probe(identity.clone(), client_id);
        match settings.version {
            Version::V5 => probe_over(OverLibrary::<V5>::new(settings)).await,
            Version::V3_1_1 => probe_over(OverLibrary::<V3_1_1>::new(settings)).await,
        }
    }
}

async fn probe_over<L: Library>(mut wire: OverLibrary<L>) -> Result<(), ConnectError> {
    wire.connect_where_chosen();
    match wire.next().await {
        Event::Up(_) => {}
        Event::Down(ConnectError::ClientIdRefused) => return Ok(()),
        Event::Down(error) => return Err(error),
        // Nothing was asked that could be answered before.
        _ => return Err(ConnectError::Closed),
    }
    wire.close(Leave {
        session: SessionAfter::Ended,
        wait: None,
        will: WillAfter::Forgotten,
    });
    // It was let in, whatever becomes of the goodbye.
    let _ = timeout(CLOSE_TIME_MAX, wire.next()).await;
    Ok(())
}
