//! Numbers and bytes in the binary formats of the log and the snapshots: little endian, lengths first.
//! Whatever is read is bounded before memory is taken for it.

use std::io::{self, Read, Write};
use std::sync::Arc;

pub fn put_u32(out: &mut impl Write, value: u32) -> io::Result<()> {
    out.write_all(&value.to_le_bytes())
}

pub fn put_u64(out: &mut impl Write, value: u64) -> io::Result<()> {
    out.write_all(&value.to_le_bytes())
}

pub fn put_bytes(out: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    put_u32(out, u32::try_from(bytes.len()).map_err(|_| invalid("too long a value"))?)?;
    out.write_all(bytes)
}

pub fn invalid(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

/// Reads what the functions above wrote.
pub struct Source<R>(pub R);

impl<R: Read> Source<R> {
    pub fn u8(&mut self) -> io::Result<u8> {
        Ok(self.array::<1>()?[0])
    }

    pub fn u32(&mut self) -> io::Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub fn u64(&mut self) -> io::Result<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.0.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    pub fn bytes(&mut self, max: usize) -> io::Result<Vec<u8>> {
        let length = self.u32()? as usize;
        if length > max {
            return Err(invalid(format!("a value of {length} bytes, at most {max} are possible")));
        }
        let mut bytes = Vec::with_capacity(length);
        let read = (&mut self.0).take(length as u64).read_to_end(&mut bytes)?;
        if read < length { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(bytes) }
    }

    pub fn string(&mut self, max: usize) -> io::Result<Arc<str>> {
        let bytes = self.bytes(max)?;
        std::str::from_utf8(&bytes).map(Arc::from).map_err(|_| invalid("a key is not UTF-8"))
    }

    /// Nothing may follow.
    pub fn end(mut self) -> io::Result<()> {
        match self.0.read(&mut [0])? {
            0 => Ok(()),
            _ => Err(invalid("bytes left over")),
        }
    }
}
