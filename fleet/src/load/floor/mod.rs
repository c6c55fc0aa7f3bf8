//! The floor: what any broker pays for TLS, system calls and copies, with no broker behind them.
//!
//! It demands client certificates, answers what a client must have answered, and passes the frames
//! of a publisher on as they came. Which subscribers get them is decided by a publisher's first
//! topic and not looked at again; packet ids are not changed, and nothing is ever sent
//! again. What is retained is kept as it came. It
//! serves the load of this crate and nobody else.

mod answer;
mod connection;
mod outbox;
mod routes;

#[cfg(test)]
pub(super) use answer::{Asked, answer};

use super::LoadError;
use super::client::certificates;
use connection::Connection;
use routes::Routes;
use rustls::crypto::{CryptoProvider, aws_lc_rs, aws_lc_rs::kx_group};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// Where it listens, and with which certificates.
#[derive(Clone, Debug)]
pub struct FloorPlan {
    /// An address and port; 0 is any free one.
    pub listen: SocketAddr,
    /// The directory with `broker/cert.pem` and `broker/key.pem`.
    pub identities: PathBuf,
}

/// A floor that listens.
pub struct Floor {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl Floor {
    /// Listens.
    ///
    /// # Errors
    /// A file or the address that cannot be used.
    pub async fn bind(plan: &FloorPlan) -> Result<Self, LoadError> {
        let acceptor = TlsAcceptor::from(Arc::new(server_config(&plan.identities)?));
        Ok(Self {
            listener: TcpListener::bind(plan.listen).await?,
            acceptor,
        })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The system's.
    pub fn address(&self) -> Result<SocketAddr, LoadError> {
        Ok(self.listener.local_addr()?)
    }

    /// Serves until the future is dropped.
    ///
    /// # Errors
    /// The listener's; a connection that fails concerns nobody else.
    pub async fn serve(self) -> Result<(), LoadError> {
        let routes = Arc::new(Routes::default());
        loop {
            let (tcp, _) = self.listener.accept().await?;
            tokio::spawn(serve_one(tcp, self.acceptor.clone(), Arc::clone(&routes)));
        }
    }
}

async fn serve_one(tcp: TcpStream, acceptor: TlsAcceptor, routes: Arc<Routes>) {
    if tcp.set_nodelay(true).is_err() {
        return;
    }
    if let Ok(stream) = acceptor.accept(tcp).await {
        Connection::new(stream, routes).serve().await;
    }
}

/// Both groups are offered, so that the client chooses which one is measured.
pub(super) fn server_config(identities: &Path) -> Result<ServerConfig, LoadError> {
    let broker = identities.join("broker");
    let unusable = |path: &Path, cause: &dyn std::error::Error| LoadError::UnusableIdentity {
        path: path.to_owned(),
        cause: cause.to_string(),
    };
    let (cert, key) = (broker.join("cert.pem"), broker.join("key.pem"));
    let provider = Arc::new(CryptoProvider {
        kx_groups: vec![kx_group::X25519MLKEM768, kx_group::X25519],
        ..aws_lc_rs::default_provider()
    });
    // What a broker trusts is the authority of devices, where there is one of its own.
    let anchors = Some(broker.join("ca.pem")).filter(|path| path.is_file());
    let anchors = anchors.unwrap_or_else(|| identities.join("ca.pem"));
    let mut roots = RootCertStore::empty();
    for anchor in certificates(&anchors)? {
        roots
            .add(anchor)
            .map_err(|error| unusable(&anchors, &error))?;
    }
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()
            .map_err(|error| unusable(&anchors, &error))?;
    let chain = certificates(&cert)?;
    let private = PrivateKeyDer::from_pem_file(&key).map_err(|error| unusable(&key, &error))?;
    ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map(|tls| tls.with_client_cert_verifier(verifier))
        .and_then(|tls| tls.with_single_cert(chain, private))
        .map_err(|error| unusable(&cert, &error))
}
