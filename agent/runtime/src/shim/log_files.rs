//! Writes a container's output in the CRI's log format, `<time> stdout|stderr F|P <line>`, into numbered files of
//! bounded size and number. Numbers only grow, so a reader that follows never loses its place.

use crate::OutputStream;
use crate::limits::{LOG_FILE_BYTES, LOG_FILES, LOG_LINE_BYTES};
use jiff::Timestamp;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The `n`th file.
pub fn file_name(number: u64) -> String {
    format!("{number}.log")
}

/// The number of a log file by its name.
pub fn number_of(name: &str) -> Option<u64> {
    name.strip_suffix(".log")?.parse().ok()
}

pub struct Log {
    folder: PathBuf,
    number: u64,
    file: File,
    written: u64,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Log {
    pub fn create(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let file = open(folder, 0)?;
        Ok(Self { folder: folder.to_owned(), number: 0, file, written: 0, stdout: Vec::new(), stderr: Vec::new() })
    }

    /// Takes what the container wrote; whole lines go to disk at once.
    pub fn write(&mut self, stream: OutputStream, mut bytes: &[u8], now: Timestamp) -> io::Result<()> {
        let mut entries = Vec::with_capacity(bytes.len() + 64);
        let held = match stream {
            OutputStream::Stdout => &mut self.stdout,
            OutputStream::Stderr => &mut self.stderr,
        };
        while !bytes.is_empty() {
            let room = LOG_LINE_BYTES - held.len();
            let (taken, tag) = match bytes.iter().take(room).position(|byte| *byte == b'\n') {
                Some(at) => (at + 1, Some(b'F')),
                None if bytes.len() >= room => (room, Some(b'P')),
                None => (bytes.len(), None),
            };
            held.extend_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            if let Some(tag) = tag {
                entry(&mut entries, stream, tag, held, now);
                held.clear();
            }
        }
        self.append(&entries)
    }

    /// What was written last without a newline, once the stream has ended.
    pub fn finish(&mut self, stream: OutputStream, now: Timestamp) -> io::Result<()> {
        let held = match stream {
            OutputStream::Stdout => std::mem::take(&mut self.stdout),
            OutputStream::Stderr => std::mem::take(&mut self.stderr),
        };
        if held.is_empty() {
            return Ok(());
        }
        let mut entries = Vec::new();
        entry(&mut entries, stream, b'P', &held, now);
        self.append(&entries)
    }

    fn append(&mut self, entries: &[u8]) -> io::Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        if self.written > 0 && self.written + entries.len() as u64 > LOG_FILE_BYTES {
            self.rotate()?;
        }
        self.file.write_all(entries)?;
        self.written += entries.len() as u64;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.file = open(&self.folder, self.number + 1)?;
        self.number += 1;
        self.written = 0;
        if let Some(oldest) = self.number.checked_sub(LOG_FILES) {
            crate::durable::remove_file(&self.folder.join(file_name(oldest)))?;
        }
        Ok(())
    }
}

fn open(folder: &Path, number: u64) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(folder.join(file_name(number)))
}

/// A full line comes with its newline, a partial one gets one.
fn entry(out: &mut Vec<u8>, stream: OutputStream, tag: u8, line: &[u8], now: Timestamp) {
    let stream = match stream {
        OutputStream::Stdout => "stdout",
        OutputStream::Stderr => "stderr",
    };
    out.extend_from_slice(format!("{now:.9} {stream} {} ", char::from(tag)).as_bytes());
    out.extend_from_slice(line);
    if tag == b'P' {
        out.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(folder: &Path, number: u64) -> String {
        fs::read_to_string(folder.join(file_name(number))).unwrap()
    }

    #[test]
    fn lines_are_tagged_whole_or_partial() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::create(folder.path()).unwrap();
        let now = Timestamp::UNIX_EPOCH;
        log.write(OutputStream::Stdout, b"one\ntw", now).unwrap();
        log.write(OutputStream::Stderr, b"bad\n", now).unwrap();
        log.write(OutputStream::Stdout, b"o\n\nend", now).unwrap();
        log.finish(OutputStream::Stdout, now).unwrap();
        let at = "1970-01-01T00:00:00.000000000Z";
        let want =
            format!("{at} stdout F one\n{at} stderr F bad\n{at} stdout F two\n{at} stdout F \n{at} stdout P end\n");
        assert_eq!(written(folder.path(), 0), want);
    }

    #[test]
    fn a_long_line_is_cut_into_partial_ones() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::create(folder.path()).unwrap();
        let mut line = vec![b'x'; LOG_LINE_BYTES * 2 + 5];
        line.push(b'\n');
        log.write(OutputStream::Stdout, &line, Timestamp::UNIX_EPOCH).unwrap();
        let tags: Vec<_> = written(folder.path(), 0).lines().map(|line| line[38..39].to_owned()).collect();
        assert_eq!(tags, ["P", "P", "F"]);
    }

    #[test]
    fn files_are_bounded_in_size_and_number() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::create(folder.path()).unwrap();
        let line = vec![b'y'; LOG_LINE_BYTES - 1].into_iter().chain([b'\n']).collect::<Vec<_>>();
        for _ in 0..(LOG_FILE_BYTES * 7 / LOG_LINE_BYTES as u64) {
            log.write(OutputStream::Stdout, &line, Timestamp::UNIX_EPOCH).unwrap();
        }
        let mut numbers: Vec<_> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| number_of(entry.unwrap().file_name().to_str().unwrap()).unwrap())
            .collect();
        numbers.sort_unstable();
        assert_eq!(numbers.len() as u64, LOG_FILES);
        assert_eq!(numbers, (numbers[0]..numbers[0] + LOG_FILES).collect::<Vec<_>>());
        for number in numbers {
            assert!(fs::metadata(folder.path().join(file_name(number))).unwrap().len() <= LOG_FILE_BYTES);
        }
    }
}
