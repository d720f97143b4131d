//! Header blocks: names and values, compressed as one zlib stream for each direction of a connection.

use super::SpdyError;
use super::dictionary::dictionary;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// Decompressed, in bytes; hostile blocks could be a thousand times larger than what carries them.
const MAX_BLOCK: usize = 64 << 10;
const MAX_HEADERS: u32 = 64;

pub type Headers = Vec<(String, String)>;

pub struct Inflater(Decompress);

pub struct Deflater(Compress);

fn broken(why: impl Into<String>) -> SpdyError {
    SpdyError::Protocol(why.into())
}

impl Inflater {
    pub fn new() -> Self {
        Self(Decompress::new(true))
    }

    pub fn headers(&mut self, compressed: &[u8]) -> Result<Headers, SpdyError> {
        parse(&self.inflate(compressed)?)
    }

    fn inflate(&mut self, mut input: &[u8]) -> Result<Vec<u8>, SpdyError> {
        let mut block = Vec::with_capacity(4 << 10);
        loop {
            if block.len() == block.capacity() {
                if block.len() >= MAX_BLOCK {
                    return Err(broken("a header block is too large"));
                }
                block.reserve(block.capacity());
            }
            let (read, written) = (self.0.total_in(), block.len());
            match self.0.decompress_vec(input, &mut block, FlushDecompress::Sync) {
                Ok(Status::StreamEnd) => return Err(broken("the header stream ended")),
                Ok(_) => {}
                Err(e) if e.needs_dictionary().is_some() => {
                    self.0.set_dictionary(&dictionary()).map_err(|_| broken("headers use another dictionary"))?;
                }
                Err(_) => return Err(broken("a header block is damaged")),
            }
            let taken = (self.0.total_in() - read) as usize;
            input = input.get(taken..).unwrap_or_default();
            let room = block.len() < block.capacity();
            if input.is_empty() && room {
                return Ok(block);
            }
            if taken == 0 && block.len() == written && room {
                return Err(broken("a header block is damaged"));
            }
        }
    }
}

impl Deflater {
    pub fn new() -> Self {
        let mut stream = Compress::new(Compression::fast(), true);
        stream.set_dictionary(&dictionary()).expect("a new stream takes a dictionary");
        Self(stream)
    }

    pub fn block(&mut self, headers: &[(String, String)]) -> Vec<u8> {
        let plain = render(headers);
        let mut block = Vec::with_capacity(plain.len() + 64);
        let mut input = plain.as_slice();
        loop {
            let before = self.0.total_in();
            self.0.compress_vec(input, &mut block, FlushCompress::Sync).expect("memory to memory");
            input = &input[(self.0.total_in() - before) as usize..];
            if input.is_empty() && block.len() < block.capacity() {
                return block;
            }
            block.reserve(64);
        }
    }
}

fn render(headers: &[(String, String)]) -> Vec<u8> {
    let length = |n: usize| u32::try_from(n).expect("our own headers are short").to_be_bytes();
    let mut block = length(headers.len()).to_vec();
    for text in headers.iter().flat_map(|(name, value)| [name, value]) {
        block.extend(length(text.len()));
        block.extend(text.as_bytes());
    }
    block
}

fn parse(mut block: &[u8]) -> Result<Headers, SpdyError> {
    let count = number(&mut block)?;
    if count > MAX_HEADERS {
        return Err(broken(format!("{count} headers, at most {MAX_HEADERS}")));
    }
    let mut headers = Headers::new();
    for _ in 0..count {
        headers.push((text(&mut block)?.to_ascii_lowercase(), text(&mut block)?));
    }
    if block.is_empty() { Ok(headers) } else { Err(broken("a header block is longer than its headers")) }
}

fn number(block: &mut &[u8]) -> Result<u32, SpdyError> {
    let (head, rest) = block.split_first_chunk::<4>().ok_or_else(|| broken("a header block is cut short"))?;
    *block = rest;
    Ok(u32::from_be_bytes(*head))
}

fn text(block: &mut &[u8]) -> Result<String, SpdyError> {
    let length = number(block)? as usize;
    let (head, rest) = block.split_at_checked(length).ok_or_else(|| broken("a header block is cut short"))?;
    *block = rest;
    String::from_utf8(head.to_vec()).map_err(|_| broken("a header is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(list: &[(&str, &str)]) -> Headers {
        list.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn blocks_share_a_stream() {
        let (mut deflater, mut inflater) = (Deflater::new(), Inflater::new());
        let long = "x".repeat(9000);
        for headers in [pairs(&[("streamtype", "stdin")]), pairs(&[]), pairs(&[("a", &long), ("port", "8080")])] {
            let block = deflater.block(&headers);
            assert_eq!(inflater.headers(&block).expect("our own block"), headers);
        }
    }

    #[test]
    fn hostile_blocks_are_refused() {
        let deflate = |plain: &[u8]| {
            let mut deflater = Deflater::new();
            let mut block = Vec::with_capacity(plain.len() + 1024);
            deflater.0.compress_vec(plain, &mut block, FlushCompress::Sync).expect("memory to memory");
            block
        };
        let bomb = vec![0; 1 << 20];
        let table: [&[u8]; 4] = [&bomb, &[0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff], &[0, 0, 1, 0], &[0, 0]];
        for plain in table {
            assert!(Inflater::new().headers(&deflate(plain)).is_err(), "{:?}", plain.get(..8));
        }
        assert!(Inflater::new().headers(b"no zlib stream").is_err());
        assert!(Inflater::new().headers(&[]).is_err());
    }
}
