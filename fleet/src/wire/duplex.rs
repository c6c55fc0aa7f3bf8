//! One connection, read and written by one task at once.
//!
//! Reading goes on while writing waits, because two peers that both only write would wait for ever.
//! What was read lies in a buffer of the thread, so that a connection at rest holds none.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How much is read before it is looked at.
const READ_LEN: usize = 64 * 1024;

/// With more than this to write, nothing is read: a peer that does not take its answers is not
/// asked for more of them.
const OUT_LEN_MAX: usize = 1024 * 1024;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A connection and what is on its way in and out.
#[derive(Debug)]
pub(crate) struct Duplex<S> {
    stream: S,
    /// The beginning of a frame whose rest has not come.
    partial: Vec<u8>,
    out: Vec<u8>,
    written: usize,
    flushed: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Duplex<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self {
            stream,
            partial: Vec::new(),
            out: Vec::new(),
            written: 0,
            flushed: true,
        }
    }

    pub(crate) fn stream(&self) -> &S {
        &self.stream
    }

    /// Where to put what is to be sent; the next [`Self::turn`] or [`Self::send`] sends it.
    pub(crate) fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Whether all of it has left.
    pub(crate) fn is_drained(&self) -> bool {
        self.out.is_empty() && self.flushed
    }

    /// Sends what the socket takes now, without waiting.
    pub(crate) async fn send(&mut self) -> io::Result<()> {
        poll_fn(|cx| Poll::Ready(self.poll_send(cx))).await
    }

    /// Sends everything.
    pub(crate) async fn drain(&mut self) -> io::Result<()> {
        poll_fn(|cx| match self.poll_send(cx) {
            Ok(()) if !self.is_drained() => Poll::Pending,
            sent => Poll::Ready(sent),
        })
        .await
    }

    /// Says that nothing more will be sent.
    pub(crate) async fn shut_down(&mut self) -> io::Result<()> {
        poll_fn(|cx| Pin::new(&mut self.stream).poll_shutdown(cx)).await
    }

    /// Sends what there is to send and waits for something to read; `take` is given it with the
    /// buffer for answers, and says how many bytes of whole frames it took. It also ends when what
    /// waited for the socket has left.
    ///
    /// Nothing is lost when the future is dropped.
    pub(crate) async fn turn<E, F>(&mut self, mut take: F) -> Result<(), E>
    where
        E: From<io::Error>,
        F: FnMut(&[u8], &mut Vec<u8>) -> Result<usize, E>,
    {
        poll_fn(|cx| self.poll_turn(cx, &mut take)).await
    }

    fn poll_turn<E, F>(&mut self, cx: &mut Context<'_>, take: &mut F) -> Poll<Result<(), E>>
    where
        E: From<io::Error>,
        F: FnMut(&[u8], &mut Vec<u8>) -> Result<usize, E>,
    {
        if !self.is_drained() {
            self.poll_send(cx)?;
            if self.is_drained() {
                return Poll::Ready(Ok(()));
            }
            if self.out.len() - self.written > OUT_LEN_MAX {
                return Poll::Pending;
            }
        }
        ready!(SCRATCH.with_borrow_mut(|scratch| self.poll_take(cx, scratch, take)))?;
        Poll::Ready(self.poll_send(cx).map_err(E::from))
    }

    fn poll_take<E, F>(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut Vec<u8>,
        take: &mut F,
    ) -> Poll<Result<(), E>>
    where
        E: From<io::Error>,
        F: FnMut(&[u8], &mut Vec<u8>) -> Result<usize, E>,
    {
        let len = ready!(self.poll_fill(cx, scratch))?;
        let bytes = scratch.get(..len).unwrap_or_default();
        let taken = take(bytes, &mut self.out)?;
        self.partial.clear();
        self.partial
            .extend_from_slice(bytes.get(taken..).unwrap_or_default());
        Poll::Ready(Ok(()))
    }

    /// Fills the scratch buffer with the partial frame and all there is to read.
    fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut Vec<u8>,
    ) -> Poll<io::Result<usize>> {
        let partial = self.partial.len();
        let len = READ_LEN.max(2 * partial);
        if scratch.len() < len {
            scratch.resize(len, 0);
        }
        let mut buffer = ReadBuf::new(scratch);
        buffer.put_slice(&self.partial);
        while buffer.remaining() > 0 {
            let before = buffer.filled().len();
            match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
                Poll::Ready(read) => read?,
                Poll::Pending if before == partial => return Poll::Pending,
                Poll::Pending => break,
            }
            if buffer.filled().len() == before {
                let nothing = before == partial;
                return Poll::Ready(if nothing { Err(closed()) } else { Ok(before) });
            }
        }
        Poll::Ready(Ok(buffer.filled().len()))
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        while let Some(rest) = self.out.get(self.written..).filter(|rest| !rest.is_empty()) {
            self.flushed = false;
            match Pin::new(&mut self.stream).poll_write(cx, rest) {
                Poll::Ready(written) => self.written += written?,
                Poll::Pending => return Ok(()),
            }
        }
        self.out.clear();
        self.written = 0;
        if !self.flushed
            && let Poll::Ready(flushed) = Pin::new(&mut self.stream).poll_flush(cx)
        {
            flushed?;
            self.flushed = true;
        }
        Ok(())
    }
}

fn closed() -> io::Error {
    io::Error::new(
        io::ErrorKind::UnexpectedEof,
        "the other side closed the connection",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    #[allow(clippy::unnecessary_wraps, reason = "as `turn` wants it")]
    /// Takes pairs of bytes and answers with the first of each.
    fn pairs(bytes: &[u8], out: &mut Vec<u8>) -> io::Result<usize> {
        let (pairs, rest) = bytes.as_chunks::<2>();
        out.extend(pairs.iter().map(|[first, _]| first));
        Ok(bytes.len() - rest.len())
    }

    fn connection(len: usize) -> (Duplex<DuplexStream>, DuplexStream) {
        let (near, far) = duplex(len);
        (Duplex::new(near), far)
    }

    #[tokio::test]
    async fn a_frame_that_comes_in_parts_is_taken_once_and_whole() {
        let (mut near, mut far) = connection(64);
        far.write_all(&[1, 2, 3]).await.unwrap();
        near.turn(pairs).await.unwrap();
        far.write_all(&[4]).await.unwrap();
        near.turn(pairs).await.unwrap();
        let mut answers = [0; 2];
        far.read_exact(&mut answers).await.unwrap();
        assert_eq!(answers, [1, 3]);
    }

    #[tokio::test]
    async fn two_that_both_write_more_than_the_pipe_holds_do_not_wait_for_each_other() {
        let (mut near, far) = connection(16);
        let mut far = Duplex::new(far);
        let (mut near_got, mut far_got) = (0, 0);
        near.out().extend([0; 1000]);
        far.out().extend([0; 1000]);
        while near_got < 1000 || far_got < 1000 {
            let count = |got: &mut usize, bytes: &[u8]| {
                *got += bytes.len();
                Ok::<_, io::Error>(bytes.len())
            };
            tokio::select! {
                turn = near.turn(|bytes, _| count(&mut near_got, bytes)) => turn.unwrap(),
                turn = far.turn(|bytes, _| count(&mut far_got, bytes)) => turn.unwrap(),
            }
        }
        assert!(near.is_drained() && far.is_drained());
    }

    #[tokio::test]
    async fn the_end_of_the_stream_is_an_error_after_what_came_before_it() {
        let (mut near, mut far) = connection(64);
        far.write_all(&[1, 2]).await.unwrap();
        drop(far);
        let mut taken = 0;
        let mut take = |bytes: &[u8], _: &mut Vec<u8>| {
            taken += bytes.len();
            Ok::<_, io::Error>(bytes.len())
        };
        near.turn(&mut take).await.unwrap();
        let error = near.turn(&mut take).await.unwrap_err();
        assert_eq!((error.kind(), taken), (io::ErrorKind::UnexpectedEof, 2));
    }
}
