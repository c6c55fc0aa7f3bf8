//! Forward: a message that came to another shard, for our sessions.
//!
//! It has its permit, and is never passed on again.

use super::{After, Engine, Forward};

impl Engine {
    /// Keeps a forwarded message where it is retained, and gives it to our sessions.
    pub(super) fn take_forward(&mut self, forward: Forward) {
        let Forward { message, after: _ } = forward;
        let mut after = After::Nothing;
        if message.retain() {
            let len = message.payload().len();
            let device = message.device();
            let has_room =
                device.is_some_and(|it| self.retained.admit(message.topic(), len, it).is_ok());
            if has_room || len == 0 {
                after = self.retain(&message);
            }
        }
        self.route(&message, after);
    }
}
