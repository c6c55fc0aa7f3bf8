//! A peer of the server, as raw as TLS lets it be.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use certs::Subject;
use rcgen::KeyPair;
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::super::{Approval, EnrolmentServer, Limits, ServeRequest, ca_serve};
use super::request;
use crate::layout::{IdentityFiles, Layout};

/// How long a condition may take on a busy machine before the test fails.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

pub(super) const DAY: Duration = Duration::from_hours(24);

pub(super) async fn serve(dir: &Path, limits: Limits) -> EnrolmentServer {
    let request = ServeRequest {
        dir,
        passphrase: None,
        listen: (Ipv4Addr::LOCALHOST, 0).into(),
        server_names: &[],
        approval: Approval::AutoWithToken,
        renew_expired: 7 * DAY,
        limits,
    };
    ca_serve(request, UnixTime::now()).await.unwrap()
}

pub(super) fn ago(time: Duration) -> UnixTime {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap();
    UnixTime::since_unix_epoch(now.checked_sub(time).unwrap())
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
    let root = CertificateDer::from_pem_file(Layout::new(dir).ca_pem()).unwrap();
    roots.add(root).unwrap();
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

pub(super) async fn until(what: impl Fn() -> bool) {
    let wait = async {
        while !what() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, wait).await.unwrap();
}
