//! Frames on the wire: section 2.2 of the protocol. Pure.

use super::SpdyError;
use super::headers::{Deflater, Headers, Inflater};
use bytes::{BufMut, Bytes, BytesMut};

pub const HEADER_BYTES: usize = 8;
/// Payload of a control frame, in bytes. Data frames are read in pieces, so theirs needs no bound.
const MAX_CONTROL: usize = 64 << 10;
const CONTROL: u8 = 0x80;
const VERSION: u16 = 3;
const FLAG_FIN: u8 = 1;

/// The first eight bytes of a frame.
#[derive(Debug, PartialEq, Eq)]
pub enum Head {
    Data { stream: u32, fin: bool, length: usize },
    Control { kind: u16, fin: bool, length: usize },
}

/// A control frame from the client. Others (settings, windows, …) are read over.
#[derive(Debug, PartialEq, Eq)]
pub enum Control {
    SynStream { stream: u32, fin: bool, headers: Headers },
    Reset { stream: u32 },
    Ping { id: u32 },
    GoAway,
    Headers { stream: u32, fin: bool },
    Other,
}

/// A frame to the client.
#[derive(Debug)]
pub enum Outgoing {
    SynReply { stream: u32 },
    Data { stream: u32, fin: bool, bytes: Bytes },
    Reset { stream: u32, status: ResetStatus },
    Ping { id: u32 },
    GoAway { last: u32 },
}

#[derive(Clone, Copy, Debug)]
pub enum ResetStatus {
    Refused = 3,
}

impl Head {
    pub fn parse(bytes: [u8; HEADER_BYTES]) -> Result<Self, SpdyError> {
        let [a, b, c, d, flags, x, y, z] = bytes;
        let length = u32::from_be_bytes([0, x, y, z]) as usize;
        let fin = flags & FLAG_FIN != 0;
        if a & CONTROL == 0 {
            return Ok(Self::Data { stream: u32::from_be_bytes([a, b, c, d]), fin, length });
        }
        let version = u16::from_be_bytes([a & !CONTROL, b]);
        if version != VERSION {
            return Err(SpdyError::Protocol(format!("version {version}, not {VERSION}")));
        }
        if length > MAX_CONTROL {
            return Err(SpdyError::Protocol(format!("a control frame of {length} bytes, at most {MAX_CONTROL}")));
        }
        Ok(Self::Control { kind: u16::from_be_bytes([c, d]), fin, length })
    }
}

impl Control {
    /// Every header block must pass `inflater`, in order, for the stream it is part of.
    pub fn parse(kind: u16, fin: bool, payload: &[u8], inflater: &mut Inflater) -> Result<Self, SpdyError> {
        let word = |at: usize| {
            let bytes = payload.get(at..at + 4).and_then(|b| <[u8; 4]>::try_from(b).ok());
            bytes.map(u32::from_be_bytes).ok_or_else(|| SpdyError::Protocol("a control frame is cut short".into()))
        };
        let block = |at: usize| payload.get(at..).unwrap_or_default();
        let stream = |at: usize| Ok::<_, SpdyError>(word(at)? & 0x7fff_ffff);
        Ok(match kind {
            1 => {
                let (stream, _associated) = (stream(0)?, word(4)?);
                Self::SynStream { stream, fin, headers: inflater.headers(block(10))? }
            }
            3 => Self::Reset { stream: stream(0)? },
            6 => Self::Ping { id: word(0)? },
            7 => Self::GoAway,
            2 | 8 => {
                let stream = stream(0)?;
                inflater.headers(block(4))?;
                Self::Headers { stream, fin }
            }
            _ => Self::Other,
        })
    }
}

impl Outgoing {
    pub fn write(self, out: &mut BytesMut, deflater: &mut Deflater) {
        match self {
            Self::SynReply { stream } => {
                let block = deflater.block(&[]);
                control(out, 2, 4 + block.len());
                out.put_u32(stream);
                out.put_slice(&block);
            }
            Self::Data { stream, fin, bytes } => {
                out.put_u32(stream);
                lengthened(out, if fin { FLAG_FIN } else { 0 }, bytes.len());
                out.put_slice(&bytes);
            }
            Self::Reset { stream, status } => {
                control(out, 3, 8);
                out.put_u32(stream);
                out.put_u32(status as u32);
            }
            Self::Ping { id } => {
                control(out, 6, 4);
                out.put_u32(id);
            }
            Self::GoAway { last } => {
                control(out, 7, 8);
                out.put_u32(last);
                out.put_u32(0);
            }
        }
    }
}

fn control(out: &mut BytesMut, kind: u16, length: usize) {
    out.put_u16(u16::from(CONTROL) << 8 | VERSION);
    out.put_u16(kind);
    lengthened(out, 0, length);
}

/// Flags and length share a word. Longer data was split before it came here.
fn lengthened(out: &mut BytesMut, flags: u8, length: usize) {
    let length = u32::try_from(length).ok().filter(|n| n >> 24 == 0).expect("frames are made shorter than 16 MiB");
    out.put_u32(u32::from(flags) << 24 | length);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_parse() {
        let data = Head::parse([0, 0, 0, 5, 1, 0, 1, 0]).expect("a data frame");
        assert_eq!(data, Head::Data { stream: 5, fin: true, length: 256 });
        let syn = Head::parse([0x80, 3, 0, 1, 0, 0, 0, 9]).expect("a control frame");
        assert_eq!(syn, Head::Control { kind: 1, fin: false, length: 9 });
        assert!(Head::parse([0x80, 2, 0, 1, 0, 0, 0, 9]).is_err(), "version 2");
        assert!(Head::parse([0x80, 3, 0, 1, 0, 0xff, 0, 0]).is_err(), "too long");
    }

    #[test]
    fn controls_parse_and_short_ones_are_refused() {
        let mut inflater = Inflater::new();
        let mut parse = |kind, payload: &[u8]| Control::parse(kind, false, payload, &mut inflater);
        assert_eq!(parse(6, &[0, 0, 0, 7]).expect("a ping"), Control::Ping { id: 7 });
        assert_eq!(parse(3, &[0x80, 0, 0, 7, 0, 0, 0, 1]).expect("a reset"), Control::Reset { stream: 7 });
        assert_eq!(parse(4, &[]).expect("settings"), Control::Other);
        for kind in [1, 2, 3, 6, 8] {
            assert!(parse(kind, &[0, 0]).is_err(), "{kind}");
        }
    }
}
