//! A connection that says nothing before what it says is durable, and can be ended in good order
//! from our side without the library below.
//!
//! For that library, a client that has said DISCONNECT is done for good, and forgets what was under
//! way. So the goodbye is said here, between two packets, and looks like a lost connection from
//! inside: the session goes on with the next one, at the broker and here.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::ledger::Ledger;
use super::overheard::Overheard;
use crate::identity::TlsStream;

/// DISCONNECT, normal disconnection: no will is published, and the session expires as was agreed.
const DISCONNECT: &[u8] = &[0xE0, 0x00];

/// What was asked for before the goodbye goes out before it: acknowledgements above all.
const LINGER: Duration = Duration::from_millis(20);

/// The broker closes the connection when it has read the goodbye [MQTT-3.14.4-3]; what it said
/// before is read until then.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(1);

/// Whether a connection is to be ended. Clones are of the same connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Farewell(Arc<Wish>);

#[derive(Debug, Default)]
struct Wish {
    is_wished: AtomicBool,
    reader: AtomicWaker,
}

impl Farewell {
    pub(super) fn say(&self) {
        self.0.is_wished.store(true, Ordering::Release);
        self.0.reader.wake();
    }

    /// Another connection begins.
    fn forget(&self) {
        self.0.is_wished.store(false, Ordering::Release);
    }
}

/// What is written waits until the outbox has recorded what it depends on.
#[derive(Debug)]
pub(super) struct Gated {
    stream: TlsStream,
    /// Absent where nothing is recorded.
    ledger: Option<Arc<Ledger>>,
    farewell: Farewell,
    overheard: Overheard,
    parting: Parting,
    /// Nothing of a packet is still to be written.
    is_between_packets: bool,
}

#[derive(Debug)]
enum Parting {
    NotYet,
    Lingering(Pin<Box<Sleep>>),
    /// So much of it is written.
    Saying(usize),
    Closing,
    Said(Pin<Box<Sleep>>),
}

impl Gated {
    pub(super) fn new(
        stream: TlsStream,
        ledger: Option<Arc<Ledger>>,
        (farewell, overheard): (Farewell, Overheard),
    ) -> Self {
        farewell.forget();
        overheard.begin();
        Self {
            stream,
            ledger,
            farewell,
            overheard,
            parting: Parting::NotYet,
            is_between_packets: true,
        }
    }

    /// Says goodbye, as far as it is wished and can be done now.
    fn part(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        self.farewell.0.reader.register(context.waker());
        while let Poll::Ready(next) = self.poll_part(context)? {
            self.parting = next;
        }
        Ok(())
    }

    /// The next step of it.
    fn poll_part(&mut self, context: &mut Context<'_>) -> io::Result<Poll<Parting>> {
        let stream = Pin::new(&mut self.stream);
        Ok(match &mut self.parting {
            Parting::NotYet if self.farewell.0.is_wished.load(Ordering::Acquire) => {
                Poll::Ready(Parting::Lingering(Box::pin(sleep(LINGER))))
            }
            Parting::NotYet => Poll::Pending,
            Parting::Lingering(until) => match until.as_mut().poll(context) {
                // Whoever writes comes back to read.
                Poll::Ready(()) if self.is_between_packets => Poll::Ready(Parting::Saying(0)),
                Poll::Ready(()) => Poll::Ready(Parting::NotYet),
                Poll::Pending => Poll::Pending,
            },
            Parting::Saying(written) => {
                let rest = DISCONNECT.get(*written..).unwrap_or_default();
                if rest.is_empty() {
                    return Ok(Poll::Ready(Parting::Closing));
                }
                let more = stream.poll_write(context, rest)?;
                more.map(|more| Parting::Saying(*written + more))
            }
            Parting::Closing => {
                let closed = stream.poll_shutdown(context)?;
                closed.map(|()| Parting::Said(Box::pin(sleep(CLOSE_TIME_MAX))))
            }
            Parting::Said(until) => match until.as_mut().poll(context) {
                Poll::Ready(()) => return Err(io::ErrorKind::ConnectionAborted.into()),
                Poll::Pending => Poll::Pending,
            },
        })
    }

    /// Nothing follows a goodbye [MQTT-3.14.4-2].
    fn check_may_write(&self) -> io::Result<()> {
        match self.parting {
            Parting::NotYet | Parting::Lingering(_) => Ok(()),
            Parting::Saying(_) | Parting::Closing | Parting::Said(_) => {
                Err(io::ErrorKind::BrokenPipe.into())
            }
        }
    }
}

impl AsyncRead for Gated {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.part(context)?;
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        self.overheard
            .heard(buffer.filled().get(before..).unwrap_or_default());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Gated {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check_may_write()?;
        if let Some(ledger) = &self.ledger {
            ready!(ledger.writer.poll_may_speak(context));
        }
        self.is_between_packets = false;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    /// Asked for when all that there is of packets has been written.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check_may_write()?;
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        self.is_between_packets = true;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
