//! A subscriber: takes every message into its ledger and acknowledges a read at a time.

use super::ledger::Ledger;
use super::run::{Counter, Run};
use super::window::Window;
use crate::load::LoadError;
use crate::load::client::Link;
use crate::load::measure::Histogram;
use crate::wire::{
    Delivery, Frame, PINGREQ, PINGRESP, PacketType, Stamp, ack_id, push_ack, refusal, split,
};
use protocol::packet::{QoS, Version};
use std::collections::VecDeque;
use std::sync::Arc;

const PUBACK: u8 = 0x40;
const PUBREC: u8 = 0x50;
const PUBCOMP: u8 = 0x70;

/// One subscriber of a run.
#[derive(Debug)]
pub(crate) struct Subscriber {
    link: Link,
    counter: Arc<Counter>,
    heard: Heard,
}

/// What a subscriber has heard.
#[derive(Debug)]
pub(crate) struct Heard {
    run: Arc<Run>,
    pub(crate) ledger: Ledger,
    /// One for each publisher of the ledger.
    flows: Vec<Flow>,
    pub(crate) latency: Histogram,
    version: Version,
    qos: QoS,
    delivered: u64,
    /// At QoS 2, the publishers of the messages that wait for PUBREL; nothing where a message did
    /// not count.
    unreleased: VecDeque<Option<usize>>,
    /// PINGRESP came: nothing that was said before our PINGREQ is still on its way.
    quiet: bool,
}

/// A message that came for the first time.
#[derive(Clone, Copy, Debug)]
struct Noted {
    /// The place of its publisher.
    index: usize,
    /// When it was sent.
    nanos: u64,
}

/// How far the messages of one publisher have come.
#[derive(Debug)]
pub(crate) struct Flow {
    window: Arc<Window>,
    /// All before it have come or are missing.
    next: u64,
    /// So many have come all their way, at QoS 2.
    released: u64,
    /// The step of the window that is under way.
    step: u64,
    /// Where it ends.
    end: u64,
}

impl Flow {
    pub(crate) fn new(window: Arc<Window>) -> Self {
        let end = window.step();
        Self {
            window,
            next: 0,
            released: 0,
            step: 0,
            end,
        }
    }

    /// One more message has come all its way: at QoS 2 that takes a PUBREL, so that what is on its
    /// way stays bounded in the broker too.
    #[inline]
    fn complete(&mut self, qos: QoS) {
        self.released += 1;
        let reached = match qos {
            QoS::AtMostOnce | QoS::AtLeastOnce => self.next,
            QoS::ExactlyOnce => self.released,
        };
        while reached >= self.end {
            self.window.pass(self.step);
            self.step += 1;
            self.end += self.window.step();
        }
    }
}

impl Subscriber {
    pub(crate) fn new(
        link: Link,
        run: Arc<Run>,
        (first, flows): (u32, Vec<Flow>),
        (version, qos): (Version, QoS),
    ) -> Self {
        let heard = Heard {
            run,
            ledger: Ledger::new(first, flows.len()),
            flows,
            latency: Histogram::default(),
            version,
            qos,
            delivered: 0,
            unreleased: VecDeque::new(),
            quiet: false,
        };
        Self {
            link,
            counter: Arc::default(),
            heard,
        }
    }

    pub(crate) fn counter(&self) -> Arc<Counter> {
        Arc::clone(&self.counter)
    }

    /// Receives until told that it is done, and then all that was said before.
    pub(crate) async fn receive(mut self) -> Result<Heard, LoadError> {
        let counter = Arc::clone(&self.counter);
        loop {
            tokio::select! {
                turn = self.turn() => turn?,
                () = counter.done.notified() => break,
            }
        }
        self.link.wire.out().extend(PINGREQ);
        while !self.heard.quiet {
            self.turn().await?;
        }
        self.link.close().await?;
        Ok(self.heard)
    }

    async fn turn(&mut self) -> Result<(), LoadError> {
        let heard = &mut self.heard;
        self.link
            .wire
            .turn(|bytes, out| heard.take(bytes, out))
            .await?;
        self.counter.set(self.heard.delivered);
        Ok(())
    }
}

impl Heard {
    fn take(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<usize, LoadError> {
        let now = self.run.nanos();
        let measuring = self.run.is_measuring();
        let mut rest = bytes;
        while let Some((frame, after)) = split(rest)? {
            rest = after;
            if frame.packet_type() != PacketType::Publish {
                self.take_other(&frame, out)?;
                continue;
            }
            let delivery = Delivery::read(&frame, self.version)?;
            self.acknowledge(&frame, &delivery, out)?;
            let noted = self.note(&delivery);
            match self.qos {
                QoS::AtMostOnce | QoS::AtLeastOnce => self.advance(noted.map(|noted| noted.index)),
                QoS::ExactlyOnce => self.unreleased.push_back(noted.map(|noted| noted.index)),
            }
            if let Some(noted) = noted.filter(|_| measuring) {
                self.latency.record(now.saturating_sub(noted.nanos));
            }
        }
        Ok(bytes.len() - rest.len())
    }

    /// Takes a message into the ledger, if it counts.
    #[inline]
    fn note(&mut self, delivery: &Delivery<'_>) -> Option<Noted> {
        let stamp = Stamp::read(delivery.payload).filter(|stamp| stamp.run == self.run.nonce)?;
        let (index, source) = self.ledger.source(stamp.publisher)?;
        if !source.note(stamp.sequence) {
            return None;
        }
        self.delivered += 1;
        if let Some(flow) = self.flows.get_mut(index) {
            flow.next = source.next();
        }
        Some(Noted {
            index,
            nanos: stamp.nanos,
        })
    }

    /// A message of this publisher has come all its way.
    #[inline]
    fn advance(&mut self, index: Option<usize>) {
        if let Some(flow) = index.and_then(|index| self.flows.get_mut(index)) {
            flow.complete(self.qos);
        }
    }

    #[inline]
    fn acknowledge(
        &self,
        frame: &Frame<'_>,
        delivery: &Delivery<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), LoadError> {
        match (frame.qos(), delivery.packet_id) {
            (Some(qos), _) if qos != self.qos => Err(LoadError::Unexpected { first: frame.first }),
            (Some(QoS::AtLeastOnce), Some(id)) => {
                push_ack(out, PUBACK, id);
                Ok(())
            }
            (Some(QoS::ExactlyOnce), Some(id)) => {
                push_ack(out, PUBREC, id);
                Ok(())
            }
            (Some(QoS::AtMostOnce), None) => Ok(()),
            _ => Err(LoadError::Unexpected { first: frame.first }),
        }
    }

    fn take_other(&mut self, frame: &Frame<'_>, out: &mut Vec<u8>) -> Result<(), LoadError> {
        match frame.packet_type() {
            PacketType::Pubrel => {
                let refused = |reason| LoadError::Refused {
                    what: "PUBREC",
                    reason,
                };
                push_ack(out, PUBCOMP, ack_id(frame)?.map_err(refused)?);
                // PUBREL come in the order of our PUBREC [MQTT-4.6.0-4].
                let index = self.unreleased.pop_front().flatten();
                self.advance(index);
            }
            PacketType::Pingresp => self.quiet = frame.first == PINGRESP[0],
            PacketType::Disconnect => {
                let reason = refusal(frame).unwrap_or(0);
                return Err(LoadError::Disconnected { reason });
            }
            _ => return Err(LoadError::Unexpected { first: frame.first }),
        }
        Ok(())
    }
}
