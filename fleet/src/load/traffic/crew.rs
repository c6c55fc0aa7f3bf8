//! The publishers and subscribers of a run: connected, let go, watched, and brought to an end.
//!
//! A run ends well only when every subscriber has every message of its publishers once and in
//! order.

use super::cast::{Cast, Role};
use super::pacer::Pacer;
use super::publisher::{Part, Publisher};
use super::run::{Counter, Run, sum};
use super::subscriber::{Flow, Heard, Subscriber};
use super::window::Window;
use crate::load::client::{Dialer, Link, connect_all};
use crate::load::measure::Histogram;
use crate::load::phase::{Observer, Phase};
use crate::load::plan::{Pace, Shape, Traffic};
use crate::load::{Fault, LoadError};
use crate::wire::Template;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

/// How often the watch looks.
const LOOK: Duration = Duration::from_millis(50);
/// The same, when the moment counts.
const LOOK_CLOSELY: Duration = Duration::from_millis(2);
/// When nothing came for so long, what is missing is lost.
const STALLED: Duration = Duration::from_secs(5);
/// Who has not said its last words by then does not.
const LAST_WORDS: Duration = Duration::from_secs(30);

/// Everybody in a run.
#[derive(Debug)]
pub(crate) struct Crew {
    run: Arc<Run>,
    traffic: Traffic,
    waiting: Option<Waiting>,
    tasks: JoinSet<Result<Ended, LoadError>>,
    published: Vec<Link>,
    heard: Vec<(usize, Heard)>,
    windows: Vec<Arc<Window>>,
    sent: Vec<Arc<Counter>>,
    delivered: Vec<Arc<Counter>>,
}

/// Connected, and not yet at work.
#[derive(Debug)]
struct Waiting {
    dialer: Dialer,
    publishers: Vec<(Role, Link)>,
    subscribers: Vec<(Role, Link)>,
}

/// A task that has ended well.
#[derive(Debug)]
enum Ended {
    Published(Box<Link>),
    Heard(usize, Box<Heard>),
    Paced,
}

impl Crew {
    /// Connects everybody and subscribes.
    pub(crate) async fn connect(
        dialer: &Dialer,
        cast: Cast,
        traffic: &Traffic,
        observer: &Observer<'_>,
    ) -> Result<Self, LoadError> {
        let of = cast.publishers.len() + cast.subscribers.len();
        let tell = |done| observer.tell(Phase::Connecting(count(done), count(of)));
        let clients = |roles: &[Role]| roles.iter().map(Role::client).collect();
        let links = connect_all(dialer, clients(&cast.subscribers), &tell).await?;
        let already = links.len();
        let mut subscribers: Vec<_> = cast.subscribers.into_iter().zip(links).collect();
        for (role, link) in &mut subscribers {
            let subscribed = link
                .subscribe(dialer.version, &role.topic, traffic.qos)
                .await;
            subscribed.map_err(|error| error.of(&role.client_id))?;
        }
        let tell = |done| tell(already + done);
        let links = connect_all(dialer, clients(&cast.publishers), &tell).await?;
        let publishers = cast.publishers.into_iter().zip(links).collect();
        Ok(Self {
            run: Arc::new(Run::new(nonce())),
            traffic: *traffic,
            waiting: Some(Waiting {
                dialer: dialer.clone(),
                publishers,
                subscribers,
            }),
            tasks: JoinSet::new(),
            published: Vec::new(),
            heard: Vec::new(),
            windows: Vec::new(),
            sent: Vec::new(),
            delivered: Vec::new(),
        })
    }

    /// Lets everybody work; each publisher sends `share` messages if nobody stops it.
    pub(crate) fn begin(&mut self, share: u64) -> Result<(), LoadError> {
        let Some(waiting) = self.waiting.take() else {
            return Ok(());
        };
        let window = || match self.traffic.pace {
            Pace::Window => Window::closed(self.traffic.window(), self.traffic.receivers()),
            Pace::PerSecond(_) => Window::open(),
        };
        self.windows = waiting
            .publishers
            .iter()
            .map(|_| Arc::new(window()))
            .collect();
        let pacer = match self.traffic.pace {
            Pace::Window => None,
            Pace::PerSecond(rate) => Some(Pacer::start(rate, &self.run)?),
        };
        self.begin_subscribers(&waiting.dialer, waiting.subscribers);
        self.begin_publishers(&waiting.dialer, waiting.publishers, (share, pacer.as_ref()));
        if let Some(pacer) = pacer {
            let pacing = pacer.pace(self.windows.clone(), Arc::clone(&self.run));
            self.tasks
                .spawn(async { Ok(pacing.await.map(|()| Ended::Paced)?) });
        }
        Ok(())
    }

    fn begin_subscribers(&mut self, dialer: &Dialer, subscribers: Vec<(Role, Link)>) {
        for (index, (role, link)) in subscribers.into_iter().enumerate() {
            let sources = match self.traffic.shape {
                Shape::FanIn | Shape::FanOut => 0..self.windows.len(),
                Shape::Pairs => index..index + 1,
            };
            let first = number(sources.start);
            let windows = self.windows.get(sources).unwrap_or_default();
            let flows = windows
                .iter()
                .map(|window| Flow::new(Arc::clone(window)))
                .collect();
            let speech = (dialer.version, self.traffic.qos);
            let subscriber = Subscriber::new(link, Arc::clone(&self.run), (first, flows), speech);
            self.delivered.push(subscriber.counter());
            self.tasks.spawn(async move {
                let heard = subscriber.receive().await;
                heard
                    .map(|heard| Ended::Heard(index, Box::new(heard)))
                    .map_err(|error| error.of(&role.client_id))
            });
        }
    }

    fn begin_publishers(
        &mut self,
        dialer: &Dialer,
        publishers: Vec<(Role, Link)>,
        (share, pacer): (u64, Option<&Pacer>),
    ) {
        let all = publishers.len();
        for ((index, (role, link)), window) in publishers.into_iter().enumerate().zip(&self.windows)
        {
            let speech = (dialer.version, self.traffic.qos);
            let part = Part {
                number: number(index),
                template: Template::new(speech, &role.topic, self.traffic.payload),
                window: Arc::clone(window),
                share,
            };
            let mut publisher = Publisher::new(link, Arc::clone(&self.run), part, &self.traffic);
            if let Some(pacer) = pacer {
                publisher.keep_to(pacer.schedule(number(index), all));
            }
            self.sent.push(publisher.counter());
            self.tasks.spawn(async move {
                let link = publisher.publish().await;
                link.map(|link| Ended::Published(Box::new(link)))
                    .map_err(|error| error.of(&role.client_id))
            });
        }
    }

    /// Deliveries so far.
    pub(crate) fn delivered(&self) -> u64 {
        sum(&self.delivered)
    }

    pub(crate) fn connections(&self) -> u64 {
        count(self.sent.len() + self.delivered.len())
    }

    /// Whether latencies count.
    pub(crate) fn measure(&self, measuring: bool) {
        self.run.set_measuring(measuring);
    }

    /// Waits, unless somebody fails or nothing moves.
    pub(crate) async fn watch(
        &mut self,
        time: Duration,
        tell: &dyn Fn(f64),
    ) -> Result<(), LoadError> {
        let began = Instant::now();
        let mut moved = (began, self.delivered());
        while began.elapsed() < time {
            self.look(LOOK.min(time.saturating_sub(began.elapsed())))
                .await?;
            self.still_moves(&mut moved)?;
            tell(began.elapsed().as_secs_f64() / time.as_secs_f64());
        }
        Ok(())
    }

    /// Nothing more is to be published.
    pub(crate) fn stop(&self) {
        self.run.stop();
        for window in &self.windows {
            window.wake();
        }
    }

    /// Waits until all publishers have ended and all deliveries are there.
    pub(crate) async fn drain(&mut self, observer: &Observer<'_>) -> Result<(), LoadError> {
        let mut moved = (Instant::now(), self.delivered());
        loop {
            let receivers = u64::from(self.traffic.receivers());
            let published = self.published.len() == self.sent.len();
            if published && self.delivered() >= sum(&self.sent) * receivers {
                return Ok(());
            }
            observer.tell(Phase::Draining);
            self.look(LOOK_CLOSELY).await?;
            self.still_moves(&mut moved)?;
        }
    }

    /// Waits for the last words of everybody, and checks every message.
    pub(crate) async fn end(mut self) -> Result<Histogram, LoadError> {
        self.stop();
        for counter in &self.delivered {
            counter.done.notify_one();
        }
        let last_words = async {
            while self.heard.len() < self.delivered.len() {
                self.look(LOOK).await?;
            }
            Ok(())
        };
        let silent = Err(LoadError::Silent { time: LAST_WORDS });
        timeout(LAST_WORDS, last_words).await.unwrap_or(silent)?;
        for link in self.published {
            link.close().await?;
        }
        let sent: Vec<_> = self.sent.iter().map(|counter| counter.read()).collect();
        let mut latency = Histogram::default();
        let mut fault = Fault::default();
        for (index, heard) in &self.heard {
            latency.merge(&heard.latency);
            fault += match self.traffic.shape {
                Shape::FanIn | Shape::FanOut => heard.ledger.fault(&sent),
                Shape::Pairs => heard.ledger.fault(sent.get(*index..).unwrap_or_default()),
            };
        }
        fault.verdict().map(|()| latency).map_err(LoadError::from)
    }

    /// Waits a little, and takes the outcome of a task that ended.
    async fn look(&mut self, time: Duration) -> Result<(), LoadError> {
        let until = Instant::now() + time;
        loop {
            let ended = tokio::select! {
                Some(ended) = self.tasks.join_next() => ended,
                () = sleep_until(until) => return Ok(()),
            };
            match ended?? {
                Ended::Published(link) => self.published.push(*link),
                Ended::Heard(index, heard) => self.heard.push((index, *heard)),
                Ended::Paced => {}
            }
        }
    }

    /// Fails when the last delivery lies too far back.
    fn still_moves(&self, moved: &mut (Instant, u64)) -> Result<(), LoadError> {
        let delivered = self.delivered();
        if delivered != moved.1 {
            *moved = (Instant::now(), delivered);
        } else if moved.0.elapsed() > STALLED {
            let expected = sum(&self.sent) * u64::from(self.traffic.receivers());
            let lost = expected.saturating_sub(delivered);
            return Err(Fault {
                expected,
                lost,
                ..Fault::default()
            }
            .into());
        }
        Ok(())
    }
}

/// Tells this run's messages from those of others.
fn nonce() -> u32 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |now| now.subsec_nanos()) ^ std::process::id()
}

fn count(count: usize) -> u64 {
    crate::load::plan::count(count)
}

/// Publishers are numbered; a plan has no more of them than fit.
fn number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}
