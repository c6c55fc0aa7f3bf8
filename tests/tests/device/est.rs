//! An enrolment server that certifies whatever device shows a certificate, for as long as the test
//! wants.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use countersign_tests::authority::Authority;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// It ends with the test process.
pub(crate) struct Est {
    url: String,
    state: Arc<State>,
}

struct State {
    tls: Arc<ServerConfig>,
    lifetime: Duration,
    /// Serial numbers, as the broker shows them.
    issued: Mutex<Vec<String>>,
    asked: AtomicU32,
}

/// A clock that stands still: certificates whose time is over since are let in, as an enrolment
/// server may, so that a device that was off for long can renew.
#[derive(Debug)]
struct Stopped(UnixTime);

impl TimeProvider for Stopped {
    fn current_time(&self) -> Option<UnixTime> {
        Some(self.0)
    }
}

type Stream = StreamOwned<ServerConnection, TcpStream>;

impl Est {
    /// With the certificate and key of a broker in `directory`.
    pub(crate) fn start(directory: &Path, lifetime: Duration) -> Self {
        let chain = CertificateDer::pem_file_iter(directory.join("cert.pem")).unwrap();
        let chain = chain.map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_file(directory.join("key.pem")).unwrap();
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let mut tls = ServerConfig::builder_with_provider(provider.into())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_client_cert_verifier(Authority::shared().verifier())
            .with_single_cert(chain, key)
            .unwrap();
        tls.alpn_protocols = vec![b"http/1.1".into()];
        tls.time_provider = Arc::new(Stopped(UnixTime::now()));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let state = Arc::new(State {
            tls: tls.into(),
            lifetime,
            issued: Mutex::default(),
            asked: AtomicU32::default(),
        });
        let inside = Arc::clone(&state);
        thread::spawn(move || {
            for device in listener.incoming() {
                // One that goes away is no matter of the next.
                let _ = inside.serve(device.unwrap());
            }
        });
        Self { url, state }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The serial numbers of what it has issued.
    pub(crate) fn issued(&self) -> Vec<String> {
        self.state.issued.lock().unwrap().clone()
    }

    pub(crate) fn asked(&self) -> u32 {
        self.state.asked.load(Ordering::Relaxed)
    }
}

impl State {
    fn serve(&self, tcp: TcpStream) -> io::Result<()> {
        let connection = ServerConnection::new(Arc::clone(&self.tls)).unwrap();
        let mut stream = BufReader::new(StreamOwned::new(connection, tcp));
        let (line, request) = read_request(&mut stream)?;
        let mut stream = stream.into_inner();
        if line.starts_with("GET ") {
            // It tells of no authorities.
            return answer(&mut stream, "404 None", "");
        }
        let certificates = stream.conn.peer_certificates().unwrap();
        let holder = certs::Certificate::read(&certificates[0]).unwrap();
        let (_, subject) = certs::parse_spiffe_uri(&holder.extensions.uri_names[0]).unwrap();
        let earlier = self.asked.fetch_add(1, Ordering::Relaxed);
        if earlier % 4 == 3 {
            return answer(&mut stream, "503 Busy", "");
        }
        let authority = Authority::shared();
        let leaf = authority.certify(subject.id.as_str(), &request, self.lifetime);
        let serial = certs::Certificate::read(&leaf).unwrap().serial;
        self.issued.lock().unwrap().push(serial.to_string());
        answer(&mut stream, "200 OK", &STANDARD.encode(pkcs7(&leaf)))
    }
}

/// The first line of a request, and its body as it was before base64.
fn read_request(stream: &mut BufReader<Stream>) -> io::Result<(String, Vec<u8>)> {
    let (mut first, mut len) = (String::new(), 0);
    stream.read_line(&mut first)?;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let line = line.trim_end().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length: ") {
            len = value.parse().unwrap();
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; len];
    stream.read_exact(&mut body)?;
    Ok((first, STANDARD.decode(body).unwrap()))
}

fn answer(stream: &mut Stream, status: &str, body: &str) -> io::Result<()> {
    let len = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\ncontent-length: {len}\r\n\r\n{body}"
    )?;
    stream.conn.send_close_notify();
    stream.flush()
}

/// One certificate, and nothing that is signed (RFC 5652 §5.1). Its length has two octets.
fn pkcs7(leaf: &[u8]) -> Vec<u8> {
    const SIGNED_DATA: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02";
    const NOTHING: &[u8] =
        b"\x02\x01\x01\x31\x00\x30\x0b\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01";
    let element = |tag: u8, contents: &[u8]| {
        let [.., high, low] = contents.len().to_be_bytes();
        [&[tag, 0x82, high, low], contents].concat()
    };
    let certificates = element(0xA0, leaf);
    let signed_data = element(0x30, &[NOTHING, &certificates, b"\x31\x00"].concat());
    element(0x30, &[SIGNED_DATA, &element(0xA0, &signed_data)].concat())
}
