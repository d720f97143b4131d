//! One process that the shim started: how far its launch is, its streams, and how it ended.

use super::report::{Outcome, Reports};
use super::terminal;
use crate::limits::{CHUNK_BYTES, STDIN_BACKLOG_BYTES};
use crate::{OutputStream, TerminalSize};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Instant;

/// How it ended: an exit code, or a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    pub code: i32,
    pub signal: Option<i32>,
}

/// A terminal's master is on its way.
pub enum Console {
    Listening(UnixListener),
    Connected(UnixStream),
}

pub struct Process {
    pub reports: Option<Reports>,
    pub outcome: Option<Outcome>,
    pub console: Option<Console>,
    pub tty: bool,
    pub stdin: Option<File>,
    pub stdout: Option<File>,
    pub stderr: Option<File>,
    pub pending: VecDeque<u8>,
    pub end_stdin: bool,
    pub size: Option<TerminalSize>,
    pub ended: Option<Ended>,
    /// When it ended; output is awaited only so long after.
    pub ended_at: Option<Instant>,
    /// The client of an exec.
    pub client: Option<u32>,
}

impl Process {
    pub fn new(reports: OwnedFd, tty: bool, client: Option<u32>) -> Self {
        Self {
            reports: Some(Reports::new(reports)),
            outcome: None,
            console: None,
            tty,
            stdin: None,
            stdout: None,
            stderr: None,
            pending: VecDeque::new(),
            end_stdin: false,
            size: None,
            ended: None,
            ended_at: None,
            client,
        }
    }

    /// Its number where it lives or has not been reaped: nobody else can have it.
    pub fn alive(&self) -> Option<i32> {
        let pid = self.outcome.as_ref()?.pid?;
        self.ended.is_none().then_some(pid)
    }

    pub fn is_silent(&self) -> bool {
        self.stdout.is_none() && self.stderr.is_none()
    }

    /// Takes the terminal's master as all its streams.
    pub fn take_terminal(&mut self, master: OwnedFd) -> io::Result<()> {
        terminal::nonblocking(&master)?;
        self.stdin = Some(master.try_clone()?.into());
        self.stdout = Some(master.into());
        match self.size {
            Some(size) => self.resize(size),
            None => Ok(()),
        }
    }

    pub fn resize(&mut self, size: TerminalSize) -> io::Result<()> {
        self.size = Some(size);
        match &self.stdout {
            Some(master) if self.tty => crate::sys::set_terminal_size(master.as_fd(), size.columns, size.rows),
            _ => Ok(()),
        }
    }

    /// Reads what is there of one stream; an empty answer closes it, `None` means later.
    pub fn read(&mut self, stream: OutputStream) -> Option<Vec<u8>> {
        let slot = match stream {
            OutputStream::Stdout => &mut self.stdout,
            OutputStream::Stderr => &mut self.stderr,
        };
        let file = slot.as_mut()?;
        let mut chunk = vec![0; CHUNK_BYTES];
        match file.read(&mut chunk) {
            Ok(0) => {
                *slot = None;
                Some(Vec::new())
            }
            Ok(count) => {
                chunk.truncate(count);
                Some(chunk)
            }
            Err(error) if retry(&error) => None,
            // A terminal's master says so at the end.
            Err(_) => {
                *slot = None;
                Some(Vec::new())
            }
        }
    }

    pub fn wants_input(&self) -> bool {
        self.pending.len() < STDIN_BACKLOG_BYTES
    }

    pub fn push_input(&mut self, bytes: &[u8]) {
        if self.stdin.is_some() || self.console.is_some() {
            self.pending.extend(bytes);
        }
    }

    /// Writes what is pending, and closes the input once that is done and asked for.
    pub fn feed(&mut self) {
        let Some(stdin) = &mut self.stdin else {
            if self.console.is_none() {
                self.pending.clear();
            }
            return;
        };
        let (front, _) = self.pending.as_slices();
        if !front.is_empty() {
            match stdin.write(front) {
                Ok(count) => drop(self.pending.drain(..count)),
                Err(error) if retry(&error) => {}
                // Nobody reads it any more.
                Err(_) => {
                    self.pending.clear();
                    self.stdin = None;
                    return;
                }
            }
        }
        if self.end_stdin && self.pending.is_empty() && !self.tty {
            self.stdin = None;
        }
    }
}

pub fn retry(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
