//! A directory of certificates as `countersign up` makes it, and somebody who serves with them.

use super::faulty::{self, Wrong};
use crate::load::floor::{Floor, FloorPlan, server_config};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

/// Somebody who serves, until it is dropped.
pub(super) struct Stage {
    dir: TempDir,
    pub(super) address: SocketAddr,
    _runtime: Runtime,
}

impl Stage {
    /// The floor.
    pub(super) fn floor() -> Self {
        let (dir, runtime) = (identities(), Runtime::new().unwrap());
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let plan = FloorPlan {
            listen,
            identities: dir.path().to_owned(),
        };
        let floor = runtime.block_on(Floor::bind(&plan)).unwrap();
        let address = floor.address().unwrap();
        runtime.spawn(floor.serve());
        Self {
            dir,
            address,
            _runtime: runtime,
        }
    }

    /// A broker of one subscriber that does one thing wrong.
    pub(super) fn faulty(wrong: Wrong) -> Self {
        let (dir, runtime) = (identities(), Runtime::new().unwrap());
        let acceptor = TlsAcceptor::from(Arc::new(server_config(dir.path()).unwrap()));
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(faulty::serve(listener, acceptor, wrong));
        Self {
            dir,
            address,
            _runtime: runtime,
        }
    }

    pub(super) fn identities(&self) -> PathBuf {
        self.dir.path().to_owned()
    }
}

fn identities() -> TempDir {
    let dir = TempDir::new().unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = named("root");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let root = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    fs::write(dir.path().join("ca.pem"), &root).unwrap();
    for (folder, purpose) in [
        ("broker", ExtendedKeyUsagePurpose::ServerAuth),
        ("apps/app-1", ExtendedKeyUsagePurpose::ClientAuth),
        ("devices/dev-1", ExtendedKeyUsagePurpose::ClientAuth),
        ("devices/dev-2", ExtendedKeyUsagePurpose::ClientAuth),
    ] {
        write(&dir.path().join(folder), &issuer, purpose);
        fs::write(dir.path().join(folder).join("ca.pem"), &root).unwrap();
    }
    dir
}

fn write(dir: &Path, issuer: &Issuer<'_, KeyPair>, purpose: ExtendedKeyUsagePurpose) {
    let key = KeyPair::generate().unwrap();
    let mut params = named(dir.file_name().unwrap().to_str().unwrap());
    params.extended_key_usages = vec![purpose];
    let certificate = params.signed_by(&key, issuer).unwrap();
    fs::create_dir_all(dir).unwrap();
    fs::write(dir.join("cert.pem"), certificate.pem()).unwrap();
    fs::write(dir.join("key.pem"), key.serialize_pem()).unwrap();
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(["127.0.0.1".into()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}
