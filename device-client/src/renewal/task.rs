//! The task that renews: it asks, tries, writes down and hands over, one step at a time.
//!
//! Whatever fails, the identity that worked is still there and counts, and nothing is left behind
//! beside it. A certificate that could not be tried, because there is no way to the broker, is kept
//! to be tried later: the enrolment server is not asked for another.

use std::future::pending;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};
use tracing::{Instrument, debug, info, warn};

use super::Renewal;
use super::application::{Application, Granted, Present};
use super::error::EnrolError;
use super::est::Asker;
use super::probe::Prober;
use super::schedule::{Now, Schedule, Setback, Term};
use crate::client::{CertificateStatus, Status};
use crate::disk::on_disk;
use crate::error::ConnectError;
use crate::identity::{Home, Identity, Parts, Staged};

/// Renews the identity of one device.
pub(crate) struct Renewer {
    pub(crate) renewal: Renewal,
    /// The newest that counts.
    pub(crate) present: Identity,
    pub(crate) home: Arc<Mutex<Home>>,
    pub(crate) prober: Prober,
    pub(crate) device: mpsc::Sender<Replacement>,
    pub(crate) status: watch::Sender<Status>,
    /// Drawn evenly from all numbers.
    pub(crate) chance: fn() -> u32,
}

/// An identity to go on with.
#[derive(Debug)]
pub(crate) struct Replacement {
    pub(crate) identity: Identity,
    /// To go back to, if a broker refuses the other.
    pub(crate) before: Identity,
    /// Told when a broker has let it in, or has refused it.
    pub(crate) used: oneshot::Sender<Result<(), ConnectError>>,
}

/// Ends with the device.
#[derive(Debug)]
pub(crate) struct Renewing(AbortHandle);

impl Drop for Renewing {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
impl Renewing {
    /// One that a test takes the place of.
    pub(crate) fn idle() -> Self {
        Self(tokio::spawn(pending::<()>()).abort_handle())
    }
}

impl Renewer {
    pub(crate) fn start(self) -> Renewing {
        let now = now();
        let schedule = Schedule::new(
            self.renewal.pace,
            Term::of(&self.present),
            now,
            (self.chance)(),
        );
        let task = Task {
            schedule,
            candidate: None,
            use_of: UseOf::Opened,
            renewer: self,
        };
        Renewing(tokio::spawn(task.run().in_current_span()).abort_handle())
    }
}

struct Task {
    renewer: Renewer,
    schedule: Schedule,
    /// Accepted, and not tried yet.
    candidate: Option<Candidate>,
    use_of: UseOf,
}

/// A new certificate whose key is on the disk.
struct Candidate {
    staged: Staged,
    granted: Granted,
}

/// Whether the identity that counts has been used for a connection.
enum UseOf {
    /// The one that was opened, not yet: until then there may be an older version.
    Opened,
    /// The one that replaced `before`, not yet.
    Renewed {
        used: oneshot::Receiver<Result<(), ConnectError>>,
        before: Identity,
    },
    /// It has.
    Seen,
}

impl Task {
    async fn run(mut self) {
        loop {
            self.tell();
            let wait = self.schedule.wait(now());
            if wait.is_zero() {
                self.attempt().await;
                continue;
            }
            tokio::select! {
                used = self.use_of.next(&self.renewer.status) => self.used(used).await,
                () = sleep(wait) => {}
                () = self.renewer.device.closed() => return,
            }
        }
    }

    async fn attempt(&mut self) {
        debug!("renewing the certificate");
        let result = self.renew().await;
        let chance = (self.renewer.chance)();
        match result {
            Ok(()) => {
                let term = Term::of(&self.renewer.present);
                self.schedule.renewed(term, now(), chance);
                info!(serial = ?self.renewer.present.serial(), "the certificate was renewed");
                self.note(|certificate| {
                    certificate.renewals = certificate.renewals.wrapping_add(1);
                    certificate.last_failure = None;
                });
            }
            Err(error) => {
                warn!(error = %certs::WithCauses(&error), "the certificate was not renewed");
                self.schedule.failed(now(), error.setback(), chance);
                self.note(|certificate| certificate.last_failure = Some(error));
            }
        }
    }

    /// One attempt, from where the last one came to.
    async fn renew(&mut self) -> Result<(), EnrolError> {
        let mut candidate = match self.candidate.take() {
            Some(candidate) if !candidate.granted.identity.has_expired() => candidate,
            Some(stale) => {
                self.on_disk(move |home| home.discard(&stale.staged))
                    .await?;
                self.enrol().await?
            }
            None => self.enrol().await?,
        };
        if let Err(error) = self.try_out(&mut candidate.granted).await {
            if error.is_about_certificate() {
                self.on_disk(move |home| home.discard(&candidate.staged))
                    .await?;
                return Err(EnrolError::Probe(error));
            }
            // With nothing to lose there is nothing to try.
            if !self.renewer.present.has_expired() {
                self.candidate = Some(candidate);
                return Err(EnrolError::Probe(error));
            }
        }
        self.switch(candidate).await
    }

    /// Tries a new certificate at the broker: if others are served in the place of some who are
    /// trusted, at first without these.
    async fn try_out(&self, granted: &mut Granted) -> Result<(), ConnectError> {
        if let Some(narrow) = granted.narrow.take() {
            let server = &self.renewer.renewal.server;
            // One that tells of no authorities has proved itself before it says so.
            let has_proved_itself = matches!(
                server.authorities(narrow.identity.https()).await,
                Ok(_) | Err(EnrolError::Refused { .. } | EnrolError::Answer(_))
            );
            if has_proved_itself && self.renewer.prober.probe(&narrow.identity).await.is_ok() {
                info!("authorities that are gone are not trusted any more");
                *granted = *narrow;
                return Ok(());
            }
        }
        self.renewer.prober.probe(&granted.identity).await
    }

    /// A new certificate, accepted and not tried. When there is none, nothing is left of it.
    async fn enrol(&mut self) -> Result<Candidate, EnrolError> {
        let (key, bundle) = (
            self.renewer.renewal.key,
            self.renewer.renewal.bundle.clone(),
        );
        let prepare = move |home: &mut Home| -> Result<_, EnrolError> {
            let mut present = Present::read(Parts::open(&home.files())?)?;
            let followed = bundle.map(|bundle| present.follow(&bundle));
            let application = Application::renewal(&present, key)?;
            let staged = home.stage(&application.key())?;
            Ok(((present, application, staged), followed))
        };
        let ((mut present, application, staged), followed) = self.on_disk(prepare).await?;
        let failure = followed.and_then(Result::err);
        if let Some(error) = &failure {
            warn!(error = %certs::WithCauses(error), "the trust bundle is not followed");
        }
        self.note(|certificate| certificate.bundle_failure = failure);
        match self.ask(&mut present, &application).await {
            Ok(granted) => Ok(Candidate { staged, granted }),
            Err(error) => {
                self.on_disk(move |home| home.discard(&staged)).await?;
                Err(error)
            }
        }
    }

    async fn ask(
        &self,
        present: &mut Present,
        application: &Application,
    ) -> Result<Granted, EnrolError> {
        let Renewal { server, trust, .. } = &self.renewer.renewal;
        let tls = self.renewer.present.https();
        match server.authorities(Arc::clone(&tls)).await {
            Ok(served) => present.learn(served, *trust)?,
            // One that tells of none may certify all the same.
            Err(error @ (EnrolError::Refused { .. } | EnrolError::Answer(_))) => {
                debug!(%error, "no authorities are served");
            }
            Err(error) => return Err(error),
        }
        let answer = server.enrol(tls, Asker::Holder, &application.request);
        application.judge(&answer.await?, present)
    }

    /// Lets a certificate count, and hands it to the device.
    async fn switch(&mut self, candidate: Candidate) -> Result<(), EnrolError> {
        let Candidate { staged, granted } = candidate;
        let (chain, authorities) = (granted.chain_pem, granted.authorities);
        let switch = move |home: &mut Home| {
            let switched = home.switch(&staged, (chain.as_bytes(), &authorities));
            if switched.is_err() {
                // What went wrong first is what is told.
                let _ = home.discard(&staged);
            }
            switched
        };
        self.on_disk(switch).await?;
        let before = std::mem::replace(&mut self.renewer.present, granted.identity);
        let (tell, used) = oneshot::channel();
        let replacement = Replacement {
            identity: self.renewer.present.clone(),
            before: before.clone(),
            used: tell,
        };
        self.use_of = UseOf::Renewed { used, before };
        // A device that has ended ends us too.
        let _ = self.renewer.device.send(replacement).await;
        Ok(())
    }

    /// The identity that counts was used, or refused.
    async fn used(&mut self, result: Option<Result<(), ConnectError>>) {
        let use_of = std::mem::replace(&mut self.use_of, UseOf::Seen);
        let kept = match (result, use_of) {
            (Some(Ok(())), _) => self.on_disk(|home| home.retire()).await,
            (Some(Err(error)), UseOf::Renewed { before, .. }) => {
                warn!(%error, "back to the certificate before");
                self.renewer.present = before;
                let term = Term::of(&self.renewer.present);
                let chance = (self.renewer.chance)();
                self.schedule = Schedule::new(self.renewer.renewal.pace, term, now(), chance);
                self.schedule.failed(now(), Setback::Refused, chance);
                let failure = EnrolError::Probe(error);
                self.note(|certificate| certificate.last_failure = Some(failure));
                self.on_disk(Home::revert).await
            }
            (None, _) | (Some(Err(_)), UseOf::Opened | UseOf::Seen) => Ok(()),
        };
        if let Err(error) = kept {
            warn!(error = %certs::WithCauses(&error), "a version of the identity remains");
        }
    }

    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Home) -> T + Send + 'static,
    ) -> T {
        let home = Arc::clone(&self.renewer.home);
        on_disk(move || work(&mut home.lock().unwrap_or_else(PoisonError::into_inner))).await
    }

    /// How it stands with the certificate.
    fn tell(&self) {
        let next_renewal = Some(self.schedule.next(now()));
        let not_after = self.renewer.present.not_after();
        self.note(|certificate| {
            certificate.next_renewal = next_renewal;
            certificate.not_after = not_after;
        });
    }

    /// Without waking those who wait for a change of the connection.
    fn note(&self, note: impl FnOnce(&mut CertificateStatus)) {
        self.renewer.status.send_if_modified(|status| {
            note(&mut status.certificate);
            false
        });
    }
}

impl UseOf {
    /// Ready when there is something to learn about it; `None` when there will be nothing.
    async fn next(&mut self, status: &watch::Sender<Status>) -> Option<Result<(), ConnectError>> {
        match self {
            Self::Opened => {
                let mut status = status.subscribe();
                let connected = status.wait_for(Status::is_connected).await;
                connected.ok().map(|_| Ok(()))
            }
            Self::Renewed { used, .. } => used.await.ok(),
            Self::Seen => pending().await,
        }
    }
}

fn now() -> Now {
    let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Now {
        wall: wall.unwrap_or(Duration::ZERO),
        steady: Instant::now(),
    }
}
