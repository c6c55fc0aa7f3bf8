//! A session that makes and drops subscriptions, and knows which of them were acknowledged.
//!
//! What it subscribed to it gets, what it unsubscribed from it does not, after each restart.

use super::round::Round;
use crate::link::{Gone, Link, Present};
use countersign_tests::mqtt::answer::Published;
use countersign_tests::mqtt::request::{self, Publish, Subscribe};
use countersign_tests::mqtt::{Frame, Kind, Version};
use countersign_tests::seeded::Seeded;

/// So many filters it switches on and off.
const FILTERS: usize = 6;

pub(super) struct Switcher {
    name: String,
    version: Version,
    session: Present,
    filters: [Subscribed; FILTERS],
    /// It is never unsubscribed from.
    probe: Subscribed,
    random: Seeded,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subscribed {
    Yes,
    No,
    /// It was asked for and not acknowledged.
    InDoubt,
}

impl Switcher {
    pub(super) fn new(name: &str, version: Version, seed: u64) -> Self {
        Self {
            name: name.to_owned(),
            version,
            session: Present::Unknown,
            filters: [Subscribed::No; FILTERS],
            probe: Subscribed::No,
            random: Seeded::new(seed),
        }
    }

    /// Looks at what is there, then switches until the broker is gone or the round winds up.
    pub(super) fn run(&mut self, round: &Round) -> Result<(), Gone> {
        let who = (&*self.name, self.version);
        let mut link = Link::lasting(round.address, who, &mut self.session)?;
        if self.probe != Subscribed::Yes {
            let topic = self.topic("probe");
            switch(&mut link, &topic, Subscribed::Yes)?;
            self.probe = Subscribed::Yes;
        }
        self.look(&mut link, round)?;
        while !round.is_winding_up() {
            let place = self.random.below(FILTERS);
            let wanted = *self.random.choose(&[Subscribed::Yes, Subscribed::No]);
            self.filters[place] = Subscribed::InDoubt;
            let topic = self.topic(&place.to_string());
            switch(&mut link, &topic, wanted)?;
            self.filters[place] = wanted;
            round.note();
        }
        link.leave();
        Ok(())
    }

    fn topic(&self, below: &str) -> String {
        format!("s/{}/{below}", self.name)
    }

    /// Publishes to each filter and sees which ones are subscribed to.
    fn look(&mut self, link: &mut Link, round: &Round) -> Result<(), Gone> {
        let places = (0..FILTERS).map(|place| place.to_string());
        for below in places.chain(["probe".to_owned()]) {
            let publish = Publish::new(self.topic(&below), round.number.to_string());
            let publish = publish.qos(1).id(link.next_id());
            link.send(&publish.bytes(self.version))?;
        }
        let mut found = [Subscribed::No; FILTERS];
        loop {
            let frame = link.hear()?;
            if frame.kind() != Kind::Publish {
                continue;
            }
            let published = Published::read(&frame, self.version);
            if let Some(id) = published.id {
                link.send(&request::ack(Kind::Puback, id))?;
            }
            if published.text() != round.number.to_string() {
                // Asked in an earlier round.
                continue;
            }
            let below = published.topic.rsplit('/').next().unwrap();
            match below.parse::<usize>() {
                Ok(place) => found[place] = Subscribed::Yes,
                Err(_) => break,
            }
        }
        for (place, found) in found.into_iter().enumerate() {
            let known = self.filters[place];
            let is_right = known == found || known == Subscribed::InDoubt;
            let name = self.topic(&place.to_string());
            assert!(
                is_right,
                "subscribed to {name}: {known:?} was acknowledged, {found:?} is true"
            );
            self.filters[place] = found;
        }
        Ok(())
    }
}

/// Subscribes or unsubscribes and waits for the answer.
fn switch(link: &mut Link, topic: &str, wanted: Subscribed) -> Result<(), Gone> {
    let id = link.next_id();
    let (bytes, answer) = match wanted {
        Subscribed::Yes => {
            let subscribe = Subscribe::new(id).filter(topic, 1);
            (subscribe.bytes(link.version), Kind::Suback)
        }
        Subscribed::No | Subscribed::InDoubt => {
            let unsubscribe = request::unsubscribe(link.version, id, &[topic]);
            (unsubscribe, Kind::Unsuback)
        }
    };
    link.send(&bytes)?;
    let is_answer =
        |frame: &Frame| frame.kind() == answer && frame.body.starts_with(&id.to_be_bytes());
    while !is_answer(&link.hear()?) {}
    Ok(())
}
