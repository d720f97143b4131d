//! What agent and shim say to each other over a unix socket: one kind byte, four bytes of length, the payload. The
//! first frame of a connection is a [`Request`] with the protocol's version. Pure: no I/O here.

use crate::limits::FRAME_BYTES;
use crate::{OutputStream, TerminalSize};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Raised when a frame changes its meaning. Shims outlive agents, so an agent speaks every version it ever shipped.
pub const VERSION: u32 = 1;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    pub version: u32,
    pub what: What,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum What {
    /// Answered with [`Frame::Started`] or [`Frame::Failed`]; then the end of the connection is the container's end.
    Watch,
    /// Sends `signal`, and SIGKILL to all after `grace_ms`. Answered with [`Frame::Done`] at once.
    Stop {
        signal: i32,
        grace_ms: u64,
    },
    Exec {
        command: Vec<String>,
        tty: bool,
        stdin: bool,
        stdout: bool,
        stderr: bool,
    },
    Attach {
        stdin: bool,
        stdout: bool,
        stderr: bool,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    pub pid: i32,
    pub at: Timestamp,
    /// What could not be done as asked but does not stop the container.
    #[serde(default)]
    pub warnings: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    Request(Request),
    Done,
    Started(Started),
    Stdin(Vec<u8>),
    StdinEnd,
    Resize(TerminalSize),
    Output(OutputStream, Vec<u8>),
    /// The exit code of an exec, or of the container for an attach.
    Exit(i32),
    /// It could not start; for people.
    Failed(String),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("frame of unknown kind {0}")]
    Kind(u8),
    #[error("frame of {0} bytes is over the limit")]
    Length(usize),
    #[error("frame of kind {kind} has a malformed payload: {why}")]
    Payload { kind: u8, why: String },
}

const HEAD: usize = 5;

impl Frame {
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Frame::Request(request) => framed(1, &json(request)),
            Frame::Done => framed(2, &[]),
            Frame::Started(started) => framed(3, &json(started)),
            Frame::Stdin(bytes) => framed(4, bytes),
            Frame::StdinEnd => framed(5, &[]),
            Frame::Resize(size) => {
                let [a, b] = size.columns.to_be_bytes();
                let [c, d] = size.rows.to_be_bytes();
                framed(6, &[a, b, c, d])
            }
            Frame::Output(OutputStream::Stdout, bytes) => framed(7, bytes),
            Frame::Output(OutputStream::Stderr, bytes) => framed(8, bytes),
            Frame::Exit(code) => framed(9, &code.to_be_bytes()),
            Frame::Failed(why) => framed(10, why.as_bytes()),
        }
    }

    /// The first frame in `bytes` and how many of them it took; `None` where more are needed.
    pub fn decode(bytes: &[u8]) -> Result<Option<(Frame, usize)>, FrameError> {
        let Some((head, rest)) = bytes.split_at_checked(HEAD) else { return Ok(None) };
        let kind = head[0];
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        if length > FRAME_BYTES {
            return Err(FrameError::Length(length));
        }
        let Some(payload) = rest.get(..length) else { return Ok(None) };
        Ok(Some((Frame::parse(kind, payload)?, HEAD + length)))
    }

    fn parse(kind: u8, payload: &[u8]) -> Result<Frame, FrameError> {
        let wrong = |why: String| FrameError::Payload { kind, why };
        Ok(match kind {
            1 => Frame::Request(serde_json::from_slice(payload).map_err(|e| wrong(e.to_string()))?),
            2 => Frame::Done,
            3 => Frame::Started(serde_json::from_slice(payload).map_err(|e| wrong(e.to_string()))?),
            4 => Frame::Stdin(payload.to_vec()),
            5 => Frame::StdinEnd,
            6 => match *payload {
                [a, b, c, d] => Frame::Resize(TerminalSize {
                    columns: u16::from_be_bytes([a, b]),
                    rows: u16::from_be_bytes([c, d]),
                }),
                _ => return Err(wrong(format!("{} bytes, not 4", payload.len()))),
            },
            7 => Frame::Output(OutputStream::Stdout, payload.to_vec()),
            8 => Frame::Output(OutputStream::Stderr, payload.to_vec()),
            9 => match payload.try_into() {
                Ok(code) => Frame::Exit(i32::from_be_bytes(code)),
                Err(_) => return Err(wrong(format!("{} bytes, not 4", payload.len()))),
            },
            10 => Frame::Failed(String::from_utf8_lossy(payload).into_owned()),
            other => return Err(FrameError::Kind(other)),
        })
    }
}

fn json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("plain data with string keys becomes JSON")
}

fn framed(kind: u8, payload: &[u8]) -> Vec<u8> {
    debug_assert!(payload.len() <= FRAME_BYTES, "senders cut their data into chunks");
    let mut out = Vec::with_capacity(HEAD + payload.len());
    out.push(kind);
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes());
    out.extend_from_slice(payload);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Frame> {
        let exec = What::Exec { command: vec!["a".into()], tty: true, stdin: false, stdout: true, stderr: false };
        vec![
            Frame::Request(Request { version: VERSION, what: exec }),
            Frame::Request(Request { version: VERSION, what: What::Stop { signal: 15, grace_ms: 30_000 } }),
            Frame::Done,
            Frame::Started(Started { pid: 7, at: Timestamp::UNIX_EPOCH, warnings: vec!["w".into()] }),
            Frame::Stdin(b"in".to_vec()),
            Frame::StdinEnd,
            Frame::Resize(TerminalSize { columns: 80, rows: 24 }),
            Frame::Output(OutputStream::Stdout, b"out".to_vec()),
            Frame::Output(OutputStream::Stderr, Vec::new()),
            Frame::Exit(-1),
            Frame::Failed("no".into()),
        ]
    }

    #[test]
    fn every_frame_survives_the_wire_in_any_pieces() {
        let wire: Vec<u8> = all().iter().flat_map(Frame::encode).collect();
        let (mut seen, mut buffer) = (Vec::new(), Vec::new());
        for byte in wire {
            buffer.push(byte);
            while let Some((frame, used)) = Frame::decode(&buffer).unwrap() {
                seen.push(frame);
                buffer.drain(..used);
            }
        }
        assert_eq!(seen, all());
        assert!(buffer.is_empty());
    }

    #[test]
    fn hostile_frames_are_refused() {
        assert_eq!(Frame::decode(&[99, 0, 0, 0, 0]), Err(FrameError::Kind(99)));
        assert_eq!(Frame::decode(&[4, 255, 255, 255, 255]), Err(FrameError::Length(u32::MAX as usize)));
        for bytes in [&[6, 0, 0, 0, 1, 0][..], &[9, 0, 0, 0, 0], &[1, 0, 0, 0, 1, b'{']] {
            assert!(matches!(Frame::decode(bytes), Err(FrameError::Payload { .. })), "{bytes:?}");
        }
    }
}
