//! Steps: one thing that happens, chosen by chance.

use crate::acts::FILTERS;
use crate::machine::disk::Fault;
use crate::machine::host::{Host, Start};
use crate::machine::identity::{Rules, SECRET, policy};
use crate::plan::OUTGOING_MAX;
use crate::world::World;
use broker::engine::Input;
use broker::storage::log::Durability;
use protocol::topic::TopicName;

impl World {
    /// Something happens.
    pub(crate) fn happen(&mut self) {
        self.step += 1;
        if self.host.is_none() {
            return match self.random.below(4) {
                0 => self.pass_time(),
                _ => drop(self.restart()),
            };
        }
        if self.random.below(self.plan.crash_odds) == 0 {
            return self.crash();
        }
        match self.random.below(100) {
            0..45 => self.act(),
            45..80 => self.transport(),
            80..92 if self.random.below(self.plan.slowness) > 0 => self.transport(),
            80..92 => self.write(),
            92..96 => self.serve_storage(),
            96..98 => self.pass_time(),
            98 => self.change_policy(),
            _ => self.check_bounds(),
        }
        if self.host.as_ref().is_some_and(Host::is_failed) {
            self.fail();
        }
    }

    /// A shard has failed, and the process with it.
    fn fail(&mut self) {
        assert!(self.may_fail, "the broker failed on a disk that is whole");
        self.tell(|| "the broker fails".to_owned());
        self.crash();
    }

    /// The process ends, with or without the power.
    fn crash(&mut self) {
        let is_power = self.plan.durability == Durability::Sync && self.random.below(2) == 0;
        self.tell(|| format!("the broker dies, power cut: {is_power}"));
        self.stop_host();
        for disk in &self.disks {
            disk.mend();
            if is_power {
                disk.lose_power(&mut self.random);
            }
        }
        self.may_fail = false;
    }

    /// Starts the broker on disks that may be broken. Whether it could.
    pub(crate) fn restart(&mut self) -> bool {
        if self.random.below(10) == 0 {
            self.check_flipped();
        }
        if self.random.below(self.plan.fault_odds) == 0 {
            self.break_disk();
        }
        let started = self.start_host();
        if !started {
            // There is room again, or another disk.
            self.disks.iter().for_each(|it| it.fill_up_at(usize::MAX));
            self.crash();
        }
        started
    }

    fn check_flipped(&mut self) {
        let start = Start {
            plan: &self.plan,
            disks: &self.disks,
            clock: &self.clock,
            rules: self.rules,
            syncs: &self.syncs,
            disk_bytes_max: self.disk_bytes_max,
        };
        start.check_flipped(0, &mut self.random);
    }

    fn break_disk(&mut self) {
        let place = self.random.below(self.disks.len());
        let step = 1 + self.random.below(6) as u64;
        let fault = *self.random.choose(&[Fault::PowerCut, Fault::SyncFails]);
        self.disks[place].break_at(step, fault);
        self.may_fail = true;
        self.tell(|| format!("disk {place} breaks after {step}: {fault:?}"));
    }

    /// A log is written.
    fn write(&mut self) {
        if self.random.below(self.plan.fault_odds) == 0 {
            self.break_disk();
        }
        let place = self.random.below(self.plan.shards);
        let follows = self.random.below(2) == 0;
        let Some(host) = &mut self.host else {
            return;
        };
        let written = host.stores[place].steps.write();
        if follows {
            host.follow();
        }
        self.tell(|| format!("log {place} is written: {written:?}"));
    }

    /// Storage does something beside writing.
    fn serve_storage(&mut self) {
        let place = self.random.below(self.plan.shards);
        let what = self.random.below(4);
        let Some(host) = &mut self.host else {
            return;
        };
        let steps = &mut host.stores[place].steps;
        match what {
            0 => host.follow(),
            1 | 2 => {
                let done = steps.make_room();
                self.tell(|| format!("storage {place} makes room: {done:?}"));
            }
            _ => {
                let done = steps.load();
                self.tell(|| format!("storage {place} loads: {done:?}"));
            }
        }
    }

    /// Bytes travel on some connection.
    fn transport(&mut self) {
        if self.links.is_empty() {
            return;
        }
        let place = self.random.below(self.links.len());
        let len = *self.random.choose(&[3, 40, 400, 4096]);
        if self.random.below(4) > 0 {
            self.arrive(place, len);
        }
        if self.random.below(4) > 0 {
            self.speak(place);
        }
        if self.random.below(4) > 0 {
            self.hear(place, len);
        }
        let link = &self.links[place];
        let is_silent = link.is_left && link.closed.is_none() && !link.has_words();
        if is_silent && self.random.below(2) == 0 {
            self.close(place);
        }
        self.sweep();
    }

    /// All that is decided is said, and all that may be said by now.
    pub(crate) fn say_all(&mut self) {
        // A shard hears of a forward a turn after its sender's log, and speaks one later.
        let mut quiet = 0;
        while quiet < 3 {
            let mut any = false;
            if let Some(host) = &mut self.host {
                host.follow();
                for store in &mut host.stores {
                    // Where it fails, that is seen behind this step.
                    any |= matches!(store.steps.write(), Ok(true));
                }
            }
            for place in 0..self.links.len() {
                any |= self.speak(place);
                self.hear(place, usize::MAX);
            }
            quiet = if any { 0 } else { quiet + 1 };
        }
    }

    fn pass_time(&mut self) {
        // What was decided before must not be heard later.
        self.say_all();
        if self.host.as_ref().is_some_and(Host::is_failed) {
            return;
        }
        let seconds = match self.random.below(20) {
            0 => 700_000,
            _ => *self.random.choose(&[1, 5, 30, 400, 4000]),
        };
        self.clock
            .advance(seconds * 1000 + self.random.below(1000) as u64);
        self.tell(|| format!("{seconds} s pass"));
        if let Some(host) = &mut self.host {
            host.tick();
        }
    }

    fn change_policy(&mut self) {
        let rules = *self.random.choose(&[Rules::Open, Rules::Narrow]);
        self.set_rules(rules);
    }

    pub(crate) fn set_rules(&mut self, rules: Rules) {
        self.say_all();
        if [self.rules, rules].contains(&Rules::Narrow) {
            self.narrowed = self.step;
        }
        self.rules = rules;
        if let Some(host) = &self.host {
            host.shards.tell_all(|| Input::Policy(policy(rules)));
        }
        let secret = TopicName::parse(&format!("{SECRET}0")).unwrap();
        for client in &mut self.clients {
            let truth = &self.truth;
            let session = &mut client.session;
            session.forgive(|id| truth.of(id).topic.starts_with(SECRET));
            session.doubt(|filter| filter.matches(&secret) && filter.pattern() != "#");
        }
        self.tell(|| format!("the rules are {rules:?}"));
    }

    /// No queue is longer than it may be.
    fn check_bounds(&mut self) {
        self.note_dropped();
        let limits = &self.plan.limits;
        let Some(host) = &self.host else {
            return;
        };
        for shard in host.shards.all() {
            shard.look(|engine| {
                for session in engine.sessions() {
                    let (queue, in_flight) = (session.queue_len, session.in_flight_len);
                    let in_flight_max = usize::from(limits.in_flight_len_max.get());
                    assert!(in_flight <= in_flight_max, "{session:?}");
                    // What was in flight waits again after a restart.
                    let len_max = limits.queue_len_max + in_flight_max;
                    assert!(queue + in_flight <= len_max, "{session:?}");
                    assert!(session.unreleased_len <= OUTGOING_MAX + 2, "{session:?}");
                    assert!(session.subscriptions_len <= FILTERS.len(), "{session:?}");
                }
            });
        }
    }
}
