//! One TLS connection to a broker, byte by byte.
//!
//! Every expectation has a deadline that only a failure reaches.

use crate::identity::Identity;
use crate::mqtt::{Frame, Kind, hex, unhex};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a test waits for what must come.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A TLS connection and what came in on it and was not yet looked at.
pub struct Raw {
    stream: StreamOwned<ClientConnection, TcpStream>,
    received: Vec<u8>,
}

/// What came next.
#[derive(Debug)]
pub enum Next {
    /// A packet.
    Packet(Frame),
    /// The end of the connection, in the words of TLS or TCP.
    Closed(String),
    /// Nothing, in the time given.
    Silence,
}

impl Raw {
    /// Connects as `identity`; the handshake is complete as far as a client can know.
    pub fn connect(broker: SocketAddr, identity: &Identity) -> Self {
        Self::connect_with(broker, identity.client_config()).expect("a TLS connection")
    }

    /// The same with a TLS configuration of the test's own.
    pub fn connect_with(broker: SocketAddr, config: Arc<ClientConfig>) -> io::Result<Self> {
        let socket = TcpStream::connect_timeout(&broker, PATIENCE)?;
        Self::over(socket, config)
    }

    /// The same on a connected socket.
    pub fn over(mut socket: TcpStream, config: Arc<ClientConfig>) -> io::Result<Self> {
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        let name = ServerName::try_from("localhost").unwrap();
        let mut tls = ClientConnection::new(config, name).map_err(io::Error::other)?;
        while tls.is_handshaking() {
            tls.complete_io(&mut socket)?;
        }
        Ok(Self {
            stream: StreamOwned::new(tls, socket),
            received: Vec::new(),
        })
    }

    /// Our end of the connection, as the broker's log names us.
    pub fn address(&self) -> SocketAddr {
        self.stream.sock.local_addr().unwrap()
    }

    /// The TLS side of it.
    pub fn tls(&self) -> &ClientConnection {
        &self.stream.conn
    }

    /// Another handle to the socket below, for what TLS cannot do.
    pub fn socket(&self) -> TcpStream {
        self.stream.sock.try_clone().unwrap()
    }

    /// Sends bytes. That the broker has closed already is for the next expectation to find.
    pub fn send(&mut self, bytes: &[u8]) {
        let _ = self.try_send(bytes);
    }

    /// Sends bytes; an error if the broker does not take them.
    pub fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    /// Sends bytes written as hex.
    pub fn send_hex(&mut self, text: &str) {
        self.send(&unhex(text));
    }

    /// The next packet must be this one.
    pub fn expect_hex(&mut self, text: &str) {
        let packet = self.expect_packet();
        assert_eq!(hex(&packet.bytes()), hex(&unhex(text)));
    }

    /// The next packet must come.
    pub fn expect_packet(&mut self) -> Frame {
        match self.next(PATIENCE) {
            Next::Packet(frame) => frame,
            other => panic!("expected a packet, found {other:?}"),
        }
    }

    /// The CONNECT sent before must not be accepted: the connection ends, and if a CONNACK comes
    /// before that, then with one of these codes.
    pub fn expect_refused(&mut self, codes: &[u8]) {
        match self.next(PATIENCE) {
            Next::Closed(_) => {}
            Next::Packet(frame) => {
                assert_eq!(frame.head, Kind::Connack.head(), "{frame:?}");
                assert_eq!(
                    frame.body[0], 0,
                    "session present in a refusal [MQTT-3.2.2-6]"
                );
                assert!(
                    codes.contains(&frame.body[1]),
                    "none of {codes:x?}: {frame:?}"
                );
                self.expect_closed();
            }
            Next::Silence => panic!("the broker keeps the connection open"),
        }
    }

    /// The connection must end without a further packet. Yields how it ended.
    pub fn expect_closed(&mut self) -> String {
        self.expect_closed_within(PATIENCE)
    }

    /// The same within a time of its own.
    pub fn expect_closed_within(&mut self, time: Duration) -> String {
        match self.next(time) {
            Next::Closed(how) => how,
            other => panic!("expected the end of the connection, found {other:?}"),
        }
    }

    /// Nothing may come for this long.
    pub fn expect_silence(&mut self, time: Duration) {
        match self.next(time) {
            Next::Silence => {}
            other => panic!("expected silence, found {other:?}"),
        }
    }

    /// What comes next.
    pub fn next(&mut self, time: Duration) -> Next {
        let deadline = Instant::now() + time;
        loop {
            if let Some(frame) = Frame::take(&mut self.received) {
                return Next::Packet(frame);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Next::Silence;
            }
            if let Err(how) = self.receive(left) {
                return Next::Closed(how);
            }
        }
    }

    /// Says good-bye in TLS and TCP, and no word of MQTT.
    pub fn close(mut self) {
        self.stream.conn.send_close_notify();
        let _ = self.stream.conn.complete_io(&mut self.stream.sock);
        let _ = self.stream.sock.shutdown(Shutdown::Both);
    }

    /// Reads without writing first: what the broker said last is heard even where it no longer
    /// listens.
    fn receive(&mut self, time: Duration) -> Result<(), String> {
        let StreamOwned { conn, sock } = &mut self.stream;
        sock.set_read_timeout(Some(time)).unwrap();
        match conn.read_tls(sock) {
            Ok(0) => return Err("end of stream".into()),
            Ok(_) => {}
            Err(error) if is_timeout(&error) => return Ok(()),
            Err(error) => return Err(error.to_string()),
        }
        let processed = conn.process_new_packets();
        let _ = conn.write_tls(sock);
        let state = processed.map_err(|error| error.to_string())?;
        let mut plain = vec![0; state.plaintext_bytes_to_read()];
        conn.reader().read_exact(&mut plain).unwrap();
        self.received.extend(plain);
        if state.peer_has_closed() && self.received.is_empty() {
            return Err("end of stream".into());
        }
        Ok(())
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}
