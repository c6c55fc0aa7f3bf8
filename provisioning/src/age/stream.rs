//! What follows the header: chunks of 64 KiB, each authenticated with its place, and the last one
//! with being the last.

use std::io::{self, BufRead, Read, Write};

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

use super::AgeError;

const CHUNK_LEN: usize = 64 * 1024;
const TAG_LEN: usize = 16;

/// The key of the chunks, and which one is next.
struct Chunks {
    key: LessSafeKey,
    next: u64,
}

/// Which chunk it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Between,
    Last,
}

impl Chunks {
    fn new(key: &Zeroizing<[u8; 32]>) -> Result<Self, AgeError> {
        let key = UnboundKey::new(&CHACHA20_POLY1305, &**key).map_err(|_| AgeError::Crypto)?;
        let key = LessSafeKey::new(key);
        Ok(Self { key, next: 0 })
    }

    /// Eleven octets of the number, and one that says whether it is the last.
    fn nonce(&mut self, place: Place) -> Nonce {
        let mut nonce = [0; 12];
        for (octet, digit) in nonce.iter_mut().skip(3).zip(self.next.to_be_bytes()) {
            *octet = digit;
        }
        if let Some(last) = nonce.last_mut() {
            *last = u8::from(place == Place::Last);
        }
        // 2^64 chunks are more than there is disk.
        self.next = self.next.wrapping_add(1);
        Nonce::assume_unique_for_key(nonce)
    }
}

/// Encrypts what is written to it.
pub(crate) struct Encryptor<W> {
    file: W,
    chunks: Chunks,
    /// What was not encrypted yet: it may be the last chunk.
    waiting: Vec<u8>,
}

impl<W: Write> Encryptor<W> {
    pub(super) fn new(file: W, key: &Zeroizing<[u8; 32]>) -> Result<Self, AgeError> {
        Ok(Self {
            file,
            chunks: Chunks::new(key)?,
            waiting: Vec::with_capacity(CHUNK_LEN + TAG_LEN),
        })
    }

    /// Ends the file; without it, whoever reads it finds it cut off.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.seal(Place::Last)?;
        self.file.flush()?;
        Ok(self.file)
    }

    fn seal(&mut self, place: Place) -> io::Result<()> {
        let nonce = self.chunks.nonce(place);
        let key = &self.chunks.key;
        key.seal_in_place_append_tag(nonce, Aad::empty(), &mut self.waiting)
            .map_err(|_| io::Error::other(AgeError::Crypto))?;
        self.file.write_all(&self.waiting)?;
        self.waiting.clear();
        Ok(())
    }
}

impl<W: Write> Write for Encryptor<W> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        if self.waiting.len() == CHUNK_LEN && !octets.is_empty() {
            self.seal(Place::Between)?;
        }
        let room = CHUNK_LEN - self.waiting.len();
        let taken = octets.get(..octets.len().min(room)).unwrap_or_default();
        self.waiting.extend_from_slice(taken);
        Ok(taken.len())
    }

    /// A chunk that is not full would be the last.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Decrypts what is read from it.
pub(crate) struct Decryptor<R> {
    file: R,
    chunks: Chunks,
    /// A chunk that was authenticated, and how much of it was read.
    chunk: Zeroizing<Vec<u8>>,
    read: usize,
    ended: bool,
}

impl<R: BufRead> Decryptor<R> {
    pub(super) fn new(file: R, key: &Zeroizing<[u8; 32]>) -> Result<Self, AgeError> {
        Ok(Self {
            file,
            chunks: Chunks::new(key)?,
            chunk: Zeroizing::default(),
            read: 0,
            ended: false,
        })
    }

    fn open(&mut self) -> io::Result<()> {
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, AgeError::Damaged);
        let is_first = self.chunks.next == 0;
        let mut sealed = Vec::with_capacity(CHUNK_LEN + TAG_LEN);
        let most = u64::try_from(CHUNK_LEN + TAG_LEN).unwrap_or(u64::MAX);
        (&mut self.file).take(most).read_to_end(&mut sealed)?;
        let is_last = sealed.len() < CHUNK_LEN + TAG_LEN || self.file.fill_buf()?.is_empty();
        let place = if is_last { Place::Last } else { Place::Between };
        let nonce = self.chunks.nonce(place);
        let opened = self
            .chunks
            .key
            .open_in_place(nonce, Aad::empty(), &mut sealed);
        let len = opened.map_err(|_| damaged())?.len();
        // The last chunk is empty only when all is.
        if len == 0 && !is_first {
            return Err(damaged());
        }
        sealed.truncate(len);
        self.chunk = Zeroizing::new(sealed);
        (self.read, self.ended) = (0, is_last);
        Ok(())
    }
}

impl<R: BufRead> Read for Decryptor<R> {
    fn read(&mut self, octets: &mut [u8]) -> io::Result<usize> {
        if self.read == self.chunk.len() && !self.ended {
            self.open()?;
        }
        let rest = self.chunk.get(self.read..).unwrap_or_default();
        let len = rest.len().min(octets.len());
        for (octet, read) in octets.iter_mut().zip(rest) {
            *octet = *read;
        }
        self.read += len;
        Ok(len)
    }
}
