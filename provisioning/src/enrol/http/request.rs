//! What is read from a request: credentials, and the octets of a certificate signing request.

use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use certs::DeviceId;

use super::super::token;

/// Who shows a token.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Credentials {
    pub(super) device: DeviceId,
    /// The hash of what it shows.
    pub(super) token: [u8; 32],
}

/// The credentials of a request in HTTP Basic (RFC 7617): the device id and a token. `None` when
/// there are none.
///
/// # Errors
/// [`Unreadable`] when there are others.
pub(super) fn credentials(headers: &HeaderMap) -> Result<Option<Credentials>, Unreadable> {
    let Some(value) = headers.get(AUTHORIZATION) else {
        return Ok(None);
    };
    let read = || {
        let (scheme, encoded) = value.to_str().ok()?.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let text = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
        let (user, password) = text.split_once(':')?;
        Some(Credentials {
            device: DeviceId::parse(user).ok()?,
            token: token::hash(&password.trim().to_ascii_lowercase()),
        })
    };
    read().map(Some).ok_or(Unreadable)
}

/// Somebody shows what is no device id and token.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unreadable;

/// Whether the body is said to be a certificate signing request (RFC 7030 §4.2.1).
pub(super) fn is_request(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|it| it.to_str().ok());
    let essence = value.and_then(|it| it.split(';').next());
    essence.is_some_and(|it| it.trim().eq_ignore_ascii_case("application/pkcs10"))
}

/// The octets of a request as `certs` reads them: base64 of DER (RFC 8951 §3) is decoded; PEM and
/// DER, which `openssl req` writes, are left as they are.
pub(super) fn decoded(body: &[u8]) -> Vec<u8> {
    let digits: Vec<u8> = body
        .iter()
        .copied()
        .filter(|it| !it.is_ascii_whitespace())
        .collect();
    STANDARD.decode(digits).unwrap_or_else(|_| body.to_vec())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn with(name: &axum::http::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name.clone(), HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn rfc_7617_the_user_is_a_device_and_the_password_a_token() {
        let basic = |text: &str| format!("basic {}", STANDARD.encode(text));
        let found = |value: &str| credentials(&with(&AUTHORIZATION, value));
        let dev_1 = Credentials {
            device: DeviceId::parse("dev-1").unwrap(),
            token: token::hash("abc"),
        };
        assert_eq!(found(&basic("dev-1:ABC")), Ok(Some(dev_1)));
        assert_eq!(credentials(&HeaderMap::new()), Ok(None));
        for bad in [
            "",
            "Basic",
            "Basic !",
            "Bearer abc",
            &basic("dev-1"),
            &basic(":abc"),
            &basic("../dev-1:abc"),
            &format!("Basic {}", STANDARD.encode([0xff, b':'])),
        ] {
            assert_eq!(found(bad), Err(Unreadable), "{bad}");
        }
    }

    #[test]
    fn rfc_7030_4_2_1_a_request_says_what_it_is() {
        for (value, good) in [
            ("application/pkcs10", true),
            ("Application/PKCS10; charset=utf-8", true),
            ("application/x-www-form-urlencoded", false),
            ("application/pkcs10x", false),
        ] {
            assert_eq!(is_request(&with(&CONTENT_TYPE, value)), good, "{value}");
        }
        assert!(!is_request(&HeaderMap::new()));
    }

    #[test]
    fn base64_is_decoded_however_its_lines_end() {
        for text in ["MAA=", "MA\nA=", "MA\r\nA=\r\n"] {
            assert_eq!(decoded(text.as_bytes()), [0x30, 0]);
        }
        let pem = b"-----BEGIN CERTIFICATE REQUEST-----";
        for other in [&pem[..], &[0x30, 0x82, 1, 0]] {
            assert_eq!(decoded(other), other);
        }
    }
}
