//! A container's log through Docker's API.

use super::error::{engine, of};
use crate::{ContainerId, LogLine, LogQuery, OutputStream, RuntimeError};
use bollard::container::LogOutput;
use bollard::query_parameters::{InspectContainerOptions, LogsOptionsBuilder};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use jiff::Timestamp;

pub type Lines = BoxStream<'static, Result<LogLine, RuntimeError>>;

pub async fn logs(docker: &bollard::Docker, id: &ContainerId, query: &LogQuery) -> Result<Lines, RuntimeError> {
    docker.inspect_container(&id.0, None::<InspectContainerOptions>).await.map_err(of("container", &id.0))?;
    let mut options = LogsOptionsBuilder::default().follow(query.follow).stdout(true).stderr(true).timestamps(true);
    if let Some(since) = query.since {
        // Whole seconds here, the rest is ours.
        options = options.since(i32::try_from(since.as_second()).unwrap_or(i32::MAX));
    }
    let tail = query.tail_lines.map_or_else(|| "all".to_owned(), |lines| lines.to_string());
    let since = query.since;
    let stream =
        docker.logs(&id.0, Some(options.tail(&tail).build())).map(|output| output.map_err(engine).and_then(line));
    Ok(stream.filter(move |line| std::future::ready(wanted(line, since))).boxed())
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
    fn the_time_stands_before_the_line() {
        let (at, bytes) = split_time(&Bytes::from_static(b"1970-01-01T00:00:01.5Z a line\n")).unwrap();
        assert_eq!((at.as_nanosecond(), &bytes[..]), (1_500_000_000, &b"a line\n"[..]));
        for bad in ["", "no time", "1970-01-01T00:00:01.5Z"] {
            assert!(split_time(&Bytes::from(bad)).is_none(), "{bad}");
        }
    }
}
