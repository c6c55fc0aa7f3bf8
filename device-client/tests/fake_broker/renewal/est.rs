//! An enrolment server that says what the test wants: HTTP/1.1 written by hand over real TLS.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::time_provider::TimeProvider;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::broker::PATIENCE;
use crate::material::{Authority, roots, server_config};

pub(crate) struct Est {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

/// A clock that is behind by so much.
#[derive(Debug)]
struct Late(Duration);

impl TimeProvider for Late {
    fn current_time(&self) -> Option<UnixTime> {
        let now = Duration::from_secs(UnixTime::now().as_secs());
        now.checked_sub(self.0).map(UnixTime::since_unix_epoch)
    }
}

/// A request, and where its answer goes.
pub(crate) struct Asked {
    stream: TlsStream<TcpStream>,
    /// The first line and the headers.
    pub(crate) head: String,
    /// As it was before base64.
    pub(crate) body: Vec<u8>,
}

impl Est {
    /// One that takes devices of this authority, and those that show no certificate.
    pub(crate) async fn start(authority: &Authority) -> Self {
        Self::start_late(authority, Duration::ZERO).await
    }

    /// The same, whose clock is behind by so much: it takes certificates for as long after their
    /// end.
    pub(crate) async fn start_late(authority: &Authority, behind: Duration) -> Self {
        Self {
            listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
            acceptor: acceptor((authority, authority), behind),
        }
    }

    /// From the next connection on it shows a certificate of `by`, and takes devices of both.
    pub(crate) fn prove_by(&mut self, by: &Authority, authority: &Authority) {
        self.acceptor = acceptor((by, authority), Duration::ZERO);
    }

    pub(crate) fn url(&self) -> String {
        let port = self.listener.local_addr().unwrap().port();
        format!("https://localhost:{port}")
    }

    pub(crate) async fn try_asked(&self) -> std::io::Result<Asked> {
        let accepted = timeout(PATIENCE, self.listener.accept()).await;
        let (tcp, _) = accepted.expect("nobody came")?;
        let mut stream = self.acceptor.accept(tcp).await?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        let head = String::from_utf8(head).unwrap();
        let headers = head.to_ascii_lowercase();
        let len = headers
            .lines()
            .find_map(|it| it.strip_prefix("content-length: "));
        let mut body = vec![0; len.map_or(0, |len| len.parse().unwrap())];
        stream.read_exact(&mut body).await?;
        let body = STANDARD.decode(body).unwrap();
        Ok(Asked { stream, head, body })
    }

    pub(crate) async fn asked(&self) -> Asked {
        self.try_asked().await.unwrap()
    }

    /// Nobody asks for a moment.
    pub(crate) async fn expect_silence(&self) {
        let came = timeout(Duration::from_millis(200), self.listener.accept()).await;
        assert!(came.is_err());
    }
}

/// Proves itself by the first, and takes devices of both or of none.
fn acceptor((by, authority): (&Authority, &Authority), behind: Duration) -> TlsAcceptor {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(&[by, authority]), provider);
    let verifier = verifier.allow_unauthenticated().build().unwrap();
    let http = (&rustls::version::TLS13, &b"http/1.1"[..]);
    let mut config = server_config(by, verifier, http);
    config.time_provider = Arc::new(Late(behind));
    Arc::new(config).into()
}

impl Asked {
    /// Whether TLS showed a certificate.
    pub(crate) fn has_certificate(&self) -> bool {
        self.stream.get_ref().1.peer_certificates().is_some()
    }

    pub(crate) async fn answer(mut self, text: &str) {
        // A client that has read enough may be gone.
        let _ = self.stream.write_all(text.as_bytes()).await;
        let _ = self.stream.shutdown().await;
    }

    /// A status with these headers and words.
    pub(crate) async fn refuse(self, status_and_headers: &str, words: &str) {
        let len = words.len();
        let text = format!("HTTP/1.1 {status_and_headers}\r\ncontent-length: {len}\r\n\r\n{words}");
        self.answer(&text).await;
    }

    pub(crate) async fn certificates(self, certificates: &[CertificateDer<'_>]) {
        let text = STANDARD.encode(pkcs7(certificates));
        self.refuse("200 OK\r\ncontent-type: application/pkcs7-mime", &text)
            .await;
    }
}

/// Certificates, and nothing that is signed (RFC 5652 §5.1).
fn pkcs7(certificates: &[CertificateDer<'_>]) -> Vec<u8> {
    const SIGNED_DATA: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02";
    const NOTHING: &[u8] =
        b"\x02\x01\x01\x31\x00\x30\x0b\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01";
    let certificates: Vec<_> = certificates.iter().flat_map(|it| it.to_vec()).collect();
    let certificates = element(0xA0, &certificates);
    let signed_data = element(0x30, &[NOTHING, &certificates, b"\x31\x00"].concat());
    let content = element(0xA0, &signed_data);
    element(0x30, &[SIGNED_DATA, &content].concat())
}

fn element(tag: u8, contents: &[u8]) -> Vec<u8> {
    let [.., high, low] = contents.len().to_be_bytes();
    let head = match contents.len() {
        0..=0x7F => vec![tag, low],
        0x80..=0xFF => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    [&head, contents].concat()
}
