//! The handshake: from an accepted socket to a verified device, in bounded time.
//!
//! No peer reaches MQTT any other way, and every one that does not leaves a line that says why.

use super::door::{Reputation, Slot};
use crate::refusals::Code;
use crate::trust::{Generation, Verdict, noting_verdict};
use certs::{Certificate, Refusal, VerifiedDevice};
use rustls::server::Acceptor;
use rustls::{AlertDescription, PeerIncompatible};
use rustls_pki_types::UnixTime;
use std::fmt;
use std::io;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{AcquireError, Semaphore, SemaphorePermit};
use tokio::time::timeout;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::{StartHandshake, TlsStream};

/// The encrypted stream of a connection.
pub(super) type Stream = TlsStream<TcpStream>;

/// How long the stages may take and how many peers may be in the second at once.
#[derive(Debug)]
pub(crate) struct Stages {
    pub(crate) hello_timeout: Duration,
    pub(crate) handshake_timeout: Duration,
    pub(crate) handshaking: Semaphore,
    /// Further ones, for those who are known.
    pub(crate) reserved: Semaphore,
}

/// A peer that was not let in.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) why: Why,
    pub(super) certificate: Option<Box<Certificate>>,
}

/// Why a peer was not let in.
#[derive(Debug)]
pub(super) enum Why {
    /// It had to make room for another.
    Evicted,
    /// It did not send its ClientHello in time.
    NoHello(Duration),
    /// It did not finish its handshake in time.
    Unfinished(Duration),
    /// Its certificate is not good enough.
    Certificate(Refusal),
    /// It does not speak our TLS.
    Tls(io::Error),
}

/// Leads a peer through both stages and the identity gate.
pub(super) async fn shake_hands(
    socket: TcpStream,
    slot: &mut Slot,
    rules: (&Stages, &Generation),
) -> Result<(Stream, VerifiedDevice), Refused> {
    let (stages, generation) = rules;
    let (start, permit) = wait_for_hello(socket, slot, stages).await?;
    let handshake = timeout(
        stages.handshake_timeout,
        start.into_stream(generation.config()),
    );
    let (outcome, verdict) = noting_verdict(handshake).await;
    drop(permit);
    let stream = match outcome {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(refused(error, verdict)),
        Err(_) => return Err(Why::Unfinished(stages.handshake_timeout).into()),
    };
    let chain = stream.get_ref().1.peer_certificates();
    let now = UnixTime::now();
    let admitted = match verdict {
        Some(Verdict::Admitted(device)) => generation.admit_again(device, now),
        // Resumed: the verifier was not asked.
        Some(Verdict::Refused { .. }) | None => generation.admit(chain, now),
    };
    match admitted {
        Ok(device) => Ok((stream, device)),
        Err(refusal) => {
            let leaf = chain.and_then(|chain| Certificate::read(chain.first()?).ok());
            Err(Refused {
                why: Why::Certificate(refusal),
                certificate: leaf.map(Box::new),
            })
        }
    }
}

/// The first stage: until there is a complete ClientHello and room in the second.
async fn wait_for_hello<'a>(
    socket: TcpStream,
    slot: &mut Slot,
    stages: &'a Stages,
) -> Result<(StartHandshake<TcpStream>, SemaphorePermit<'a>), Refused> {
    let reputation = slot.reputation;
    let first_stage = async {
        let start = LazyConfigAcceptor::new(Acceptor::default(), socket).await;
        let start = start.map_err(|error| Refused::from(Why::Tls(error)))?;
        let permit = stages.enter(reputation).await;
        // Never closed.
        Ok::<_, Refused>((start, permit.map_err(|_| Why::Evicted)?))
    };
    let ready = tokio::select! {
        biased;
        () = slot.evicted() => return Err(Why::Evicted.into()),
        ready = timeout(stages.hello_timeout, first_stage) => ready,
    };
    let ready = ready.map_err(|_| Refused::from(Why::NoHello(stages.hello_timeout)))??;
    if slot.begin_handshake() {
        Ok(ready)
    } else {
        Err(Why::Evicted.into())
    }
}

impl Stages {
    /// A place among those who shake hands.
    async fn enter(&self, reputation: Reputation) -> Result<SemaphorePermit<'_>, AcquireError> {
        match reputation {
            Reputation::Stranger => self.handshaking.acquire().await,
            Reputation::Known => tokio::select! {
                biased;
                permit = self.reserved.acquire() => permit,
                permit = self.handshaking.acquire() => permit,
            },
        }
    }
}

fn refused(error: io::Error, verdict: Option<Verdict>) -> Refused {
    match verdict {
        Some(Verdict::Refused {
            refusal,
            certificate,
        }) => Refused {
            why: Why::Certificate(refusal),
            certificate,
        },
        _ if is_for_want_of_a_certificate(&error) => {
            Why::Certificate(Refusal::NoCertificate).into()
        }
        _ => Why::Tls(error).into(),
    }
}

fn is_for_want_of_a_certificate(error: &io::Error) -> bool {
    matches!(
        tls_error(error),
        Some(rustls::Error::NoCertificatesPresented)
    )
}

fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

impl From<Why> for Refused {
    fn from(why: Why) -> Self {
        Self {
            why,
            certificate: None,
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Evicted => f.write_str("made room for a newer connection"),
            Self::NoHello(limit) => write!(f, "no TLS ClientHello within {limit:?}"),
            Self::Unfinished(limit) => write!(f, "TLS handshake not finished within {limit:?}"),
            Self::Certificate(refusal) => refusal.fmt(f),
            Self::Tls(error) => match tls_error(error) {
                Some(error) => fmt_tls(error, f),
                None => write!(f, "connection lost in the TLS handshake: {error}"),
            },
        }
    }
}

/// The kind of a failure in TLS.
pub(super) fn tls_code(error: &io::Error) -> Code {
    match tls_error(error) {
        Some(rustls::Error::InvalidMessage(_)) => Code::NotTls,
        Some(error) if is_for_the_version(error) => Code::TlsVersion,
        Some(rustls::Error::AlertReceived(alert)) if is_distrust(*alert) => Code::DistrustsUs,
        Some(_) | None => Code::Tls,
    }
}

fn is_for_the_version(error: &rustls::Error) -> bool {
    matches!(
        error,
        rustls::Error::PeerIncompatible(
            PeerIncompatible::Tls12NotOffered
                | PeerIncompatible::Tls12NotOfferedOrEnabled
                | PeerIncompatible::SupportedVersionsExtensionRequired
                // TLS 1.2 has it (RFC 5246 §7.4.1.4.1), and what is older has not.
                | PeerIncompatible::SignatureAlgorithmsExtensionRequired
                | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
        )
    )
}

/// Whether the client says that it does not take our certificate (RFC 8446 §6.2).
fn is_distrust(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            // Another authority of the same name.
            | AlertDescription::DecryptError
    )
}

/// What operators meet, in their words; the rest in the library's.
fn fmt_tls(error: &rustls::Error, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match error {
        rustls::Error::InvalidMessage(_) => f.write_str("not a TLS ClientHello"),
        error if is_for_the_version(error) => {
            f.write_str("the client's TLS version is not accepted here")
        }
        rustls::Error::NoApplicationProtocol => {
            f.write_str("the client offers no application protocol (ALPN) but others than mqtt")
        }
        rustls::Error::AlertReceived(AlertDescription::UnknownCA) => {
            f.write_str("the client does not know the authority of our certificate")
        }
        rustls::Error::AlertReceived(AlertDescription::CertificateExpired) => {
            f.write_str("the client finds our certificate expired")
        }
        rustls::Error::AlertReceived(alert) if is_distrust(*alert) => {
            write!(f, "the client does not take our certificate: {alert:?}")
        }
        error => write!(f, "TLS: {error}"),
    }
}
