//! Having a broker of MQTT 3.1.1 forget the session of a device.
//!
//! There a session either ends with its connection or stays for as long as the broker likes. One
//! that outlives connections and begins anew takes a connection of its own, which asks for a clean
//! session and leaves again [MQTT-3.1.2-6].

use super::adopt::{Adopted, Others};
use super::engine::{Attempt, Engine, Kept, Known, Order, Said};
use super::library::Library;
use super::settings::Settings;
use super::{Leave, SessionAfter, WillAfter};
use crate::error::ConnectError;

/// A connection by which the session is forgotten.
pub(super) struct Forgetting<L: Library> {
    engine: Engine<L>,
    pub(super) then: Then,
}

/// What comes after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    Connect,
    Closed,
}

impl<L: Library> Forgetting<L> {
    pub(super) fn begin(settings: &Settings, then: Then) -> Self {
        let settings = settings.for_forgetting();
        let session = Known {
            packet_id_max: 1,
            is_kept: Kept::InMemory,
            restored: [].into(),
        };
        let engine = Engine::start(&settings, Adopted::new(1, Others::Free, None), session);
        engine.connect(Attempt {
            clean_start: true,
            keep_alive: settings.keep_alive,
        });
        Self { engine, then }
    }

    /// How it went.
    pub(super) async fn done(&mut self) -> Result<(), ConnectError> {
        loop {
            match self.engine.said.recv().await {
                Some(Said::Up(_)) => {
                    self.engine.connections = self.engine.connections.wrapping_add(1);
                    self.engine.order(Order::Leave(Leave {
                        session: SessionAfter::Ended,
                        wait: None,
                        will: WillAfter::Forgotten,
                    }));
                }
                Some(Said::Closed) => return Ok(()),
                Some(Said::Down(error, _)) => return Err(error),
                Some(Said::Message(_) | Said::Answered(..) | Said::Narrow(_)) => {}
                None => return Err(ConnectError::Closed),
            }
        }
    }
}
