//! A container's log through Docker's API.

use super::error::{engine, of, status};
use super::{limits, state};
use crate::{ContainerId, LogLine, LogQuery, OutputStream, RuntimeError, State};
use bollard::Docker;
use bollard::container::LogOutput;
use bollard::query_parameters::{InspectContainerOptions, LogsOptionsBuilder};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use jiff::Timestamp;
use std::collections::VecDeque;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

pub type Lines = BoxStream<'static, Result<LogLine, RuntimeError>>;

const ALL: &str = "all";

pub async fn logs(docker: &Docker, id: &ContainerId, query: &LogQuery) -> Result<Lines, RuntimeError> {
    docker.inspect_container(&id.0, None::<InspectContainerOptions>).await.map_err(of("container", &id.0))?;
    let tail = query.tail_lines.map_or_else(|| ALL.to_owned(), |lines| lines.to_string());
    if !query.follow {
        return Ok(read(docker, id, false, query.since, &tail));
    }
    let (to, lines) = mpsc::channel(limits::LOG_LINES);
    tokio::spawn(follow(docker.clone(), id.clone(), query.since, tail, to));
    Ok(ReceiverStream::new(lines).boxed())
}

/// One answer of Docker.
fn read(docker: &Docker, id: &ContainerId, follow: bool, since: Option<Timestamp>, tail: &str) -> Lines {
    let mut options = LogsOptionsBuilder::default().follow(follow).stdout(true).stderr(true).timestamps(true);
    if let Some(since) = since {
        // Whole seconds here, the rest is ours.
        options = options.since(i32::try_from(since.as_second()).unwrap_or(i32::MAX));
    }
    let stream =
        docker.logs(&id.0, Some(options.tail(tail).build())).map(|output| output.map_err(engine).and_then(line));
    stream.filter(move |line| std::future::ready(wanted(line, since))).boxed()
}

/// Docker's own following may end early, sometimes just before the last line. Then what was missed is read without
/// following until nothing is new; after that it is followed again.
async fn follow(docker: Docker, id: ContainerId, since: Option<Timestamp>, tail: String, to: Listener) {
    let reader = Reader { docker, id, since, to: to.clone(), place: Place::default() };
    if let Err(e) = reader.follow(tail).await {
        // Nobody may listen any more.
        let _unheard = to.send(Err(e)).await;
    }
}

type Listener = mpsc::Sender<Result<LogLine, RuntimeError>>;

/// Reads one log again and again, and passes each line on once.
struct Reader {
    docker: Docker,
    id: ContainerId,
    since: Option<Timestamp>,
    to: Listener,
    place: Place,
}

impl Reader {
    async fn follow(mut self, mut tail: String) -> Result<(), RuntimeError> {
        let asked_at = Timestamp::now();
        let mut following = true;
        loop {
            // Looked at before the pass: what is read after the end is all there is.
            let Some(ended) = self.has_ended().await? else { return Ok(()) };
            let Some(new) = self.pass(following && !ended, &tail).await? else { return Ok(()) };
            if ended {
                return Ok(());
            }
            if tail != ALL && self.place.recent.is_empty() {
                // None of what was there before was wanted.
                self.since = self.since.max(Some(asked_at));
            }
            tail = ALL.to_owned();
            following = !following && new == 0;
            if following {
                tokio::time::sleep(limits::LOOK_AGAIN).await;
            }
        }
    }

    /// How many lines were new; `None` when nobody listens any more.
    async fn pass(&mut self, follow: bool, tail: &str) -> Result<Option<usize>, RuntimeError> {
        let from = self.place.resume().or(self.since);
        let mut lines = read(&self.docker, &self.id, follow, from, tail);
        let mut count = 0;
        loop {
            let line = tokio::select! {
                line = lines.next() => line,
                () = self.to.closed() => return Ok(None),
            };
            let Some(line) = line.transpose()? else { return Ok(Some(count)) };
            if !self.place.is_new(line.at) || self.since.is_some_and(|since| line.at < since) {
                continue;
            }
            count += 1;
            if self.to.send(Ok(line)).await.is_err() {
                return Ok(None);
            }
        }
    }

    /// `None` where it is gone.
    async fn has_ended(&self) -> Result<Option<bool>, RuntimeError> {
        match self.docker.inspect_container(&self.id.0, None::<InspectContainerOptions>).await {
            Ok(found) => {
                let container = state::container(&found).map(|(container, _)| container);
                Ok(container.map(|container| matches!(container.state, State::Exited { .. })))
            }
            Err(e) if status(&e) == Some(404) => Ok(None),
            Err(e) => Err(engine(e)),
        }
    }
}

/// Which lines were seen. By their times, of which the last few are kept: two streams are written side by side, so
/// neighbours may be out of order, and pieces of one long line have the same.
#[derive(Debug, Default)]
struct Place {
    recent: VecDeque<Timestamp>,
    /// Of those, what was not met again since reading was resumed.
    again: Vec<Timestamp>,
    floor: Option<Timestamp>,
}

impl Place {
    /// From now on lines come that may have come before. Returns from when to ask, if there were any.
    fn resume(&mut self) -> Option<Timestamp> {
        self.again = self.recent.iter().copied().collect();
        self.floor = self.again.iter().min().copied();
        self.floor
    }

    fn is_new(&mut self, at: Timestamp) -> bool {
        if self.floor.is_some_and(|floor| at < floor) {
            return false;
        }
        if let Some(met) = self.again.iter().position(|seen| *seen == at) {
            self.again.swap_remove(met);
            return false;
        }
        if self.recent.len() == limits::LOG_NEIGHBOURS {
            self.recent.pop_front();
        }
        self.recent.push_back(at);
        true
    }
}

fn wanted(line: &Result<LogLine, RuntimeError>, since: Option<Timestamp>) -> bool {
    match (line, since) {
        (Ok(line), Some(since)) => line.at >= since,
        _ => true,
    }
}

fn line(output: LogOutput) -> Result<LogLine, RuntimeError> {
    let (stream, message) = match output {
        LogOutput::StdErr { message } => (OutputStream::Stderr, message),
        LogOutput::StdOut { message } | LogOutput::Console { message } | LogOutput::StdIn { message } => {
            (OutputStream::Stdout, message)
        }
    };
    let (at, bytes) =
        split_time(&message).ok_or_else(|| RuntimeError::Engine("a line of a log came without its time".to_owned()))?;
    Ok(LogLine { at, stream, bytes })
}

/// `2026-01-02T03:04:05.678901234Z what it wrote`.
fn split_time(message: &Bytes) -> Option<(Timestamp, Bytes)> {
    let space = message.iter().take(40).position(|b| *b == b' ')?;
    let at = std::str::from_utf8(&message[..space]).ok()?.parse().ok()?;
    Some((at, message.slice(space + 1..)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_come_again_are_known() {
        let at = |n| Timestamp::from_second(n).unwrap();
        let mut place = Place::default();
        assert_eq!(place.resume(), None);
        // Out of order, and two pieces of one line.
        for n in [1, 2, 4, 3, 5, 5] {
            assert!(place.is_new(at(n)));
        }
        assert_eq!(place.resume(), Some(at(1)));
        let news: Vec<_> = [1, 2, 4, 3, 5, 5, 5, 6].into_iter().filter(|n| place.is_new(at(*n))).collect();
        assert_eq!(news, [5, 6]);
        for n in 10..10 + limits::LOG_NEIGHBOURS as i64 {
            assert!(place.is_new(at(n)));
        }
        assert_eq!(place.resume(), Some(at(10)));
        assert!(!place.is_new(at(7)), "older than all that is remembered");
    }

    #[test]
    fn the_time_stands_before_the_line() {
        let (at, bytes) = split_time(&Bytes::from_static(b"1970-01-01T00:00:01.5Z a line\n")).unwrap();
        assert_eq!((at.as_nanosecond(), &bytes[..]), (1_500_000_000, &b"a line\n"[..]));
        for bad in ["", "no time", "1970-01-01T00:00:01.5Z"] {
            assert!(split_time(&Bytes::from(bad)).is_none(), "{bad}");
        }
    }
}
