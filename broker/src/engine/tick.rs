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
