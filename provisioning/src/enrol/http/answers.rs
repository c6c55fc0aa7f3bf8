//! What is answered: certificates, a while to wait, or why not.
//!
//! A stranger learns nothing of devices that he does not know; who has a token or a certificate is
//! told what to do.

use axum::body::Body;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_TYPE, HeaderName, RETRY_AFTER, STRICT_TRANSPORT_SECURITY,
    WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use certs::{InvalidRequest, Refusal, WithCauses};
use rustls_pki_types::CertificateDer;
use thiserror::Error;

use super::super::limits::Counted;
use super::super::pkcs7;
use crate::registry::NotEnrolled;

/// When to ask again while a person decides, in seconds.
const ASK_AGAIN_AFTER: u16 = 60;
/// When to ask again after a limit was reached, in seconds.
const MAKE_WAY_FOR: u16 = 2;

const CONTENT_TRANSFER_ENCODING: HeaderName = HeaderName::from_static("content-transfer-encoding");
const PKCS7: &str = "application/pkcs7-mime; smime-type=certs-only";
const CSR_ATTRIBUTES: &str = "application/csrattrs";
const TEXT: &str = "text/plain; charset=utf-8";

/// Certificates and nothing else (RFC 7030 §4.1.3, §4.2.3).
pub(super) fn certificates(certificates: &[CertificateDer<'_>]) -> Response {
    encoded(PKCS7, &pkcs7::certs_only(certificates))
}

/// What a request had best ask for (RFC 7030 §4.5.2).
pub(super) fn csr_attributes() -> Response {
    encoded(CSR_ATTRIBUTES, &pkcs7::csr_attributes())
}

fn encoded(content_type: &'static str, octets: &[u8]) -> Response {
    let mut response = Response::new(Body::from(pkcs7::base64_lines(octets)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(
        CONTENT_TRANSFER_ENCODING,
        HeaderValue::from_static("base64"),
    );
    response
}

/// A person decides; until then the same request is to be made again (RFC 7030 §4.2.3).
pub(super) fn wait() -> Response {
    let words = "waits for approval; ask again with the same request";
    worded(StatusCode::ACCEPTED, words, Some(ASK_AGAIN_AFTER))
}

/// The server works.
pub(super) fn healthy() -> Response {
    worded(StatusCode::OK, "ok", None)
}

/// Headers of every answer: nobody keeps it, nobody takes it for something else, and whoever has
/// come over TLS comes over TLS again (RFC 6797).
pub(super) fn harden(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (STRICT_TRANSPORT_SECURITY, "max-age=31536000"),
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Why there is no certificate.
#[derive(Debug, Error)]
pub(super) enum Problem {
    #[error("show the device id and its token in HTTP Basic")]
    NoCredentials,
    #[error("connect with the certificate that is to be renewed")]
    NoCertificate,
    #[error("the body must be application/pkcs10")]
    NotARequest,
    #[error("the body is longer than {0} octets")]
    TooLong(usize),
    #[error("the body could not be read")]
    Unread,
    #[error("nothing can be certified from the request")]
    Request(#[from] InvalidRequest),
    #[error("the key is an authority's; make a new one")]
    AuthorityKey,
    #[error("the certificate is not accepted")]
    NotAdmitted(#[from] Refusal),
    #[error(transparent)]
    NotEnrolled(#[from] NotEnrolled),
    #[error("too many requests; slow down")]
    OverRate,
    #[error("too many requests wait; ask again")]
    OverWaiting,
    #[error("it took too long; ask again")]
    Late,
    #[error("it failed here; ask again later")]
    Failed,
}

impl Problem {
    fn status(&self) -> StatusCode {
        match self {
            Self::NoCredentials | Self::NotEnrolled(NotEnrolled::UnknownToken) => {
                StatusCode::UNAUTHORIZED
            }
            Self::NotARequest => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLong(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Unread | Self::Request(_) | Self::AuthorityKey => StatusCode::BAD_REQUEST,
            Self::OverRate => StatusCode::TOO_MANY_REQUESTS,
            Self::OverWaiting | Self::Late | Self::NotEnrolled(NotEnrolled::TooManyWait) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Failed => StatusCode::INTERNAL_SERVER_ERROR,
            Self::NotEnrolled(why) if !why.is_refusal() => StatusCode::INTERNAL_SERVER_ERROR,
            Self::NoCertificate | Self::NotAdmitted(_) | Self::NotEnrolled(_) => {
                StatusCode::FORBIDDEN
            }
        }
    }

    /// What it is counted as.
    pub(super) fn counted(&self) -> Counted {
        match self {
            Self::TooLong(_) => Counted::BodyTooLong,
            Self::OverRate => Counted::OverRate,
            Self::OverWaiting => Counted::OverWaiting,
            Self::Late => Counted::RequestLate,
            _ if self.status() == StatusCode::INTERNAL_SERVER_ERROR => Counted::Failed,
            _ => Counted::Refused,
        }
    }

    /// What the peer is told; what is our own matter is not.
    pub(super) fn words(&self) -> String {
        if self.status() == StatusCode::INTERNAL_SERVER_ERROR {
            return Self::Failed.to_string();
        }
        WithCauses(self).to_string()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.status();
        let retry = match status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Some(MAKE_WAY_FOR),
            _ => None,
        };
        let mut response = worded(status, &self.words(), retry);
        if status == StatusCode::UNAUTHORIZED {
            let basic = HeaderValue::from_static("Basic realm=\"enrolment\", charset=\"UTF-8\"");
            response.headers_mut().insert(WWW_AUTHENTICATE, basic);
        }
        response
    }
}

fn worded(status: StatusCode, words: &str, retry_after: Option<u16>) -> Response {
    let mut response = Response::new(Body::from(format!("{words}\n")));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(TEXT));
    if let Some(seconds) = retry_after {
        headers.insert(RETRY_AFTER, seconds.into());
    }
    response
}
