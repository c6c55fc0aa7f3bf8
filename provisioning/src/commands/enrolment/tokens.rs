//! `countersign token create`, `token list` and `token revoke`: what lets a device enrol once.
//!
//! The token is in the answer of `create` and nowhere else.

use std::path::Path;
use std::time::Duration;

use certs::DeviceId;
use rustls_pki_types::UnixTime;

use super::super::refusal::noted;
use super::{Again, refuse_out_of_favour};
use crate::authority::Hierarchy;
use crate::enrol::TokenText;
use crate::error::CommandError;
use crate::layout::Layout;
use crate::registry::{Registry, Token};

/// A token is good for so many days at most.
pub const TOKEN_DAYS_MAX: u32 = 365;

/// For whom to make a token.
#[derive(Clone, Copy, Debug)]
pub struct TokenRequest<'a> {
    /// The directory of the authority.
    pub dir: &'a Path,
    /// The device.
    pub device: &'a DeviceId,
    /// How long it is good.
    pub ttl: Duration,
    /// Whether the device is to have one although it was revoked: it was replaced, or will have a
    /// new key.
    pub again: bool,
}

/// A token that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TokenCreated {
    /// Its number, by which it is revoked.
    pub number: i64,
    /// Whose it is.
    pub device: DeviceId,
    /// The last second in which it is good.
    pub expires: UnixTime,
    /// The token.
    pub token: TokenText,
}

/// Makes a token for a device, which ends the one that was open, and takes the device into the
/// inventory.
///
/// # Errors
/// [`CommandError::Revoked`], [`CommandError::Suspended`], [`CommandError::TokenLifetime`], and
/// what else is in the way.
pub fn token_create(
    request: &TokenRequest<'_>,
    now: UnixTime,
) -> Result<TokenCreated, CommandError> {
    let max = Duration::from_secs(u64::from(TOKEN_DAYS_MAX) * 86_400);
    if request.ttl.is_zero() || request.ttl > max {
        return Err(CommandError::TokenLifetime {
            max: TOKEN_DAYS_MAX,
        });
    }
    noted((request.dir, request.device.as_str()), now, || {
        let mut ca = Hierarchy::open(request.dir)?;
        refuse_out_of_favour(&ca, request.device, Again::when(request.again))?;
        let token = TokenText::random()?;
        let expires = now.as_secs().saturating_add(request.ttl.as_secs());
        let expires = UnixTime::since_unix_epoch(Duration::from_secs(expires));
        let recorded = (request.device, token.hash());
        Ok(TokenCreated {
            number: ca.registry.add_token(recorded, expires, now)?,
            device: request.device.clone(),
            expires,
            token,
        })
    })
}

/// All tokens on record, the youngest first.
///
/// # Errors
/// [`CommandError::NoAuthority`], and what else is in the way.
pub fn token_list(dir: &Path, now: UnixTime) -> Result<Vec<Token>, CommandError> {
    Ok(Registry::open_in(&Layout::new(dir))?.tokens(now)?)
}

/// Ends a token, and says how it stood before. One that was used yields its certificate to nobody
/// any more; the certificate itself stays.
///
/// # Errors
/// [`CommandError::NoSuchToken`], and what else is in the way.
pub fn token_revoke(dir: &Path, number: i64, now: UnixTime) -> Result<Token, CommandError> {
    let mut registry = Registry::open_in(&Layout::new(dir))?;
    let before = registry.revoke_token(number, now)?;
    before.ok_or(CommandError::NoSuchToken(number))
}

#[cfg(test)]
mod tests {
    use certs::Subject;

    use super::*;
    use crate::registry::{Event, TokenState};
    use crate::testing::{day, issue, revoke, up};
    use crate::{ExitClass, SuspendRequest, audit_show, device_suspend};

    fn create(dir: &Path, id: &str, again: bool) -> Result<TokenCreated, CommandError> {
        let device = &DeviceId::parse(id).unwrap();
        let ttl = Duration::from_hours(1);
        let request = TokenRequest {
            dir,
            device,
            ttl,
            again,
        };
        token_create(&request, day(0))
    }

    fn states(dir: &Path, now: UnixTime) -> Vec<(i64, TokenState)> {
        let tokens = token_list(dir, now).unwrap();
        tokens.iter().map(|it| (it.number, it.state)).collect()
    }

    #[test]
    fn a_device_has_one_open_token_and_its_text_is_nowhere() {
        use TokenState::{Expired, Open, Revoked};
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path();
        up(dir, 0, day(0)).unwrap();
        let first = create(dir, "dev-9", false).unwrap();
        let second = create(dir, "dev-9", false).unwrap();
        create(dir, "dev-8", false).unwrap();
        assert_eq!(first.expires.as_secs(), day(0).as_secs() + 3_600);
        let expected = [(3, Open), (2, Open), (1, Revoked)];
        assert_eq!(states(dir, first.expires), expected);
        assert_eq!(token_revoke(dir, 2, day(0)).unwrap().state, Open);
        assert_eq!(token_revoke(dir, 2, day(0)).unwrap().state, Revoked);
        let missing = token_revoke(dir, 9, day(0)).unwrap_err();
        assert_eq!(missing.exit_class(), ExitClass::NotFound);
        let expected = [(3, Expired), (2, Revoked), (1, Revoked)];
        assert_eq!(states(dir, day(1)), expected);

        let events = audit_show(dir, 5).unwrap();
        let events: Vec<_> = events.iter().map(|it| (it.event, &*it.subject)).collect();
        let expected = [
            (Event::TokenCreated, "dev-9"),
            (Event::TokenRevoked, "dev-9"),
            (Event::TokenCreated, "dev-9"),
            (Event::TokenCreated, "dev-8"),
            (Event::TokenRevoked, "dev-9"),
        ];
        assert_eq!(events, expected);
        let kept = std::fs::read(Layout::new(dir).registry()).unwrap();
        let text = second.token.as_str().as_bytes();
        assert!(!kept.windows(text.len()).any(|window| window == text));
    }

    #[test]
    fn a_device_that_was_revoked_gets_a_token_on_purpose_only_and_one_suspended_gets_none() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path();
        up(dir, 1, day(0)).unwrap();
        create(dir, "dev-1", false).unwrap();
        revoke(dir, "dev-1", day(0)).unwrap();
        assert_eq!(states(dir, day(0)), [(1, TokenState::Revoked)]);
        let refused = create(dir, "dev-1", false).unwrap_err();
        assert!(matches!(refused, CommandError::Revoked { .. }), "{refused}");
        create(dir, "dev-1", true).unwrap();

        issue(dir, "dev-2", None).unwrap();
        let subject = &Subject::parse("dev-2").unwrap();
        let request = SuspendRequest {
            dir,
            passphrase: None,
            subject,
        };
        device_suspend(&request, day(0)).unwrap();
        let refused = create(dir, "dev-2", true).unwrap_err();
        assert_eq!(refused.exit_class(), ExitClass::Refused);
        let taken = create(dir, "DEV-1", false).unwrap_err();
        assert_eq!(taken.exit_class(), ExitClass::Refused);
    }

    #[test]
    fn a_token_is_good_for_a_second_at_least_and_a_year_at_most() {
        let temp = tempfile::tempdir().unwrap();
        up(temp.path(), 0, day(0)).unwrap();
        let device = &DeviceId::parse("dev-1").unwrap();
        for (seconds, good) in [
            (0, false),
            (1, true),
            (31_536_000, true),
            (31_536_001, false),
        ] {
            let request = TokenRequest {
                dir: temp.path(),
                device,
                ttl: Duration::from_secs(seconds),
                again: false,
            };
            assert_eq!(token_create(&request, day(0)).is_ok(), good, "{seconds}");
        }
    }
}
