//! Routing: who gets a message, with which QoS, and what is recorded of that.
//!
//! A session gets one copy of a message however many of its subscriptions match, and a shared
//! subscription one more [MQTT-3.3.4-2]. What is routed has a permit: it is a [`Message`].

use super::durable::Qos0;
use super::judging::PolicyVersion;
use super::message::{Delivery, Message, SubscriptionIds};
use super::policy::Policy;
use super::record::{MessageNumber, Reach, Record, Target};
use super::router::{Grant, Room};
use super::session::{Pending, Session, SessionId};
use super::time::Time;
use super::{After, Engine};
use protocol::packet::QoS;
use protocol::topic::TopicFilter;
use smallvec::{SmallVec, smallvec};
use std::sync::Arc;

/// What routing a message uses and gives back, so that a publish allocates nothing for it.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    matches: Vec<(SessionId, Grant)>,
    receivers: Vec<Receiver>,
}

/// A session that gets a message.
#[derive(Debug)]
struct Receiver {
    session: SessionId,
    qos: QoS,
    retain: bool,
    subscription_ids: SubscriptionIds,
    share: Option<Arc<TopicFilter>>,
    /// What the records call it.
    number: Option<MessageNumber>,
}

/// What the members of a shared subscription are asked about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offer<'a> {
    pub(super) message: &'a Message,
    pub(super) policy: &'a Policy,
    pub(super) version: PolicyVersion,
    pub(super) qos0: Qos0,
    pub(super) now: Time,
}

/// How many filters matched.
#[derive(Debug, Default)]
struct Found {
    /// Somebody holds it for itself.
    alone: usize,
    /// Some hold it together.
    shared: usize,
}

impl Engine {
    /// Gives a message to all sessions of this shard that are to have it.
    pub(super) fn route(&mut self, message: &Arc<Message>, after: After) {
        let mut scratch = std::mem::take(&mut self.scratch);
        self.find_receivers(message, None, &mut scratch);
        self.give((message, Reach::Here), &mut scratch, after);
        self.scratch = scratch;
    }

    /// Gives a message at QoS 0 to all sessions of this shard that are to have it: none of them
    /// keeps it. Whether any subscription matched.
    pub(super) fn tell(
        &mut self,
        message: &Message,
        from: SessionId,
        scratch: &mut Scratch,
    ) -> bool {
        let matched = self.find_matches(message, Some(from), scratch);
        for same in scratch
            .matches
            .chunk_by(|(one, _), (other, _)| one == other)
        {
            if let Some(receiver) = self.receiver(message, Some(from), same) {
                self.send_once(receiver.session, receiver.delivery(message), After::Nothing);
            }
        }
        for receiver in scratch.receivers.drain(..) {
            self.send_once(receiver.session, receiver.delivery(message), After::Nothing);
        }
        matched
    }

    /// Gives a message to the receivers that were found, and where it is to go everywhere, to the
    /// other shards. `after` is what its acknowledgement waits for already; returned is what it
    /// waits for now.
    pub(super) fn give(
        &mut self,
        (message, reach): (&Arc<Message>, Reach),
        scratch: &mut Scratch,
        after: After,
    ) -> After {
        let recorded = self.record_receivers((message, reach), &mut scratch.receivers);
        let deliver = match message.qos() {
            // Nobody gets what might be sent to us again as new.
            QoS::ExactlyOnce => after.max(After::record(recorded)),
            // A shard that passed it on passes it on again until it knows that we have it.
            QoS::AtMostOnce => after,
            QoS::AtLeastOnce => After::Nothing,
        };
        for mut receiver in scratch.receivers.drain(..) {
            self.offer(receiver.session, receiver.pending(message), deliver);
        }
        if reach == Reach::Everywhere {
            // Nobody repeats what nobody is owed.
            self.forward(message, recorded.filter(|_| is_owed(message)), deliver);
        }
        after.max(After::record(recorded))
    }

    /// Puts everybody who gets the message into `scratch.receivers`. Whether any subscription
    /// matched.
    pub(super) fn find_receivers(
        &mut self,
        message: &Message,
        from: Option<SessionId>,
        scratch: &mut Scratch,
    ) -> bool {
        let matched = self.find_matches(message, from, scratch);
        let shared = scratch.receivers.len();
        self.judge_matches(message, from, scratch);
        if shared > 0 {
            // In the order in which they are recorded.
            scratch.receivers.rotate_left(shared);
        }
        matched
    }

    /// As [`Self::search`], which is not asked again what it said last. Whether any subscription
    /// matched.
    #[inline]
    fn find_matches(
        &mut self,
        message: &Message,
        from: Option<SessionId>,
        scratch: &mut Scratch,
    ) -> bool {
        scratch.matches.clear();
        let generation = self.router.generation();
        let publisher = from.and_then(|id| self.sessions.get(id));
        let known = publisher.and_then(|it| it.lane.matches(message.topic(), generation));
        if let Some(known) = known {
            scratch.matches.extend_from_slice(known);
            return !scratch.matches.is_empty();
        }
        let found = self.search(message, scratch);
        let publisher = from.and_then(|id| self.sessions.get_mut(id));
        if let Some(publisher) = publisher.filter(|_| found.shared == 0) {
            let topic = message.topic();
            publisher.lane.remember(topic, generation, &scratch.matches);
        }
        found.alone + found.shared > 0
    }

    /// Asks the router who subscribes to the message's topic: all for themselves into
    /// `scratch.matches`, those of shared subscriptions, one of each, into `scratch.receivers`.
    fn search(&mut self, message: &Message, scratch: &mut Scratch) -> Found {
        let Scratch { matches, receivers } = scratch;
        let sessions = &self.sessions;
        let offer = Offer {
            message,
            policy: &self.policy,
            version: self.rejudging.version(),
            qos0: self.qos0(),
            now: self.now,
        };
        let mut found = Found::default();
        self.router.for_each_match(message.topic(), |subscribers| {
            let before = matches.len();
            subscribers.for_each_alone(|id, grant| matches.push((id, grant)));
            found.alone += usize::from(matches.len() > before);
            for group in subscribers.groups_mut() {
                found.shared += 1;
                let picked = group.pick(|id, grant| sessions.get(id)?.shared_room(&offer, grant));
                let filter = group.filter();
                if let Some((id, grant)) = picked {
                    receivers.push(Receiver::shared(id, grant, (message, filter)));
                }
            }
        });
        if found.alone > 1 {
            matches.sort_unstable_by_key(|(id, grant)| (*id, grant.id));
        }
        found
    }

    /// Makes receivers of those sessions in `scratch.matches` that may have the message and can
    /// take it.
    fn judge_matches(&mut self, message: &Message, from: Option<SessionId>, scratch: &mut Scratch) {
        let Scratch { matches, receivers } = scratch;
        for same in matches.chunk_by(|(one, _), (other, _)| one == other) {
            if let Some(receiver) = self.receiver(message, from, same) {
                receivers.push(receiver);
            }
        }
    }

    /// One session with all its subscriptions that match, as a receiver, if it can be one.
    fn receiver(
        &mut self,
        message: &Message,
        from: Option<SessionId>,
        matches: &[(SessionId, Grant)],
    ) -> Option<Receiver> {
        let (id, _) = *matches.first()?;
        let session = self.sessions.get(id)?;
        let mut receiver = Receiver::nothing(id);
        let mut is_partial = !session.is_judged(self.rejudging.version());
        let mut is_granted = false;
        for (_, grant) in matches {
            if grant.no_local && from == Some(id) {
                continue;
            }
            is_granted = true;
            is_partial |= grant.withholds;
            receiver.qos = receiver.qos.max(grant.qos.min(message.qos()));
            receiver.retain |= message.retain() && grant.retain_as_published;
            receiver.subscription_ids.extend(grant.id);
        }
        if !is_granted {
            return None;
        }
        if is_partial && !session.may_receive(&self.policy, message, self.now) {
            self.counters.dropped_withheld += 1;
            return None;
        }
        let payload_len = message.payload().len();
        let manner = (receiver.qos, self.qos0());
        let has_room = session.room(manner, payload_len).is_some();
        (has_room || self.make_room(id, receiver.qos, payload_len)).then_some(receiver)
    }

    /// Drops what has expired from a full queue. Whether there is room then.
    fn make_room(&mut self, id: SessionId, qos: QoS, payload_len: usize) -> bool {
        let qos0 = self.qos0();
        let lasts = self.lasting(id).is_some();
        match (qos, qos0) {
            // Nobody is there, and it does not wait.
            (QoS::AtMostOnce, Qos0::Passes) => return false,
            (QoS::AtMostOnce, Qos0::Dropped) if lasts => {
                self.counters.dropped_disk_full += 1;
                return false;
            }
            (QoS::AtMostOnce | QoS::AtLeastOnce | QoS::ExactlyOnce, _) => {}
        }
        self.drop_expired(id);
        let room = self
            .sessions
            .get(id)
            .and_then(|session| session.room((qos, qos0), payload_len));
        self.counters.dropped_queue_full += u64::from(room.is_none());
        room.is_some()
    }

    /// Records a message for those of its receivers whose sessions last, and for other shards.
    /// What depends on it waits for its record: the number it has there, if it has one.
    fn record_receivers(
        &mut self,
        (message, reach): (&Arc<Message>, Reach),
        receivers: &mut [Receiver],
    ) -> Option<MessageNumber> {
        let targets: SmallVec<[Target; 1]> = receivers
            .iter()
            .filter(|receiver| receiver.share.is_none())
            .filter_map(|receiver| self.target(receiver))
            .collect();
        let mut first = None;
        let is_forwarded = reach == Reach::Everywhere && is_owed(message);
        if is_forwarded || !targets.is_empty() {
            let number = self.number_message();
            first = Some(number);
            for receiver in receivers
                .iter_mut()
                .filter(|receiver| receiver.share.is_none())
            {
                receiver.number = self.is_recorded(receiver).then_some(number);
            }
            let message = Arc::clone(message);
            self.record(Record::Message {
                number,
                message,
                targets,
                reach: if is_forwarded { reach } else { Reach::Here },
            });
        }
        // The same session may get another copy: each has a number of its own.
        for receiver in receivers.iter_mut().filter(|it| it.share.is_some()) {
            let Some(target) = self.target(receiver) else {
                continue;
            };
            let number = self.record_copy(first, message, target);
            first.get_or_insert(number);
            receiver.number = Some(number);
        }
        first
    }

    /// Records a copy of a message for one session: `of` is one recorded before.
    pub(super) fn record_copy(
        &mut self,
        of: Option<MessageNumber>,
        message: &Arc<Message>,
        target: Target,
    ) -> MessageNumber {
        let number = self.number_message();
        self.record(match of {
            Some(of) => Record::Copy { number, of, target },
            None => Record::Message {
                number,
                message: Arc::clone(message),
                targets: smallvec![target],
                reach: Reach::Here,
            },
        });
        number
    }

    /// Whether the records are to say that this session gets the message.
    fn is_recorded(&self, receiver: &Receiver) -> bool {
        self.keeps_for(receiver.session, receiver.qos)
    }

    fn target(&self, receiver: &Receiver) -> Option<Target> {
        let session = self.lasting(receiver.session)?;
        self.is_recorded(receiver).then(|| Target {
            session,
            qos: receiver.qos,
            retain: receiver.retain,
            subscription_ids: receiver.subscription_ids.clone(),
            share: receiver.share.clone(),
        })
    }

    fn number_message(&mut self) -> MessageNumber {
        let number = self.next_message;
        self.next_message = number.saturating_add(1);
        MessageNumber(number)
    }
}

impl Receiver {
    fn nothing(session: SessionId) -> Self {
        Self {
            session,
            qos: QoS::AtMostOnce,
            retain: false,
            subscription_ids: SubscriptionIds::new(),
            share: None,
            number: None,
        }
    }

    fn shared(session: SessionId, grant: Grant, what: (&Message, &Arc<TopicFilter>)) -> Self {
        let (message, filter) = what;
        Self {
            session,
            qos: grant.qos.min(message.qos()),
            retain: message.retain() && grant.retain_as_published,
            subscription_ids: grant.id.into_iter().collect(),
            share: Some(Arc::clone(filter)),
            number: None,
        }
    }

    fn delivery<'a>(&'a self, message: &'a Message) -> Delivery<'a> {
        Delivery {
            message,
            qos: self.qos,
            retain: self.retain,
            subscription_ids: &self.subscription_ids,
        }
    }

    fn pending(&mut self, message: &Arc<Message>) -> Pending {
        Pending {
            message: Arc::clone(message),
            number: self.number,
            subscription_ids: std::mem::take(&mut self.subscription_ids),
            share: self.share.take(),
            qos: self.qos,
            retain: self.retain,
        }
    }
}

impl Session {
    /// What a member of a shared subscription could do with a message; `None` leaves it to
    /// another one.
    pub(super) fn shared_room(&self, offer: &Offer<'_>, grant: Grant) -> Option<Room> {
        let Offer {
            message,
            policy,
            version,
            qos0,
            now,
        } = *offer;
        let qos = grant.qos.min(message.qos());
        let room = self.room((qos, qos0), message.payload().len())?;
        let is_asked = grant.withholds || !self.is_judged(version);
        let permitted = !is_asked || self.may_receive(policy, message, now);
        let delivery = Delivery {
            message,
            qos,
            retain: message.retain(),
            subscription_ids: grant.id.as_slice(),
        };
        (permitted && self.takes_packet(&delivery, now)).then_some(room)
    }

    /// Whether it may receive a message.
    ///
    /// It is asked where a permit for a filter does not say all: where it withholds a part of
    /// the filter, and where it was given by an earlier policy.
    pub(super) fn may_receive(&self, policy: &Policy, message: &Message, now: Time) -> bool {
        let is_known = self.is_here() || self.credentials().is_some();
        let rights = self.rights(policy);
        rights.is_some_and(|rights| {
            if is_known {
                rights.may_receive(message.topic(), now)
            } else {
                rights.may_wait(message.topic(), now)
            }
        })
    }
}

/// Whether somebody may wait for a message to be durable: it is acknowledged, or kept.
#[inline]
pub(super) fn is_owed(message: &Message) -> bool {
    message.qos() != QoS::AtMostOnce || message.retain()
}

#[cfg(test)]
mod tests {
    use crate::engine::test_world::*;
    use protocol::packet::{Packet, QoS, Subscription};

    const QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

    #[test]
    fn mqtt_3_8_4_8_the_lower_qos_counts() {
        for published in QOS {
            for granted in QOS {
                let mut world = World::open();
                let publisher = world.enter("dev-1");
                let subscriber = world.enter("dev-2");
                world.subscribe(subscriber, "a", granted);
                world.send(publisher, Packet::Publish(publish("a", "x", published, 1)));
                let id = if published.min(granted) == QoS::AtMostOnce {
                    ""
                } else {
                    " #1"
                };
                let expected = format!("PUBLISH a=x q{}{id}", published.min(granted).bits());
                assert_eq!(world.heard(subscriber), [expected]);
            }
        }
    }

    #[test]
    fn mqtt_3_3_4_2_overlapping_subscriptions_get_one_copy_with_all_identifiers() {
        let mut world = World::open();
        let publisher = world.enter("dev-1");
        let subscriber = world.enter("dev-2");
        let subscriptions = [
            ("a/b", QoS::AtMostOnce, Some(3)),
            ("a/+", QoS::ExactlyOnce, None),
            ("#", QoS::AtLeastOnce, Some(1)),
            ("+/b/#", QoS::AtMostOnce, Some(2)),
        ];
        for (filter, qos, number) in subscriptions {
            world.send(
                subscriber,
                subscribe_to(vec![subscription(filter, qos)], number),
            );
        }
        world.heard(subscriber);
        world.send(publisher, qos2("a/b", "x", 1));
        assert_eq!(
            world.heard(subscriber),
            ["PUBLISH a/b=x q2 #1 ids[1, 2, 3]"]
        );
    }

    #[test]
    fn each_client_gets_its_own_copy() {
        let mut world = World::open();
        let publisher = world.enter("dev-0");
        let many: Vec<_> = (1..=5).map(|n| world.enter(&format!("dev-{n}"))).collect();
        for (place, subscriber) in many.iter().enumerate() {
            world.subscribe(
                *subscriber,
                ["#", "a", "a/#", "+", "b"][place],
                QoS::AtMostOnce,
            );
        }
        world.send(publisher, qos0("a", "x"));
        for subscriber in &many[..4] {
            assert_eq!(world.heard(*subscriber), ["PUBLISH a=x q0"]);
        }
        assert_eq!(world.heard(many[4]), [""; 0]);
    }

    #[test]
    fn mqtt_3_8_3_3_no_local_keeps_what_the_client_itself_publishes() {
        let mut world = World::open();
        let own = Subscription {
            no_local: true,
            ..subscription("a", QoS::AtMostOnce)
        };
        let client = world.enter("dev-1");
        world.send(client, subscribe_to(vec![own], Some(1)));
        let other = world.enter("dev-2");
        world.heard(client);
        world.send(client, qos0("a", "mine"));
        world.send(other, qos0("a", "theirs"));
        assert_eq!(world.heard(client), ["PUBLISH a=theirs q0 ids[1]"]);
        // Another subscription of the same client wants it all the same.
        world.subscribe(client, "#", QoS::AtMostOnce);
        world.send(client, qos0("a", "mine"));
        assert_eq!(world.heard(client), ["PUBLISH a=mine q0"]);
    }

    #[test]
    fn mqtt_3_3_1_12_the_retain_flag_is_kept_only_where_it_is_wanted() {
        for (retain_as_published, expected) in
            [(false, "PUBLISH a=x q0"), (true, "PUBLISH a=x q0 retain")]
        {
            let mut world = World::open();
            let publisher = world.enter("dev-1");
            let subscriber = world.enter("dev-2");
            let wish = Subscription {
                retain_as_published,
                ..subscription("a", QoS::AtMostOnce)
            };
            world.send(subscriber, subscribe_to(vec![wish], None));
            world.heard(subscriber);
            world.send(publisher, retained(qos0("a", "x")));
            world.send(publisher, qos0("a", "y"));
            assert_eq!(world.heard(subscriber), [expected, "PUBLISH a=y q0"]);
        }
    }

    #[test]
    fn what_a_deny_rule_withholds_is_not_delivered() {
        let mut world = World::ruled(
            r##"
            [[rule]]
            name = "all but secrets"
            publish = ["#"]
            subscribe = ["#"]
            deny_subscribe = ["+/secret/#"]
            "##,
        );
        let publisher = world.enter("dev-1");
        let subscriber = world.enter_with("dev-2", lasting);
        world.subscribe(subscriber, "#", QoS::AtLeastOnce);
        world.subscribe(subscriber, "$share/g/a/#", QoS::AtLeastOnce);
        for topic in ["a/secret", "a/secret/x"] {
            world.send(publisher, qos1(topic, "x", 1));
            world.send(publisher, retained(qos1(topic, "x", 1)));
        }
        assert_eq!(world.heard(subscriber), [""; 0]);
        world.subscribe(subscriber, "a/#", QoS::AtLeastOnce);
        assert_eq!(world.heard(subscriber), [""; 0]);
        world.lose(subscriber);
        world.send(publisher, qos1("a/secret", "x", 1));
        world.send(publisher, qos1("a/open", "x", 1));
        let subscriber = world.enter_with("dev-2", lasting);
        assert_eq!(
            world.heard(subscriber).len(),
            2,
            "once alone and once for the group"
        );
    }

    /// Who of the members got how many of `len` messages.
    fn shares(world: &mut World, members: &[crate::engine::ConnectionId], len: u16) -> Vec<usize> {
        let publisher = world.enter("publisher");
        for id in 1..=len {
            world.send(publisher, qos1("a", &id.to_string(), id));
        }
        members
            .iter()
            .map(|member| world.heard(*member).len())
            .collect()
    }

    #[test]
    fn mqtt_4_8_2_a_shared_subscription_gives_each_message_to_one_member_in_turn() {
        let mut world = World::open();
        let members = ["dev-1", "dev-2", "dev-3"].map(|device| world.enter(device));
        for member in members {
            world.subscribe(member, "$share/g/a", QoS::AtLeastOnce);
        }
        let alone = world.enter("dev-4");
        world.subscribe(alone, "a", QoS::AtMostOnce);
        assert_eq!(shares(&mut world, &members, 30), [10, 10, 10]);
        assert_eq!(world.heard(alone).len(), 30);
    }

    #[test]
    fn groups_are_served_each_for_itself() {
        let mut world = World::open();
        let members = ["dev-1", "dev-2"].map(|device| world.enter(device));
        for (member, filter) in members.iter().zip(["$share/g/a", "$share/h/+"]) {
            world.subscribe(*member, filter, QoS::AtLeastOnce);
        }
        world.subscribe(members[0], "$share/i/#", QoS::AtLeastOnce);
        assert_eq!(shares(&mut world, &members, 10), [20, 10]);
    }

    #[test]
    fn a_member_that_never_acknowledges_leaves_the_others_their_share() {
        let mut world = World::limited(|limits| limits.in_flight_len_max = 20.try_into().unwrap());
        let members = ["dev-1", "dev-2", "dev-3"].map(|device| world.enter_with(device, lasting));
        for member in members {
            world.subscribe(member, "$share/g/a", QoS::AtLeastOnce);
        }
        let publisher = world.enter("publisher");
        let mut received = [0, 0, 0];
        for round in 0..100 {
            for id in 1..=3 {
                world.send(publisher, qos1("a", &round.to_string(), id));
            }
            for (place, member) in members.iter().enumerate() {
                for line in world.heard(*member) {
                    received[place] += 1;
                    let id = line.rsplit('#').next().unwrap().parse().unwrap();
                    if place > 0 {
                        world.send(*member, puback(id));
                    }
                }
            }
        }
        assert_eq!(received, [20, 140, 140]);
    }

    #[test]
    fn a_group_prefers_members_that_are_there() {
        let mut world = World::open();
        let away = world.enter_with("dev-1", lasting);
        world.subscribe(away, "$share/g/a", QoS::AtLeastOnce);
        let here = world.enter_with("dev-2", lasting);
        world.subscribe(here, "$share/g/a", QoS::AtLeastOnce);
        world.lose(away);
        assert_eq!(shares(&mut world, &[here], 10), [10]);
        world.lose(here);
        shares(&mut world, &[], 10);
        let waiting: Vec<_> = world
            .engine
            .sessions()
            .map(|session| session.queue_len)
            .collect();
        assert_eq!(waiting.iter().sum::<usize>(), 10, "{waiting:?}");
    }

    #[test]
    fn a_member_that_cannot_take_so_long_a_packet_leaves_it_to_another() {
        let mut world = World::open();
        let small = world.enter_with("dev-1", |connect| {
            connect.properties.maximum_packet_size = Some(20.try_into().unwrap());
        });
        let large = world.enter("dev-2");
        for member in [small, large] {
            world.subscribe(member, "$share/g/a", QoS::AtMostOnce);
        }
        let publisher = world.enter("dev-3");
        for _ in 0..4 {
            world.send(publisher, qos0("a", &"x".repeat(20)));
        }
        assert_eq!(world.heard(small), [""; 0]);
        assert_eq!(world.heard(large).len(), 4);
    }

    #[test]
    fn the_same_inputs_give_the_same_effects() {
        let run = || {
            let mut world = World::open();
            let many: Vec<_> = (0..20).map(|n| world.enter(&format!("dev-{n}"))).collect();
            for (place, client) in many.iter().enumerate() {
                world.subscribe(
                    *client,
                    ["a/#", "+/b", "$share/g/#", "a/b"][place % 4],
                    QOS[place % 3],
                );
            }
            for (place, client) in many.iter().enumerate() {
                world.send(*client, qos1("a/b", &place.to_string(), 1));
            }
            world.all_heard()
        };
        assert_eq!(run(), run());
    }
}
