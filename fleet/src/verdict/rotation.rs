//! What is noted while authorities are followed by others, and of whoever is sent away.
//!
//! Only who is revoked, or shares his key with another machine, may be sent away unasked.

use super::ledger::{Ledger, Noted};
use std::collections::BTreeSet;

/// How far a rotation is.
#[derive(Debug, Default)]
pub(super) struct Rotation {
    pub(super) stages_due: u32,
    pub(super) stages_done: u32,
    is_under_way: bool,
    has_app_followed: bool,
    followed: BTreeSet<u32>,
    /// Who was sent away and may be there.
    pub(super) sent_away: Noted,
}

/// Why a connection ended that the device did not end, or was not had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// What the device shows, or what it is shown, was not good.
    Certificate,
    /// Anything else.
    Other,
}

impl Ledger {
    /// A stage should be done by now.
    pub(crate) fn stage_due(&self) {
        self.book().rotation.stages_due += 1;
    }

    /// From here on nobody may lose a connection.
    pub(crate) fn stage_begun(&self) {
        self.book().rotation.is_under_way = true;
    }

    pub(crate) fn stage_done(&self) {
        let rotation = &mut self.book().rotation;
        rotation.is_under_way = false;
        rotation.stages_done += 1;
    }

    /// A device has a certificate of the authority that follows.
    pub(crate) fn followed(&self, device: u32) {
        self.book().rotation.followed.insert(device);
    }

    pub(crate) fn app_followed(&self) {
        self.book().rotation.has_app_followed = true;
    }

    /// Whether nobody needs the authority before any more.
    pub(crate) fn have_all_followed(&self) -> bool {
        let book = self.book();
        let Rotation {
            has_app_followed,
            followed,
            ..
        } = &book.rotation;
        let mut pages = book.pages.iter().zip(0..);
        let all = pages.all(|(page, n)| followed.contains(&n) || page.revocation.is_some());
        *has_app_followed && all
    }

    /// A device lost its connection to the broker, or was not let in.
    pub(crate) fn sent_away(&self, device: u32, cause: Cause) {
        let mut book = self.book();
        let page = book.page(device);
        if page.revocation.is_none() && page.clones == 0 {
            let words = || format!("device {device}");
            book.rotation.note(cause, words);
        }
    }

    pub(crate) fn app_sent_away(&self, cause: Cause) {
        let words = || "the application".to_owned();
        self.book().rotation.note(cause, words);
    }
}

impl Rotation {
    fn note(&mut self, cause: Cause, words: impl FnOnce() -> String) {
        if self.is_under_way || cause == Cause::Certificate {
            self.sent_away.note(words);
        }
    }
}
