//! What was said, acknowledged and heard, by whom, and who came and went.
//!
//! Times are since the beginning. A message is known by its device, its way and its number.

use super::Counts;
use super::law::Law;
use super::marks::Marks;
use super::rotation::Rotation;
use protocol::packet::QoS;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Of what is counted, so many are described.
pub(super) const EXAMPLES_MAX: usize = 5;

/// Which way a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// From the device to the application.
    Up,
    /// From the application to the device.
    Down,
}

/// An attempt to come back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt {
    /// Since the connection was lost, or the last attempt failed.
    pub(crate) waited: Duration,
    /// The longest the wait may be.
    pub(crate) ceiling: Duration,
}

/// The book of a run.
#[derive(Debug)]
pub(crate) struct Ledger(Mutex<Book>);

/// All that is noted.
#[derive(Debug, Default)]
pub(super) struct Book {
    pub(super) pages: Vec<Page>,
    /// Of devices there are none of.
    nobody: Page,
    pub(super) law: Law,
    pub(super) leaks: Noted,
    pub(super) let_in: Noted,
    pub(super) sessions_lost: Noted,
    pub(super) rotation: Rotation,
    pub(super) counts: Counts,
    /// Who tried to come in that must not, and has not been answered yet.
    pub(super) intruding: u64,
    pub(super) intruded: u64,
    is_app_at_rest: bool,
}

/// What is counted, and some of it described.
#[derive(Debug, Default)]
pub(super) struct Noted {
    pub(super) count: u64,
    pub(super) examples: Vec<String>,
}

/// What is noted of one device.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) up: Stream,
    pub(super) down: Stream,
    qos: Option<QoS>,
    pub(super) is_connected: bool,
    /// It takes commands.
    pub(super) is_ready: bool,
    /// So many others have its key: what they hear is not exactly once for either.
    pub(super) clones: u32,
    pub(super) is_at_rest: bool,
    pub(super) revocation: Option<Revocation>,
    /// New certificates it came with, and how often it was let in with one.
    pub(super) renewals: (u32, u32),
}

/// The messages of one way.
#[derive(Debug, Default)]
pub(super) struct Stream {
    said: u32,
    pub(super) acknowledged: Marks,
    pub(super) heard: Marks,
    pub(super) twice: u32,
}

/// What is known of a device's end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Revocation {
    pub(super) asked: Duration,
    pub(super) done: Option<Duration>,
    pub(super) cut: Option<Duration>,
}

impl Noted {
    pub(super) fn note(&mut self, words: impl FnOnce() -> String) {
        self.count += 1;
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(words());
        }
    }
}

impl Stream {
    /// What was acknowledged and not heard.
    pub(super) fn lost(&self) -> impl Iterator<Item = u32> {
        self.acknowledged.without(&self.heard)
    }
}

impl Page {
    fn stream(&mut self, way: Way) -> &mut Stream {
        match way {
            Way::Up => &mut self.up,
            Way::Down => &mut self.down,
        }
    }

    pub(super) fn is_exactly_once(&self) -> bool {
        self.qos == Some(QoS::ExactlyOnce)
    }

    /// Whether nothing is expected of it any more.
    fn is_settled(&self) -> bool {
        let has_come = self.is_connected && self.is_at_rest || self.revocation.is_some();
        let down = self.revocation.is_some() || self.down.lost().next().is_none();
        has_come && down && self.up.lost().next().is_none()
    }
}

impl Ledger {
    /// For devices that speak and hear at this QoS each.
    pub(crate) fn new(devices: impl Iterator<Item = QoS>) -> Self {
        let page = |qos| Page {
            qos: Some(qos),
            ..Page::default()
        };
        Self(Mutex::new(Book {
            pages: devices.map(page).collect(),
            ..Book::default()
        }))
    }

    /// A number for a message that is about to be said.
    pub(crate) fn say(&self, device: u32, way: Way) -> u32 {
        let mut book = self.book();
        book.counts.said += 1;
        let stream = book.page(device).stream(way);
        stream.said += 1;
        stream.said - 1
    }

    pub(crate) fn acknowledged(&self, device: u32, (way, number): (Way, u32)) {
        let mut book = self.book();
        book.counts.acknowledged += 1;
        book.page(device).stream(way).acknowledged.mark(number);
    }

    pub(crate) fn heard(&self, device: u32, (way, number): (Way, u32)) {
        let mut book = self.book();
        book.counts.heard += 1;
        let stream = book.page(device).stream(way);
        if !stream.heard.mark(number) {
            stream.twice += 1;
        }
    }

    /// Somebody heard what was not for him.
    pub(crate) fn leaked(&self, words: impl FnOnce() -> String) {
        self.book().leaks.note(words);
    }

    /// A device is in, on a TLS session that was resumed or not. It began to try at `began`.
    pub(crate) fn connected(&self, device: u32, (began, is_resumed): (Duration, bool)) {
        let mut book = self.book();
        book.counts.connections += 1;
        book.counts.resumed += u64::from(is_resumed);
        let page = book.page(device);
        let was_connected = std::mem::replace(&mut page.is_connected, true);
        let revoked = page.revocation.and_then(|revocation| revocation.done);
        book.counts.connected += u64::from(!was_connected);
        if revoked.is_some_and(|done| began > done) {
            let words = || format!("device {device} came in although it is revoked");
            book.let_in.note(words);
        }
    }

    /// A device that was silent is heard again, on the connection it had.
    pub(crate) fn speaks_again(&self, device: u32) {
        let mut book = self.book();
        let was_connected = std::mem::replace(&mut book.page(device).is_connected, true);
        book.counts.connected += u64::from(!was_connected);
    }

    /// A device is out.
    pub(crate) fn disconnected(&self, device: u32, at: Duration) {
        let mut book = self.book();
        let page = book.page(device);
        let was_connected = std::mem::replace(&mut page.is_connected, false);
        if let Some(revocation) = page.revocation.as_mut().filter(|_| was_connected) {
            revocation.cut.get_or_insert(at);
        }
        book.counts.connected -= u64::from(was_connected);
    }

    pub(crate) fn refused(&self) {
        self.book().counts.refused += 1;
    }

    /// A device takes commands from now on.
    pub(crate) fn ready(&self, device: u32) {
        self.book().page(device).is_ready = true;
    }

    pub(crate) fn is_ready(&self, device: u32) -> bool {
        self.book().page(device).is_ready
    }

    /// Whether a device has nothing more to say, and all it said was acknowledged.
    pub(crate) fn rests(&self, device: u32, is_at_rest: bool) {
        self.book().page(device).is_at_rest = is_at_rest;
    }

    /// Whether all the application said was acknowledged.
    pub(crate) fn app_rests(&self, is_at_rest: bool) {
        self.book().is_app_at_rest = is_at_rest;
    }

    pub(crate) fn app_session_lost(&self) {
        let words = || "the session of the application was gone".to_owned();
        self.book().sessions_lost.note(words);
    }

    /// A session that should have been there was not.
    pub(crate) fn session_lost(&self, device: u32) {
        let words = || format!("the session of device {device} was gone");
        self.book().sessions_lost.note(words);
    }

    pub(crate) fn attempted(&self, attempt: Attempt) {
        let ceiling = attempt.ceiling.as_micros().max(1);
        let per_mille = attempt.waited.as_micros() * 1000 / ceiling;
        let per_mille = u64::try_from(per_mille).unwrap_or(u64::MAX);
        self.book().law.note(per_mille);
    }

    /// A device's revocation was asked for; where it is not connected, there is nothing to cut.
    pub(crate) fn revoking(&self, device: u32, asked: Duration) {
        let mut book = self.book();
        let page = book.page(device);
        let cut = (!page.is_connected).then_some(asked);
        let done = None;
        page.revocation
            .get_or_insert(Revocation { asked, done, cut });
    }

    pub(crate) fn revoked(&self, device: u32, done: Duration) {
        if let Some(revocation) = &mut self.book().page(device).revocation {
            revocation.done = Some(done);
        }
    }

    pub(crate) fn is_revoked(&self, device: u32) -> bool {
        self.book().page(device).revocation.is_some()
    }

    pub(crate) fn cloned(&self, device: u32) {
        self.book().page(device).clones += 1;
    }

    pub(crate) fn renewing(&self, device: u32) {
        self.book().page(device).renewals.0 += 1;
    }

    pub(crate) fn renewed(&self, device: u32) {
        self.book().page(device).renewals.1 += 1;
    }

    /// Somebody tries to come in, or to hear, who must not.
    pub(crate) fn intruding(&self) {
        self.book().intruding += 1;
    }

    /// And was answered: let in, in these words, or not.
    pub(crate) fn intruded(&self, let_in: Option<String>) {
        let mut book = self.book();
        book.intruding -= 1;
        book.intruded += 1;
        match let_in {
            Some(words) => book.let_in.note(|| words),
            None => book.counts.refused += 1,
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        self.book().counts
    }

    /// Whether all is back and all that was acknowledged has been heard.
    pub(crate) fn is_settled(&self) -> bool {
        let book = self.book();
        book.intruding == 0 && book.is_app_at_rest && book.pages.iter().all(Page::is_settled)
    }

    pub(super) fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    pub(super) fn page(&mut self, device: u32) -> &mut Page {
        let page = usize::try_from(device)
            .ok()
            .and_then(|index| self.pages.get_mut(index));
        page.unwrap_or(&mut self.nobody)
    }
}
