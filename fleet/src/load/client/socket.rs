//! A TCP connection that reads ahead and counts what it carries.
//!
//! rustls asks for 4 KiB at a time; a call to the system for each would make the generator cost
//! more than the broker. A connection with nothing to read holds no buffer.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// How much is read from the system at once.
const AHEAD_LEN: usize = 64 * 1024;

/// How many buffers a thread keeps for the next reader.
const SPARE_MAX: usize = 4;

thread_local! {
    static SPARE: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// Bytes on the wire, encryption included, over all connections of a run.
#[derive(Debug, Default)]
pub(crate) struct Volume {
    received: AtomicU64,
    sent: AtomicU64,
}

impl Volume {
    /// Received and sent.
    pub(crate) fn read(&self) -> (u64, u64) {
        (self.received.load(Relaxed), self.sent.load(Relaxed))
    }
}

/// A TCP connection to the broker.
#[derive(Debug)]
pub(crate) struct Socket {
    tcp: TcpStream,
    ahead: Option<Ahead>,
    volume: Arc<Volume>,
}

/// What was read and not yet asked for.
#[derive(Debug)]
struct Ahead {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Socket {
    pub(crate) fn new(tcp: TcpStream, volume: Arc<Volume>) -> Self {
        Self {
            tcp,
            ahead: None,
            volume,
        }
    }

    fn poll_ahead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Ahead>> {
        let spare = SPARE.with_borrow_mut(Vec::pop);
        let mut bytes = spare.unwrap_or_else(|| vec![0; AHEAD_LEN].into_boxed_slice());
        let mut buffer = ReadBuf::new(&mut bytes);
        let read = Pin::new(&mut self.tcp).poll_read(cx, &mut buffer);
        let end = buffer.filled().len();
        if !matches!(read, Poll::Ready(Ok(()))) {
            give_back(bytes);
            ready!(read)?;
            return Poll::Pending;
        }
        self.volume
            .received
            .fetch_add(u64::try_from(end).unwrap_or_default(), Relaxed);
        Poll::Ready(Ok(Ahead {
            bytes,
            start: 0,
            end,
        }))
    }
}

impl Ahead {
    /// Moves what fits; true when nothing is left.
    fn move_to(&mut self, buffer: &mut ReadBuf<'_>) -> bool {
        let len = (self.end - self.start).min(buffer.remaining());
        let part = self.bytes.get(self.start..self.start + len);
        buffer.put_slice(part.unwrap_or_default());
        self.start += len;
        self.start == self.end
    }
}

fn give_back(bytes: Box<[u8]>) {
    SPARE.with_borrow_mut(|spare| {
        if spare.len() < SPARE_MAX {
            spare.push(bytes);
        }
    });
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut ahead = match self.ahead.take() {
            Some(ahead) => ahead,
            None => ready!(self.poll_ahead(cx))?,
        };
        if ahead.move_to(buffer) {
            give_back(ahead.bytes);
        } else {
            self.ahead = Some(ahead);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.tcp).poll_write(cx, bytes))?;
        self.volume
            .sent
            .fetch_add(u64::try_from(written).unwrap_or_default(), Relaxed);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.tcp).poll_write_vectored(cx, parts))?;
        self.volume
            .sent
            .fetch_add(u64::try_from(written).unwrap_or_default(), Relaxed);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn what_is_read_ahead_comes_in_order_and_is_counted() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (mut far, _) = listener.accept().await.unwrap();
        let volume = Arc::new(Volume::default());
        let mut near = Socket::new(near, Arc::clone(&volume));
        let sent: Vec<u8> = (0..200_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        let expected = sent.clone();
        let writer = tokio::spawn(async move { far.write_all(&sent).await.map(|()| far) });
        let mut got = vec![0; expected.len()];
        for part in got.chunks_mut(777) {
            near.read_exact(part).await.unwrap();
        }
        assert_eq!(got, expected);
        near.write_all(b"abc").await.unwrap();
        assert_eq!(volume.read(), (200_000, 3));
        let mut far = writer.await.unwrap().unwrap();
        far.read_exact(&mut [0; 3]).await.unwrap();
        drop(far);
        assert_eq!(near.read(&mut [0]).await.unwrap(), 0);
    }
}
