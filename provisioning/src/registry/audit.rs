//! What was done here, in order: a chain in which each entry holds the hash of all before it.
//!
//! An entry is written in the transaction of what it speaks of, so neither is there without the
//! other. None is changed or removed: a later hash would not fit, and where the chain stood is
//! signed by the device CA. That the last ones are missing is seen by who kept the number and hash
//! of one.

use std::fmt;

use aws_lc_rs::digest::{Context, SHA256};
use certs::AuditCheckpoint;
use rusqlite::{OptionalExtension, Row, Transaction, params};
use rustls_pki_types::UnixTime;

use super::inventory::time;
use super::{Again, Registry, RegistryError};
use crate::layout::AuthorityId;

/// What the first entry follows.
const NOTHING: [u8; 32] = [0; 32];

/// So long the words of one entry may be: a refusal may quote what somebody sent.
const WORDS_LEN_MAX: usize = 1_000;

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The chain began, or the program that writes it is a later one.
    Begun,
    /// An authority was made.
    Authority,
    /// The key of a root was certified by the root before it.
    CrossCertified,
    /// An authority came to another stage of its life.
    Stage,
    /// A key of an authority was opened.
    KeyOpened,
    /// A first certificate was issued.
    Issued,
    /// A certificate was issued that supersedes another one.
    Renewed,
    /// A device was revoked.
    Revoked,
    /// A device was suspended.
    Suspended,
    /// A device was let in again.
    Resumed,
    /// A revocation list or an export was given its number.
    Published,
    /// A token was made that lets a device enrol once.
    TokenCreated,
    /// A token was used; the entry before says for what.
    TokenUsed,
    /// A token was ended before it was used, or before it was used again.
    TokenRevoked,
    /// A certificate was asked of a root that is elsewhere.
    Requested,
    /// A revocation list of a root that is elsewhere was taken in.
    Installed,
    /// Somebody asked to enrol without a token.
    Asked,
    /// Somebody who asked may enrol.
    Approved,
    /// Somebody who asked may not enrol.
    Denied,
    /// What was made for a device was handed out.
    Delivered,
    /// Something was refused.
    Refused,
    /// The registry was restored from a backup.
    Restored,
}

impl Event {
    const ALL: [Self; 22] = [
        Self::Begun,
        Self::Authority,
        Self::CrossCertified,
        Self::Stage,
        Self::KeyOpened,
        Self::Issued,
        Self::Renewed,
        Self::Revoked,
        Self::Suspended,
        Self::Resumed,
        Self::Published,
        Self::TokenCreated,
        Self::TokenUsed,
        Self::TokenRevoked,
        Self::Requested,
        Self::Installed,
        Self::Asked,
        Self::Approved,
        Self::Denied,
        Self::Delivered,
        Self::Refused,
        Self::Restored,
    ];

    /// The event in one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Begun => "begun",
            Self::Authority => "authority",
            Self::CrossCertified => "cross-certified",
            Self::Stage => "stage",
            Self::KeyOpened => "key-opened",
            Self::Issued => "issued",
            Self::Renewed => "renewed",
            Self::Revoked => "revoked",
            Self::Suspended => "suspended",
            Self::Resumed => "resumed",
            Self::Published => "published",
            Self::TokenCreated => "token-created",
            Self::TokenUsed => "token-used",
            Self::TokenRevoked => "token-revoked",
            Self::Requested => "requested",
            Self::Installed => "installed",
            Self::Asked => "asked",
            Self::Approved => "approved",
            Self::Denied => "denied",
            Self::Delivered => "delivered",
            Self::Refused => "refused",
            Self::Restored => "restored",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|event| event.as_str() == text)
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuditEntry {
    /// Its number: 1, 2, 3, …
    pub number: u64,
    /// When.
    pub at: UnixTime,
    /// What.
    pub event: Event,
    /// About whom or what.
    pub subject: Box<str>,
    /// More, in words.
    pub words: Box<str>,
    /// The hash of this entry and all before it.
    pub hash: [u8; 32],
}

impl AuditEntry {
    /// The hash that an entry must have after one with the hash `before`.
    fn hash_after(&self, before: [u8; 32]) -> [u8; 32] {
        let mut context = Context::new(&SHA256);
        context.update(&before);
        let (number, at) = (self.number.to_string(), self.at.as_secs().to_string());
        for text in [
            &number,
            &at,
            self.event.as_str(),
            &self.subject,
            &self.words,
        ] {
            // With its length, so that no octet can move from one text to the next.
            context.update(format!("{}:{text}", text.len()).as_bytes());
        }
        context.finish().as_ref().try_into().unwrap_or(NOTHING)
    }
}

/// Where a chain that is whole ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainEnd {
    /// How many entries it has.
    pub entries: u64,
    /// The hash of the last one.
    pub hash: [u8; 32],
    /// Up to which entry the device CA has signed; 0 when it has signed none.
    pub signed: u64,
}

/// Puts an entry at the end of the chain: what happened, to whom or what, and more in words.
pub(super) fn note(
    transaction: &Transaction<'_>,
    (event, subject, words): (Event, &str, &str),
    at: UnixTime,
) -> Result<(), RegistryError> {
    let last = stand(transaction)?;
    let (entries, hash) = last.map_or((0, NOTHING), |last| (last.entries, last.hash));
    let mut entry = AuditEntry {
        number: entries + 1,
        at,
        event,
        subject: subject.into(),
        words: shortened(words).into(),
        hash,
    };
    entry.hash = entry.hash_after(hash);
    let sql =
        "INSERT INTO audit (number, at, event, subject, words, hash) VALUES (?, ?, ?, ?, ?, ?)";
    let values = params![
        entry.number.cast_signed(),
        entry.at.as_secs().cast_signed(),
        entry.event.as_str(),
        entry.subject,
        entry.words,
        entry.hash,
    ];
    let inserted = transaction.execute_again(sql, values);
    inserted.map(drop).map_err(RegistryError::doing("write"))
}

/// Where the chain stands; `None` when nothing was done yet.
pub(super) fn stand(
    transaction: &Transaction<'_>,
) -> Result<Option<AuditCheckpoint>, RegistryError> {
    let sql = "SELECT number, hash, at FROM audit ORDER BY number DESC LIMIT 1";
    let last: Option<(i64, [u8; 32], i64)> = transaction
        .query_row_again(sql, [], |row| row.try_into())
        .optional()
        .map_err(RegistryError::doing("read"))?;
    let read = |(number, hash, at): (i64, [u8; 32], i64)| {
        Ok(AuditCheckpoint {
            entries: u64::try_from(number).map_err(|_| RegistryError::Damaged)?,
            hash,
            at: time(at)?,
        })
    };
    last.map(read).transpose()
}

fn shortened(words: &str) -> &str {
    let mut end = words.len().min(WORDS_LEN_MAX);
    while !words.is_char_boundary(end) {
        end -= 1;
    }
    words.get(..end).unwrap_or_default()
}

impl Registry {
    /// Notes that the key of `role` was opened.
    pub(crate) fn note_key_opened(
        &mut self,
        id: AuthorityId,
        at: UnixTime,
    ) -> Result<(), RegistryError> {
        self.note(Event::KeyOpened, (&id.to_string(), ""), at)
    }

    /// Notes that something was refused to `subject`.
    pub(crate) fn note_refusal(
        &mut self,
        subject: &str,
        words: &str,
        at: UnixTime,
    ) -> Result<(), RegistryError> {
        self.note(Event::Refused, (subject, words), at)
    }

    /// Notes that it was restored from a backup.
    pub(crate) fn note_restored(&mut self, words: &str, at: UnixTime) -> Result<(), RegistryError> {
        self.note(Event::Restored, ("registry", words), at)
    }

    fn note(
        &mut self,
        event: Event,
        (subject, words): (&str, &str),
        at: UnixTime,
    ) -> Result<(), RegistryError> {
        self.transact(|transaction| note(transaction, (event, subject, words), at))
    }

    /// The last `most` entries, in their order.
    pub(crate) fn audit_entries(&self, most: usize) -> Result<Vec<AuditEntry>, RegistryError> {
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let mut entries = Vec::new();
        self.each_entry(most, |entry| {
            entries.push(entry);
            Ok(())
        })?;
        Ok(entries)
    }

    /// Checks every entry of the chain against the one before, and every signature.
    pub(crate) fn verify_audit(&self) -> Result<ChainEnd, RegistryError> {
        let mut checkpoints = self.checkpoints()?;
        let (mut entries, mut hash) = (0, NOTHING);
        self.each_entry(i64::MAX, |entry| {
            entries += 1;
            if entry.number != entries || entry.hash != entry.hash_after(hash) {
                return Err(RegistryError::BrokenChain(entries));
            }
            hash = entry.hash;
            checkpoints.check(&entry)
        })?;
        Ok(ChainEnd {
            entries,
            hash,
            signed: checkpoints.finish(entries)?,
        })
    }

    fn each_entry(
        &self,
        most: i64,
        mut each: impl FnMut(AuditEntry) -> Result<(), RegistryError>,
    ) -> Result<(), RegistryError> {
        let sql = "SELECT number, at, event, subject, words, hash FROM
                   (SELECT * FROM audit ORDER BY number DESC LIMIT ?) ORDER BY number";
        let mut statement = self
            .connection
            .prepare(sql)
            .map_err(RegistryError::doing("read"))?;
        let mut rows = statement
            .query([most])
            .map_err(RegistryError::doing("read"))?;
        while let Some(row) = rows.next().map_err(RegistryError::doing("read"))? {
            let number: i64 = row.get(0).map_err(RegistryError::doing("read"))?;
            let entry = read(row).map_err(RegistryError::doing("read"))?;
            each(entry.ok_or(RegistryError::BrokenChain(number.cast_unsigned()))?)?;
        }
        Ok(())
    }
}

/// Reads an entry; `None` when it is none that was ever written.
fn read(row: &Row<'_>) -> rusqlite::Result<Option<AuditEntry>> {
    let (number, at): (i64, i64) = (row.get(0)?, row.get(1)?);
    let event: String = row.get(2)?;
    let (subject, words, hash) = (row.get(3)?, row.get(4)?, row.get(5)?);
    let entry = || {
        Some(AuditEntry {
            number: u64::try_from(number).ok()?,
            at: time(at).ok()?,
            event: Event::parse(&event)?,
            subject,
            words,
            hash,
        })
    };
    Ok(entry())
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;
    use tempfile::TempDir;

    use super::*;
    use crate::layout::Layout;
    use crate::testing::{day, issue, up};

    fn world() -> TempDir {
        let temp = tempfile::tempdir().unwrap();
        up(temp.path(), 1, day(0)).unwrap();
        issue(temp.path(), "dev-1", None).unwrap();
        temp
    }

    fn registry(temp: &TempDir) -> Registry {
        Registry::open(&Layout::new(temp.path()).registry()).unwrap()
    }

    #[test]
    fn what_was_done_stands_there_in_order() {
        let temp = world();
        let entries = registry(&temp).audit_entries(usize::MAX).unwrap();
        let told: Vec<_> = entries
            .iter()
            .map(|entry| (entry.event.as_str(), &*entry.subject))
            .collect();
        let expected = [
            ("authority", "Countersign DEV ONLY root 1"),
            ("authority", "Countersign DEV ONLY device CA 1"),
            ("authority", "Countersign DEV ONLY server CA 1"),
            ("key-opened", "device-ca"),
            ("key-opened", "server-ca"),
            ("issued", "broker"),
            ("issued", "app/app-1"),
            ("issued", "dev-1"),
            ("key-opened", "device-ca"),
            ("renewed", "dev-1"),
        ];
        assert_eq!(told, expected);
        let [before, last] = [7, 9].map(|place| &entries[place]);
        let serial = before.words.strip_prefix("certificate ").unwrap();
        assert!(
            last.words.ends_with(&format!("supersedes {serial}")),
            "{}",
            last.words
        );
        let end = registry(&temp).verify_audit().unwrap();
        assert_eq!((end.entries, end.hash), (last.number, last.hash));
        assert_eq!(registry(&temp).audit_entries(1).unwrap(), entries[9..]);
    }

    #[test]
    fn a_change_anywhere_in_the_chain_is_found() {
        let temp = world();
        let path = Layout::new(temp.path()).registry();
        for (change, broken) in [
            ("UPDATE audit SET at = at + 1 WHERE number = 4", 4),
            ("UPDATE audit SET subject = 'dev-2' WHERE number = 8", 8),
            ("UPDATE audit SET words = '' WHERE number = 1", 1),
            ("UPDATE audit SET event = 'nothing' WHERE number = 5", 5),
            ("UPDATE audit SET hash = zeroblob(32) WHERE number = 10", 10),
            (
                "UPDATE audit SET subject = subject || 'x' WHERE number = 6",
                6,
            ),
            ("DELETE FROM audit WHERE number = 1", 1),
            ("DELETE FROM audit WHERE number = 6", 6),
        ] {
            let copy = temp.path().join("copy.sqlite");
            Connection::open(&path)
                .unwrap()
                .execute("VACUUM INTO ?", [copy.to_str()])
                .unwrap();
            let connection = Connection::open(&copy).unwrap();
            let refused = connection.execute_batch(change).unwrap_err();
            assert!(refused.to_string().contains("only grows"), "{refused}");
            connection
                .execute_batch("DROP TRIGGER audit_no_update; DROP TRIGGER audit_no_delete")
                .unwrap();
            connection.execute_batch(change).unwrap();
            let found = Registry::open(&copy).unwrap().verify_audit().unwrap_err();
            assert!(
                matches!(found, RegistryError::BrokenChain(n) if n == broken),
                "{change}: {found}"
            );
            std::fs::remove_file(copy).unwrap();
        }
    }
}
