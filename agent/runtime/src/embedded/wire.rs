//! The agent's end of a connection to a shim.

use super::io_failed;
use crate::RuntimeError;
use crate::frame::{Frame, Request, VERSION, What};
use crate::shim::job::SOCKET;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

pub struct Reader {
    half: OwnedReadHalf,
    buffer: Vec<u8>,
}

pub struct Writer {
    half: OwnedWriteHalf,
}

/// A socket's path may be longer than the kernel takes; the folder's descriptor is not.
pub fn connect(folder: &Path) -> io::Result<std::os::unix::net::UnixStream> {
    let folder = File::open(folder)?;
    let stream = std::os::unix::net::UnixStream::connect(format!("/proc/self/fd/{}/{SOCKET}", folder.as_raw_fd()))?;
    stream.set_nonblocking(true)?;
    Ok(stream)
}

/// Needs a tokio runtime.
pub fn split(stream: std::os::unix::net::UnixStream) -> Result<(Reader, Writer), RuntimeError> {
    let stream = UnixStream::from_std(stream).map_err(io_failed("using the shim's socket"))?;
    let (read, write) = stream.into_split();
    Ok((Reader { half: read, buffer: Vec::new() }, Writer { half: write }))
}

/// Connects and asks.
pub async fn ask(folder: &Path, what: What) -> Result<(Reader, Writer), RuntimeError> {
    let stream = connect(folder).map_err(io_failed("connecting to the shim"))?;
    let (reader, mut writer) = split(stream)?;
    writer.send(&Frame::Request(Request { version: VERSION, what })).await?;
    Ok((reader, writer))
}

impl Reader {
    /// The next frame; `None` at the end. Can be cancelled without losing anything.
    pub async fn next(&mut self) -> Result<Option<Frame>, RuntimeError> {
        loop {
            let decoded = Frame::decode(&self.buffer).map_err(|error| RuntimeError::Io {
                doing: "reading from the shim".to_owned(),
                why: error.to_string(),
            })?;
            if let Some((frame, used)) = decoded {
                self.buffer.drain(..used);
                return Ok(Some(frame));
            }
            match self.half.read_buf(&mut self.buffer).await {
                Ok(0) => return Ok(None),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
                Err(error) => return Err(io_failed("reading from the shim")(error)),
            }
        }
    }
}

impl Writer {
    pub async fn send(&mut self, frame: &Frame) -> Result<(), RuntimeError> {
        self.half.write_all(&frame.encode()).await.map_err(io_failed("writing to the shim"))
    }
}
