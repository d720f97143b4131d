//! One HTTP GET, as probes and hooks make it: no proxy, no certificate checks, redirects on the same host only.

use super::tls;
use crate::limits;
use bytes::Bytes;
use http::header::{ACCEPT, HOST, HeaderName, HeaderValue, LOCATION, USER_AGENT};
use http::{HeaderMap, Request, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

#[derive(Clone, Debug, PartialEq)]
pub struct HttpTarget {
    pub https: bool,
    pub host: String,
    pub port: u16,
    /// With its query; starts with a slash.
    pub path: String,
    pub headers: Vec<(String, String)>,
}

impl HttpTarget {
    fn url(&self) -> String {
        let scheme = if self.https { "https" } else { "http" };
        format!("{scheme}://{}:{}{}", self.host, self.port, self.path)
    }
}

/// `Ok`: the status was good, or a redirect led to another host. `Err`: what kubelet says.
pub async fn get(target: &HttpTarget) -> Result<(), String> {
    let mut next = target.clone();
    for _ in 0..limits::PROBE_REDIRECTS_MAX {
        let answer = once(&next).await.map_err(|why| format!("Get {:?}: {why}", target.url()))?;
        match answer.status {
            300..=399 => match redirected(&next, answer.location.as_deref()) {
                Some(followed) => next = followed,
                None => return Ok(()),
            },
            200..=299 => return Ok(()),
            code => return Err(format!("HTTP probe failed with statuscode: {code}")),
        }
    }
    Err(format!("Get {:?}: stopped after {} redirects", target.url(), limits::PROBE_REDIRECTS_MAX))
}

/// `None`: nowhere, or to another host, which upstream counts as good.
fn redirected(from: &HttpTarget, location: Option<&str>) -> Option<HttpTarget> {
    let location: Uri = location?.parse().ok()?;
    let path = location.path_and_query().map_or("/", |p| p.as_str());
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    let Some(host) = location.host() else { return Some(HttpTarget { path, ..from.clone() }) };
    if host != from.host {
        return None;
    }
    let https = location.scheme_str() == Some("https");
    let port = location.port_u16().unwrap_or(if https { 443 } else { 80 });
    Some(HttpTarget { https, port, path, ..from.clone() })
}

struct Answer {
    status: u16,
    location: Option<String>,
}

async fn once(target: &HttpTarget) -> Result<Answer, String> {
    let tcp = TcpStream::connect((target.host.as_str(), target.port))
        .await
        .map_err(|e| format!("dial tcp {}:{}: {}", target.host, target.port, connect_error(&e)))?;
    if !target.https {
        return send(tcp, target).await;
    }
    let connector = tls::connector().ok_or("TLS is not available")?;
    let name = ServerName::try_from(target.host.clone()).map_err(|e| e.to_string())?;
    send(connector.connect(name, tcp).await.map_err(|e| e.to_string())?, target).await
}

/// As Go words the one that matters.
pub fn connect_error(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
        _ => format!("connect: {error}"),
    }
}

async fn send(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    target: &HttpTarget,
) -> Result<Answer, String> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
    let driver = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(connection));
    let mut request = Request::get(&target.path).body(Empty::<Bytes>::new()).map_err(|e| e.to_string())?;
    *request.headers_mut() = headers(target)?;
    let answer = sender.send_request(request).await.map_err(|e| e.to_string())?;
    let status = answer.status().as_u16();
    let location = answer.headers().get(LOCATION).and_then(|v| v.to_str().ok()).map(str::to_owned);
    // Read a bounded part, so that a well-behaved server sees its answer taken.
    let body = Limited::new(answer.into_body(), limits::PROBE_BODY_MAX_BYTES).collect().await;
    if let Err(error) = body {
        tracing::trace!(%error, "a probe's answer was cut off");
    }
    drop(driver);
    Ok(Answer { status, location })
}

fn headers(target: &HttpTarget) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    let host = HeaderValue::from_str(&format!("{}:{}", target.host, target.port)).map_err(|e| e.to_string())?;
    headers.insert(HOST, host);
    headers.insert(USER_AGENT, HeaderValue::from_static("kube-probe/1.33"));
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    let mut own = HeaderMap::new();
    for (name, value) in &target.headers {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|e| format!("header {name:?}: {e}"))?;
        own.append(name, HeaderValue::from_str(value).map_err(|e| e.to_string())?);
    }
    // A header without a value takes ours away, as upstream has it for Accept and User-Agent.
    for name in own.keys() {
        headers.remove(name);
    }
    let named = own.iter().filter(|(name, value)| !(value.is_empty() && (*name == ACCEPT || *name == USER_AGENT)));
    headers.extend(named.map(|(name, value)| (name.clone(), value.clone())));
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// Answers each request by its path, until dropped.
    async fn server(answer: fn(&str, u16) -> String) -> (u16, tokio_util::task::AbortOnDropHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let port = listener.local_addr().expect("has one").port();
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut buffer = vec![0; 4096];
                let read = stream.read(&mut buffer).await.unwrap_or(0);
                let text = String::from_utf8_lossy(&buffer[..read]).into_owned();
                let reply = answer(&text, port);
                if stream.write_all(reply.as_bytes()).await.is_err() {
                    return;
                }
            }
        });
        (port, tokio_util::task::AbortOnDropHandle::new(task))
    }

    fn reply(request: &str, port: u16) -> String {
        let path = request.split(' ').nth(1).unwrap_or_default();
        let location = |to: String| format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n");
        match path {
            "/ok" => "HTTP/1.1 204 No Content\r\n\r\n".into(),
            "/bad" => "HTTP/1.1 503 Unavailable\r\nContent-Length: 0\r\n\r\n".into(),
            "/to-ok" => location("/ok".into()),
            "/to-bad" => location(format!("http://127.0.0.1:{port}/bad")),
            "/away" => location("http://elsewhere.example/bad".into()),
            "/loop" => location("/loop".into()),
            "/header" if request.contains("x-a: 1") && request.contains("host: named") => {
                "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".into()
            }
            "/long" => format!("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{}", "x".repeat(100_000)),
            _ => "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".into(),
        }
    }

    #[tokio::test]
    async fn statuses_and_redirects() {
        let (port, _server) = server(reply).await;
        for (path, good) in [
            ("/ok", true),
            ("/bad", false),
            ("/to-ok", true),
            ("/to-bad", false),
            ("/away", true),
            ("/loop", false),
            ("/header", true),
            ("/long", true),
            ("/none", false),
        ] {
            let headers = vec![("X-A".to_owned(), "1".to_owned()), ("Host".to_owned(), "named".to_owned())];
            let target = HttpTarget { https: false, host: "127.0.0.1".into(), port, path: path.into(), headers };
            assert_eq!(get(&target).await.is_ok(), good, "{path}");
        }
    }

    #[tokio::test]
    async fn nobody_there_is_said_as_go_says_it() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let port = listener.local_addr().expect("has one").port();
        drop(listener);
        let target = HttpTarget { https: false, host: "127.0.0.1".into(), port, path: "/".into(), headers: vec![] };
        let error = get(&target).await.expect_err("nobody listens");
        let expected =
            format!("Get \"http://127.0.0.1:{port}/\": dial tcp 127.0.0.1:{port}: connect: connection refused");
        assert_eq!(error, expected);
    }
}
