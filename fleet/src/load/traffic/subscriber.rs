//! A subscriber: takes every message into its ledger and acknowledges a read at a time.

use super::ledger::Ledger;
use super::run::{Counter, Run};
use super::window::Window;
use crate::load::LoadError;
use crate::load::client::Link;
use crate::load::measure::Histogram;
use crate::load::wire::{
    Delivery, Frame, PINGREQ, PINGRESP, PacketType, Stamp, ack_id, push_ack, refusal, split,
};
use protocol::packet::{QoS, Version};
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
    /// PINGRESP came: nothing that was said before our PINGREQ is still on its way.
    quiet: bool,
}

/// How far the messages of one publisher have come.
#[derive(Debug)]
pub(crate) struct Flow {
    window: Arc<Window>,
    /// The step under way.
    step: u64,
    /// Where it ends.
    end: u64,
}

impl Flow {
    pub(crate) fn new(window: Arc<Window>) -> Self {
        let end = window.step();
        Self {
            window,
            step: 0,
            end,
        }
    }

    /// Everything before `next` is there.
    #[inline]
    fn reach(&mut self, next: u64) {
        while next >= self.end {
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
            if let Some(sent) = self.note(&delivery)
                && measuring
            {
                self.latency.record(now.saturating_sub(sent));
            }
        }
        Ok(bytes.len() - rest.len())
    }

    /// Takes a message into the ledger; the time it was sent, if it counts.
    #[inline]
    fn note(&mut self, delivery: &Delivery<'_>) -> Option<u64> {
        let stamp = Stamp::read(delivery.payload).filter(|stamp| stamp.run == self.run.nonce)?;
        let (index, source) = self.ledger.source(stamp.publisher)?;
        if !source.note(stamp.sequence) {
            return None;
        }
        self.delivered += 1;
        if let Some(flow) = self.flows.get_mut(index) {
            flow.reach(source.next());
        }
        Some(stamp.nanos)
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
