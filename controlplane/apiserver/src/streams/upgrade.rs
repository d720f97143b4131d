//! From an HTTP/1.1 request to a SPDY session.

use super::not_upgradable;
use crate::http::Body;
use crate::spdy::Session;
use coracle_proto::ApiError;
use coracle_proto::status::Reason;
use http::header::{CONNECTION, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use std::future::Future;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

const SPDY: &str = "SPDY/3.1";
const PROTOCOL_HEADER: HeaderName = HeaderName::from_static("x-stream-protocol-version");

/// A request that may become a session.
pub struct Upgrade {
    on: OnUpgrade,
    /// Empty where the client named none.
    protocol: &'static str,
}

impl Upgrade {
    /// Any refusal makes a client that tried WebSocket first come again with SPDY.
    pub fn negotiate(request: &mut Request<Incoming>, supported: &[&'static str]) -> Result<Self, ApiError> {
        let headers = request.headers();
        if !lists(headers, &CONNECTION, "upgrade") || !lists(headers, &UPGRADE, SPDY) {
            return Err(not_upgradable("Upgrade request required: this server speaks SPDY/3.1"));
        }
        let offered: Vec<&str> = offered(headers).collect();
        let protocol = match supported.iter().find(|p| offered.contains(*p)) {
            Some(protocol) => protocol,
            None if offered.is_empty() => "",
            None => {
                let why = format!(
                    "unable to upgrade: unable to negotiate protocol: client supports {offered:?}, server accepts {supported:?}"
                );
                return Err(ApiError::new(Reason::Forbidden, why));
            }
        };
        Ok(Self { on: hyper::upgrade::on(request), protocol })
    }

    /// Answers 101 and lets `serve` have the session. It ends with the server.
    pub fn accept<F, S>(self, stop: CancellationToken, place: OwnedSemaphorePermit, serve: S) -> Response<Body>
    where
        F: Future<Output = ()> + Send + 'static,
        S: FnOnce(Session) -> F + Send + 'static,
    {
        let on = self.on;
        tokio::spawn(async move {
            let _open = place;
            match on.await {
                Ok(upgraded) => {
                    let session = Session::start(TokioIo::new(upgraded));
                    tokio::select! {
                        () = serve(session) => {}
                        () = stop.cancelled() => {}
                    }
                }
                Err(error) => tracing::debug!(%error, "a connection could not be upgraded"),
            }
        });
        let mut response = Response::new(crate::http::full(""));
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static(SPDY));
        if !self.protocol.is_empty() {
            headers.insert(PROTOCOL_HEADER, HeaderValue::from_static(self.protocol));
        }
        response
    }
}

/// Whether a comma-separated header holds this word.
fn lists(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|v| v.to_str().ok());
    values.flat_map(|v| v.split(',')).any(|part| part.trim().eq_ignore_ascii_case(word))
}

fn offered(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(&PROTOCOL_HEADER).iter().filter_map(|v| v.to_str().ok());
    values.flat_map(|v| v.split(',')).map(str::trim)
}
