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
use super::gate::Gate;
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
    pub(super) gate: Arc<Gate>,
    pub(super) work: mpsc::Receiver<Work>,
    pub(super) tls: Arc<Tls>,
    pub(super) counters: Arc<Counters>,
    /// Under which names the server is reached.
    pub(super) names: Vec<ServerName<'static>>,
    /// Its certificate.
    pub(super) certificate: certs::Certificate,
    pub(super) notes: Notes,
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
    /// Starts the thread, which ends once nobody can bring it work. It drops `alive` when it ends,
    /// for whatever reason.
    pub(super) fn start(
        mut self,
        alive: oneshot::Sender<()>,
    ) -> Result<thread::JoinHandle<()>, CommandError> {
        let thread = thread::Builder::new().name("enrolment".into());
        let run = move || {
            let _alive = alive;
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
        if let Err(error) = self.follow() {
            // Whoever asked is told that it failed here: nothing is issued by one who should not.
            tracing::error!(error = %certs::WithCauses(&error), "nobody is served");
            return;
        }
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

    /// Goes by those who issue now: another command may have switched to others.
    fn follow(&mut self) -> Result<(), CommandError> {
        if self.desk.follow(UnixTime::now())? {
            self.gate.replace(self.desk.authorities()?);
            tracing::info!("the authorities have changed");
        }
        if !self.desk.is_issuer_of(&self.certificate) {
            self.certify_server();
        }
        Ok(())
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
        if is_near_its_end(&self.certificate, UnixTime::now()) {
            self.certify_server();
        }
    }

    fn certify_server(&mut self) {
        let renewed = self.desk.certify_server(&self.names, UnixTime::now());
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
    use certs::Role;
    use rustls_pki_types::ServerName;

    use super::*;
    use crate::enrol::limits::Limits;
    use crate::testing::{ago, up};
    use crate::{RotateRequest, RotationStage, ca_rotate};

    fn writer(dir: &std::path::Path, made: UnixTime) -> Writer {
        up(dir, 0, made).unwrap();
        let mut desk = Desk::open(dir, None, made).unwrap();
        let names = vec![ServerName::try_from("localhost").unwrap()];
        let identity = desk.certify_server(&names, made).unwrap();
        let certificate = identity.certificate.clone();
        let gate = Arc::new(desk.gate(Duration::ZERO).unwrap());
        Writer {
            desk,
            gate: Arc::clone(&gate),
            work: mpsc::channel(1).1,
            tls: Arc::new(Tls::new(gate, identity).unwrap()),
            counters: Arc::default(),
            names,
            certificate,
            notes: Notes::new(Limits::default().notes_of_hour, Instant::now()),
        }
    }

    #[test]
    fn the_server_renews_its_own_certificate_in_the_last_third_of_its_life() {
        for (age, renews) in [(1, false), (89, true)] {
            let temp = tempfile::tempdir().unwrap();
            let mut writer = writer(temp.path(), ago(Duration::from_hours(24 * age)));
            let (serial, config) = (writer.certificate.serial, writer.tls.config());
            writer.turn(vec![Work::Look]);
            assert_eq!(writer.certificate.serial != serial, renews, "{age}");
            assert_eq!(!Arc::ptr_eq(&writer.tls.config(), &config), renews, "{age}");
        }
    }

    /// Another command rotates while the server serves.
    #[test]
    fn the_server_goes_by_the_authorities_that_issue_now() {
        let temp = tempfile::tempdir().unwrap();
        let mut writer = writer(temp.path(), ago(Duration::from_hours(24)));
        let before = writer.certificate.clone();
        writer.turn(vec![Work::Look]);
        assert_eq!(writer.certificate, before, "nothing has changed");
        let rotate = |role| {
            for stage in &RotationStage::ALL[..3] {
                let request = RotateRequest::new(temp.path(), role, *stage);
                ca_rotate(&request, UnixTime::now()).unwrap();
            }
        };
        let both = [Role::DeviceCa, Role::ServerCa];
        writer.desk.step_aside(|| both.map(rotate)).unwrap();
        writer.turn(vec![Work::Look]);
        assert!(writer.certificate.issuer.ends_with("server CA 2"));
        let authorities = writer.gate.authorities();
        let names = authorities
            .issuers
            .iter()
            .map(|it| &*it.certificate().subject);
        let numbers: Vec<_> = names.map(|name| &name[name.len() - 1..]).collect();
        assert_eq!(numbers, ["1", "2"]);
        assert_eq!(
            authorities.certificates.len(),
            3,
            "a root and two device CAs"
        );
        assert_eq!(authorities.keys.len(), 5);
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
