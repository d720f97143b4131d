//! One connection to the shim: frames in, frames out, and how far behind its reader is.

use super::process::retry;
use crate::OutputStream;
use crate::frame::{Frame, FrameError};
use crate::limits::{CLIENT_BACKLOG_BYTES, CLIENT_STALL, FRAME_BYTES};
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Instant;

/// What the client asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Nothing yet.
    New,
    Watch,
    /// The process it runs.
    Exec(u32),
    Attach {
        stdin: bool,
        stdout: bool,
        stderr: bool,
    },
    /// It needs nothing more.
    Served,
}

pub struct Client {
    pub stream: UnixStream,
    pub role: Role,
    input: Vec<u8>,
    output: VecDeque<u8>,
    behind_since: Option<Instant>,
    /// Everything was said; it goes once it has heard it.
    pub closing: bool,
    pub gone: bool,
}

impl Client {
    pub fn new(stream: UnixStream, role: Role) -> Self {
        Self {
            stream,
            role,
            input: Vec::new(),
            output: VecDeque::new(),
            behind_since: None,
            closing: false,
            gone: false,
        }
    }

    pub fn send(&mut self, frame: &Frame) {
        self.output.extend(frame.encode());
    }

    /// The last word.
    pub fn finish(&mut self, frame: &Frame) {
        self.send(frame);
        self.closing = true;
    }

    pub fn hears(&self, stream: OutputStream) -> bool {
        match (self.role, stream) {
            (Role::Attach { stdout, .. }, OutputStream::Stdout) => stdout && !self.closing,
            (Role::Attach { stderr, .. }, OutputStream::Stderr) => stderr && !self.closing,
            _ => false,
        }
    }

    pub fn is_behind(&self) -> bool {
        self.output.len() > CLIENT_BACKLOG_BYTES
    }

    pub fn has_output(&self) -> bool {
        !self.output.is_empty()
    }

    /// When it has to have caught up.
    pub fn patience(&self) -> Option<Instant> {
        self.behind_since.map(|since| since + CLIENT_STALL)
    }

    /// Lets a client go that was behind for too long.
    pub fn judge(&mut self, now: Instant) {
        match (self.is_behind(), self.behind_since) {
            (false, _) => self.behind_since = None,
            (true, None) => self.behind_since = Some(now),
            (true, Some(since)) => self.gone |= now.duration_since(since) >= CLIENT_STALL,
        }
    }

    /// Reads what is there.
    pub fn read(&mut self) {
        let mut chunk = [0; 16 << 10];
        match self.stream.read(&mut chunk) {
            Ok(0) => self.gone = true,
            Ok(count) => self.input.extend_from_slice(&chunk[..count]),
            Err(error) if retry(&error) => {}
            Err(_) => self.gone = true,
        }
        self.gone |= self.input.len() > 2 * FRAME_BYTES;
    }

    /// The next whole frame it sent.
    pub fn next(&mut self) -> Result<Option<Frame>, FrameError> {
        let Some((frame, used)) = Frame::decode(&self.input)? else { return Ok(None) };
        self.input.drain(..used);
        Ok(Some(frame))
    }

    /// Writes what it can take now.
    pub fn flush(&mut self) {
        while !self.gone && !self.output.is_empty() {
            let (front, _) = self.output.as_slices();
            match self.stream.write(front) {
                Ok(count) => drop(self.output.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if retry(&error) => {}
                Err(_) => self.gone = true,
            }
        }
        self.gone |= self.closing && self.output.is_empty();
    }
}
