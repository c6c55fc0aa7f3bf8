//! Tokens: each lets one device enrol once, until it expires.
//!
//! The registry has the hash of a token and never the token. A device has one open token at a time:
//! a new one ends the one before.

use certs::{DeviceId, Kind, Serial};
use rusqlite::{OptionalExtension, Row, Transaction, params};
use rustls_pki_types::UnixTime;

use super::super::audit::{self, Event};
use super::super::inventory::time;
use super::super::{Registry, RegistryError, devices};
use super::end_each;

/// A token on record.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Token {
    /// Its number, by which it is revoked.
    pub number: i64,
    /// Whose it is.
    pub device: DeviceId,
    /// When it was made.
    pub created: UnixTime,
    /// The last second in which it is good.
    pub expires: UnixTime,
    /// How it stands.
    pub state: TokenState,
    /// When it was used or revoked.
    pub settled: Option<UnixTime>,
    /// The certificate that was issued for it.
    pub serial: Option<Serial>,
}

/// How a token stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenState {
    /// It can be used.
    Open,
    /// Its time went by before it was used.
    Expired,
    /// A certificate was issued for it.
    Used,
    /// It was ended.
    Revoked,
}

impl TokenState {
    /// The state in one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Expired => "expired",
            Self::Used => "used",
            Self::Revoked => "revoked",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Open, Self::Used, Self::Revoked]
            .into_iter()
            .find(|state| state.as_str() == text)
    }
}

/// A token with what it was used for.
pub(super) struct Found {
    pub(super) token: Token,
    /// SHA-256 of the public key for which it was used.
    pub(super) key: Option<[u8; 32]>,
}

const COLUMNS: &str = "number, device, created, expires, state, settled, serial, key";

impl Registry {
    /// Records a token of a device by its hash, and takes the device into the inventory. The one
    /// that was open before is ended.
    pub(crate) fn add_token(
        &mut self,
        (device, hash): (&DeviceId, [u8; 32]),
        expires: UnixTime,
        now: UnixTime,
    ) -> Result<i64, RegistryError> {
        self.transact(|transaction| {
            devices::claim(transaction, (Kind::Device, device.as_str()), now)?;
            let sql = "UPDATE token SET state = 'revoked', settled = ?
                       WHERE device = ? AND state = 'open' RETURNING number";
            let words = ("token", "for a new one takes its place");
            end_each(transaction, device, (sql, Event::TokenRevoked, words), now)?;
            let sql = "INSERT INTO token (device, hash, created, expires, state)
                       VALUES (?, ?, ?, ?, 'open') RETURNING number";
            let seconds = |at: UnixTime| at.as_secs().cast_signed();
            let values = params![device.as_str(), hash, seconds(now), seconds(expires)];
            let number = transaction
                .query_row(sql, values, |row| row.get(0))
                .map_err(RegistryError::doing("write"))?;
            let words = format!(
                "token {number}, good for {} s",
                seconds(expires) - seconds(now)
            );
            audit::note(
                transaction,
                (Event::TokenCreated, device.as_str(), &words),
                now,
            )?;
            Ok(number)
        })
    }

    /// All tokens, the youngest first.
    pub(crate) fn tokens(&self, now: UnixTime) -> Result<Vec<Token>, RegistryError> {
        let sql = format!("SELECT {COLUMNS} FROM token ORDER BY number DESC");
        let found = self.rows(&sql, [], |row| Ok(read(row, now)))?;
        let tokens = found.into_iter().map(|it| it.map(|it| it.token));
        tokens.collect()
    }

    /// Ends a token, open or used, and says how it stood before; `None` when there is none of this
    /// number. One that was used yields its certificate to nobody any more.
    pub(crate) fn revoke_token(
        &mut self,
        number: i64,
        now: UnixTime,
    ) -> Result<Option<Token>, RegistryError> {
        self.transact(|transaction| {
            let Some(before) = find(transaction, ("number = ?1", &number), now)? else {
                return Ok(None);
            };
            if before.token.state == TokenState::Revoked {
                return Ok(Some(before.token));
            }
            let sql = "UPDATE token SET state = 'revoked', settled = ? WHERE number = ?";
            let values = params![now.as_secs().cast_signed(), number];
            let updated = transaction.execute(sql, values);
            updated.map_err(RegistryError::doing("write"))?;
            let words = format!("token {number}");
            let device = before.token.device.as_str();
            audit::note(transaction, (Event::TokenRevoked, device, &words), now)?;
            Ok(Some(before.token))
        })
    }
}

/// The token with a hash, if there is one.
pub(super) fn find_hash(
    transaction: &Transaction<'_>,
    hash: &[u8; 32],
    now: UnixTime,
) -> Result<Option<Found>, RegistryError> {
    find(transaction, ("hash = ?1", hash), now)
}

/// Notes what a token was used for.
pub(super) fn use_token(
    transaction: &Transaction<'_>,
    token: &Token,
    (key, serial): (&[u8; 32], Serial),
    now: UnixTime,
) -> Result<(), RegistryError> {
    let sql = "UPDATE token SET state = 'used', settled = ?, key = ?, serial = ? WHERE number = ?";
    let values = params![
        now.as_secs().cast_signed(),
        key,
        serial.as_octets(),
        token.number
    ];
    let updated = transaction.execute(sql, values);
    updated.map_err(RegistryError::doing("write"))?;
    let words = format!("token {}, for certificate {serial}", token.number);
    audit::note(
        transaction,
        (Event::TokenUsed, token.device.as_str(), &words),
        now,
    )
}

fn find(
    transaction: &Transaction<'_>,
    (which, key): (&str, &dyn rusqlite::ToSql),
    now: UnixTime,
) -> Result<Option<Found>, RegistryError> {
    let sql = format!("SELECT {COLUMNS} FROM token WHERE {which}");
    let found = transaction.query_row(&sql, [key], |row| Ok(read(row, now)));
    let found = found.optional().map_err(RegistryError::doing("read"))?;
    found.transpose()
}

/// Reads the columns [`COLUMNS`].
fn read(row: &Row<'_>, now: UnixTime) -> Result<Found, RegistryError> {
    let columns = || -> rusqlite::Result<(i64, String, [i64; 2], String)> {
        let times = [row.get(2)?, row.get(3)?];
        Ok((row.get(0)?, row.get(1)?, times, row.get(4)?))
    };
    let outcome =
        || -> rusqlite::Result<(Option<i64>, Option<Vec<u8>>)> { Ok((row.get(5)?, row.get(6)?)) };
    let (number, device, [created, expires], state) =
        columns().map_err(RegistryError::doing("read"))?;
    let (settled, serial) = outcome().map_err(RegistryError::doing("read"))?;
    let key = row.get(7).map_err(RegistryError::doing("read"))?;
    let serial = serial.map(|octets| Serial::from_octets(&octets));
    let expires = time(expires)?;
    let state = match TokenState::parse(&state).ok_or(RegistryError::Damaged)? {
        TokenState::Open if now > expires => TokenState::Expired,
        state => state,
    };
    let token = Token {
        number,
        device: DeviceId::parse(&device).map_err(|_| RegistryError::Damaged)?,
        created: time(created)?,
        expires,
        state,
        settled: settled.map(time).transpose()?,
        serial: serial.transpose().map_err(RegistryError::Unreadable)?,
    };
    Ok(Found { token, key })
}
