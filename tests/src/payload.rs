//! Bytes that look random and are the same on every run: what the tests download and upload.
//!
//! A body of equal or repeating bytes would hide a segment that was lost, doubled or swapped.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame, SizeHint};
use sha2::{Digest as _, Sha256};

/// Not a multiple of any segment size, so that chunks and segments drift against each other.
const CHUNK: usize = 65_000;
/// Words of [`CHUNK`]; the generator makes eight bytes at a time.
const WORDS: usize = CHUNK / 8;

/// An HTTP body (and an iterator) of the first `len` bytes of the sequence.
#[derive(Clone, Debug)]
pub struct Payload {
    state: u64,
    left: u64,
}

impl Payload {
    /// The first `len` bytes.
    #[must_use]
    pub fn new(len: u64) -> Self {
        Self { state: 0x9E37_79B9_7F4A_7C15, left: len }
    }

    /// The SHA-256 of the whole, in hexadecimal.
    #[must_use]
    pub fn sha256(self) -> String {
        let mut hash = Sha256::new();
        for chunk in self {
            hash.update(&chunk);
        }
        hex(hash)
    }

    /// Xorshift by Marsaglia: poor randomness, plenty for this.
    fn word(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state
    }
}

impl Iterator for Payload {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if self.left == 0 {
            return None;
        }
        let mut chunk = Vec::with_capacity(CHUNK);
        for _ in 0..WORDS {
            chunk.extend_from_slice(&self.word().to_le_bytes());
        }
        chunk.truncate(usize::try_from(self.left).unwrap_or(CHUNK));
        self.left -= chunk.len() as u64;
        Some(chunk.into())
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.next().map(|chunk| Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// The finished hash in hexadecimal.
#[must_use]
pub(crate) fn hex(hash: Sha256) -> String {
    hash.finalize().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_is_exact() {
        for len in [0, 1, CHUNK as u64, CHUNK as u64 + 1, 1_000_003] {
            assert_eq!(Payload::new(len).map(|chunk| chunk.len() as u64).sum::<u64>(), len);
        }
    }

    #[test]
    fn the_bytes_are_the_same_on_every_run() {
        assert_eq!(Payload::new(1_000_003).sha256(), Payload::new(1_000_003).sha256());
        assert_ne!(Payload::new(1_000_003).sha256(), Payload::new(1_000_004).sha256());
    }

    #[test]
    fn the_hash_of_nothing_is_the_known_one() {
        assert!(Payload::new(0).sha256().starts_with("e3b0c44298fc1c14"));
    }
}
