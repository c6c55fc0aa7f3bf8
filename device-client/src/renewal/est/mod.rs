//! Enrolment over secure transport (RFC 7030): a request for a certificate over HTTPS, and the
//! certificates that are the answer.
//!
//! One request is one connection, bounded in time, and its answer is bounded in length. Whom we
//! talk to is proved by the authorities of the identity, and by nothing that the system trusts.

mod exchange;
mod pkcs7;

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::header::{HeaderValue, RETRY_AFTER};
use hyper::{HeaderMap, StatusCode};
use rustls::ClientConfig;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::time::timeout;

use super::error::EnrolError;
use crate::client::split_port;
use exchange::{Answer, Question};

/// Where an enrolment server answers (RFC 7030 §3.2.2).
const WELL_KNOWN: &str = "/.well-known/est";

/// The port of HTTPS.
const PORT_DEFAULT: u16 = 443;

/// How long one request may take, from the connection on.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(30);

/// Where the enrolment server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Server {
    host: String,
    port: u16,
    name: ServerName<'static>,
    /// Without a slash at its end.
    path: String,
}

/// Who asks.
pub(super) enum Asker<'a> {
    /// The holder of a certificate, which TLS shows.
    Holder,
    /// A device that has none: its id, and its one-time token.
    Newcomer(&'a str, &'a str),
}

impl Server {
    /// Reads `https://HOST[:PORT]`, with or without the path under which certificates are asked
    /// for.
    pub(super) fn parse(url: &str) -> Result<Self, EnrolError> {
        let read = || {
            let rest = url.strip_prefix("https://")?;
            let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
            if authority.contains('@') || path.contains(['?', '#', ' ']) {
                return None;
            }
            let (host, port) = split_port(authority, PORT_DEFAULT).ok()?;
            let path = match path.trim_end_matches('/') {
                "" => WELL_KNOWN.to_owned(),
                path => format!("/{path}"),
            };
            let name = ServerName::try_from(host.to_owned()).ok()?;
            let host = host.to_owned();
            Some(Self {
                host,
                port,
                name,
                path,
            })
        };
        read().ok_or_else(|| EnrolError::Url { url: url.into() })
    }

    /// Asks for a certificate by `request`, a PKCS #10 in DER. The certificates that come back are
    /// not judged.
    pub(super) async fn enrol(
        &self,
        tls: Arc<ClientConfig>,
        asker: Asker<'_>,
        request: &[u8],
    ) -> Result<Vec<CertificateDer<'static>>, EnrolError> {
        let (operation, authorization) = match asker {
            Asker::Holder => ("simplereenroll", None),
            Asker::Newcomer(id, token) => ("simpleenroll", Some(basic(id, token)?)),
        };
        let question = Question {
            path: format!("{}/{operation}", self.path),
            authorization,
            body: Some(STANDARD.encode(request)),
        };
        self.ask(tls, question).await
    }

    /// Asks for the authorities of the server (RFC 7030 §4.1). They are not trusted for it.
    pub(super) async fn authorities(
        &self,
        tls: Arc<ClientConfig>,
    ) -> Result<Vec<CertificateDer<'static>>, EnrolError> {
        let question = Question {
            path: format!("{}/cacerts", self.path),
            authorization: None,
            body: None,
        };
        self.ask(tls, question).await
    }

    async fn ask(
        &self,
        tls: Arc<ClientConfig>,
        question: Question,
    ) -> Result<Vec<CertificateDer<'static>>, EnrolError> {
        let answer = timeout(REQUEST_TIME_MAX, question.send(self, tls)).await;
        read(&answer.map_err(|_| EnrolError::TimedOut)??)
    }
}

/// User and password (RFC 7617), marked as not to be shown.
fn basic(user: &str, password: &str) -> Result<HeaderValue, EnrolError> {
    let credentials = STANDARD.encode(format!("{user}:{password}"));
    let mut value = HeaderValue::try_from(format!("Basic {credentials}")).map_err(|_| {
        let what = "the token cannot be sent".into();
        EnrolError::Key { what }
    })?;
    value.set_sensitive(true);
    Ok(value)
}

fn read(answer: &Answer) -> Result<Vec<CertificateDer<'static>>, EnrolError> {
    let status = answer.status.as_u16();
    match answer.status {
        StatusCode::OK => {
            // Lines may end anywhere (RFC 2045 §6.8).
            let text: Vec<u8> = answer
                .body
                .iter()
                .copied()
                .filter(|it| !it.is_ascii_whitespace())
                .collect();
            let der = STANDARD
                .decode(text)
                .map_err(|_| EnrolError::Answer("it is not base64"))?;
            pkcs7::certificates(&der).map_err(EnrolError::Answer)
        }
        other if is_not_now(other) => {
            let retry_after = retry_after(&answer.headers);
            Err(EnrolError::NotNow {
                status,
                retry_after,
            })
        }
        other if other.is_client_error() => {
            let text = first_words(&answer.body);
            Err(EnrolError::Refused { status, text })
        }
        other => {
            let what = format!("the status is {other}");
            Err(EnrolError::Protocol { what })
        }
    }
}

/// Whether a server that answers so may answer otherwise later.
fn is_not_now(status: StatusCode) -> bool {
    let is_passing = matches!(
        status,
        StatusCode::ACCEPTED | StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS
    );
    is_passing || status.is_server_error()
}

/// In seconds; a date is not understood, and our own pace is kept then.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds: u32 = headers
        .get(RETRY_AFTER)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()?;
    Some(Duration::from_secs(seconds.into()))
}

/// What can stand in a log line.
fn first_words(body: &[u8]) -> String {
    const CHARACTERS_MAX: usize = 200;
    let text = String::from_utf8_lossy(body);
    let line = text.trim().chars().take(CHARACTERS_MAX);
    line.map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
pub(super) mod tests;
