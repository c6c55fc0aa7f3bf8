//! One registry with what another one of the same authorities has besides: nothing that was revoked
//! there counts here, and no number that was given out there is given out here.
//!
//! A life only goes on: of a certificate that both know, the state that is further on stays.

use std::path::Path;

use certs::{RevocationReason, Revoked, Role, Serial, Status};
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use rustls_pki_types::UnixTime;

use crate::registry::audit::{self, Event};
use crate::registry::certificates::audit_name;
use crate::registry::{Registry, RegistryError};

/// What came from the other registry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Merged {
    /// Certificates that only it knew.
    pub(crate) certificates: usize,
    /// Certificates that counted here until now.
    pub(crate) revoked: usize,
}

/// What is taken over as it is, where it is not known here: table and columns.
const ADDED: &[(&str, &str)] = &[
    ("device", "id, kind, created, removed"),
    ("device_revocation", "device, revoked, reason"),
    ("device_suspension", "device, suspended"),
    ("device_attribute", "device, name, value"),
    ("device_group", "device, name"),
    ("device_tag", "device, name"),
    ("cross_certificate", "serial, subject, issuer, pem, created"),
    ("publication", "kind, issuer, number, created, next_update"),
];

/// Where each went its own way, what is said of a device is what is said of it there: a group taken
/// away must not come back.
const LABELS: &str = "
DELETE FROM device_attribute WHERE device IN (SELECT id FROM other.device);
DELETE FROM device_group WHERE device IN (SELECT id FROM other.device);
DELETE FROM device_tag WHERE device IN (SELECT id FROM other.device);
UPDATE device SET removed = o.removed FROM other.device AS o
    WHERE o.id = device.id AND o.removed IS NOT NULL;
";

/// Whether all that was done there was done here too.
const IS_OLDER: &str = "
SELECT EXISTS (SELECT 1 FROM main.audit AS ours JOIN
    (SELECT number, hash FROM other.audit ORDER BY number DESC LIMIT 1) AS theirs
    ON ours.number = theirs.number AND ours.hash = theirs.hash)
";

/// Of a batch that both know, the other one is the later.
const BATCHES: &str = "
INSERT INTO batch (name, list, format, output, durable, created, finished)
    SELECT name, list, format, output, durable, created, finished FROM other.batch WHERE true
    ON CONFLICT (name) DO UPDATE SET durable = excluded.durable, finished = excluded.finished;
INSERT INTO batch_row (batch, line, device, state, serial)
    SELECT batch, line, device, state, serial FROM other.batch_row WHERE true
    ON CONFLICT (batch, line) DO UPDATE SET state = excluded.state, serial = excluded.serial;
INSERT INTO delivery (batch, device, serial, recipient, at)
    SELECT batch, device, serial, recipient, at FROM other.delivery AS o WHERE NOT EXISTS
        (SELECT 1 FROM main.delivery AS d WHERE (d.batch, d.device, d.serial, d.recipient, d.at)
         = (o.batch, o.device, o.serial, o.recipient, o.at))
    ORDER BY o.rowid;
";

/// Certificates that both know.
const FURTHER: &str = "
UPDATE certificate SET status = o.status, reason = o.reason, revoked = o.revoked
    FROM other.certificate AS o
    WHERE o.serial = certificate.serial AND o.revoked IS NOT NULL AND certificate.revoked IS NULL;
UPDATE certificate SET status = o.status FROM other.certificate AS o
    WHERE o.serial = certificate.serial AND o.status = 'superseded'
    AND certificate.status = 'issued';
";

/// Certificates that only the other one knows: the one that a holder uses there is the one.
const NEW: &str = "
UPDATE certificate SET status = 'superseded' WHERE status = 'issued' AND EXISTS
    (SELECT 1 FROM other.certificate AS o WHERE o.role = certificate.role
     AND o.name = certificate.name AND o.status = 'issued'
     AND o.serial NOT IN (SELECT serial FROM main.certificate));
INSERT INTO certificate (serial, role, name, device, status, reason, not_before, not_after, sha256,
                         pem, created, revoked, issuer)
    SELECT serial, role, name, device,
        CASE WHEN o.status = 'issued' AND EXISTS
            (SELECT 1 FROM main.certificate AS c WHERE c.role = o.role AND c.name = o.name
             AND c.status = 'issued') THEN 'superseded' ELSE o.status END,
        reason, not_before, not_after, sha256, pem, created, revoked, issuer
    FROM other.certificate AS o WHERE o.serial NOT IN (SELECT serial FROM main.certificate)
    ORDER BY o.rowid;
";

/// Of an authority that both know, the stage that is further on stays. None of a role has the place
/// of another at any moment: those that leave theirs come first.
const AUTHORITIES: &str = "
UPDATE authority SET stage = o.stage, since = o.since FROM other.authority AS o
    WHERE o.certificate = authority.certificate AND o.stage IN ('older', 'retired')
    AND instr('prepared published active older retired', o.stage)
        > instr('prepared published active older retired', authority.stage);
UPDATE authority SET stage = o.stage, since = o.since FROM other.authority AS o
    WHERE o.certificate = authority.certificate AND o.stage IN ('published', 'active')
    AND instr('prepared published active older retired', o.stage)
        > instr('prepared published active older retired', authority.stage);
INSERT INTO authority (certificate, role, number, stage, since)
    SELECT certificate, role, number, stage, since FROM other.authority
    WHERE certificate NOT IN (SELECT certificate FROM main.authority);
";

/// Of a token and of a request to enrol that both know, the state that is further on stays. A token
/// is open only if it is so there: here nobody knows whether it was used since.
const ENROLMENT: &str = "
UPDATE token SET state = o.state, settled = o.settled, key = o.key, serial = o.serial
    FROM other.token AS o
    WHERE o.hash = token.hash AND o.state <> 'open' AND token.state = 'open';
UPDATE token SET state = 'revoked', settled = created WHERE state = 'open'
    AND hash NOT IN (SELECT hash FROM other.token WHERE state = 'open');
INSERT INTO token (number, device, hash, created, expires, state, settled, key, serial)
    SELECT CASE WHEN number IN (SELECT number FROM main.token) THEN NULL ELSE number END,
        device, hash, created, expires, state, settled, key, serial
    FROM other.token WHERE hash NOT IN (SELECT hash FROM main.token) ORDER BY number DESC;
UPDATE enrolment SET state = o.state, settled = o.settled, serial = o.serial
    FROM other.enrolment AS o
    WHERE o.device = enrolment.device AND o.key = enrolment.key AND enrolment.serial IS NULL;
INSERT INTO enrolment (number, device, key, address, asked, state, settled, serial)
    SELECT CASE WHEN number IN (SELECT number FROM main.enrolment) THEN NULL ELSE number END,
        device, key, address, asked, state, settled, serial
    FROM other.enrolment AS o WHERE NOT EXISTS
        (SELECT 1 FROM main.enrolment AS e WHERE e.device = o.device AND e.key = o.key)
    ORDER BY number DESC;
";

/// A device that was revoked was so with all certificates that were valid from before.
const REVOKED: &str = "
UPDATE certificate SET status = 'revoked', reason = r.reason, revoked = r.revoked
    FROM device_revocation AS r
    WHERE r.device = certificate.device AND r.revoked >= certificate.not_before
    AND certificate.revoked IS NULL
";

impl Registry {
    /// Takes over what the registry in the file `other`, of the same version, has besides.
    pub(crate) fn merge(&mut self, other: &Path, at: UnixTime) -> Result<Merged, RegistryError> {
        let path = other.to_str().ok_or(RegistryError::Damaged)?;
        let doing = || RegistryError::doing("merge");
        let attached = self.connection.execute("ATTACH ? AS other", [path]);
        attached.map_err(doing())?;
        let merged = self.transact(|transaction| merge(transaction, at));
        let detached = self.connection.execute("DETACH other", []);
        detached.map_err(doing())?;
        merged
    }

    /// Revokes what stands on a list. `Err` says how many of them are not on record here, and which
    /// is the first; then nothing is changed.
    pub(crate) fn merge_list(
        &mut self,
        issuer: Serial,
        list: &[(Serial, Revoked)],
        at: UnixTime,
    ) -> Result<Result<usize, (usize, Serial)>, RegistryError> {
        let mut unknown = Vec::new();
        for (serial, _) in list {
            if self.holder_of(*serial)?.is_none() {
                unknown.push(*serial);
            }
        }
        if let Some(first) = unknown.first() {
            return Ok(Err((unknown.len(), *first)));
        }
        self.transact(|transaction| {
            let mut revoked = 0;
            for entry in list {
                revoked += usize::from(revoke_listed(transaction, (issuer, *entry), at)?);
            }
            Ok(Ok(revoked))
        })
    }

    /// Takes over that a list with this number was published.
    pub(crate) fn merge_number(
        &mut self,
        issuer: Serial,
        (number, created, next_update): (u64, UnixTime, UnixTime),
    ) -> Result<(), RegistryError> {
        let sql = "INSERT OR IGNORE INTO publication (kind, issuer, number, created, next_update)
                   VALUES ('revocation-list', ?, ?, ?, ?)";
        let values = params![
            issuer.as_octets(),
            number.cast_signed(),
            created.as_secs().cast_signed(),
            next_update.as_secs().cast_signed(),
        ];
        let inserted = self.connection.execute(sql, values);
        inserted.map(drop).map_err(RegistryError::doing("merge"))
    }

    /// Ends every token: nobody knows which were used since this registry was backed up.
    pub(crate) fn end_tokens(&mut self) -> Result<(), RegistryError> {
        let sql = "UPDATE token SET state = 'revoked', settled = created WHERE state = 'open'";
        let ended = self.connection.execute(sql, []);
        ended.map(drop).map_err(RegistryError::doing("merge"))
    }
}

fn merge(transaction: &Transaction<'_>, at: UnixTime) -> Result<Merged, RegistryError> {
    let doing = || RegistryError::doing("merge");
    let sql = "SELECT lower(hex(serial)), role, name FROM other.certificate
               WHERE serial NOT IN (SELECT serial FROM main.certificate) ORDER BY rowid";
    let new: Vec<(String, String, String)> = transaction
        .prepare(sql)
        .and_then(|mut it| it.query_map([], |row| row.try_into())?.collect())
        .map_err(doing())?;
    let before = counted_revoked(transaction)?;
    let (first, others) = ADDED.split_at(1);
    add(transaction, first)?;
    transaction.execute_batch(FURTHER).map_err(doing())?;
    transaction.execute_batch(NEW).map_err(doing())?;
    transaction.execute_batch(AUTHORITIES).map_err(doing())?;
    let is_older = transaction.query_row(IS_OLDER, [], |row| row.get(0));
    if !is_older.map_err(doing())? {
        transaction.execute_batch(LABELS).map_err(doing())?;
    }
    add(transaction, others)?;
    transaction.execute(REVOKED, []).map_err(doing())?;
    transaction.execute_batch(BATCHES).map_err(doing())?;
    transaction.execute_batch(ENROLMENT).map_err(doing())?;
    for (serial, role, name) in &new {
        let role = Role::parse(role).ok_or(RegistryError::Damaged)?;
        let words = format!("certificate {serial}, kept when a backup was restored");
        let subject = audit_name(role, name);
        audit::note(transaction, (Event::Issued, &subject, &words), at)?;
    }
    Ok(Merged {
        certificates: new.len(),
        revoked: counted_revoked(transaction)?.saturating_sub(before),
    })
}

fn add(transaction: &Transaction<'_>, tables: &[(&str, &str)]) -> Result<(), RegistryError> {
    for (table, columns) in tables {
        let sql = format!(
            "INSERT OR IGNORE INTO main.{table} ({columns}) SELECT {columns} FROM other.{table}"
        );
        let added = transaction.execute(&sql, []);
        added.map_err(RegistryError::doing("merge"))?;
    }
    Ok(())
}

fn counted_revoked(connection: &Connection) -> Result<usize, RegistryError> {
    let sql = "SELECT count(*) FROM certificate WHERE revoked IS NOT NULL";
    let count: i64 = connection
        .query_row(sql, [], |row| row.get(0))
        .map_err(RegistryError::doing("read"))?;
    Ok(usize::try_from(count).unwrap_or_default())
}

/// Whether the certificate counted until now.
fn revoke_listed(
    transaction: &Transaction<'_>,
    (issuer, (serial, revoked)): (Serial, (Serial, Revoked)),
    at: UnixTime,
) -> Result<bool, RegistryError> {
    let since = revoked.at.as_secs().cast_signed();
    let doing = || RegistryError::doing("merge");
    if revoked.reason == RevocationReason::CertificateHold {
        let sql = "INSERT OR IGNORE INTO device_suspension (device, suspended)
                   SELECT device, ? FROM certificate WHERE serial = ? AND device IS NOT NULL";
        let held = transaction.execute(sql, params![since, serial.as_octets()]);
        return held.map(|_| false).map_err(doing());
    }
    let sql = "UPDATE certificate SET status = ?, reason = ?, revoked = ?
               WHERE serial = ? AND issuer = ? AND revoked IS NULL RETURNING role, name, device";
    let status = Status::Revoked(revoked.reason);
    let values = params![
        status.name(),
        revoked.reason.code(),
        since,
        serial.as_octets(),
        issuer.as_octets(),
    ];
    let row: Option<(String, String, Option<String>)> = transaction
        .query_row(sql, values, |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .optional()
        .map_err(doing())?;
    let Some((role, name, device)) = row else {
        return Ok(false);
    };
    if let Some(device) = device {
        let sql = "INSERT OR IGNORE INTO device_revocation (device, revoked, reason)
                   VALUES (?, ?, ?)";
        let values = params![device, since, revoked.reason.code()];
        transaction.execute(sql, values).map_err(doing())?;
    }
    let words = format!("{}, certificate {serial}, by a list", revoked.reason);
    let subject = audit_name(Role::parse(&role).ok_or(RegistryError::Damaged)?, &name);
    audit::note(transaction, (Event::Revoked, &subject, &words), at)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Layout;
    use crate::testing::{day, up};

    /// Those that are merged in ways of their own, or belong to one registry.
    const OTHERS: [&str; 10] = [
        "audit",
        "authority",
        "batch",
        "batch_row",
        "certificate",
        "checkpoint",
        "delivery",
        "enrolment",
        "setting",
        "token",
    ];

    #[test]
    fn no_table_and_no_column_of_one_is_forgotten() {
        let temp = tempfile::tempdir().unwrap();
        up(temp.path(), 0, day(0)).unwrap();
        let connection = Connection::open(Layout::new(temp.path()).registry()).unwrap();
        let columns = |sql: &str| -> Vec<String> {
            let mut statement = connection.prepare(sql).unwrap();
            let rows = statement.query_map([], |row| row.get(0)).unwrap();
            rows.collect::<Result<_, _>>().unwrap()
        };
        let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'";
        for table in columns(sql) {
            let of = columns(&format!("SELECT name FROM pragma_table_info('{table}')"));
            match ADDED.iter().find(|(added, _)| *added == table) {
                Some((_, added)) => assert_eq!(*added, of.join(", "), "{table}"),
                None => assert!(OTHERS.contains(&&*table), "{table} is not merged"),
            }
            let named = format!("{BATCHES}{NEW}{ENROLMENT}{AUTHORITIES}");
            if OTHERS.contains(&&*table) && !["audit", "checkpoint", "setting"].contains(&&*table) {
                assert!(
                    of.iter().all(|column| named.contains(column.as_str())),
                    "{table}"
                );
            }
        }
    }
}
