//! The end of a run: all that hinders is taken away, everybody comes and takes what is theirs.
//!
//! Then nobody may be owed anything, and what is retained must be the last that was acknowledged.

use crate::machine::identity::{Rules, SECRET};
use crate::model::truth::MessageId;
use crate::plan::EXPIRY_MAX;
use crate::world::World;
use protocol::Text;
use protocol::packet::{Connect, ConnectProperties, QoS, Version};
use std::collections::BTreeMap;

/// Everything is quiet long before.
const ROUNDS_MAX: usize = 2_000;

impl World {
    /// Ends the run.
    pub(crate) fn settle(&mut self) {
        self.step += 1;
        self.tell(|| "all come to their end".to_owned());
        self.plan.fault_odds = usize::MAX;
        self.stop_host();
        for disk in &self.disks {
            disk.mend();
            disk.fill_up_at(usize::MAX);
        }
        self.plan.capacity = usize::MAX;
        self.may_fail = false;
        self.disk_bytes_max = 1 << 40;
        assert!(self.start_host());
        self.set_rules(Rules::Open);
        self.come_to_rest();
        for index in 0..self.clients.len() {
            self.clients[index].retained.clear();
            self.subscribe_to(index, "r/#", QoS::AtLeastOnce);
            self.send_words(index);
        }
        self.step += 1;
        self.come_to_rest();
        self.check_owed();
        self.check_retained();
    }

    /// Goes on until nothing more happens.
    fn come_to_rest(&mut self) {
        for _ in 0..ROUNDS_MAX {
            self.step += 1;
            let mut any = self.move_clients();
            any |= self.move_bytes();
            any |= self.move_storage();
            self.sweep();
            let host = self.host.as_ref().unwrap();
            assert!(
                !host.is_failed(),
                "the broker failed on a disk that is whole"
            );
            if !any {
                return;
            }
        }
        panic!("it does not come to rest");
    }

    fn move_clients(&mut self) -> bool {
        let mut any = false;
        let now = self.now();
        for index in 0..self.clients.len() {
            let client = &mut self.clients[index];
            if client.connection.is_none() {
                let connect = last_connect(&client.name, client.session.must_begin_anew(now));
                self.connect(index, &connect);
                any = true;
                continue;
            }
            any |= !client.due.is_empty() && client.is_greeted;
            if client.is_greeted {
                client.acknowledge(usize::MAX);
                self.send_words(index);
            }
        }
        any
    }

    fn move_bytes(&mut self) -> bool {
        let mut any = false;
        for place in 0..self.links.len() {
            any |= self.links[place].has_words();
            self.arrive(place, usize::MAX);
            any |= self.speak(place);
            any |= self.links[place].has_answers();
            self.hear(place, usize::MAX);
        }
        any
    }

    fn move_storage(&mut self) -> bool {
        let mut any = false;
        let host = self.host.as_mut().unwrap();
        for store in &mut host.stores {
            let steps = &mut store.steps;
            any |= steps.write().expect("the disk is whole");
            any |= steps.load().expect("what is needed is there");
            any |= steps.make_room().expect("the disk is whole");
        }
        host.follow();
        any
    }

    fn check_owed(&mut self) {
        self.note_dropped();
        let now = self.now();
        for client in &self.clients {
            let name = &client.name;
            assert!(client.outgoing.is_empty(), "{name} has no answer");
            let unreleased: Vec<_> = client
                .unreleased
                .iter()
                .filter(|(_, id)| !self.may_be_given_up(**id))
                .collect();
            assert!(
                unreleased.is_empty(),
                "{name} has {unreleased:?} unreleased"
            );
            if self.has_dropped {
                continue;
            }
            let owed = client.session.owed.iter();
            let lost: Vec<_> = owed
                .map(|id| (*id, self.truth.of(*id)))
                .filter(|(_, it)| !it.is_expired(now).0)
                .collect();
            assert!(lost.is_empty(), "{name} was not given {lost:?}");
        }
    }

    /// What a policy forbade meanwhile is not sent again, and then never released either.
    fn may_be_given_up(&self, id: Option<MessageId>) -> bool {
        id.is_some_and(|id| self.truth.of(id).topic.starts_with(SECRET))
    }

    fn check_retained(&self) {
        for client in &self.clients {
            // Of two shards nobody knows which was first.
            let is_here = |topic: &str| {
                let mut publishers = self.truth.publishers(topic);
                publishers.all(|it| !self.truth.is_forwarded(it, client.index))
            };
            let expected: BTreeMap<String, Vec<Option<MessageId>>> = self.truth.retained(is_here);
            for (topic, may) in expected {
                let found = client.retained.get(&topic).copied();
                assert!(
                    may.contains(&found),
                    "{topic} has {found:?}, may have {may:?}"
                );
            }
        }
    }
}

fn last_connect(name: &str, clean_start: bool) -> Connect {
    Connect {
        version: Version::V5,
        clean_start,
        keep_alive: 0,
        client_id: Text::parse(name).unwrap(),
        will: None,
        username: None,
        password: None,
        properties: ConnectProperties {
            session_expiry_interval: EXPIRY_MAX,
            ..ConnectProperties::default()
        },
    }
}
