//! What vouches for the audit chain: signatures of the device CA over where it stood; of the root
//! where it stands alone.
//!
//! Whatever is committed while that key is open is signed in the same transaction. What comes after
//! without it, such as a token, is vouched for when the key is opened next. The newest signature is
//! kept, and the last of each thousand entries.

use std::collections::BTreeMap;

use certs::{AuditCheckpoint, Authority, Role, Serial};
use rusqlite::{OptionalExtension, Transaction, params};

use crate::authority::der;
use crate::registry::audit::{self, AuditEntry, Event};
use crate::registry::{Registry, RegistryError};

/// Of so many entries the last signature is kept.
const KEPT_EACH: u64 = 1_000;

/// What the chain says of an older registry where signatures begin.
pub(in crate::registry) const BEGUN: &str = "checkpoints";

/// Signs in the name of a device CA, or of a root that stands alone.
pub(crate) struct Signer {
    /// The serial number of its certificate.
    pub(crate) authority: Serial,
    pub(crate) sign: Sign,
}

type Sign = Box<dyn Fn(&[u8]) -> Result<Vec<u8>, rcgen::Error> + Send>;

impl Registry {
    /// From now on, what is committed is signed.
    pub(crate) fn sign_with(&mut self, signer: Signer) {
        self.signer = Some(signer);
    }

    /// Whether what is committed is signed.
    pub(crate) fn is_signed(&self) -> bool {
        self.signer.is_some()
    }

    /// All signatures that there are.
    pub(in crate::registry) fn checkpoints(&self) -> Result<Checkpoints, RegistryError> {
        let sql = "SELECT number, authority, signature FROM checkpoint";
        let rows = self.rows(sql, [], |row| row.try_into())?;
        let mut found = Checkpoints::of(self.voucher()?);
        for (number, authority, signature) in rows {
            let (number, authority, signature): (i64, Vec<u8>, Vec<u8>) =
                (number, authority, signature);
            let number = u64::try_from(number).map_err(|_| RegistryError::Damaged)?;
            if !found.authorities.contains_key(&authority) {
                let known = self.may_vouch(&authority, found.voucher)?;
                found.authorities.insert(authority.clone(), known);
            }
            found.signatures.insert(number, (authority, signature));
        }
        Ok(found)
    }

    /// Who vouches for the chain: a root where there is no other authority.
    fn voucher(&self) -> Result<Role, RegistryError> {
        let all = self.authorities()?;
        let alone = !all.is_empty() && all.iter().all(|it| it.id.role == Role::Root);
        Ok(if alone { Role::Root } else { Role::DeviceCa })
    }

    /// The authority of this role whose certificate has this serial number, if a root on record has
    /// issued it.
    fn may_vouch(&self, serial: &[u8], role: Role) -> Result<Option<Authority>, RegistryError> {
        let sql = "SELECT ca.pem, root.pem FROM certificate AS ca
                   JOIN certificate AS root ON root.serial = ca.issuer
                   WHERE ca.serial = ? AND ca.role = ? AND root.role = ?";
        let keys = params![serial, role.as_str(), Role::Root.as_str()];
        let found: Option<(String, String)> = self
            .connection
            .query_row(sql, keys, |row| row.try_into())
            .optional()
            .map_err(RegistryError::doing("read"))?;
        let Some((ca, root)) = found else {
            return Ok(None);
        };
        let read = || {
            let ca = der(&ca)?;
            Authority::read(&der(&root)?)?.verify_issued(&ca)?;
            Authority::read(&ca)
        };
        read().map(Some).map_err(RegistryError::Unreadable)
    }
}

/// Signs where the chain stands, unless that is signed.
pub(in crate::registry) fn vouch(
    transaction: &Transaction<'_>,
    signer: &Signer,
) -> Result<(), RegistryError> {
    let Some(end) = audit::stand(transaction)? else {
        return Ok(());
    };
    let sql = "SELECT ifnull(max(number), 0) FROM checkpoint";
    let last: i64 = transaction
        .query_row(sql, [], |row| row.get(0))
        .map_err(RegistryError::doing("read"))?;
    if last.cast_unsigned() >= end.entries {
        return Ok(());
    }
    let signature = (signer.sign)(&end.to_octets()).map_err(RegistryError::NotSigned)?;
    let before = end.entries.saturating_sub(1) / KEPT_EACH * KEPT_EACH;
    let sql = "DELETE FROM checkpoint WHERE number > ?";
    let deleted = transaction.execute(sql, [before.cast_signed()]);
    deleted.map_err(RegistryError::doing("write"))?;
    let sql = "INSERT INTO checkpoint (number, authority, signature) VALUES (?, ?, ?)";
    let number = end.entries.cast_signed();
    let values = params![number, signer.authority.as_octets(), signature];
    let inserted = transaction.execute(sql, values);
    inserted.map(drop).map_err(RegistryError::doing("write"))
}

/// Signatures by the number of the entry that each is over, and who made them.
pub(in crate::registry) struct Checkpoints {
    /// Whose key, once open, signs what is done.
    voucher: Role,
    signatures: BTreeMap<u64, (Vec<u8>, Vec<u8>)>,
    /// By the serial numbers of their certificates.
    authorities: BTreeMap<Vec<u8>, Option<Authority>>,
    /// The last entry that must be signed, for the key was open.
    must_be: u64,
}

impl Checkpoints {
    fn of(voucher: Role) -> Self {
        Self {
            voucher,
            signatures: BTreeMap::new(),
            authorities: BTreeMap::new(),
            must_be: 0,
        }
    }

    /// Checks what is said of an entry, which follows those before.
    pub(in crate::registry) fn check(&mut self, entry: &AuditEntry) -> Result<(), RegistryError> {
        match entry.event {
            Event::Begun if &*entry.subject == BEGUN => self.must_be = 0,
            Event::KeyOpened if entry.subject.starts_with(self.voucher.as_str()) => {
                self.must_be = entry.number;
            }
            _ => {}
        }
        let Some((authority, signature)) = self.signatures.get(&entry.number) else {
            return Ok(());
        };
        let stand = AuditCheckpoint {
            entries: entry.number,
            hash: entry.hash,
            at: entry.at,
        };
        let authority = self.authorities.get(authority).and_then(Option::as_ref);
        let verified = authority.is_some_and(|it| stand.verify(signature, it).is_ok());
        if verified {
            Ok(())
        } else {
            Err(RegistryError::Forged(entry.number))
        }
    }

    /// Up to which of `entries` there is a signature.
    pub(in crate::registry) fn finish(self, entries: u64) -> Result<u64, RegistryError> {
        let signed = self.signatures.last_key_value();
        let signed = signed.map_or(0, |(number, _)| *number);
        if signed > entries {
            return Err(RegistryError::BrokenChain(entries + 1));
        }
        if signed < self.must_be {
            return Err(RegistryError::Unsigned(self.must_be));
        }
        Ok(signed)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use certs::DeviceId;
    use rcgen::KeyPair;
    use rusqlite::Connection;
    use tempfile::TempDir;

    use super::*;
    use crate::authority::Hierarchy;
    use crate::layout::Layout;
    use crate::testing::{day, issue, up};
    use crate::{TokenRequest, audit_verify, token_create};

    fn world() -> TempDir {
        let temp = tempfile::tempdir().unwrap();
        up(temp.path(), 1, day(0)).unwrap();
        temp
    }

    fn registry(temp: &TempDir) -> Registry {
        Registry::open(&Layout::new(temp.path()).registry()).unwrap()
    }

    fn token(dir: &Path) {
        let request = TokenRequest {
            dir,
            device: &DeviceId::parse("dev-9").unwrap(),
            ttl: Duration::from_hours(1),
            again: false,
        };
        token_create(&request, day(0)).unwrap();
    }

    #[test]
    fn what_is_done_with_the_key_is_signed_at_once_and_the_rest_with_the_next() {
        let temp = world();
        let stand = || {
            let end = audit_verify(temp.path()).unwrap();
            (end.entries, end.signed)
        };
        assert_eq!(stand(), (8, 8));
        token(temp.path());
        assert_eq!(stand(), (9, 8));
        issue(temp.path(), "dev-9", None).unwrap();
        assert_eq!(stand(), (11, 11));
    }

    #[test]
    fn the_newest_is_kept_and_the_last_of_each_thousand() {
        let temp = world();
        let ca = Hierarchy::open_for_devices(temp.path(), None, day(0));
        let mut registry = ca.unwrap().registry;
        for _ in 0..2_000 {
            registry.note_refusal("dev-1", "", day(0)).unwrap();
        }
        let kept: Vec<i64> = registry
            .rows("SELECT number FROM checkpoint ORDER BY number", [], |row| {
                row.get(0)
            })
            .unwrap();
        assert_eq!(kept, [1_000, 2_000, 2_009]);
        assert_eq!(registry.verify_audit().unwrap().signed, 2_009);
    }

    /// Writes the whole chain anew, in which nothing was done to `dev-1`.
    fn rewrite(temp: &TempDir) {
        let mut registry = registry(temp);
        let entries = registry.audit_entries(usize::MAX).unwrap();
        let sql = "PRAGMA foreign_keys = off; DROP TRIGGER audit_no_delete; DELETE FROM audit";
        registry.connection.execute_batch(sql).unwrap();
        for it in entries {
            let subject = it.subject.replace("dev-1", "dev-2");
            let told = (it.event, &*subject, &*it.words);
            let written = registry.transact(|transaction| audit::note(transaction, told, it.at));
            written.unwrap();
        }
    }

    #[test]
    fn a_chain_written_anew_from_its_start_is_found_with_its_signatures_and_without() {
        let temp = world();
        rewrite(&temp);
        let found = registry(&temp).verify_audit().unwrap_err();
        assert!(matches!(found, RegistryError::Forged(8)), "{found}");
        let connection = Connection::open(Layout::new(temp.path()).registry()).unwrap();
        connection.execute("DELETE FROM checkpoint", []).unwrap();
        let found = registry(&temp).verify_audit().unwrap_err();
        assert!(matches!(found, RegistryError::Unsigned(4)), "{found}");
    }

    #[test]
    fn nobody_but_the_device_ca_signs() {
        let temp = world();
        let mut registry = registry(&temp);
        let authority: Vec<u8> = registry
            .connection
            .query_row("SELECT authority FROM checkpoint", [], |row| row.get(0))
            .unwrap();
        let key = KeyPair::generate().unwrap();
        registry.sign_with(Signer {
            authority: Serial::from_octets(&authority).unwrap(),
            sign: Box::new(move |octets| rcgen::SigningKey::sign(&key, octets)),
        });
        registry.note_refusal("dev-1", "", day(0)).unwrap();
        let found = registry.verify_audit().unwrap_err();
        assert!(matches!(found, RegistryError::Forged(9)), "{found}");

        // Another authority of ours does not either, though its signature is good.
        let temp = world();
        let mut ca = Hierarchy::open(temp.path()).unwrap();
        ca.unlock_server_ca(None, day(0)).unwrap();
        ca.registry.sign_with(ca.server_ca.signer().unwrap());
        ca.registry.note_refusal("dev-1", "", day(0)).unwrap();
        let found = ca.registry.verify_audit().unwrap_err();
        assert!(matches!(found, RegistryError::Forged(10)), "{found}");
    }
}
