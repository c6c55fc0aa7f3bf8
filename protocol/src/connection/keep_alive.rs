//! Keep-alive: how long a client may be silent [MQTT 5.0 §3.1.2.10].
//!
//! A client is never given up before one and a half times its interval have passed.

use std::time::{Duration, Instant};

/// When a client was last heard, and until when it has to be heard again.
#[derive(Clone, Copy, Debug)]
pub struct KeepAlive {
    /// None where the client promised nothing.
    grace: Option<Duration>,
    last_heard: Instant,
}

impl KeepAlive {
    /// The keep-alive of a CONNECT that came `now`, or the one that the server answered with.
    pub fn new(seconds: u16, now: Instant) -> Self {
        let interval = Duration::from_secs(u64::from(seconds));
        Self {
            // One and a half times the interval: what the client was promised [MQTT-3.1.2-22].
            grace: (seconds > 0).then_some(interval + interval / 2),
            last_heard: now,
        }
    }

    /// A packet came, of whatever kind.
    pub fn heard(&mut self, now: Instant) {
        self.last_heard = now;
    }

    /// When the connection has to be closed, unless another packet comes; `None` is never.
    pub fn deadline(&self) -> Option<Instant> {
        self.last_heard.checked_add(self.grace?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mqtt_3_1_2_22_a_client_may_be_silent_for_one_and_a_half_times_its_interval() {
        let begin = Instant::now();
        let mut keep_alive = KeepAlive::new(5, begin);
        assert_eq!(
            keep_alive.deadline(),
            Some(begin + Duration::from_millis(7_500))
        );
        let later = begin + Duration::from_secs(7);
        keep_alive.heard(later);
        assert_eq!(
            keep_alive.deadline(),
            Some(later + Duration::from_millis(7_500))
        );
    }

    #[test]
    fn mqtt_3_1_2_10_an_interval_of_0_turns_it_off() {
        assert_eq!(KeepAlive::new(0, Instant::now()).deadline(), None);
    }
}
