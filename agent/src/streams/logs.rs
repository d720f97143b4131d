//! A container's log, as `kubectl logs` asks for it.

use super::find::{self, Wanted};
use super::{Out, Source};
use bytes::{Bytes, BytesMut};
use coracle_proto::nodelink::{Channel, LogRequest};
use coracle_proto::{ApiError, time};
use coracle_runtime::{LogLine, LogQuery};
use futures::StreamExt;
use jiff::{SignedDuration, Timestamp};

pub async fn serve(source: &Source, request: &LogRequest, out: &Out) -> Result<i32, ApiError> {
    let wanted = Wanted { namespace: &request.namespace, pod: &request.pod, uid: &request.uid };
    let container = find::for_log(source, &wanted, &request.container, request.previous).await?;
    let query = query(request, Timestamp::now())?;
    let mut lines = source.runtime.logs(&container.id, &query).await.map_err(ApiError::internal)?;
    let mut left = request.limit_bytes.map(|n| usize::try_from(n).unwrap_or(0));
    loop {
        let line = tokio::select! {
            line = lines.next() => line,
            () = out.closed() => return Ok(0),
        };
        let Some(line) = line else { return Ok(0) };
        let mut text = render(&line.map_err(ApiError::internal)?, request.timestamps);
        if let Some(left) = &mut left {
            text.truncate(*left);
            *left -= text.len();
        }
        if !out.data(Channel::Stdout, &text).await || left == Some(0) {
            return Ok(0);
        }
    }
}

fn query(request: &LogRequest, now: Timestamp) -> Result<LogQuery, ApiError> {
    let since = match (&request.since_time, request.since_seconds) {
        (Some(text), _) => {
            let at = time::parse(text);
            Some(at.ok_or_else(|| ApiError::bad_request(format!("sinceTime {text:?} is not a time")))?)
        }
        (None, Some(seconds)) => Some(now.checked_sub(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MIN)),
        (None, None) => None,
    };
    let tail_lines = request.tail_lines.map(|n| u64::try_from(n).unwrap_or(0));
    Ok(LogQuery { follow: request.follow, since, tail_lines })
}

fn render(line: &LogLine, timestamps: bool) -> Bytes {
    if !timestamps {
        return line.bytes.clone();
    }
    let stamp = line.at.strftime("%Y-%m-%dT%H:%M:%S.%9fZ ").to_string();
    let mut text = BytesMut::with_capacity(stamp.len() + line.bytes.len());
    text.extend_from_slice(stamp.as_bytes());
    text.extend_from_slice(&line.bytes);
    text.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use coracle_runtime::OutputStream;

    #[test]
    fn timestamps_have_nine_digits() {
        let at = "2026-01-02T03:04:05.000006Z".parse().expect("a time");
        let line = LogLine { at, stream: OutputStream::Stdout, bytes: Bytes::from("hi\n") };
        assert_eq!(render(&line, true), "2026-01-02T03:04:05.000006000Z hi\n");
        assert_eq!(render(&line, false), "hi\n");
    }

    #[test]
    fn since_is_a_time_or_an_age() {
        let now: Timestamp = "2026-01-02T03:04:05Z".parse().expect("a time");
        let age = LogRequest { since_seconds: Some(5), tail_lines: Some(-1), ..LogRequest::default() };
        let query_of = query(&age, now).expect("is right");
        assert_eq!(query_of.since.map(|t| t.to_string()).as_deref(), Some("2026-01-02T03:04:00Z"));
        assert_eq!(query_of.tail_lines, Some(0));
        let huge = LogRequest { since_seconds: Some(i64::MAX), ..LogRequest::default() };
        assert!(query(&huge, now).is_ok());
        let bad = LogRequest { since_time: Some("soon".into()), ..LogRequest::default() };
        assert!(query(&bad, now).is_err());
    }
}
