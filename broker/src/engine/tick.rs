//! Tick: what time alone brings about.
//!
//! Its cost follows from what is due, not from how many sessions there are.

use super::Engine;
use super::deadlines::Deadline;
use super::record::Record;

impl Engine {
    /// Does all that is due.
    pub(super) fn tick(&mut self) {
        while let Some(deadline) = self.deadlines.take_due(self.now) {
            match deadline {
                Deadline::Will(id) => self.publish_will(id),
                Deadline::SessionEnd(id) => {
                    self.counters.sessions_expired += 1;
                    self.end_session(id);
                }
                Deadline::Proof(id) => self.proof_ended(id),
                Deadline::Statistics => self.publish_statistics(),
            }
        }
        while let Some(message) = self.retained.take_expired(self.now) {
            self.record(Record::RetainedCleared {
                topic: message.topic().clone(),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::test_world::*;
    use crate::engine::{Input, Time};

    #[test]
    fn a_session_ends_when_its_time_is_over() {
        let mut world = World::open();
        let client = world.enter_with("dev-1", lasting);
        // Nothing else runs while it is there.
        assert_eq!(world.engine.deadline(), Some(proof_end("dev-1")));
        world.lose(client);
        world.wait(3599);
        assert_eq!(world.engine.sessions_len(), 1);
        world.wait(1);
        assert_eq!(world.engine.sessions_len(), 0);
        assert_eq!(world.counters().sessions_expired, 1);
        assert_eq!(world.engine.deadline(), None);
    }

    #[test]
    fn who_comes_back_stops_the_clock() {
        let mut world = World::open();
        for _ in 0..10 {
            let client = world.enter_with("dev-1", lasting);
            world.lose(client);
            world.wait(3000);
        }
        assert_eq!(world.engine.sessions_len(), 1);
        assert_eq!(world.counters().sessions_expired, 0);
    }

    #[test]
    fn a_tick_before_the_deadline_does_nothing_and_a_late_one_all() {
        let mut world = World::open();
        for device in ["dev-1", "dev-2", "dev-3"] {
            let client = world.enter_with(device, lasting);
            world.lose(client);
        }
        world.input(Input::Tick);
        assert_eq!(world.engine.sessions_len(), 3);
        world.now = Time::from_millis(world.now.millis() + 10_000_000);
        world.input(Input::Tick);
        assert_eq!(world.engine.sessions_len(), 0);
    }

    #[test]
    fn time_that_falls_is_not_believed() {
        let mut world = World::open();
        let client = world.enter_with("dev-1", lasting);
        let before = world.now;
        world.now = Time::default();
        world.lose(client);
        assert_eq!(world.engine.deadline(), Some(before.after_seconds(3600)));
    }
}
