//! SHA-256 digests in their written form, and readers that compute or check one on the way.

use super::fault::Fault;
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::io::{self, Read};

/// `sha256:` and 64 lower-case hex digits. Nothing else is taken: it becomes part of paths.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

const PREFIX: &str = "sha256:";

impl Digest {
    pub fn parse(text: &str) -> Result<Self, Fault> {
        match text.strip_prefix(PREFIX) {
            Some(hex) if is_hex(hex) => Ok(Digest(text.to_owned())),
            Some(_) => Err(Fault::bad(format!("{text:?} is not a SHA-256 digest"))),
            None => Err(Fault::bad(format!("{text:?} is not a digest that is supported, only sha256 is"))),
        }
    }

    /// 64 hex digits.
    pub fn from_hex(hex: &str) -> Option<Self> {
        is_hex(hex).then(|| Digest(format!("{PREFIX}{hex}")))
    }

    pub fn of(bytes: &[u8]) -> Self {
        Self::finish(Sha256::new_with_prefix(bytes))
    }

    fn finish(hash: Sha256) -> Self {
        use fmt::Write;
        let mut text = String::with_capacity(PREFIX.len() + 64);
        text.push_str(PREFIX);
        for byte in hash.finalize() {
            write!(text, "{byte:02x}").expect("a string takes everything");
        }
        Digest(text)
    }

    pub fn hex(&self) -> &str {
        &self.0[PREFIX.len()..]
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_hex(hex: &str) -> bool {
    hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Digest {
    type Error = Fault;
    fn try_from(text: String) -> Result<Self, Fault> {
        Self::parse(&text)
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.0
    }
}

/// Computes the digest of all that is read through it.
pub struct Hashing<R> {
    inner: R,
    hash: Sha256,
    bytes: u64,
    limit: u64,
}

impl<R: Read> Hashing<R> {
    /// Reading more than `limit` bytes fails.
    pub fn new(inner: R, limit: u64) -> Self {
        Hashing { inner, hash: Sha256::new(), bytes: 0, limit }
    }

    /// Reads what is left, then says what all of it was.
    pub fn finish(mut self) -> io::Result<(Digest, u64)> {
        io::copy(&mut self, &mut io::sink())?;
        Ok((Digest::finish(self.hash), self.bytes))
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(into)?;
        self.hash.update(&into[..n]);
        self.bytes += n as u64;
        if self.bytes > self.limit {
            return Err(io::Error::other(format!("larger than the limit of {} bytes", self.limit)));
        }
        Ok(n)
    }
}

/// All of a document, if it is no larger than `limit`.
pub fn read_bounded(reader: impl Read, limit: u64, what: &str) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    reader.take(limit + 1).read_to_end(&mut bytes).map_err(|e| Fault::read(&format!("reading {what}"), e))?;
    if bytes.len() as u64 > limit {
        return Err(Fault::bad(format!("{what} is larger than {limit} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lower_case_sha256_is_a_digest() {
        let good = format!("sha256:{}", "ab".repeat(32));
        assert_eq!(Digest::parse(&good).unwrap().hex(), "ab".repeat(32));
        let bad = [
            "",
            "sha256:",
            "sha256:../../etc",
            "md5:00",
            &format!("sha256:{}", "AB".repeat(32)),
            &format!("sha256:{}", "ab".repeat(33)),
            &format!("sha512:{}", "ab".repeat(64)),
        ];
        for text in bad {
            assert!(Digest::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_digest_covers_all_that_was_read_and_what_was_not() {
        let mut reader = Hashing::new(&b"abc"[..], 10);
        let mut one = [0];
        reader.read_exact(&mut one).unwrap();
        let (digest, bytes) = reader.finish().unwrap();
        assert_eq!(digest.hex(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(bytes, 3);
        assert!(Hashing::new(&b"abc"[..], 2).finish().is_err());
    }
}
