//! Reading a container's log: from a point on, over rotated files, and on as it grows until the container has ended.

use super::{blocking, io_failed, tail};
use crate::limits::{LOG_LINE_BYTES, LOG_LINES_AHEAD};
use crate::shim::job::{EXIT, LOGS};
use crate::shim::log_files::file_name;
use crate::{LogLine, LogQuery, OutputStream, RuntimeError};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use jiff::Timestamp;
use rustix::fs::inotify;
use std::io::SeekFrom;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use tokio::fs::File;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

type Line = Result<LogLine, RuntimeError>;

/// `folder` is the container's.
pub fn read(folder: PathBuf, query: LogQuery) -> Result<BoxStream<'static, Line>, RuntimeError> {
    let (lines, stream) = mpsc::channel(LOG_LINES_AHEAD);
    // Before the first look, so that nothing falls between it and the waiting.
    let changes = if query.follow { Some(Changes::of(&folder).map_err(io_failed("watching a log"))?) } else { None };
    tokio::spawn(async move {
        if let Err(error) = run(&folder, &query, changes.as_ref(), &lines).await {
            // Whoever left needs no error.
            let _ = lines.send(Err(error)).await;
        }
    });
    Ok(ReceiverStream::new(stream).boxed())
}

async fn run(
    folder: &Path,
    query: &LogQuery,
    changes: Option<&Changes>,
    lines: &mpsc::Sender<Line>,
) -> Result<(), RuntimeError> {
    let logs = folder.join(LOGS);
    let (path, tail) = (logs.clone(), query.tail_lines.unwrap_or(u64::MAX));
    let start = blocking(move || tail::start(&path, tail).map_err(io_failed("finding the end of a log"))).await?;
    let mut reader = Reader { logs, open: None, held: Vec::new() };
    if let Some((number, offset)) = start {
        reader.open(number, offset).await?;
    }
    loop {
        // Looked at before reading: what was written before the end is then read for sure.
        let ended = folder.join(EXIT).exists() || !folder.exists();
        while let Some(line) = reader.next().await? {
            if query.since.is_some_and(|since| line.at < since) {
                continue;
            }
            if lines.send(Ok(line)).await.is_err() {
                return Ok(());
            }
        }
        match changes {
            Some(changes) if !ended => tokio::select! {
                changed = changes.wait() => changed.map_err(io_failed("watching a log"))?,
                () = lines.closed() => return Ok(()),
            },
            _ => return Ok(()),
        }
    }
}

struct Reader {
    logs: PathBuf,
    open: Option<(u64, File)>,
    /// Read and not yet handed out; it may end within a line.
    held: Vec<u8>,
}

impl Reader {
    async fn open(&mut self, number: u64, offset: u64) -> Result<(), RuntimeError> {
        let failed = || io_failed("opening a log");
        let mut file = File::open(self.logs.join(file_name(number))).await.map_err(failed())?;
        file.seek(SeekFrom::Start(offset)).await.map_err(failed())?;
        self.open = Some((number, file));
        Ok(())
    }

    /// The next line, over files; `None` where there is none yet.
    async fn next(&mut self) -> Result<Option<LogLine>, RuntimeError> {
        loop {
            while let Some(end) = self.held.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.held.drain(..=end).collect();
                if let Some(line) = parse(&line) {
                    return Ok(Some(line));
                }
            }
            if !self.fill().await? {
                return Ok(None);
            }
        }
    }

    /// Reads on; false where there is nothing more yet.
    async fn fill(&mut self) -> Result<bool, RuntimeError> {
        let current = self.open.as_ref().map(|(number, _)| *number);
        let numbers = tail::numbers(&self.logs).unwrap_or_default();
        // Listed before reading: once there is a next file, this one is complete.
        let following = numbers.into_iter().find(|number| current.is_none_or(|current| *number > current));
        if let Some((_, file)) = &mut self.open {
            self.held.reserve(4 * LOG_LINE_BYTES);
            if file.read_buf(&mut self.held).await.map_err(io_failed("reading a log"))? > 0 {
                return Ok(true);
            }
        }
        match following {
            Some(number) => {
                self.held.clear();
                self.open(number, 0).await?;
                Ok(true)
            }
            None => Ok(false),
        }
    }
}

/// One entry of the file, with its newline. What is not an entry is left out: a crash may have cut one.
fn parse(entry: &[u8]) -> Option<LogLine> {
    let mut fields = entry.splitn(4, |byte| *byte == b' ');
    let at: Timestamp = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
    let stream = match fields.next()? {
        b"stdout" => OutputStream::Stdout,
        b"stderr" => OutputStream::Stderr,
        _ => return None,
    };
    let (tag, text) = (fields.next()?, fields.next()?);
    let bytes = match tag {
        b"F" => Bytes::copy_from_slice(text),
        b"P" => Bytes::copy_from_slice(text.strip_suffix(b"\n").unwrap_or(text)),
        _ => return None,
    };
    Some(LogLine { at, stream, bytes })
}

/// Wakes whenever a log grows or its container ends.
struct Changes(AsyncFd<OwnedFd>);

impl Changes {
    fn of(folder: &Path) -> std::io::Result<Self> {
        let fd = inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC)?;
        let logs = inotify::WatchFlags::CREATE | inotify::WatchFlags::MODIFY | inotify::WatchFlags::DELETE_SELF;
        inotify::add_watch(&fd, folder.join(LOGS), logs)?;
        inotify::add_watch(&fd, folder, inotify::WatchFlags::MOVED_TO | inotify::WatchFlags::DELETE_SELF)?;
        Ok(Self(crate::sys::watched(fd)?))
    }

    async fn wait(&self) -> std::io::Result<()> {
        let mut ready = self.0.readable().await?;
        let mut events = [0; 4096];
        loop {
            match rustix::io::read(self.0.get_ref(), &mut events) {
                Ok(_) => {}
                Err(rustix::io::Errno::AGAIN) => {
                    ready.clear_ready();
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_as_they_were_written() {
        let at = "2026-01-02T03:04:05.000000006Z";
        let line = parse(format!("{at} stdout F a b \n").as_bytes()).unwrap();
        assert_eq!((line.at.to_string().as_str(), line.bytes.as_ref()), (at, &b"a b \n"[..]));
        let part = parse(format!("{at} stderr P part\n").as_bytes()).unwrap();
        assert_eq!((part.stream, part.bytes.as_ref()), (OutputStream::Stderr, &b"part"[..]));
        for damaged in ["", "\n", "x stdout F a\n", &format!("{at} stdin F a\n"), &format!("{at} stdout X a\n")] {
            assert_eq!(parse(damaged.as_bytes()), None, "{damaged:?}");
        }
    }
}
