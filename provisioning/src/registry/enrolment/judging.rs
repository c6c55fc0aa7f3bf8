//! Requests to enrol, judged and recorded: as many as have gathered, in one transaction.
//!
//! What one of them lacks is no matter of the others. Nobody is answered before all of it is
//! durable, and whoever asks again for the same key is answered as before.

use certs::{
    PublicKey, RevocationSet, Revoked, Role, Serial, Subject, VerifiedDevice, WithCauses,
    is_still_admitted, sha256,
};
use rusqlite::{OptionalExtension, Row, Transaction, params};
use rustls_pki_types::UnixTime;

use super::super::audit::{self, Event};
use super::super::certificates::{self, Recorded, follow};
use super::super::devices::is_listed;
use super::super::revocations::{last_revocation, read_revoked};
use super::super::suspensions::suspended_since;
use super::super::{Registry, RegistryError};
use super::pending::{self, EnrolmentState};
use super::refusal::NotEnrolled;
use super::tokens::{self, Token, TokenState};
use crate::authority::Signed;
use crate::error::CommandError;

/// Somebody who asks for a certificate.
pub(crate) struct Asked {
    /// Who it says it is.
    pub(crate) subject: Subject,
    /// The key that it has.
    pub(crate) key: PublicKey,
    /// By what it is believed.
    pub(crate) proof: Proof,
}

/// By what somebody is believed.
pub(crate) enum Proof {
    /// A token, by its SHA-256.
    Token([u8; 32]),
    /// The certificate that it has, admitted for the time `at`.
    Certificate {
        device: VerifiedDevice,
        at: UnixTime,
    },
    /// The word of a person, who is told where the request came from.
    Approval { address: Box<str> },
}

/// What somebody who asked is answered.
pub(crate) enum Answer {
    /// A new certificate.
    Issued(Recorded),
    /// The one that was issued to it before, for the same key.
    Again(Recorded),
    /// A person decides.
    Wait,
}

/// Signs for a subject with a key, after its last revocation.
pub(crate) type Sign<'a> =
    dyn Fn(&Subject, &PublicKey, Option<Revoked>) -> Result<Signed, CommandError> + 'a;

/// What is to become of one who asks.
enum Decision {
    Issue(Claim),
    Again(Box<Recorded>),
    Wait,
}

/// What an issued certificate settles.
enum Claim {
    Token(Token),
    Renewal,
    Approved(i64),
}

/// What becomes of one who asks once all is durable.
enum Outcome {
    Issued(Signed),
    Again(Recorded),
    Wait,
}

impl Registry {
    /// Answers everybody who asks, and records what they are issued. Of those refused, the first
    /// `notes_max` are noted.
    pub(crate) fn enrol(
        &mut self,
        asked: &[Asked],
        sign: &Sign<'_>,
        (now, notes_max): (UnixTime, usize),
    ) -> Result<Vec<Result<Answer, NotEnrolled>>, RegistryError> {
        let outcomes = self.transact(|transaction| {
            let outcomes: Vec<_> = asked
                .iter()
                .map(|one| in_savepoint(transaction, || settle(transaction, one, sign, now)))
                .collect();
            let refused = asked.iter().zip(&outcomes);
            let refused = refused.filter_map(|(one, outcome)| Some((one, outcome.as_ref().err()?)));
            let refused = refused.filter(|(_, why)| why.is_refusal());
            for (one, why) in refused.take(notes_max) {
                let (subject, words) = (one.subject.to_string(), WithCauses(why).to_string());
                audit::note(transaction, (Event::Refused, &subject, &words), now)?;
            }
            Ok(outcomes)
        })?;
        let answer = |outcome| match outcome {
            Outcome::Issued(signed) => Answer::Issued(Recorded::after_commit(signed)),
            Outcome::Again(recorded) => Answer::Again(recorded),
            Outcome::Wait => Answer::Wait,
        };
        Ok(outcomes.into_iter().map(|it| it.map(answer)).collect())
    }
}

/// All of `work`, or none of it.
fn in_savepoint<T>(
    transaction: &Transaction<'_>,
    work: impl FnOnce() -> Result<T, NotEnrolled>,
) -> Result<T, NotEnrolled> {
    let execute = |sql| {
        let executed = transaction.execute_batch(sql);
        executed.map_err(RegistryError::doing("write"))
    };
    execute("SAVEPOINT one")?;
    let done = work();
    execute(match done {
        Ok(_) => "RELEASE one",
        Err(_) => "ROLLBACK TO one; RELEASE one",
    })?;
    done
}

fn settle(
    transaction: &Transaction<'_>,
    asked: &Asked,
    sign: &Sign<'_>,
    now: UnixTime,
) -> Result<Outcome, NotEnrolled> {
    let key = sha256(&asked.key.to_der());
    let decision = match &asked.proof {
        Proof::Token(token) => by_token(transaction, asked, (token, &key), now)?,
        Proof::Certificate { device, at } => by_certificate(transaction, asked, device, *at)?,
        Proof::Approval { address } => by_approval(transaction, asked, (&key, address), now)?,
    };
    match decision {
        Decision::Wait => Ok(Outcome::Wait),
        Decision::Again(recorded) => {
            refuse_suspended(transaction, &asked.subject)?;
            Ok(Outcome::Again(*recorded))
        }
        Decision::Issue(claim) => {
            refuse_suspended(transaction, &asked.subject)?;
            let revoked = last_revocation(transaction, &asked.subject)?;
            let signed = sign(&asked.subject, &asked.key, revoked).map_err(NotEnrolled::Failed)?;
            record(transaction, &signed, (claim, &key), now)?;
            Ok(Outcome::Issued(signed))
        }
    }
}

/// Only whoever is believed is told.
fn refuse_suspended(transaction: &Transaction<'_>, subject: &Subject) -> Result<(), NotEnrolled> {
    match suspended_since(transaction, subject)? {
        Some(since) => Err(NotEnrolled::Suspended(since)),
        None => Ok(()),
    }
}

fn record(
    transaction: &Transaction<'_>,
    signed: &Signed,
    (claim, key): (Claim, &[u8; 32]),
    now: UnixTime,
) -> Result<(), RegistryError> {
    follow(transaction, signed, now)?;
    let serial = signed.certificate.serial;
    match claim {
        Claim::Token(token) => tokens::use_token(transaction, &token, (key, serial), now),
        Claim::Approved(number) => pending::issued(transaction, number, serial),
        Claim::Renewal => Ok(()),
    }
}

fn by_token(
    transaction: &Transaction<'_>,
    asked: &Asked,
    (token, key): (&[u8; 32], &[u8; 32]),
    now: UnixTime,
) -> Result<Decision, NotEnrolled> {
    let found = tokens::find_hash(transaction, token, now)?;
    let found = found.filter(|it| it.token.device == asked.subject.id);
    let found = found.ok_or(NotEnrolled::UnknownToken)?;
    match (found.token.state, found.token.serial) {
        (TokenState::Revoked, _) => Err(NotEnrolled::TokenRevoked),
        _ if now > found.token.expires => Err(NotEnrolled::TokenExpired),
        (TokenState::Used, Some(serial)) if found.key.as_ref() == Some(key) => {
            issued_before(transaction, serial, now)
        }
        (TokenState::Used, _) => Err(NotEnrolled::TokenUsed),
        (TokenState::Expired, _) => Err(NotEnrolled::TokenExpired),
        (TokenState::Open, _) => Ok(Decision::Issue(Claim::Token(found.token))),
    }
}

/// The gate has admitted the certificate by what stands in it; here is what became of it since.
fn by_certificate(
    transaction: &Transaction<'_>,
    asked: &Asked,
    device: &VerifiedDevice,
    at: UnixTime,
) -> Result<Decision, NotEnrolled> {
    let subject = device.subject();
    let revoked = revocations(transaction, device)?;
    is_still_admitted(device, &revoked, at)?;
    if !is_listed(transaction, subject)? {
        return Err(NotEnrolled::Removed);
    }
    let role = Role::from(subject.kind);
    let current = certificates::current(transaction, role, subject.id.as_str())?;
    // Whoever did not hear the answer asks again with the certificate that it still has.
    let again = current.filter(|it| {
        let new = it.certificate();
        new.serial != device.serial() && *new.public_key == asked.key.to_der()
    });
    let again = again.map(|it| Decision::Again(Box::new(it)));
    Ok(again.unwrap_or(Decision::Issue(Claim::Renewal)))
}

fn by_approval(
    transaction: &Transaction<'_>,
    asked: &Asked,
    (key, address): (&[u8; 32], &str),
    now: UnixTime,
) -> Result<Decision, NotEnrolled> {
    let whose = (&asked.subject.id, key);
    let Some(found) = pending::find(transaction, whose)? else {
        return if pending::add(transaction, whose, address, now)? {
            Ok(Decision::Wait)
        } else {
            Err(NotEnrolled::TooManyWait)
        };
    };
    match (found.state, found.serial) {
        (EnrolmentState::Pending, _) => Ok(Decision::Wait),
        (EnrolmentState::Approved, _) => Ok(Decision::Issue(Claim::Approved(found.number))),
        (EnrolmentState::Issued, Some(serial)) => issued_before(transaction, serial, now),
        (EnrolmentState::Denied | EnrolmentState::Issued, _) => Err(NotEnrolled::Denied),
    }
}

/// The certificate that was issued for the same request, if it still counts.
fn issued_before(
    transaction: &Transaction<'_>,
    serial: Serial,
    now: UnixTime,
) -> Result<Decision, NotEnrolled> {
    let sql = "SELECT name, pem FROM certificate
               WHERE serial = ? AND revoked IS NULL AND not_after >= ?";
    let keys = params![serial.as_octets(), now.as_secs().cast_signed()];
    let found = certificates::find(transaction, Role::Device, (sql, keys))?;
    let found = found.ok_or(NotEnrolled::Over)?;
    Ok(Decision::Again(Box::new(found)))
}

/// What was revoked of a device and its certificate, which must be on record octet by octet.
fn revocations(
    transaction: &Transaction<'_>,
    device: &VerifiedDevice,
) -> Result<RevocationSet, NotEnrolled> {
    let sql = "SELECT revoked, reason FROM certificate
               WHERE sha256 = ? AND role = ? AND name = ?";
    let subject = device.subject();
    let role = Role::from(subject.kind).as_str();
    let keys = params![device.sha256(), role, subject.id.as_str()];
    let read = |row: &Row<'_>| {
        let at: Option<i64> = row.get(0)?;
        Ok(at.map(|_| read_revoked(row)))
    };
    let found = transaction.query_row(sql, keys, read).optional();
    let found = found.map_err(RegistryError::doing("read"))?;
    let of_certificate = found.ok_or(NotEnrolled::NotOnRecord)?.transpose()?;
    let mut set = RevocationSet::default();
    let issuer = &device.certificate().extensions.issuer_key_id;
    if let (Some(revoked), Some(issuer)) = (of_certificate, issuer) {
        set.revoke_certificate(issuer, device.serial(), revoked);
    }
    if let Some(revoked) = last_revocation(transaction, subject)? {
        set.revoke_subject(subject.clone(), revoked);
    }
    Ok(set)
}
