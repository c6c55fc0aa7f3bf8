//! EST over HTTP (RFC 7030): what is asked, handed to the authority, and answered.
//!
//! Who somebody is follows from a token, from the certificate of the TLS connection, or from a
//! person's word; never from the request alone.

mod answers;
mod request;

use std::sync::Arc;
use std::time::Instant;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use certs::{Kind, PublicKey, Subject, WithCauses};
use rustls_pki_types::{CertificateDer, UnixTime};
use tokio::sync::oneshot;
use tokio::time::timeout;

use self::answers::Problem;
use self::request::Credentials;
use super::addresses::Entered;
use super::limits::Counted;
use super::writer::Work;
use super::{Approval, Shared};
use crate::authority;
use crate::registry::{Answer, Asked, Proof};

/// Who is at the other end of a connection.
#[derive(Clone)]
pub(super) struct Peer {
    pub(super) entered: Arc<Entered>,
    /// What it has proved to hold in the handshake.
    pub(super) leaf: Option<CertificateDer<'static>>,
}

/// All that can be asked.
pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/.well-known/est/cacerts", get(ca_certificates))
        .route("/.well-known/est/simpleenroll", post(simple_enrol))
        .route("/.well-known/est/simplereenroll", post(simple_re_enrol))
        .route("/.well-known/est/csrattrs", get(csr_attributes))
        .route("/healthz", get(health))
        .layer(DefaultBodyLimit::max(shared.limits.body_len_max))
        .layer(from_fn_with_state(Arc::clone(&shared), within_limits))
        .with_state(shared)
}

/// Every request: in its rate, in its time, and answered with the headers of all.
async fn within_limits(
    State(shared): State<Arc<Shared>>,
    Extension(peer): Extension<Peer>,
    request: Request,
    next: Next,
) -> Response {
    shared.counters.count(Counted::Requests);
    let answered = if peer.entered.ask(Instant::now()).is_ok() {
        let answer = timeout(shared.limits.request_time_max, next.run(request));
        answer.await.map_err(|_| Problem::Late)
    } else {
        Err(Problem::OverRate)
    };
    answers::harden(answered.unwrap_or_else(|problem| {
        shared.counters.count(problem.counted());
        problem.into_response()
    }))
}

async fn ca_certificates(State(shared): State<Arc<Shared>>) -> Response {
    answers::certificates(&shared.gate.authorities().certificates)
}

async fn csr_attributes() -> Response {
    answers::csr_attributes()
}

async fn health(State(shared): State<Arc<Shared>>) -> Response {
    if shared.work.is_closed() {
        return Problem::Failed.into_response();
    }
    answers::healthy()
}

async fn simple_enrol(
    State(shared): State<Arc<Shared>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let asked = async {
        let credentials = request::credentials(&headers).map_err(|_| Problem::NoCredentials)?;
        if credentials.is_none() && shared.approval == Approval::AutoWithToken {
            return Err(Problem::NoCredentials);
        }
        let octets = octets(&shared, &headers, body)?;
        let (address, of) = (peer.entered.address(), Arc::clone(&shared));
        off_the_loop(move || match credentials {
            Some(credentials) => by_token(&of, &octets, credentials),
            None => by_approval(&of, &octets, address.to_string().into()),
        })
        .await
    };
    shared.answer(asked, Counted::Issued, &peer).await
}

async fn simple_re_enrol(
    State(shared): State<Arc<Shared>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let asked = async {
        let leaf = peer.leaf.clone().ok_or(Problem::NoCertificate)?;
        let octets = octets(&shared, &headers, body)?;
        let of = Arc::clone(&shared);
        off_the_loop(move || by_certificate(&of, &octets, &leaf)).await
    };
    shared.answer(asked, Counted::Renewed, &peer).await
}

fn octets(
    shared: &Shared,
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Vec<u8>, Problem> {
    let body = body.map_err(|why| match why.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Problem::TooLong(shared.limits.body_len_max),
        _ => Problem::Unread,
    })?;
    if !request::is_request(headers) {
        return Err(Problem::NotARequest);
    }
    Ok(request::decoded(&body))
}

/// Signatures are verified where nobody else waits for it.
async fn off_the_loop<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| Problem::Failed)?
}

fn by_token(shared: &Shared, octets: &[u8], credentials: Credentials) -> Result<Asked, Problem> {
    let subject = Subject {
        kind: Kind::Device,
        id: credentials.device,
    };
    let trust_domain = shared.gate.trust_domain();
    let key = PublicKey::from_request_of(octets, trust_domain, &subject)?;
    Ok(Asked {
        key: shared.refuse_authority_key(key)?,
        subject,
        proof: Proof::Token(credentials.token),
    })
}

fn by_approval(shared: &Shared, octets: &[u8], address: Box<str>) -> Result<Asked, Problem> {
    let trust_domain = shared.gate.trust_domain();
    let (key, subject) = PublicKey::from_request_claiming(octets, trust_domain)?;
    Ok(Asked {
        key: shared.refuse_authority_key(key)?,
        subject,
        proof: Proof::Approval { address },
    })
}

/// The handshake has admitted the certificate; a connection may outlive that.
fn by_certificate(shared: &Shared, octets: &[u8], leaf: &[u8]) -> Result<Asked, Problem> {
    let (device, at) = shared.gate.admit(leaf, UnixTime::now())?;
    let subject = device.subject().clone();
    let trust_domain = shared.gate.trust_domain();
    let key = PublicKey::from_request_naming(octets, trust_domain, &subject)?;
    Ok(Asked {
        key: shared.refuse_authority_key(key)?,
        subject,
        proof: Proof::Certificate { device, at },
    })
}

impl Shared {
    fn refuse_authority_key(&self, key: PublicKey) -> Result<PublicKey, Problem> {
        let octets = key.to_der();
        if self
            .gate
            .authorities()
            .keys
            .iter()
            .any(|it| **it == *octets)
        {
            return Err(Problem::AuthorityKey);
        }
        Ok(key)
    }

    /// What `peer` is answered who asks; it is counted as `counted` when it is issued something.
    async fn answer(
        &self,
        asked: impl Future<Output = Result<Asked, Problem>>,
        counted: Counted,
        peer: &Peer,
    ) -> Response {
        let answer = async { self.enrol(asked.await?, counted).await };
        match answer.await {
            Ok(response) => response,
            Err(problem) => self.refuse(problem, peer),
        }
    }

    /// Has the authority decide.
    async fn enrol(&self, asked: Asked, counted: Counted) -> Result<Response, Problem> {
        let subject = asked.subject.clone();
        let (peer, answer) = oneshot::channel();
        let work = Work::Enrol(Box::new(asked), peer);
        self.work.try_send(work).map_err(|_| Problem::OverWaiting)?;
        match answer.await.map_err(|_| Problem::Failed)?? {
            Answer::Issued(recorded) => {
                let serial = recorded.certificate().serial;
                tracing::info!(device = %subject, %serial, "{}", counted.as_str());
                self.hand_out(recorded.pem(), counted)
            }
            Answer::Again(recorded) => self.hand_out(recorded.pem(), Counted::Again),
            Answer::Wait => {
                self.counters.count(Counted::Pending);
                Ok(answers::wait())
            }
        }
    }

    fn hand_out(&self, pem: &str, counted: Counted) -> Result<Response, Problem> {
        let der = authority::der(pem).map_err(|_| Problem::Failed)?;
        self.counters.count(counted);
        Ok(answers::certificates(&[der]))
    }

    /// A problem is counted, logged, and noted if nobody has noted it so far.
    fn refuse(&self, problem: Problem, peer: &Peer) -> Response {
        self.counters.count(problem.counted());
        let address = peer.entered.address();
        tracing::info!(%address, why = %WithCauses(&problem), "not enrolled");
        let is_noted = matches!(problem, Problem::NotEnrolled(_));
        if problem.counted() == Counted::Refused && !is_noted {
            let (subject, words) = (address.to_string(), problem.words());
            // Where too much waits, it is only counted.
            let noted = self.work.try_send(Work::Note { subject, words });
            if noted.is_err() {
                self.counters.count(Counted::NotNoted);
            }
        }
        problem.into_response()
    }
}
