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
    use http::{HeaderMap, Response};
    use http_body_util::StreamBody;
    use hyper::body::Frame;
    use hyper::service::service_fn;
    use std::convert::Infallible;
    use tokio::net::TcpListener;

    /// Says of the service `up` that it serves, of the empty one that it does not, and knows no other.
    async fn server() -> (u16, tokio_util::task::AbortOnDropHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let port = listener.local_addr().expect("has one").port();
        let serve = async |request: Request<hyper::body::Incoming>| {
            assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
            let asked = request.into_body().collect().await.expect("a body").to_bytes();
            let (message, code) = match &asked[5..] {
                b"\x0a\x02up" => (&b"\0\0\0\0\x02\x08\x01"[..], "0"),
                b"" => (&b"\0\0\0\0\x02\x08\x02"[..], "0"),
                _ => (&b""[..], "5"),
            };
            let trailers =
                HeaderMap::from_iter([("grpc-status".parse().expect("a name"), code.parse().expect("a value"))]);
            let frames = [Frame::data(Bytes::from_static(message)), Frame::trailers(trailers)];
            Ok::<_, Infallible>(Response::new(StreamBody::new(futures::stream::iter(frames.map(Ok::<_, Infallible>)))))
        };
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let http = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                // A client that goes away is none of the server's business.
                let _ = http.serve_connection(TokioIo::new(stream), service_fn(serve)).await;
            }
        });
        (port, tokio_util::task::AbortOnDropHandle::new(task))
    }

    #[tokio::test]
    async fn services_are_asked_about() {
        let (port, _server) = server().await;
        assert_eq!(check("127.0.0.1", port, "up").await, Ok(()));
        let error = check("127.0.0.1", port, "").await.expect_err("does not serve");
        assert_eq!(error, "service unhealthy (responded with \"NOT_SERVING\")");
        assert_eq!(check("127.0.0.1", port, "none").await, Err("rpc error: code = 5".into()));
    }

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
