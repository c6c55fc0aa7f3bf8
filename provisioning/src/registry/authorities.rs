//! The authorities on record and where each is in its life.
//!
//! Of each role one issues, and one at most is on its way to do so. A stage is only ever followed
//! by a later one.

use std::fmt;

use certs::{Role, Serial, TrustDomain};
use rusqlite::{OptionalExtension, Row, Transaction, params};
use rustls_pki_types::UnixTime;

use super::audit::{self, Event};
use super::certificates::insert;
use super::{Again, Recorded, Registry, RegistryError};
use crate::authority::Signed;
use crate::layout::AuthorityId;

/// Where an authority is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AuthorityStage {
    /// It is on record, and nobody trusts it yet.
    Prepared,
    /// It is trusted, and issues nothing yet.
    Published,
    /// It issues.
    Active,
    /// It is trusted, and another one issues.
    Older,
    /// It is trusted no more.
    Retired,
}

impl AuthorityStage {
    const ALL: [Self; 5] = [
        Self::Prepared,
        Self::Published,
        Self::Active,
        Self::Older,
        Self::Retired,
    ];

    /// The stage in one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Prepared => "prepared",
            Self::Published => "published",
            Self::Active => "active",
            Self::Older => "older",
            Self::Retired => "retired",
        }
    }

    /// Whether what it has issued counts.
    pub fn is_trusted(self) -> bool {
        match self {
            Self::Published | Self::Active | Self::Older => true,
            Self::Prepared | Self::Retired => false,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.as_str() == text)
    }
}

impl fmt::Display for AuthorityStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An authority on record.
pub(crate) struct RecordedAuthority {
    pub(crate) id: AuthorityId,
    pub(crate) stage: AuthorityStage,
    pub(crate) recorded: Recorded,
}

/// A root's key, certified by the root before it.
pub(crate) struct CrossCertificate {
    /// The serial number of that root's own certificate.
    pub(crate) subject: Serial,
    /// The serial number of the one before.
    pub(crate) issuer: Serial,
    pub(crate) pem: String,
}

/// The stage to which an authority comes, and how that is told.
#[derive(Clone, Copy)]
pub(crate) struct Advance<'a> {
    /// The serial number of its certificate.
    pub(crate) authority: Serial,
    /// What it is called.
    pub(crate) name: &'a str,
    pub(crate) to: AuthorityStage,
}

impl Registry {
    /// Records the first authorities, those of `trust_domain`.
    pub(crate) fn record_authorities(
        &mut self,
        trust_domain: &TrustDomain,
        signed: &[Signed],
        now: UnixTime,
    ) -> Result<(), RegistryError> {
        self.transact(|transaction| {
            let sql = "INSERT INTO setting (name, value) VALUES ('trust_domain', ?)
                       ON CONFLICT (name) DO UPDATE SET value = excluded.value";
            let set = transaction.execute(sql, [trust_domain.as_str()]);
            set.map_err(RegistryError::doing("write"))?;
            signed.iter().try_for_each(|signed| {
                let first = AuthorityId::from(signed.role);
                record(transaction, (signed, first, AuthorityStage::Active), now)
            })
        })
    }

    /// Records an authority that nobody trusts yet, with the certificate that the one before has
    /// issued to its key, if it has.
    pub(crate) fn record_prepared(
        &mut self,
        (signed, cross): (&Signed, Option<&Signed>),
        id: AuthorityId,
        now: UnixTime,
    ) -> Result<(), RegistryError> {
        self.transact(|transaction| {
            record(transaction, (signed, id, AuthorityStage::Prepared), now)?;
            let subject = signed.certificate.serial;
            cross.map_or(Ok(()), |cross| {
                record_cross(transaction, (cross, subject), now)
            })
        })
    }

    /// Every root's key that the root before it has certified.
    pub(crate) fn cross_certificates(&self) -> Result<Vec<CrossCertificate>, RegistryError> {
        let sql = "SELECT subject, issuer, pem FROM cross_certificate ORDER BY rowid";
        let rows: Vec<(Vec<u8>, Vec<u8>, String)> = self.rows(sql, [], |row| row.try_into())?;
        let serial = |octets: &[u8]| Serial::from_octets(octets).map_err(RegistryError::Unreadable);
        let read = |(subject, issuer, pem): (Vec<u8>, Vec<u8>, String)| {
            Ok(CrossCertificate {
                subject: serial(&subject)?,
                issuer: serial(&issuer)?,
                pem,
            })
        };
        rows.into_iter().map(read).collect()
    }

    /// Brings authorities to other stages, all or none, in this order.
    pub(crate) fn advance(
        &mut self,
        steps: &[Advance<'_>],
        now: UnixTime,
    ) -> Result<(), RegistryError> {
        self.transact(|transaction| {
            steps
                .iter()
                .try_for_each(|step| advance(transaction, *step, now))
        })
    }

    /// All authorities, in the order in which they were made.
    pub(crate) fn authorities(&self) -> Result<Vec<RecordedAuthority>, RegistryError> {
        let sql = "SELECT authority.role, number, stage, name, pem FROM authority
                   CROSS JOIN certificate ON serial = authority.certificate
                   ORDER BY certificate.rowid";
        let rows = self.rows(sql, [], |row| Ok(read(row)))?;
        rows.into_iter().collect()
    }

    /// The authority with this number among those of its role.
    pub(crate) fn authority(&self, id: AuthorityId) -> Result<RecordedAuthority, RegistryError> {
        let found = self.authorities()?.into_iter().find(|it| it.id == id);
        found.ok_or(RegistryError::Damaged)
    }

    /// The serial number of the authority that has issued a certificate on record.
    pub(crate) fn issuer_serial(&self, serial: Serial) -> Result<Option<Serial>, RegistryError> {
        let sql = "SELECT issuer FROM certificate WHERE serial = ?";
        let issuer: Option<Vec<u8>> = self
            .connection
            .query_row_again(sql, [serial.as_octets()], |row| row.get(0))
            .optional()
            .map_err(RegistryError::doing("read"))?
            .flatten();
        let issuer = issuer.map(|octets| Serial::from_octets(&octets));
        issuer.transpose().map_err(RegistryError::Unreadable)
    }

    /// Where each authority is in its life, by the serial number of its certificate.
    pub(crate) fn stages(&self) -> Result<Vec<(Serial, AuthorityStage)>, RegistryError> {
        let sql = "SELECT authority.certificate, stage FROM authority
                   CROSS JOIN certificate ON serial = authority.certificate
                   ORDER BY certificate.rowid";
        let rows: Vec<(Vec<u8>, String)> = self.rows(sql, [], |row| row.try_into())?;
        let read = |(serial, stage): (Vec<u8>, String)| {
            let serial = Serial::from_octets(&serial).map_err(RegistryError::Unreadable)?;
            let stage = AuthorityStage::parse(&stage).ok_or(RegistryError::Damaged)?;
            Ok((serial, stage))
        };
        rows.into_iter().map(read).collect()
    }

    /// Who holds a current certificate that the authority with this serial number has issued and
    /// that has not expired: how many, and the first of them by name.
    pub(crate) fn holders_below(
        &self,
        issuer: Serial,
        now: UnixTime,
    ) -> Result<(u64, Option<String>), RegistryError> {
        let sql = "SELECT count(*), min(name) FROM certificate
                   LEFT JOIN device ON device.id = certificate.device
                   WHERE issuer = ?1 AND serial <> ?1 AND status = 'issued' AND not_after >= ?2
                   AND device.removed IS NULL";
        let keys = params![issuer.as_octets(), now.as_secs().cast_signed()];
        let row = self
            .connection
            .query_row(sql, keys, |row| Ok((row.get::<_, i64>(0)?, row.get(1)?)));
        let (count, first) = row.map_err(RegistryError::doing("read"))?;
        Ok((count.cast_unsigned(), first))
    }

    /// The last second of all that the authority with this serial number has issued.
    pub(crate) fn last_end_below(&self, issuer: Serial) -> Result<Option<UnixTime>, RegistryError> {
        let sql = "SELECT max(not_after) FROM certificate WHERE issuer = ?1 AND serial <> ?1";
        let last: Option<i64> = self
            .connection
            .query_row(sql, [issuer.as_octets()], |row| row.get(0))
            .map_err(RegistryError::doing("read"))?;
        last.map(super::inventory::time).transpose()
    }
}

fn record(
    transaction: &Transaction<'_>,
    (signed, id, stage): (&Signed, AuthorityId, AuthorityStage),
    now: UnixTime,
) -> Result<(), RegistryError> {
    insert(transaction, signed, now)?;
    let serial = signed.certificate.serial;
    let sql = "INSERT INTO authority (certificate, role, number, stage, since)
               VALUES (?, ?, ?, ?, ?)";
    let values = params![
        serial.as_octets(),
        id.role.as_str(),
        id.number,
        stage.as_str(),
        now.as_secs().cast_signed(),
    ];
    let inserted = transaction.execute(sql, values);
    inserted.map_err(RegistryError::doing("write"))?;
    let words = format!("certificate {serial}");
    audit::note(transaction, (Event::Authority, &signed.name, &words), now)
}

fn record_cross(
    transaction: &Transaction<'_>,
    (cross, subject): (&Signed, Serial),
    now: UnixTime,
) -> Result<(), RegistryError> {
    let serial = cross.certificate.serial;
    let sql = "INSERT INTO cross_certificate (serial, subject, issuer, pem, created)
               VALUES (?, ?, ?, ?, ?)";
    let values = params![
        serial.as_octets(),
        subject.as_octets(),
        cross.issuer.as_octets(),
        cross.pem,
        now.as_secs().cast_signed(),
    ];
    let inserted = transaction.execute(sql, values);
    inserted.map_err(RegistryError::doing("write"))?;
    let words = format!("certificate {serial}");
    audit::note(
        transaction,
        (Event::CrossCertified, &cross.name, &words),
        now,
    )
}

fn advance(
    transaction: &Transaction<'_>,
    step: Advance<'_>,
    now: UnixTime,
) -> Result<(), RegistryError> {
    let serial = step.authority;
    let sql = "SELECT stage FROM authority WHERE certificate = ?";
    let from: Option<String> = transaction
        .query_row_again(sql, [serial.as_octets()], |row| row.get(0))
        .optional()
        .map_err(RegistryError::doing("read"))?;
    let from = from.and_then(|from| AuthorityStage::parse(&from));
    if from.is_none_or(|from| from >= step.to) {
        return Err(RegistryError::Damaged);
    }
    let sql = "UPDATE authority SET stage = ?, since = ? WHERE certificate = ?";
    let values = params![
        step.to.as_str(),
        now.as_secs().cast_signed(),
        serial.as_octets()
    ];
    let updated = transaction.execute(sql, values);
    updated.map_err(RegistryError::doing("write"))?;
    audit::note(
        transaction,
        (Event::Stage, step.name, step.to.as_str()),
        now,
    )
}

/// Reads the columns `role, number, stage, name, pem`.
fn read(row: &Row<'_>) -> Result<RecordedAuthority, RegistryError> {
    type Columns = (String, u32, String, Box<str>, String);
    let columns: rusqlite::Result<Columns> = row.try_into();
    let (role, number, stage, name, pem) = columns.map_err(RegistryError::doing("read"))?;
    let role = Role::parse(&role).ok_or(RegistryError::Damaged)?;
    Ok(RecordedAuthority {
        id: AuthorityId { role, number },
        stage: AuthorityStage::parse(&stage).ok_or(RegistryError::Damaged)?,
        recorded: Recorded::read(role, name, pem)?,
    })
}
