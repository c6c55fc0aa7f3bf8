//! The door: peers that promise and do not come, and peers that take and do not give.
//!
//! Each costs a bounded place for a bounded time, and nobody else waits for it.

mod cut_off;
mod flood;
mod known;
mod memory;
mod queues;
mod quotas;
mod rates;
mod slow_readers;
mod stages;
mod unfinished;

use countersign_tests::stage::Stage;
use rustls::ClientConnection;
use rustls::pki_types::ServerName;
use socket2::{Domain, Socket, Type};
use std::io::{ErrorKind, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// A TCP connection from this address of the loopback network.
fn tcp_from(last_octet: u8, broker: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let address = Ipv4Addr::new(127, 0, 0, last_octet);
    socket.bind(&SocketAddr::from((address, 0)).into()).unwrap();
    socket.connect(&broker.into()).unwrap();
    socket.into()
}

/// A device's first TLS flight: its ClientHello.
fn client_hello(stage: &Stage) -> Vec<u8> {
    let config = stage
        .world()
        .authority()
        .device(&stage.id("hello"))
        .client_config();
    let name = ServerName::try_from("localhost").unwrap();
    let mut hello = Vec::new();
    ClientConnection::new(config, name)
        .unwrap()
        .write_tls(&mut hello)
        .unwrap();
    hello
}

/// How long it takes until the broker ends this connection; what it says before that is ignored.
fn time_to_end(socket: &mut TcpStream, time_max: Duration) -> Duration {
    let start = Instant::now();
    socket.set_read_timeout(Some(time_max)).unwrap();
    let mut ignored = [0; 4096];
    loop {
        match socket.read(&mut ignored) {
            Ok(0) => return start.elapsed(),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return start.elapsed(),
            Err(error) => panic!("still open after {:?}: {error}", start.elapsed()),
        }
        assert!(start.elapsed() < time_max, "the broker keeps talking");
    }
}
