//! Who is revoked, by the lists of authorities and by operators, as one value that is swapped
//! whole.
//!
//! A question costs a few look-ups in hash maps, however many are revoked. The numbers of lists
//! only rise, also where the lists themselves are gone.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::UnixTime;
use thiserror::Error;

use super::list::{Freshness, RevocationList};
use super::list_id::ListId;
use super::number::ListNumber;
use super::revoked::Revoked;
use crate::certificate::Certificate;
use crate::refusal::Refusal;
use crate::serial::Serial;
use crate::subject::Subject;

/// Who was revoked: certificates by issuer key and serial number, devices by name.
///
/// Cheap to clone as far as lists go: clones share them.
#[derive(Clone, Debug, Default)]
pub struct RevocationSet {
    /// By the id of the issuer's key.
    lists: HashMap<Box<[u8]>, Vec<Arc<RevocationList>>>,
    seen: BTreeMap<ListId, Seen>,
    certificates: HashMap<Box<[u8]>, HashMap<Serial, Revoked>>,
    devices: HashMap<Subject, Revoked>,
}

/// The newest list of an id that was ever seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its number.
    pub number: ListNumber,
    /// [`RevocationList::sha256`].
    pub sha256: [u8; 32],
}

/// What became of a list that was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replaced {
    /// It took its place.
    New,
    /// It is the one that was there.
    Same,
}

/// A list is not newer than one that was seen before: it is old, or two have one number.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("revocation list {id} has number {offered}, and {have} was seen before; numbers only rise")]
pub struct NotNewer {
    /// Which list it is.
    pub id: ListId,
    /// The number that was seen.
    pub have: ListNumber,
    /// The number of the list.
    pub offered: ListNumber,
}

impl RevocationSet {
    /// Puts a list in the place of the one with its id.
    ///
    /// # Errors
    /// [`NotNewer`] when its number is lower than one that was seen, or equal to it in another
    /// list: an old list put back would bring a device back.
    pub fn replace_list(&mut self, list: RevocationList) -> Result<Replaced, NotNewer> {
        let offered = Seen {
            number: list.number(),
            sha256: *list.sha256(),
        };
        if let Some(have) = self.seen.get(list.id()) {
            let same = have == &offered;
            if same && self.lists().any(|present| present.id() == list.id()) {
                return Ok(Replaced::Same);
            }
            if !same && offered.number <= have.number {
                let (id, have) = (list.id().clone(), have.number);
                return Err(NotNewer {
                    id,
                    have,
                    offered: offered.number,
                });
            }
        }
        self.seen.insert(list.id().clone(), offered);
        let lists = self.lists.entry(list.issuer_key_id().into()).or_default();
        lists.retain(|old| old.id() != list.id());
        lists.push(Arc::new(list));
        Ok(Replaced::New)
    }

    /// Remembers a list that was seen before, perhaps by an earlier process; never forgets a
    /// higher number.
    pub fn remember(&mut self, id: ListId, seen: Seen) {
        let newest = self.seen.entry(id).or_insert(seen);
        if newest.number < seen.number {
            *newest = seen;
        }
    }

    /// The newest list of each id that was ever seen: what must be kept on disk.
    pub fn seen(&self) -> impl Iterator<Item = (&ListId, &Seen)> {
        self.seen.iter()
    }

    /// The lists that are there.
    pub fn lists(&self) -> impl Iterator<Item = &Arc<RevocationList>> {
        self.lists.values().flatten()
    }

    /// The same numbers and entries of its own, and no lists: to be filled from files again.
    #[must_use]
    pub fn without_lists(&self) -> Self {
        Self {
            lists: HashMap::new(),
            ..self.clone()
        }
    }

    /// Whether the lists on which a certificate would be, were it revoked, speak of the present;
    /// `None` when there is none. One that does is enough (RFC 5280 §6.3.3).
    pub fn freshness(&self, certificate: &Certificate, now: UnixTime) -> Option<Freshness> {
        let covering = self.lists_about(certificate);
        let covering = covering.filter(|list| list.covers(certificate));
        covering.map(|list| list.freshness(now)).min()
    }

    /// Asks whether the lists of the certificate's issuer are recent enough to let somebody in:
    /// one that would have the certificate on it is out of date for no longer than `grace`. An
    /// issuer without lists about certificates of this kind is not asked for any.
    ///
    /// # Errors
    /// [`Refusal::StaleRevocationList`], or [`Refusal::NoRevocationList`] where there are lists for
    /// other distribution points alone.
    pub fn check_fresh(
        &self,
        certificate: &Certificate,
        grace: Duration,
        now: UnixTime,
    ) -> Result<(), Refusal> {
        match self.freshness(certificate, now) {
            Some(Freshness::Stale { since }) if since > grace => {
                Err(Refusal::StaleRevocationList { since })
            }
            None if self.lists_about(certificate).next().is_some() => {
                Err(Refusal::NoRevocationList)
            }
            None | Some(Freshness::Fresh | Freshness::NotYet { .. } | Freshness::Stale { .. }) => {
                Ok(())
            }
        }
    }

    /// The lists of the certificate's issuer about certificates of its kind.
    fn lists_about(&self, certificate: &Certificate) -> impl Iterator<Item = &RevocationList> {
        let extensions = &certificate.extensions;
        let kind = extensions.basic_constraints;
        let issuer = extensions.issuer_key_id.as_deref().unwrap_or_default();
        let lists = self.lists.get(issuer).into_iter().flatten();
        lists
            .filter(move |list| list.scope().includes(kind))
            .map(|list| &**list)
    }

    /// Adds one certificate of the issuer whose key has the identifier `issuer_key_id`. What was
    /// said of it first stands.
    pub fn revoke_certificate(&mut self, issuer_key_id: &[u8], serial: Serial, revoked: Revoked) {
        let serials = self.certificates.entry(issuer_key_id.into()).or_default();
        serials.entry(serial).or_insert(revoked);
    }

    /// Adds a device with every certificate whose validity does not begin after the time of its
    /// revocation: one that is issued to it later, on purpose, is good again.
    pub fn revoke_subject(&mut self, subject: Subject, revoked: Revoked) {
        let entry = self.devices.entry(subject).or_insert(revoked);
        if entry.at < revoked.at {
            *entry = revoked;
        }
    }

    /// The devices that were added, in no order.
    pub fn own_subjects(&self) -> impl Iterator<Item = (&Subject, &Revoked)> {
        self.devices.iter()
    }

    /// The certificates that were added by issuer key id and serial number, in no order.
    pub fn own_certificates(&self) -> impl Iterator<Item = (&[u8], Serial, &Revoked)> {
        self.certificates.iter().flat_map(|(issuer, serials)| {
            serials
                .iter()
                .map(move |(serial, revoked)| (&**issuer, *serial, revoked))
        })
    }

    /// Since when and why a certificate is revoked, by a list or by an entry of its own. Good for
    /// the certificates of authorities too.
    pub fn find_certificate(&self, issuer_key_id: &[u8], serial: Serial) -> Option<Revoked> {
        let own = self.certificates.get(issuer_key_id);
        own.and_then(|serials| serials.get(&serial).copied())
            .or_else(|| {
                let lists = self.lists.get(issuer_key_id)?;
                lists.iter().find_map(|list| list.find(serial))
            })
    }

    /// Since when and why a device is revoked, with those certificates whose validity had begun.
    pub fn find_subject(&self, subject: &Subject) -> Option<Revoked> {
        self.devices.get(subject).copied()
    }

    /// Asks whether a certificate, or the device `subject` that holds it, is revoked.
    ///
    /// # Errors
    /// [`Refusal::RevokedDevice`] or [`Refusal::RevokedCertificate`]; [`Refusal::NoIssuerKeyId`]
    /// when nobody could tell.
    pub(crate) fn check(
        &self,
        subject: &Subject,
        certificate: &Certificate,
    ) -> Result<(), Refusal> {
        if let Some(revoked) = self.find_subject(subject)
            && certificate.not_before <= revoked.at
        {
            return Err(Refusal::RevokedDevice(revoked));
        }
        let issuer = certificate.extensions.issuer_key_id.as_deref();
        let issuer = issuer.ok_or(Refusal::NoIssuerKeyId)?;
        match self.find_certificate(issuer, certificate.serial) {
            Some(revoked) => Err(Refusal::RevokedCertificate(revoked)),
            None => Ok(()),
        }
    }
}
