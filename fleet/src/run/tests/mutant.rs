//! A broker with one thing wrong, made of a good one: what passes is changed on the way.
//!
//! Devices reach the broker through it. It ends their TLS, and is each of them towards the broker.

use crate::wire::{
    Delivery, Duplex, Frame, PUBACK, PacketType, push_ack, split, split_text, split_varint,
};
use protocol::packet::{QoS, Version};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ServerConfig};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::time::sleep;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// What is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    Nothing,
    /// Every fifth message at QoS 1 is acknowledged and goes no further.
    LosesAcknowledged,
    /// What one device is told, the others hear as well.
    LeaksCommands,
    /// Who is revoked is cut this much later.
    RevokesLate(Duration),
}

/// All that its connections share.
pub(super) struct Mutant {
    pub(super) wrong: Wrong,
    pub(super) broker: SocketAddr,
    /// Who comes with which certificate, by client id.
    pub(super) identities: HashMap<String, Arc<ClientConfig>>,
    pub(super) passed: AtomicU32,
    pub(super) others: Mutex<HashMap<String, UnboundedSender<Vec<u8>>>>,
}

impl Mutant {
    /// Serves from now on, and says where.
    pub(super) async fn serve(self, chain: &str, key: &str) -> SocketAddr {
        let chain = CertificateDer::pem_slice_iter(chain.as_bytes());
        let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mutant = Arc::new(self);
        tokio::spawn(async move {
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                let (mutant, acceptor) = (Arc::clone(&mutant), acceptor.clone());
                tokio::spawn(async move { mutant.connection(tcp, acceptor).await });
            }
        });
        address
    }

    async fn connection(&self, tcp: TcpStream, acceptor: TlsAcceptor) -> io::Result<()> {
        let mut near = Duplex::new(acceptor.accept(tcp).await?);
        let mut first = Vec::new();
        while first.is_empty() {
            near.turn(|bytes, _| {
                first.extend_from_slice(bytes);
                Ok::<_, io::Error>(bytes.len())
            })
            .await?;
        }
        let client_id = client_id(&first);
        let tls = Arc::clone(&self.identities[&client_id]);
        let tcp = TcpStream::connect(self.broker).await?;
        let name = ServerName::from(self.broker.ip());
        let mut far = Duplex::new(TlsConnector::from(tls).connect(name, tcp).await?);
        far.out().extend(first);
        far.send().await?;
        let (leak, mut leaked) = unbounded_channel();
        self.others.lock().unwrap().insert(client_id.clone(), leak);
        loop {
            let (mut up, mut forged, mut down) = (Vec::new(), Vec::new(), Vec::new());
            let mut is_over = false;
            tokio::select! {
                turn = near.turn(|bytes, _| each(bytes, |frame, whole| {
                    self.up((frame, whole), &mut up, &mut forged);
                })) => turn?,
                turn = far.turn(|bytes, _| each(bytes, |frame, whole| {
                    self.down((frame, whole), &client_id, &mut down);
                })) => is_over = turn.is_err(),
                Some(frame) = leaked.recv() => near.out().extend(frame),
            }
            near.out().extend(forged);
            near.out().extend(down);
            near.send().await?;
            far.out().extend(up);
            if is_over || far.send().await.is_err() {
                if let Wrong::RevokesLate(by) = self.wrong {
                    sleep(by).await;
                }
                return Ok(());
            }
        }
    }

    fn up(&self, (frame, whole): (Frame<'_>, &[u8]), up: &mut Vec<u8>, forged: &mut Vec<u8>) {
        let is_publish = frame.packet_type() == PacketType::Publish;
        if self.wrong == Wrong::LosesAcknowledged
            && is_publish
            && frame.qos() == Some(QoS::AtLeastOnce)
            && self.passed.fetch_add(1, Relaxed) % 5 == 4
        {
            let delivery = Delivery::read(&frame, Version::V5).unwrap();
            return push_ack(forged, PUBACK, delivery.packet_id.unwrap());
        }
        up.extend_from_slice(whole);
    }

    fn down(&self, (frame, whole): (Frame<'_>, &[u8]), client_id: &str, down: &mut Vec<u8>) {
        if self.wrong == Wrong::LeaksCommands
            && frame.packet_type() == PacketType::Publish
            && client_id.starts_with("dev-")
        {
            let others = self.others.lock().unwrap();
            for (_, other) in others
                .iter()
                .filter(|(id, _)| id.starts_with("dev-") && *id != client_id)
            {
                // Who has left does not hear it.
                let _ = other.send(whole.to_vec());
            }
        }
        let tells_why = frame.packet_type() == PacketType::Disconnect;
        if !(tells_why && matches!(self.wrong, Wrong::RevokesLate(_))) {
            down.extend_from_slice(whole);
        }
    }
}

/// Calls `take` with each whole frame.
fn each(bytes: &[u8], mut take: impl FnMut(Frame<'_>, &[u8])) -> io::Result<usize> {
    let mut rest = bytes;
    while let Some((frame, after)) = split(rest).map_err(io::Error::other)? {
        take(frame, &rest[..rest.len() - after.len()]);
        rest = after;
    }
    Ok(bytes.len() - rest.len())
}

/// Behind name, level, flags, keep-alive and properties [MQTT 5.0 §3.1].
fn client_id(connect: &[u8]) -> String {
    let (frame, _) = split(connect).unwrap().unwrap();
    let (len, properties) = split_varint(&frame.body[10..]).unwrap().unwrap();
    let (client_id, _) = split_text(&properties[len..]).unwrap();
    String::from_utf8(client_id.to_vec()).unwrap()
}
