//! The gRPC health protocol (`grpc.health.v1.Health/Check`), over HTTP/2 by hand: two small messages, no generated code.

use bytes::{BufMut, Bytes, BytesMut};
use http::Request;
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

const ANSWER_MAX_BYTES: usize = 1 << 10;
/// `HealthCheckResponse.ServingStatus`.
const SERVING: u64 = 1;

pub async fn check(host: &str, port: u16, service: &str) -> Result<(), String> {
    let failed = |why: String| format!("failed to connect service \"{host}:{port}\": {why}");
    let tcp = TcpStream::connect((host, port)).await.map_err(|e| failed(super::http::connect_error(&e)))?;
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(tcp)).await;
    let (mut sender, connection) = handshake.map_err(|e| failed(e.to_string()))?;
    let _driver = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(connection));
    let request = Request::post(format!("http://{host}:{port}/grpc.health.v1.Health/Check"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("user-agent", "kube-probe/1.33")
        .body(Full::new(request_frame(service)))
        .map_err(|e| failed(e.to_string()))?;
    let answer = sender.send_request(request).await.map_err(|e| failed(e.to_string()))?;
    let (head, body) = answer.into_parts();
    let collected = Limited::new(body, ANSWER_MAX_BYTES).collect().await.map_err(|e| failed(e.to_string()))?;
    let trailers = collected.trailers().cloned().unwrap_or_default();
    let code = trailers.get("grpc-status").or_else(|| head.headers.get("grpc-status")).cloned();
    match code.as_ref().and_then(|c| c.to_str().ok()) {
        Some("0") => {}
        code => return Err(format!("rpc error: code = {}", code.unwrap_or("unknown"))),
    }
    match serving_status(&collected.to_bytes()) {
        Some(SERVING) => Ok(()),
        status => Err(format!("service unhealthy (responded with {:?})", status.map_or("UNKNOWN", status_name))),
    }
}

fn status_name(status: u64) -> &'static str {
    match status {
        1 => "SERVING",
        2 => "NOT_SERVING",
        3 => "SERVICE_UNKNOWN",
        _ => "UNKNOWN",
    }
}

/// Length-prefixed `HealthCheckRequest { service = 1 }`.
fn request_frame(service: &str) -> Bytes {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        message.put_u8(0x0a);
        put_varint(&mut message, service.len() as u64);
        message.put_slice(service.as_bytes());
    }
    let mut frame = BytesMut::with_capacity(message.len() + 5);
    frame.put_u8(0);
    frame.put_u32(message.len() as u32);
    frame.extend_from_slice(&message);
    frame.freeze()
}

fn put_varint(out: &mut BytesMut, mut value: u64) {
    while value >= 0x80 {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

/// `HealthCheckResponse { status = 1 }`; a missing field is 0. `None`: not such a message.
fn serving_status(frame: &[u8]) -> Option<u64> {
    let message = frame.get(5..)?;
    match message {
        [] => Some(0),
        [0x08, value, ..] if *value < 0x80 => Some(u64::from(*value)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_framed() {
        assert_eq!(request_frame("").as_ref(), [0, 0, 0, 0, 0]);
        assert_eq!(request_frame("ab").as_ref(), [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        for (frame, status) in [
            (&[0, 0, 0, 0, 2, 8, 1][..], Some(1)),
            (&[0, 0, 0, 0, 0], Some(0)),
            (&[0, 0, 0, 0, 2, 8, 2], Some(2)),
            (&[0, 0], None),
            (&[0, 0, 0, 0, 1, 99], None),
        ] {
            assert_eq!(serving_status(frame), status, "{frame:?}");
        }
    }
}
