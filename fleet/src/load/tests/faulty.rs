//! A broker of one publisher and one subscriber at QoS 0 that does one thing wrong.

use crate::load::floor::{Asked, answer};
use crate::wire::{Duplex, Malformed, split};
use protocol::packet::Version;
use std::io;
use std::sync::{Arc, Mutex};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_rustls::TlsAcceptor;

/// What is done wrong, to the message with this number.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wrong {
    Lose(usize),
    Double(usize),
    /// It comes after the next one.
    Swap(usize),
}

/// Messages on their way to the subscriber.
struct Road {
    wrong: Wrong,
    number: usize,
    held: Option<Vec<u8>>,
    to: UnboundedSender<Vec<u8>>,
}

impl Road {
    fn carry(&mut self, message: &[u8]) {
        let copies = match self.wrong {
            Wrong::Lose(number) if number == self.number => 0,
            Wrong::Double(number) if number == self.number => 2,
            Wrong::Swap(number) if number == self.number => {
                self.held = Some(message.to_vec());
                0
            }
            _ => 1,
        };
        self.number += 1;
        for _ in 0..copies {
            self.to.send(message.to_vec()).unwrap();
        }
        if let Some(held) = self.held.take_if(|_| copies > 0) {
            self.to.send(held).unwrap();
        }
    }
}

pub(super) async fn serve(listener: TcpListener, acceptor: TlsAcceptor, wrong: Wrong) {
    let (to, from) = unbounded_channel();
    let road = Arc::new(Mutex::new(Road {
        wrong,
        number: 0,
        held: None,
        to,
    }));
    // The subscriber connects first.
    let mut from = Some(from);
    loop {
        let (tcp, _) = listener.accept().await.unwrap();
        let from = from.take().unwrap_or_else(|| unbounded_channel().1);
        tokio::spawn(connection(tcp, acceptor.clone(), (Arc::clone(&road), from)));
    }
}

async fn connection(
    tcp: TcpStream,
    acceptor: TlsAcceptor,
    (road, mut from): (Arc<Mutex<Road>>, UnboundedReceiver<Vec<u8>>),
) {
    let Ok(stream) = acceptor.accept(tcp).await else {
        return;
    };
    let mut wire = Duplex::new(stream);
    loop {
        let turn = tokio::select! {
            // What was said before is carried before anything is answered.
            biased;
            Some(message) = from.recv() => {
                wire.out().extend(message);
                wire.send().await
            }
            turn = wire.turn(|bytes, out| take(bytes, out, &mut road.lock().unwrap())) => turn,
        };
        if turn.is_err() {
            return;
        }
    }
}

fn take(bytes: &[u8], out: &mut Vec<u8>, road: &mut Road) -> io::Result<usize> {
    let malformed = |error: Malformed| io::Error::other(error);
    let mut rest = bytes;
    while let Some((frame, after)) = split(rest).map_err(malformed)? {
        match answer(&frame, &mut Version::V5, out).map_err(malformed)? {
            Asked::PassOn(_) => road.carry(&rest[..rest.len() - after.len()]),
            Asked::Close => return Err(io::ErrorKind::ConnectionAborted.into()),
            Asked::Nothing | Asked::Subscribe(_) => {}
        }
        rest = after;
    }
    Ok(bytes.len() - rest.len())
}
