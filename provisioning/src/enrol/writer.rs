//! The one thread that signs and records: it takes what has gathered and commits it as one.
//!
//! No timer: while one batch is synced the next one gathers. Nobody is answered before the
//! transaction of its batch is on disk.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustls_pki_types::{ServerName, UnixTime};
use tokio::sync::{mpsc, oneshot};

use super::desk::Desk;
use super::limits::{Counted, Counters};
use super::tls::Tls;
use crate::commands::is_near_its_end;
use crate::error::CommandError;
use crate::registry::{Answer, Asked, NotEnrolled};

/// So many are recorded together at most: enough to make the disk's share of each small, few enough
/// that other commands wait for a moment only.
const BATCH_LEN_MAX: usize = 128;

/// Another command that waits for the directory gets it while we wait for this long.
const TURN_OF_OTHERS: Duration = Duration::from_millis(1);

const HOUR: Duration = Duration::from_hours(1);

/// What there is to do.
pub(super) enum Work {
    /// Somebody asks for a certificate.
    Enrol(Box<Asked>, oneshot::Sender<Result<Answer, NotEnrolled>>),
    /// Somebody was refused before anybody was asked.
    Note { subject: String, words: String },
    /// Time has gone by: the server's own certificate may be near its end.
    Look,
}

/// What the thread works with.
pub(super) struct Writer {
    pub(super) desk: Desk,
    pub(super) work: mpsc::Receiver<Work>,
    pub(super) tls: Arc<Tls>,
    pub(super) counters: Arc<Counters>,
    /// Under which names the server is reached.
    pub(super) names: Vec<ServerName<'static>>,
    /// Its certificate.
    pub(super) certificate: certs::Certificate,
    pub(super) notes: Notes,
    /// Dropped when the thread ends, for whatever reason.
    #[allow(dead_code, reason = "held for its drop")]
    pub(super) alive: oneshot::Sender<()>,
}

/// How many refusals may still be noted in this hour.
pub(super) struct Notes {
    of_hour: usize,
    left: usize,
    since: Instant,
}

impl Notes {
    pub(super) fn new(of_hour: usize, now: Instant) -> Self {
        Self {
            of_hour,
            left: of_hour,
            since: now,
        }
    }

    fn left(&mut self, now: Instant) -> usize {
        if now.duration_since(self.since) >= HOUR {
            *self = Self::new(self.of_hour, now);
        }
        self.left
    }

    fn take(&mut self, count: usize) {
        self.left = self.left.saturating_sub(count);
    }
}

impl Writer {
    /// Starts the thread, which ends once nobody can bring it work.
    pub(super) fn start(mut self) -> Result<thread::JoinHandle<()>, CommandError> {
        let thread = thread::Builder::new().name("enrolment".into());
        let run = move || {
            if let Err(error) = self.run() {
                tracing::error!(error = %certs::WithCauses(&error), "enrolment stopped");
            }
        };
        thread.spawn(run).map_err(CommandError::Thread)
    }

    fn run(&mut self) -> Result<(), CommandError> {
        loop {
            let gathered = {
                let work = &mut self.work;
                self.desk.step_aside(|| gather(work))?
            };
            if gathered.is_empty() {
                return Ok(());
            }
            self.turn(gathered);
        }
    }

    fn turn(&mut self, gathered: Vec<Work>) {
        let (mut asked, mut peers) = (Vec::new(), Vec::new());
        for work in gathered {
            match work {
                // Whoever has gone meanwhile asks again.
                Work::Enrol(_, peer) if peer.is_closed() => {}
                Work::Enrol(one, peer) => {
                    asked.push(*one);
                    peers.push(peer);
                }
                Work::Note { subject, words } => self.note(&subject, &words),
                Work::Look => self.renew_server(),
            }
        }
        if !asked.is_empty() {
            self.answer(&asked, peers);
        }
    }

    fn answer(
        &mut self,
        asked: &[Asked],
        peers: Vec<oneshot::Sender<Result<Answer, NotEnrolled>>>,
    ) {
        let left = self.notes.left(Instant::now());
        let answers = match self.desk.answer(asked, (UnixTime::now(), left)) {
            Ok(answers) => answers,
            Err(error) => {
                // Each peer that is dropped is told that it failed here.
                tracing::error!(error = %certs::WithCauses(&error), "nothing was recorded");
                return;
            }
        };
        let refused = answers.iter().filter_map(|answer| answer.as_ref().err());
        let refused = refused.filter(|why| why.is_refusal()).count();
        self.notes.take(refused);
        for _ in left..refused {
            self.counters.count(Counted::NotNoted);
        }
        for (peer, answer) in peers.into_iter().zip(answers) {
            // Who has gone meanwhile asks again, and is answered the same.
            let _ = peer.send(answer);
        }
    }

    fn note(&mut self, subject: &str, words: &str) {
        if self.notes.left(Instant::now()) == 0 {
            self.counters.count(Counted::NotNoted);
            return;
        }
        self.notes.take(1);
        // A refusal that cannot be noted is a refusal all the same.
        let _ = self.desk.note_refusal((subject, words), UnixTime::now());
    }

    /// Renews the server's own certificate in the last third of its life.
    fn renew_server(&mut self) {
        let now = UnixTime::now();
        if !is_near_its_end(&self.certificate, now) {
            return;
        }
        let renewed = self.desk.certify_server(&self.names, now);
        let renewed = renewed.and_then(|identity| {
            let certificate = identity.certificate.clone();
            self.tls.replace(identity).map(|()| certificate)
        });
        match renewed {
            Ok(certificate) => self.certificate = certificate,
            Err(error) => {
                tracing::error!(error = %certs::WithCauses(&error), "own certificate not renewed");
            }
        }
    }
}

/// Waits for work and takes what is there; nothing when nobody can bring any more.
fn gather(work: &mut mpsc::Receiver<Work>) -> Vec<Work> {
    if !work.is_empty() {
        thread::sleep(TURN_OF_OTHERS);
    }
    let mut gathered = Vec::new();
    gathered.extend(work.blocking_recv());
    while gathered.len() < BATCH_LEN_MAX && !gathered.is_empty() {
        let Ok(more) = work.try_recv() else { break };
        gathered.push(more);
    }
    gathered
}

#[cfg(test)]
mod tests {
    use rustls_pki_types::ServerName;

    use super::*;
    use crate::enrol::limits::Limits;
    use crate::testing::up;

    fn ago(days: u64) -> UnixTime {
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
        let then = now.checked_sub(Duration::from_hours(24 * days)).unwrap();
        UnixTime::since_unix_epoch(then)
    }

    fn writer(dir: &std::path::Path, made: UnixTime) -> Writer {
        up(dir, 0, made).unwrap();
        let mut desk = Desk::open(dir, None, made).unwrap();
        let names = vec![ServerName::try_from("localhost").unwrap()];
        let identity = desk.certify_server(&names, made).unwrap();
        let certificate = identity.certificate.clone();
        let gate = Arc::new(desk.gate(Duration::ZERO).unwrap());
        Writer {
            desk,
            work: mpsc::channel(1).1,
            tls: Arc::new(Tls::new(gate, identity).unwrap()),
            counters: Arc::default(),
            names,
            certificate,
            notes: Notes::new(Limits::default().notes_of_hour, Instant::now()),
            alive: oneshot::channel().0,
        }
    }

    #[test]
    fn the_server_renews_its_own_certificate_in_the_last_third_of_its_life() {
        for (age, renews) in [(1, false), (89, true)] {
            let temp = tempfile::tempdir().unwrap();
            let mut writer = writer(temp.path(), ago(age));
            let (serial, config) = (writer.certificate.serial, writer.tls.config());
            writer.turn(vec![Work::Look]);
            assert_eq!(writer.certificate.serial != serial, renews, "{age}");
            assert_eq!(!Arc::ptr_eq(&writer.tls.config(), &config), renews, "{age}");
        }
    }

    #[test]
    fn an_hour_has_so_many_notes() {
        let start = Instant::now();
        let mut notes = Notes::new(3, start);
        notes.take(2);
        assert_eq!(notes.left(start), 1);
        notes.take(2);
        assert_eq!(notes.left(start + Duration::from_secs(3_599)), 0);
        assert_eq!(notes.left(start + HOUR), 3);
    }
}
