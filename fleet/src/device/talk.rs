//! What one session has under way: said and not yet acknowledged, heard and not yet released.
//!
//! It outlives its connections. It does no I/O: bytes in, bytes out, and an [`Ear`] is told.

use crate::verdict::Cause;
use crate::wire::{
    Delivery, Frame, Malformed, PUBACK, PUBCOMP, PUBREC, PUBREL, PacketType, ack_parts, id_bytes,
    id_number, push_ack, refusal, split,
};
use protocol::packet::{QoS, Version};
use std::collections::{BTreeSet, VecDeque};
use std::io;

/// So many messages may be under way; a further one is not said.
const OUTBOX_LEN_MAX: usize = 512;

/// Packet id 1 is that of the one SUBSCRIBE.
const FIRST_ID: u16 = 2;

/// A session, seen from the client.
#[derive(Debug)]
pub(crate) struct Talk {
    outbox: VecDeque<Sent>,
    next_id: u16,
    /// QoS 2 messages that were heard and not released [MQTT 5.0 §4.3.3].
    unreleased: BTreeSet<u16>,
}

/// A message under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) id: u16,
    /// Whom it is of or for.
    pub(crate) device: u32,
    pub(crate) number: u32,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Waiting,
    Published,
    /// PUBREC has come, PUBREL is said.
    Released,
}

/// Encodes what is said.
pub(crate) trait Post {
    fn qos(&self, device: u32) -> QoS;
    fn push(&self, out: &mut Vec<u8>, sent: &Sent, again: Again);
}

/// Whether a PUBLISH may have come before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Again {
    No,
    Yes,
}

/// Is told what comes.
pub(crate) trait Ear {
    fn acknowledged(&mut self, device: u32, number: u32);
    fn heard(&mut self, delivery: &Delivery<'_>);
    fn subscribed(&mut self);
}

/// Why a connection is over.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Ended {
    #[error("the connection")]
    Network(#[from] io::Error),
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("the broker closed it with reason {0:#04x}")]
    Told(u8),
}

impl Ended {
    /// What is behind it: an alert and a certificate that is not taken come as errors of the
    /// stream.
    pub(crate) fn cause(&self) -> Cause {
        let is_certificate = match self {
            // Not authorized; the certificate is revoked.
            Self::Told(reason) => matches!(reason, 0x87 | 0x98),
            Self::Network(error) => matches!(
                error.get_ref().and_then(|inner| inner.downcast_ref()),
                Some(rustls::Error::AlertReceived(_) | rustls::Error::InvalidCertificate(_))
            ),
            Self::Malformed(_) => false,
        };
        if is_certificate {
            Cause::Certificate
        } else {
            Cause::Other
        }
    }
}

impl Talk {
    pub(crate) fn new() -> Self {
        Self {
            outbox: VecDeque::new(),
            next_id: FIRST_ID,
            unreleased: BTreeSet::new(),
        }
    }

    pub(crate) fn has_room(&self) -> bool {
        self.outbox.len() < OUTBOX_LEN_MAX
    }

    /// Whether nothing is under way.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.outbox.is_empty()
    }

    /// Takes a message; it is said with the next [`Self::flush`].
    pub(crate) fn say(&mut self, device: u32, number: u32) {
        let id = self.next_id;
        self.next_id = id.checked_add(1).unwrap_or(FIRST_ID);
        self.outbox.push_back(Sent {
            id,
            device,
            number,
            stage: Stage::Waiting,
        });
    }

    /// Says what waits.
    pub(crate) fn flush(&mut self, out: &mut Vec<u8>, post: &impl Post) {
        for sent in &mut self.outbox {
            if sent.stage == Stage::Waiting {
                sent.stage = Stage::Published;
                post.push(out, sent, Again::No);
            }
        }
        self.outbox
            .retain(|sent| post.qos(sent.device) != QoS::AtMostOnce);
    }

    /// Goes on, on a new connection, with the session that was or without [MQTT-4.4.0-1].
    pub(crate) fn resume(&mut self, is_present: bool, out: &mut Vec<u8>, post: &impl Post) {
        if !is_present {
            self.unreleased.clear();
            self.outbox.retain(|sent| sent.stage != Stage::Released);
        }
        for sent in &self.outbox {
            match sent.stage {
                Stage::Waiting => {}
                Stage::Published if is_present => post.push(out, sent, Again::Yes),
                Stage::Published => post.push(out, sent, Again::No),
                Stage::Released => push_ack(out, PUBREL, id_bytes(sent.id)),
            }
        }
        self.flush(out, post);
    }

    /// Takes whole frames, answers them, and says how many bytes they were.
    pub(crate) fn take(
        &mut self,
        bytes: &[u8],
        out: &mut Vec<u8>,
        ear: &mut impl Ear,
    ) -> Result<usize, Ended> {
        let mut rest = bytes;
        while let Some((frame, after)) = split(rest)? {
            self.frame(&frame, out, ear)?;
            rest = after;
        }
        Ok(bytes.len() - rest.len())
    }

    fn frame(
        &mut self,
        frame: &Frame<'_>,
        out: &mut Vec<u8>,
        ear: &mut impl Ear,
    ) -> Result<(), Ended> {
        match frame.packet_type() {
            PacketType::Publish => self.publish(frame, out, ear)?,
            PacketType::Puback | PacketType::Pubcomp => {
                let (id, reason) = ack_parts(frame)?;
                // PUBCOMP without a packet: it was completed before the connection was lost.
                let is_done = reason < 0x80 || frame.packet_type() == PacketType::Pubcomp;
                if let Some(sent) = self.remove(id)
                    && is_done
                {
                    ear.acknowledged(sent.device, sent.number);
                }
            }
            PacketType::Pubrec => {
                let (id, reason) = ack_parts(frame)?;
                if reason >= 0x80 {
                    self.remove(id);
                } else {
                    if let Some(sent) = self.find(id) {
                        sent.stage = Stage::Released;
                    }
                    push_ack(out, PUBREL, id);
                }
            }
            PacketType::Pubrel => {
                let (id, _) = ack_parts(frame)?;
                self.unreleased.remove(&id_number(id));
                push_ack(out, PUBCOMP, id);
            }
            PacketType::Suback => match refusal(frame) {
                Some(reason) if reason >= 0x80 => return Err(Ended::Told(reason)),
                _ => ear.subscribed(),
            },
            PacketType::Pingresp => {}
            PacketType::Disconnect => return Err(Ended::Told(refusal(frame).unwrap_or(0))),
            PacketType::Connect
            | PacketType::Connack
            | PacketType::Subscribe
            | PacketType::Pingreq
            | PacketType::Other => return Err(Malformed.into()),
        }
        Ok(())
    }

    fn publish(
        &mut self,
        frame: &Frame<'_>,
        out: &mut Vec<u8>,
        ear: &mut impl Ear,
    ) -> Result<(), Ended> {
        let delivery = Delivery::read(frame, Version::V5)?;
        match (frame.qos().ok_or(Malformed)?, delivery.packet_id) {
            (QoS::ExactlyOnce, Some(id)) => {
                // A message that does not say it comes again is a new one: whoever took the
                // session over for a while may have released the old one.
                let is_new = self.unreleased.insert(id_number(id));
                if is_new || !frame.is_again() {
                    ear.heard(&delivery);
                }
                push_ack(out, PUBREC, id);
            }
            (QoS::AtLeastOnce, Some(id)) => {
                ear.heard(&delivery);
                push_ack(out, PUBACK, id);
            }
            _ => ear.heard(&delivery),
        }
        Ok(())
    }

    fn find(&mut self, id: [u8; 2]) -> Option<&mut Sent> {
        let id = id_number(id);
        self.outbox.iter_mut().find(|sent| sent.id == id)
    }

    fn remove(&mut self, id: [u8; 2]) -> Option<Sent> {
        let id = id_number(id);
        let place = self.outbox.iter().position(|sent| sent.id == id)?;
        self.outbox.remove(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Stamp, Template};

    struct Mail(QoS);

    impl Post for Mail {
        fn qos(&self, _: u32) -> QoS {
            self.0
        }

        fn push(&self, out: &mut Vec<u8>, sent: &Sent, again: Again) {
            let mut template = Template::new((Version::V5, self.0), "t", 0);
            if again == Again::Yes {
                template = template.again();
            }
            let sequence = sent.number.into();
            let stamp = Stamp {
                sequence,
                ..Stamp::default()
            };
            template.push(out, sent.id, &stamp);
        }
    }

    #[derive(Debug, Default, PartialEq, Eq)]
    struct Noted {
        acknowledged: Vec<u32>,
        heard: Vec<u64>,
    }

    impl Ear for Noted {
        fn acknowledged(&mut self, _: u32, number: u32) {
            self.acknowledged.push(number);
        }

        fn heard(&mut self, delivery: &Delivery<'_>) {
            let stamp = Stamp::read(delivery.payload).unwrap();
            self.heard.push(stamp.sequence);
        }

        fn subscribed(&mut self) {}
    }

    fn take(talk: &mut Talk, bytes: &[u8]) -> (Vec<u8>, Noted) {
        let (mut out, mut noted) = (Vec::new(), Noted::default());
        assert_eq!(talk.take(bytes, &mut out, &mut noted).unwrap(), bytes.len());
        (out, noted)
    }

    fn first_bytes(mut out: &[u8]) -> Vec<u8> {
        let mut firsts = Vec::new();
        while let Some((frame, rest)) = split(out).unwrap() {
            firsts.push(frame.first);
            out = rest;
        }
        firsts
    }

    #[test]
    fn what_was_not_acknowledged_is_said_again_and_what_was_is_not() {
        let (mut talk, mail, mut out) = (Talk::new(), Mail(QoS::AtLeastOnce), Vec::new());
        talk.say(0, 0);
        talk.say(0, 1);
        talk.flush(&mut out, &mail);
        talk.say(0, 2);
        let (_, noted) = take(&mut talk, &[PUBACK, 2, 0, 2]);
        assert_eq!(noted.acknowledged, [0]);
        for (is_present, expected) in [(true, [0x3a, 0x32]), (false, [0x32, 0x32])] {
            let mut out = Vec::new();
            talk.resume(is_present, &mut out, &mail);
            assert_eq!(first_bytes(&out), expected, "{is_present}");
        }
    }

    #[test]
    fn a_message_at_qos_2_goes_on_where_it_was() {
        let (mut talk, mail, mut out) = (Talk::new(), Mail(QoS::ExactlyOnce), Vec::new());
        talk.say(0, 9);
        talk.flush(&mut out, &mail);
        let (answer, noted) = take(&mut talk, &[PUBREC, 2, 0, 2]);
        assert_eq!(
            (answer, noted.acknowledged),
            (vec![PUBREL, 2, 0, 2], vec![])
        );
        let mut out = Vec::new();
        talk.resume(true, &mut out, &mail);
        assert_eq!(out, [PUBREL, 2, 0, 2]);
        // It had been completed: the broker no longer knows the packet id (0x92).
        let (_, noted) = take(&mut talk, &[PUBCOMP, 3, 0, 2, 0x92]);
        assert_eq!(noted.acknowledged, [9]);
        assert!(talk.is_at_rest());
    }

    #[test]
    fn a_refused_message_is_neither_acknowledged_nor_said_again() {
        for (qos, refusal) in [
            (QoS::AtLeastOnce, [PUBACK, 3, 0, 2, 0x97]),
            (QoS::ExactlyOnce, [PUBREC, 3, 0, 2, 0x97]),
        ] {
            let mut talk = Talk::new();
            talk.say(0, 0);
            talk.flush(&mut Vec::new(), &Mail(qos));
            let (answer, noted) = take(&mut talk, &refusal);
            assert!(answer.is_empty() && noted.acknowledged.is_empty());
            assert!(talk.is_at_rest());
        }
    }

    #[test]
    fn at_qos_2_what_comes_again_is_heard_once_until_it_is_released() {
        let mut talk = Talk::new();
        let message = |again| {
            let (mut out, mail) = (Vec::new(), Mail(QoS::ExactlyOnce));
            let sent = Sent {
                id: 7,
                device: 0,
                number: 5,
                stage: Stage::Waiting,
            };
            mail.push(&mut out, &sent, again);
            out
        };
        let (answer, noted) = take(&mut talk, &message(Again::No));
        assert_eq!((answer, noted.heard), (vec![PUBREC, 2, 0, 7], vec![5]));
        let (answer, noted) = take(&mut talk, &message(Again::Yes));
        assert_eq!((answer, noted.heard), (vec![PUBREC, 2, 0, 7], vec![]));
        let (answer, _) = take(&mut talk, &[PUBREL, 2, 0, 7]);
        assert_eq!(answer, [PUBCOMP, 2, 0, 7]);
        assert_eq!(take(&mut talk, &message(Again::Yes)).1.heard, [5]);
    }

    #[test]
    fn who_is_sent_away_for_a_certificate_is_told_from_others() {
        let network = |inner| Ended::Network(io::Error::new(io::ErrorKind::InvalidData, inner));
        let alert = rustls::Error::AlertReceived(rustls::AlertDescription::CertificateExpired);
        let unknown = rustls::CertificateError::UnknownIssuer;
        for (ended, expected) in [
            (Ended::Told(0x87), Cause::Certificate),
            (Ended::Told(0x98), Cause::Certificate),
            (Ended::Told(0x8b), Cause::Other),
            (network(alert), Cause::Certificate),
            (network(unknown.into()), Cause::Certificate),
            (network(rustls::Error::DecryptError), Cause::Other),
            (
                io::Error::from(io::ErrorKind::TimedOut).into(),
                Cause::Other,
            ),
            (Malformed.into(), Cause::Other),
        ] {
            assert_eq!(ended.cause(), expected, "{ended:?}");
        }
    }

    #[test]
    fn a_broker_that_ends_it_says_why() {
        let (mut talk, mut noted) = (Talk::new(), Noted::default());
        let ended = talk.take(&[0xe0, 1, 0x98], &mut Vec::new(), &mut noted);
        assert!(matches!(ended, Err(Ended::Told(0x98))), "{ended:?}");
        let ended = talk.take(&[0x10, 0], &mut Vec::new(), &mut noted);
        assert!(matches!(ended, Err(Ended::Malformed(_))), "{ended:?}");
    }
}
