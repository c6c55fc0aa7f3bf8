//! Messages for a session whose client is away: what it costs to keep them, and to hand them over.
//!
//! Both halves can be run by different processes, with whatever happens to the broker in between:
//! the drain knows from the plan alone which messages were acknowledged.

use super::cast::{Cast, Role};
use super::publisher::{Part, Publisher};
use super::run::{Counter, Run, sum};
use super::subscriber::{Flow, Heard, Subscriber};
use super::window::Window;
use super::{KEEP_ALIVE, share_of};
use crate::load::client::{Dialer, Identities, Link, TlsChoice, connect_all};
use crate::load::measure::{Figure, Figures, Meter, Usage, float};
use crate::load::phase::{Observer, Phase};
use crate::load::plan::{
    Batching, Durable, Half, Pace, Plan, Shape, Target, Traffic, Until, count,
};
use crate::load::{Fault, LoadError};
use crate::wire::{Start, Template};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tokio::time::sleep;

/// Marks the messages, whichever process sends or expects them.
const NONCE: u32 = 0x00D0_7AB1;
const LOOK: Duration = Duration::from_millis(5);
/// When nothing moved for so long, nothing will.
const STALLED: Duration = Duration::from_secs(10);

/// Runs once.
pub(in crate::load) async fn run(
    plan: &Plan,
    durable: &Durable,
    observer: &Observer<'_>,
) -> Result<Figures, LoadError> {
    let Until::Count(messages) = plan.span.until else {
        return Err(LoadError::BadSetting {
            what: "count",
            must: "given: so many messages are stored".to_owned(),
        });
    };
    let load = Load::new(plan, durable, messages)?;
    match durable.half {
        Half::Both => {
            let mut figures = load.store(observer).await?;
            figures.set_drain(&load.drain(observer).await?);
            Ok(figures)
        }
        Half::Store => load.store(observer).await,
        Half::Drain => {
            let mut figures = Figures::default();
            figures.set_drain(&load.drain(observer).await?);
            Ok(figures)
        }
    }
}

struct Load<'a> {
    target: &'a Target,
    traffic: Traffic,
    cast: Cast,
    dialer: Dialer,
    /// Messages of each publisher.
    share: u64,
}

impl<'a> Load<'a> {
    fn new(plan: &'a Plan, durable: &Durable, messages: u64) -> Result<Self, LoadError> {
        let target = &plan.target;
        let traffic = durable.traffic();
        let choice = TlsChoice {
            key_exchange: target.key_exchange,
            tickets_max: 0,
        };
        let identities = Identities::find(&target.identities)?;
        Ok(Self {
            target,
            cast: Cast::of(&traffic, &identities, choice)?,
            dialer: Dialer::new(&target.address, target.version, KEEP_ALIVE)?,
            share: share_of(messages, &traffic),
            traffic,
        })
    }

    fn messages(&self) -> u64 {
        self.share * count(self.cast.publishers.len())
    }

    /// Leaves a session behind that subscribes, and publishes for it until all is acknowledged.
    async fn store(&self, observer: &Observer<'_>) -> Result<Figures, LoadError> {
        self.leave_session().await?;
        let of = count(self.cast.publishers.len());
        let tell = |done| observer.tell(Phase::Connecting(count(done), of));
        let clients = self.cast.publishers.iter().map(Role::client).collect();
        let links = connect_all(&self.dialer, clients, &tell).await?;
        let before = self.resident()?;
        let mut meter = Meter::new(self.target, &self.dialer.volume);
        meter.begin(0)?;
        let mut crew = Crew::begin(self, links);
        crew.watch(|done| observer.measuring(done), self.messages())
            .await?;
        let mut figures = meter.end(self.messages()).await?;
        if let (Some(before), Some(after)) = (before, self.resident()?) {
            let grown = after.saturating_sub(before);
            figures.set(
                Figure::ResidentPerMessage,
                float(grown) / float(self.messages()),
            );
        }
        for link in crew.links {
            link.close().await?;
        }
        Ok(figures)
    }

    /// A session that is new, has its subscription, and nobody in it.
    async fn leave_session(&self) -> Result<(), LoadError> {
        let (role, identity) = self.reader()?;
        self.dialer
            .connect(identity, &role.client_id)
            .await?
            .close()
            .await?;
        let mut link = self.lasting().connect(identity, &role.client_id).await?;
        let qos = self.traffic.qos;
        link.subscribe(self.dialer.version, &role.topic, qos)
            .await?;
        link.close().await
    }

    /// Takes up the session and all that waits in it.
    async fn drain(&self, observer: &Observer<'_>) -> Result<Figures, LoadError> {
        let (role, identity) = self.reader()?;
        let mut meter = Meter::new(self.target, &self.dialer.volume);
        meter.begin(0)?;
        let link = self.lasting().connect(identity, &role.client_id).await?;
        if !link.session_present {
            return Err(self.lost(self.messages()));
        }
        let windows = self
            .cast
            .publishers
            .iter()
            .map(|_| Flow::new(Arc::new(Window::open())));
        let (version, qos) = (self.dialer.version, self.traffic.qos);
        let run = Arc::new(Run::new(NONCE));
        let subscriber = Subscriber::new(link, run, (0, windows.collect()), (version, qos));
        let heard = self.hear(subscriber, observer).await?;
        let figures = meter.end(self.messages()).await?;
        let sent = vec![self.share; self.cast.publishers.len()];
        heard.ledger.fault(&sent).verdict()?;
        Ok(figures)
    }

    /// Listens until everything has come.
    async fn hear(
        &self,
        subscriber: Subscriber,
        observer: &Observer<'_>,
    ) -> Result<Heard, LoadError> {
        let counter = subscriber.counter();
        let mut hearing = tokio::spawn(subscriber.receive());
        let mut progress = Progress::begin();
        while counter.read() < self.messages() {
            tokio::select! {
                ended = &mut hearing => return ended?,
                () = sleep(LOOK) => {}
            }
            observer.measuring(float(counter.read()) / float(self.messages()));
            if progress.is_stalled(counter.read()) {
                return Err(self.lost(self.messages() - counter.read()));
            }
        }
        counter.done.notify_one();
        hearing.await?
    }

    fn lost(&self, lost: u64) -> LoadError {
        let expected = self.messages();
        LoadError::Fault(Fault {
            expected,
            lost,
            ..Fault::default()
        })
    }

    fn lasting(&self) -> Dialer {
        let mut dialer = self.dialer.clone();
        dialer.start = Start::Lasting;
        dialer
    }

    fn reader(&self) -> Result<(&Role, &crate::load::client::Identity), LoadError> {
        let role = self.cast.subscribers.first();
        let role = role.ok_or_else(|| LoadError::BadSetting {
            what: "subscribers",
            must: "1".to_owned(),
        })?;
        Ok((role, &role.identity))
    }

    fn resident(&self) -> Result<Option<u64>, LoadError> {
        let usage = self.target.pid.map(Usage::of).transpose()?;
        Ok(usage.map(|usage| usage.resident))
    }
}

/// Publishers at work.
struct Crew {
    tasks: JoinSet<Result<Link, LoadError>>,
    sent: Vec<Arc<Counter>>,
    links: Vec<Link>,
    of: usize,
}

impl Crew {
    fn begin(load: &Load<'_>, links: Vec<Link>) -> Self {
        let run = Arc::new(Run::new(NONCE));
        let (mut tasks, mut sent) = (JoinSet::new(), Vec::new());
        let of = links.len();
        for ((number, role), link) in (0..).zip(&load.cast.publishers).zip(links) {
            let window = Window::open();
            window.allow(load.share);
            let speech = (load.dialer.version, load.traffic.qos);
            let part = Part {
                number,
                template: Template::new(speech, &role.topic, load.traffic.payload),
                window: Arc::new(window),
                share: load.share,
            };
            let publisher = Publisher::new(link, Arc::clone(&run), part, &load.traffic);
            sent.push(publisher.counter());
            tasks.spawn(publisher.publish());
        }
        Self {
            tasks,
            sent,
            links: Vec::new(),
            of,
        }
    }

    /// Waits until everything is acknowledged.
    async fn watch(&mut self, tell: impl Fn(f64), messages: u64) -> Result<(), LoadError> {
        let mut progress = Progress::begin();
        while self.links.len() < self.of {
            tokio::select! {
                Some(ended) = self.tasks.join_next() => self.links.push(ended??),
                () = sleep(LOOK) => {}
            }
            let sent = sum(&self.sent);
            tell(float(sent) / float(messages));
            if progress.is_stalled(sent) {
                return Err(LoadError::Silent { time: STALLED });
            }
        }
        Ok(())
    }
}

/// When a count last grew.
struct Progress {
    at: Instant,
    count: u64,
}

impl Progress {
    fn begin() -> Self {
        Self {
            at: Instant::now(),
            count: 0,
        }
    }

    fn is_stalled(&mut self, count: u64) -> bool {
        if count != self.count {
            (self.at, self.count) = (Instant::now(), count);
        }
        self.at.elapsed() > STALLED
    }
}

impl Figures {
    /// What a drain cost, beside what is there.
    fn set_drain(&mut self, drain: &Self) {
        for (from, to) in [
            (Figure::PerSecond, Figure::DrainedPerSecond),
            (Figure::BrokerCpuUs, Figure::DrainCpuUs),
            (Figure::Units, Figure::Drained),
            (Figure::Resident, Figure::Resident),
        ] {
            if let Some(value) = drain.value(from) {
                self.set(to, value);
            }
        }
    }
}

impl Durable {
    /// As traffic of which nobody hears anything yet.
    fn traffic(&self) -> Traffic {
        Traffic {
            shape: Shape::FanIn,
            qos: self.qos,
            payload: self.payload,
            publishers: self.publishers,
            subscribers: 1,
            window: Some(self.window),
            pace: Pace::Window,
            batching: Batching::Together,
            stalled: 0,
            retained: 0,
        }
    }
}
