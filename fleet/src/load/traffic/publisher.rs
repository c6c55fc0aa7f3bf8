//! A publisher: as many messages as its window has room for, encoded into one buffer.
//!
//! It ends when it was told to stop or has published its share, and every acknowledgement is there.

use super::run::{Counter, Run};
use super::window::Window;
use crate::load::LoadError;
use crate::load::client::Link;
use crate::load::plan::{Batching, Pace, Traffic};
use crate::wire::{Frame, PacketType, Stamp, Template, ack_id, push_ack, refusal, split};
use protocol::packet::QoS;
use std::sync::Arc;

/// A message that leaves more than this behind its time is late because of the broker, and its
/// time counts from when it was due. Less is the granularity of our own waking.
const LATE_NANOS: u64 = 2_000_000;

/// No more than this is encoded ahead of the socket.
const AHEAD_LEN: usize = 64 * 1024;

/// PUBREL with its flags [MQTT-3.6.1-1].
const PUBREL: u8 = 0x62;

/// One publisher of a run.
#[derive(Debug)]
pub(crate) struct Publisher {
    link: Link,
    run: Arc<Run>,
    counter: Arc<Counter>,
    window: Arc<Window>,
    schedule: Option<Schedule>,
    template: Template,
    number: u32,
    sent: u64,
    acks: Acks,
    unacked_max: u64,
    /// It waits until this many may go, so that they go together.
    together: u64,
    /// At most this many in one write.
    batch: u64,
    share: u64,
}

/// How a publisher does its part.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) number: u32,
    pub(crate) template: Template,
    pub(crate) window: Arc<Window>,
    /// How many messages it publishes if nobody stops it.
    pub(crate) share: u64,
}

/// When the messages of a fixed rate are due.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    /// When the first message of all publishers was, in nanoseconds of the run.
    pub(crate) start: u64,
    /// Between two messages of this publisher.
    pub(crate) interval: u64,
    /// Between the first of all and the first of this one.
    pub(crate) offset: u64,
}

impl Publisher {
    pub(crate) fn new(link: Link, run: Arc<Run>, part: Part, traffic: &Traffic) -> Self {
        let unacked_max = unacked_max(traffic, link.receive_maximum);
        let waits = traffic.pace == Pace::Window && traffic.batching == Batching::Together;
        Self {
            run,
            counter: Arc::default(),
            schedule: None,
            number: part.number,
            sent: 0,
            acks: Acks::new(traffic.qos),
            unacked_max,
            together: if waits {
                (traffic.window().min(unacked_max) / 2).max(1)
            } else {
                1
            },
            batch: match traffic.batching {
                Batching::Together => u64::MAX,
                Batching::OneByOne => 1,
            },
            share: part.share,
            window: part.window,
            template: part.template,
            link,
        }
    }

    pub(crate) fn counter(&self) -> Arc<Counter> {
        Arc::clone(&self.counter)
    }

    /// Messages are due by the clock.
    pub(crate) fn keep_to(&mut self, schedule: Schedule) {
        self.schedule = Some(schedule);
    }

    /// Publishes; gives the connection back for the orderly end.
    pub(crate) async fn publish(mut self) -> Result<Link, LoadError> {
        loop {
            self.fill().await?;
            if self.is_finished() {
                return Ok(self.link);
            }
            let (acks, window) = (&mut self.acks, &self.window);
            tokio::select! {
                turn = self.link.wire.turn(|bytes, out| acks.take(bytes, out)) => turn?,
                () = window.raised() => {}
            }
        }
    }

    fn is_finished(&self) -> bool {
        let ended = self.run.is_stopping() || self.sent >= self.share;
        ended && self.acks.outstanding(self.sent) == 0 && self.link.wire.is_drained()
    }

    /// Encodes and sends all that may go now.
    async fn fill(&mut self) -> Result<(), LoadError> {
        loop {
            let allowed = self.allowed();
            if allowed < self.together.min(self.share - self.sent).max(1) {
                return Ok(());
            }
            self.encode(allowed.min(self.batch));
            self.link.wire.send().await?;
            self.counter.set(self.sent);
            if !self.link.wire.is_drained() {
                return Ok(());
            }
        }
    }

    fn allowed(&self) -> u64 {
        if self.run.is_stopping() {
            return 0;
        }
        let unacked = self
            .unacked_max
            .saturating_sub(self.acks.outstanding(self.sent));
        let window = self.window.limit().saturating_sub(self.sent);
        unacked.min(window).min(self.share - self.sent)
    }

    /// Encodes up to `count` messages, as far as the buffer goes.
    fn encode(&mut self, count: u64) {
        let now = self.run.nanos();
        for _ in 0..count {
            let out = self.link.wire.out();
            if out.len() > AHEAD_LEN {
                return;
            }
            let stamp = Stamp {
                run: self.run.nonce,
                publisher: self.number,
                sequence: self.sent,
                nanos: self
                    .schedule
                    .map_or(now, |schedule| schedule.stamp(self.sent, now)),
            };
            self.template.push(out, packet_id(self.sent), &stamp);
            self.sent += 1;
        }
    }
}

fn unacked_max(traffic: &Traffic, receive_maximum: u16) -> u64 {
    match (traffic.qos, traffic.pace) {
        (QoS::AtMostOnce, _) => u64::MAX,
        (_, Pace::Window) => traffic.window().min(receive_maximum.into()),
        (_, Pace::PerSecond(_)) => receive_maximum.into(),
    }
}

impl Schedule {
    /// The time from which a message that leaves now is counted.
    fn stamp(&self, sequence: u64, now: u64) -> u64 {
        let due = self.start + self.offset + self.interval * sequence;
        if now > due + LATE_NANOS { due } else { now }
    }
}

/// Packet ids follow each other from 1 to 65,535 and begin again.
fn packet_id(sequence: u64) -> u16 {
    u16::try_from(sequence % 65_535).unwrap_or(0) + 1
}

/// What the broker has acknowledged, in the order of the messages [MQTT-4.6.0-2].
#[derive(Debug)]
struct Acks {
    qos: QoS,
    /// PUBREC, at QoS 2.
    received: u64,
    /// PUBACK or PUBCOMP.
    completed: u64,
}

impl Acks {
    fn new(qos: QoS) -> Self {
        Self {
            qos,
            received: 0,
            completed: 0,
        }
    }

    /// How many of `sent` messages wait for an acknowledgement.
    fn outstanding(&self, sent: u64) -> u64 {
        match self.qos {
            QoS::AtMostOnce => 0,
            QoS::AtLeastOnce | QoS::ExactlyOnce => sent - self.completed,
        }
    }

    fn take(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<usize, LoadError> {
        let mut rest = bytes;
        while let Some((frame, after)) = split(rest)? {
            self.take_one(&frame, out)?;
            rest = after;
        }
        Ok(bytes.len() - rest.len())
    }

    #[inline]
    fn take_one(&mut self, frame: &Frame<'_>, out: &mut Vec<u8>) -> Result<(), LoadError> {
        match (frame.packet_type(), self.qos) {
            (PacketType::Puback, QoS::AtLeastOnce) | (PacketType::Pubcomp, QoS::ExactlyOnce) => {
                due(frame, self.completed)?;
                self.completed += 1;
            }
            (PacketType::Pubrec, QoS::ExactlyOnce) => {
                push_ack(out, PUBREL, due(frame, self.received)?);
                self.received += 1;
            }
            (PacketType::Pingresp, _) => {}
            (PacketType::Disconnect, _) => {
                let reason = refusal(frame).unwrap_or(0);
                return Err(LoadError::Disconnected { reason });
            }
            _ => return Err(LoadError::Unexpected { first: frame.first }),
        }
        Ok(())
    }
}

/// The packet id of an acknowledgement, which must be that of message `sequence`.
fn due(frame: &Frame<'_>, sequence: u64) -> Result<[u8; 2], LoadError> {
    let refused = |reason| LoadError::Refused {
        what: "PUBLISH",
        reason,
    };
    let id = ack_id(frame)?.map_err(refused)?;
    let (came, due) = (u16::from_be_bytes(id), packet_id(sequence));
    if came == due {
        Ok(id)
    } else {
        Err(LoadError::AckOutOfOrder { came, due })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packet_ids_begin_at_1_and_never_are_0() {
        for (sequence, id) in [(0, 1), (65_534, 65_535), (65_535, 1), (131_069, 65_535)] {
            assert_eq!(packet_id(sequence), id);
        }
    }

    #[test]
    fn mqtt_4_6_0_2_acknowledgements_come_in_the_order_of_the_messages() {
        let mut acks = Acks::new(QoS::AtLeastOnce);
        let mut out = Vec::new();
        assert_eq!(
            acks.take(&[0x40, 2, 0, 1, 0x40, 2, 0, 2, 0x40], &mut out)
                .unwrap(),
            8
        );
        assert_eq!((acks.outstanding(3), out.len()), (1, 0));
        let error = acks.take(&[0x40, 2, 0, 4], &mut out).unwrap_err();
        assert!(matches!(
            error,
            LoadError::AckOutOfOrder { came: 4, due: 3 }
        ));
    }

    #[test]
    fn at_qos_2_a_pubrec_is_answered_and_a_pubcomp_completes() {
        let mut acks = Acks::new(QoS::ExactlyOnce);
        let mut out = Vec::new();
        acks.take(&[0x50, 2, 0, 1], &mut out).unwrap();
        assert_eq!((acks.outstanding(1), &out[..]), (1, &[0x62, 2, 0, 1][..]));
        acks.take(&[0x70, 2, 0, 1], &mut out).unwrap();
        assert_eq!(acks.outstanding(1), 0);
    }

    #[test]
    fn a_refused_message_ends_the_run() {
        let mut acks = Acks::new(QoS::AtLeastOnce);
        let error = acks
            .take(&[0x40, 3, 0, 1, 0x87], &mut Vec::new())
            .unwrap_err();
        assert!(matches!(error, LoadError::Refused { reason: 0x87, .. }));
    }

    #[test]
    fn a_message_that_leaves_in_time_is_counted_from_then_and_a_late_one_from_when_it_was_due() {
        let schedule = Schedule {
            start: 1000,
            interval: 100,
            offset: 10,
        };
        assert_eq!(schedule.stamp(2, 1210 + 500), 1710);
        assert_eq!(schedule.stamp(2, 1210 + LATE_NANOS + 1), 1210);
    }
}
