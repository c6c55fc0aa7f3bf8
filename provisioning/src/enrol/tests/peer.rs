//! A peer of the server, as raw as TLS lets it be.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use certs::Subject;
use rcgen::KeyPair;
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::super::limits::{Counted, Limits};
use super::super::{Approval, EnrolmentServer, ServeRequest, ca_serve};
use super::{request, token};
use crate::layout::{IdentityFiles, Layout};
use crate::testing::{ago, der, up};

/// How long a condition may take on a busy machine before the test fails.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

pub(super) const DAY: Duration = Duration::from_hours(24);

/// An authority that was just made, and the server that enrols for it.
pub(super) struct World {
    temp: TempDir,
    pub(super) server: EnrolmentServer,
}

impl World {
    pub(super) async fn new(devices: u32, limits: Limits) -> Self {
        Self::made(devices, Duration::ZERO, limits).await
    }

    /// The authority and its devices were made so long ago.
    pub(super) async fn made(devices: u32, age: Duration, limits: Limits) -> Self {
        let temp = tempfile::tempdir().unwrap();
        up(temp.path(), devices, ago(age)).unwrap();
        let server = serve(temp.path(), limits).await;
        Self { temp, server }
    }

    pub(super) fn dir(&self) -> &Path {
        self.temp.path()
    }

    /// A connection without a certificate.
    pub(super) async fn connect(&self) -> TlsStream<TcpStream> {
        let connected = connect(self.dir(), self.server.address(), None).await;
        connected.unwrap()
    }

    /// What is answered to a request of its own connection.
    pub(super) async fn ask(&self, head: &str, body: &[u8]) -> String {
        ask(self.connect().await, head, body).await
    }

    /// Stops the server; the directory is still there.
    pub(super) async fn stop(self) -> TempDir {
        self.server.stop().await;
        self.temp
    }

    pub(super) fn counted(&self, what: Counted) -> u64 {
        self.server.counters.read(what)
    }

    /// The credentials of a device that was given a token just now.
    pub(super) fn credentials(&self, id: &str) -> String {
        let token = token(self.dir(), id, UnixTime::now());
        basic(id, token.token.as_str())
    }

    /// The head of a request with them.
    pub(super) fn enrolling(&self, id: &str) -> String {
        head(ENROL, &[&self.credentials(id)])
    }
}

async fn serve(dir: &Path, limits: Limits) -> EnrolmentServer {
    let request = ServeRequest {
        dir,
        passphrase: None,
        listen: (Ipv4Addr::LOCALHOST, 0).into(),
        server_names: &[],
        approval: Approval::AutoWithToken,
        lifetime: None,
        renew_expired: 7 * DAY,
        limits,
    };
    ca_serve(request, UnixTime::now()).await.unwrap()
}

pub(super) fn identity(dir: &Path, id: &str) -> IdentityFiles {
    Layout::new(dir).peer(&Subject::parse(id).unwrap())
}

/// A connection to the server, with the certificate of `files` if there are any.
pub(super) async fn connect(
    dir: &Path,
    to: SocketAddr,
    files: Option<&IdentityFiles>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(der(&Layout::new(dir).ca_pem())).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match files {
        None => config.with_no_client_auth(),
        Some(files) => {
            let chain = CertificateDer::pem_file_iter(&files.cert).unwrap();
            let chain = chain.collect::<Result<_, _>>().unwrap();
            let key = PrivateKeyDer::from_pem_file(&files.key).unwrap();
            config.with_client_auth_cert(chain, key).unwrap()
        }
    };
    let socket = TcpStream::connect(to).await?;
    let name = ServerName::from(to.ip());
    TlsConnector::from(Arc::new(config))
        .connect(name, socket)
        .await
}

/// What is answered to a request, head and body; empty when the connection was closed instead.
pub(super) async fn ask(mut stream: TlsStream<TcpStream>, head: &str, body: &[u8]) -> String {
    let head = format!(
        "{head}Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let mut answer = Vec::new();
    // What has been closed is seen when it is read.
    let _ = stream.write_all(&[head.as_bytes(), body].concat()).await;
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

pub(super) fn head(line: &str, more: &[&str]) -> String {
    let pkcs10 = ["Host: localhost", "Content-Type: application/pkcs10"];
    let lines = [line].into_iter().chain(pkcs10).chain(more.iter().copied());
    lines.flat_map(|line| [line, "\r\n"]).collect()
}

pub(super) const ENROL: &str = "POST /.well-known/est/simpleenroll HTTP/1.1";
pub(super) const RENEW: &str = "POST /.well-known/est/simplereenroll HTTP/1.1";
pub(super) const HEALTH: &str = "GET /healthz HTTP/1.1";

pub(super) fn basic(id: &str, token: &str) -> String {
    format!(
        "Authorization: Basic {}",
        STANDARD.encode(format!("{id}:{token}"))
    )
}

pub(super) fn status(answer: &str) -> u16 {
    let word = answer.split(' ').nth(1);
    word.map_or(0, |word| word.parse().unwrap())
}

pub(super) fn csr(name: &str) -> Vec<u8> {
    request(&KeyPair::generate().unwrap(), name)
}

/// Waits until the other end has closed a connection, and says whether nothing came before.
pub(super) async fn ended(mut stream: impl AsyncRead + Unpin) -> bool {
    let mut rest = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
    read.unwrap().is_err() || rest.is_empty()
}

pub(super) async fn until(what: impl Fn() -> bool) {
    let wait = async {
        while !what() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, wait).await.unwrap();
}
