//! Messages at a fixed rate, whether or not the broker keeps up.
//!
//! One timer of the kernel ticks for all publishers in turn, so that messages leave evenly and not
//! in bursts at the grain of the runtime's own timers.

use super::publisher::Schedule;
use super::run::Run;
use super::window::Window;
use crate::load::LoadError;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::unix::AsyncFd;

/// The first message is due so long after the rate is set, when every task is there.
const LEAD: Duration = Duration::from_millis(100);

const NANOS: u64 = 1_000_000_000;

/// A rate that has begun.
#[derive(Debug)]
pub(crate) struct Pacer {
    timer: AsyncFd<OwnedFd>,
    /// When the first message is due, in nanoseconds of the run.
    start: u64,
    /// Between two messages of all publishers.
    gap: u64,
}

impl Pacer {
    /// Begins to tick `rate` times a second.
    pub(crate) fn start(rate: u32, run: &Run) -> Result<Self, LoadError> {
        let gap = (NANOS / u64::from(rate.max(1))).max(1);
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK)
            .map_err(io::Error::from)?;
        let (it_interval, it_value) = (timespec(gap), timespec(nanos(LEAD)));
        let ticks = Itimerspec {
            it_interval,
            it_value,
        };
        timerfd_settime(&timer, TimerfdTimerFlags::empty(), &ticks).map_err(io::Error::from)?;
        #[expect(
            deprecated,
            reason = "sound for a descriptor that is owned, as this one is"
        )]
        let timer = AsyncFd::new(timer)?;
        Ok(Self {
            timer,
            start: run.nanos() + nanos(LEAD),
            gap,
        })
    }

    /// When the messages of one of `publishers` are due.
    pub(crate) fn schedule(&self, publisher: u32, publishers: usize) -> Schedule {
        Schedule {
            start: self.start,
            interval: self.gap * u64::try_from(publishers).unwrap_or(1),
            offset: self.gap * u64::from(publisher),
        }
    }

    /// Allows a message at each tick, to one publisher after the other.
    pub(crate) async fn pace(self, windows: Vec<Arc<Window>>, run: Arc<Run>) -> io::Result<()> {
        let mut next = windows.iter().cycle();
        while !run.is_stopping() {
            let mut ready = self.timer.readable().await?;
            let mut ticks = [0; 8];
            match rustix::io::read(self.timer.get_ref(), &mut ticks) {
                Ok(_) => {}
                Err(rustix::io::Errno::AGAIN) => {
                    ready.clear_ready();
                    continue;
                }
                Err(error) => return Err(error.into()),
            }
            for window in next
                .by_ref()
                .take(usize::try_from(u64::from_ne_bytes(ticks)).unwrap_or(1))
            {
                window.allow(1);
            }
        }
        Ok(())
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn timespec(nanos: u64) -> Timespec {
    let part = |value| i64::try_from(value).unwrap_or(i64::MAX);
    Timespec {
        tv_sec: part(nanos / NANOS),
        tv_nsec: part(nanos % NANOS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_publisher_has_its_turn() {
        let run = Arc::new(Run::new(0));
        let windows: Vec<_> = (0..3).map(|_| Arc::new(Window::open())).collect();
        let pacer = Pacer::start(1000, &run).unwrap();
        let pacing = tokio::spawn(pacer.pace(windows.clone(), Arc::clone(&run)));
        while windows.iter().any(|window| window.limit() < 5) {
            windows[0].raised().await;
        }
        let limits: Vec<_> = windows.iter().map(|window| window.limit()).collect();
        let spread = limits.iter().max().unwrap() - limits.iter().min().unwrap();
        assert!(spread <= 1, "{limits:?}");
        run.stop();
        pacing.await.unwrap().unwrap();
    }
}
