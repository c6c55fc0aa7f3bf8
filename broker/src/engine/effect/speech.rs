//! Speech: what the engine says to a connection, written as it is said.
//!
//! A payload is copied once, from the message into the bytes that TLS encrypts. What one
//! connection hears keeps its order: once something waits, all behind it waits too.

use super::{After, Effects};
use crate::engine::close_reason::CloseReason;
use crate::engine::input::ConnectionId;
use crate::engine::session::Connected;
use bytes::BytesMut;
use protocol::Text;
use protocol::packet::{Alias, Disconnect, Packet, PublishHead, Version};
use protocol::wire::{self, TooLarge};
use std::num::NonZeroU32;
use std::time::Duration;

/// What one connection is told in one turn, or a part of it where that is long.
#[derive(Debug)]
pub struct Speech {
    /// Whom to tell.
    pub connection: ConnectionId,
    /// Whole packets, in their order.
    pub packets: BytesMut,
    /// How many bytes of them wait for nothing. The rest waits for the records of the turn.
    pub free_len: usize,
    /// Present where the packets begin with the CONNACK of a session.
    pub greeting: Option<Greeting>,
    /// Whether all of it must be sent: something later depends on it. Else QoS 0 may be dropped.
    pub is_needed: bool,
    /// Say [`Input::Drained`] once all of it has been written to the socket.
    ///
    /// [`Input::Drained`]: crate::engine::Input::Drained
    pub asks_drained: bool,
    /// The last batch of the connection was looked at: for so long it is not to be heard. Only
    /// where publishing has a rate.
    pub rest: Option<Duration>,
    /// Close the connection once all of it has been written. The engine has already let go of it
    /// and ignores what it still sends.
    pub close: Option<CloseReason>,
}

/// What `net` has to know of a CONNACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// The keep-alive that the server imposes, in seconds [MQTT-3.2.2-21].
    pub server_keep_alive: Option<u16>,
}

/// What a first packet is given; later speech is given what the one before took.
const ROOM_MIN: usize = 64;
/// A speech that was long once begins with this.
const ROOM_MAX: usize = 64 * 1024;
/// With so much in it the next packet begins another speech, so that a long one is not moved again
/// and again while it grows.
const FULL: usize = ROOM_MAX - 4 * 1024;

impl Speech {
    fn new(connection: ConnectionId, room: usize) -> Self {
        Self {
            connection,
            packets: BytesMut::with_capacity(room),
            free_len: usize::MAX,
            greeting: None,
            is_needed: false,
            asks_drained: false,
            rest: None,
            close: None,
        }
    }

    /// Whether a part of it waits for the records of its turn.
    pub fn waits(&self) -> bool {
        self.free_len < self.packets.len()
    }

    /// What follows is said when `after` says so, or later if something before it waits longer.
    fn go_on(&mut self, after: After) {
        if after == After::Sync {
            self.free_len = self.free_len.min(self.packets.len());
        }
    }
}

impl Effects {
    /// Says a packet to a client. It is dropped if it is longer than the client takes
    /// [MQTT-3.1.2-24].
    ///
    /// # Errors
    /// If it was dropped.
    pub(in crate::engine) fn say(
        &mut self,
        connected: &mut Connected,
        packet: &Packet,
        after: After,
    ) -> Result<(), TooLarge> {
        let (version, size_max) = (connected.version, connected.packet_size_max());
        let speech = self.to(connected).ok_or(TooLarge)?;
        speech.go_on(after);
        wire::write_within(packet, version, size_max, &mut speech.packets)?;
        connected.said_len = speech.packets.len();
        Ok(())
    }

    /// Says a message to a client, its topic by its alias where there is one.
    ///
    /// # Errors
    /// If it was dropped: it is longer than the client takes.
    #[inline]
    pub(in crate::engine) fn deliver(
        &mut self,
        connected: &mut Connected,
        mut head: PublishHead<'_>,
        after: After,
    ) -> Result<(), TooLarge> {
        if let Some(aliases) = &mut connected.aliases {
            head.alias = aliases.choose(head.topic);
        }
        let (version, size_max) = (connected.version, connected.packet_size_max());
        let speech = self.to(connected).ok_or(TooLarge)?;
        speech.go_on(after);
        let mut written = head.write_within(version, size_max, &mut speech.packets);
        let is_new = matches!(head.alias, Alias::New(_));
        if let (Err(_), Some(aliases)) = (written, &mut connected.aliases) {
            if is_new {
                // The client never heard of it.
                aliases.forget(head.topic);
            }
            // An alias takes three bytes: without it the packet may fit.
            head.alias = Alias::None;
            written = head.write_within(version, size_max, &mut speech.packets);
        } else {
            speech.is_needed |= is_new;
        }
        connected.said_len = speech.packets.len();
        written
    }

    /// Greets the client of a new session: before its CONNACK it hears nothing [MQTT-3.2.0-1].
    pub(in crate::engine) fn greet(&mut self, connected: &mut Connected, greeting: Greeting) {
        if let Some(speech) = self.to(connected) {
            speech.greeting = Some(greeting);
        }
    }

    /// Asks for [`Input::Drained`].
    ///
    /// [`Input::Drained`]: crate::engine::Input::Drained
    pub(in crate::engine) fn ask_drained(&mut self, connected: &mut Connected) {
        if let Some(speech) = self.to(connected) {
            speech.asks_drained = true;
        }
    }

    /// Says how long a connection is not to be heard.
    pub(in crate::engine) fn rest(&mut self, connected: &mut Connected, rest: Duration) {
        if let Some(speech) = self.to(connected) {
            speech.rest = Some(rest);
        }
    }

    /// Has a connection closed; the client is told why, where its version has words for it.
    pub(in crate::engine) fn close(&mut self, connected: &mut Connected, why: CloseReason) {
        if let (Version::V5, Some(disconnect)) = (connected.version, why.disconnect()) {
            self.say_last(connected, disconnect, &why);
        }
        if let Some(speech) = self.to(connected) {
            speech.close = Some(why);
        }
    }

    /// Says DISCONNECT, with words for who wants any and has room for them [MQTT-3.14.2-3].
    fn say_last(
        &mut self,
        connected: &mut Connected,
        mut disconnect: Box<Disconnect>,
        why: &CloseReason,
    ) {
        if connected.wants_words {
            disconnect.reason_string = Text::parse(&why.to_string()).ok();
        }
        let plain = Packet::Disconnect(Box::new(Disconnect::new(disconnect.reason)));
        let worded = Packet::Disconnect(disconnect);
        if self.say(connected, &worded, After::Nothing).is_err() {
            // A client that takes no packet so long hears nothing.
            let _ = self.say(connected, &plain, After::Nothing);
        }
    }

    /// Has a connection that was given no session answered and closed.
    pub(in crate::engine) fn turn_away(
        &mut self,
        connection: ConnectionId,
        answer: (&Packet, Version, NonZeroU32),
        why: CloseReason,
    ) {
        let mut speech = Speech::new(connection, ROOM_MIN);
        let (packet, version, size_max) = answer;
        // As above.
        let _ = wire::write_within(packet, version, size_max, &mut speech.packets);
        speech.close = Some(why);
        self.speech.push(speech);
    }

    /// The speech of this turn to a connection that has room.
    #[inline]
    fn to(&mut self, connected: &mut Connected) -> Option<&mut Speech> {
        let has_room = self
            .speech
            .get(connected.speech_place)
            .is_some_and(|speech| speech.connection == connected.id && speech.packets.len() < FULL);
        if !has_room {
            connected.speech_place = self.speech.len();
            let room = connected.said_len.clamp(ROOM_MIN, ROOM_MAX);
            self.speech.push(Speech::new(connected.id, room));
        }
        self.speech.get_mut(connected.speech_place)
    }
}

#[cfg(test)]
mod tests {
    use super::{ROOM_MAX, Speech};
    use crate::engine::test_world::*;
    use crate::engine::{ConnectionId, Effects, Input};
    use protocol::packet::QoS;

    /// What this connection is told in one turn of so many messages of 1000 bytes to it.
    fn told(messages: u16) -> Vec<Speech> {
        let mut world = World::open();
        let subscriber = world.enter("dev-1");
        world.subscribe(subscriber, "a", QoS::AtLeastOnce);
        let connection = world.enter("dev-2");
        let payload = "x".repeat(1000);
        let packets = (1..=messages).map(|id| qos1("a", &payload, id)).collect();
        let read = Input::Packets {
            connection,
            packets,
        };
        world.engine.handle(world.now, read);
        let mut effects = Effects::default();
        world.engine.take_effects(&mut effects);
        let is_to = |speech: &Speech, to: ConnectionId| speech.connection == to;
        effects.speech.retain(|speech| is_to(speech, subscriber));
        effects.speech
    }

    #[test]
    fn what_is_long_is_said_in_parts_that_are_not_moved_while_they_grow() {
        let one = told(1).remove(0).packets.len();
        for (messages, parts) in [(60, 1), (62, 2), (200, 4)] {
            let told = told(messages);
            assert_eq!(told.len(), parts, "{messages} messages");
            assert!(told.iter().all(|it| it.packets.len() <= ROOM_MAX));
            let len: usize = told.iter().map(|it| it.packets.len()).sum();
            assert_eq!(len, usize::from(messages) * one);
        }
    }
}
