//! The control plane's end of the node link: each call is an API request of the user in the agent's certificate.

use crate::limits::{FRAMES_BUFFERED, MESSAGE_BYTES, WATCH_EVENTS_BUFFERED};
use crate::sessions::{Answered, Sessions};
use coracle_apiserver::{GrpcService, Registry, UserInfo};
use coracle_client::{DeleteOptions, Patch, ResourceApi};
use coracle_proto::nodelink::node_link_server::{NodeLink, NodeLinkServer};
use coracle_proto::nodelink::watch_event::Type;
use coracle_proto::nodelink::{
    Beat, CallRequest, CallResponse, Frame, Order, Verb, WatchEvent as LinkEvent, WatchRequest, frame,
};
use coracle_proto::selector::{FieldSelector, LabelSelector};
use coracle_proto::status::Reason;
use coracle_proto::{ApiError, ListOptions, Object, ObjectKey, Resource, Tree, WatchEvent};
use futures::StreamExt;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};
use tower::{Service, service_fn};

/// The service to mount beside the HTTP API. Its streams end with `stop`.
pub fn service(registry: Arc<Registry>, sessions: Sessions, stop: CancellationToken) -> GrpcService {
    let link = NodeLinkServer::new(Link { registry, sessions, stop })
        .max_decoding_message_size(MESSAGE_BYTES)
        .max_encoding_message_size(MESSAGE_BYTES);
    GrpcService::new(service_fn(move |request: http::Request<Incoming>| {
        let mut link = link.clone();
        async move {
            let answer = link.call(request).await?;
            Ok(answer.map(|body| body.map_err(Into::into).boxed_unsync()))
        }
    }))
}

struct Link {
    registry: Arc<Registry>,
    sessions: Sessions,
    stop: CancellationToken,
}

impl Link {
    fn api<T>(&self, request: &Request<T>) -> Result<Arc<dyn ResourceApi>, Status> {
        Ok(self.registry.client(user(request)?.clone()))
    }
}

fn resource(group: &str, version: &str, plural: &str) -> Result<Resource, ApiError> {
    match coracle_apiserver::catalog::find(group, version, plural) {
        Some(kind) => Ok(kind.facts().resource.clone()),
        None => Err(ApiError::new(Reason::NotFound, "the server could not find the requested resource")),
    }
}

fn user<T>(request: &Request<T>) -> Result<&UserInfo, Status> {
    request.extensions().get().ok_or_else(|| Status::unauthenticated("a client certificate is needed"))
}

/// The node a session or stream belongs to; only nodes have them.
fn node_name<T>(request: &Request<T>) -> Result<String, Status> {
    let name = user(request)?.name.strip_prefix("system:node:");
    name.map(Into::into).ok_or_else(|| Status::permission_denied("only nodes open sessions"))
}

#[tonic::async_trait]
impl NodeLink for Link {
    async fn call(&self, request: Request<CallRequest>) -> Result<Response<CallResponse>, Status> {
        let api = self.api(&request)?;
        let request = request.into_inner();
        let answer = match resource(&request.group, &request.version, &request.resource) {
            Ok(resource) => call(api.as_ref(), &resource, &request).await,
            Err(error) => Err(error),
        };
        Ok(Response::new(match answer {
            Ok(object) => CallResponse { code: 200, body: object.json.to_vec() },
            Err(error) => CallResponse { code: error.code().into(), body: error.to_status().to_string().into_bytes() },
        }))
    }

    type WatchStream = ReceiverStream<Result<LinkEvent, Status>>;

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let api = self.api(&request)?;
        let request = request.into_inner();
        let resource = resource(&request.group, &request.version, &request.resource);
        let (events, receiver) = mpsc::channel(WATCH_EVENTS_BUFFERED);
        let stop = self.stop.clone();
        tokio::spawn(async move {
            let watching = async {
                match resource {
                    Ok(resource) => watch(api.as_ref(), &resource, &request, &events).await,
                    Err(error) => Err(error),
                }
            };
            let ended = stop.run_until_cancelled(watching).await.unwrap_or(Ok(()));
            if let Err(error) = ended {
                let object = error.to_status().to_string().into_bytes();
                // A receiver that is gone needs no reason.
                let _ = events.send(Ok(LinkEvent { r#type: Type::Error.into(), revision: 0, object })).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    type SessionStream = ReceiverStream<Result<Order, Status>>;

    async fn session(&self, request: Request<Streaming<Beat>>) -> Result<Response<Self::SessionStream>, Status> {
        let node = node_name(&request)?;
        let mut beats = request.into_inner();
        let mut orders = self.sessions.open_session(&node);
        let (down, receiver) = mpsc::channel(1);
        let (sessions, stop) = (self.sessions.clone(), self.stop.clone());
        tokio::spawn(async move {
            tracing::info!(node, "the agent is connected");
            loop {
                tokio::select! {
                    () = stop.cancelled() => break,
                    beat = beats.next() => if !matches!(beat, Some(Ok(_))) { break },
                    order = orders.recv() => match order {
                        Some(order) => if down.send(Ok(order)).await.is_err() { break },
                        // A newer session of the node took its place.
                        None => break,
                    },
                }
            }
            drop(orders);
            sessions.close_session(&node);
            tracing::info!(node, "the agent is gone");
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    type StreamStream = ReceiverStream<Result<Frame, Status>>;

    async fn stream(&self, request: Request<Streaming<Frame>>) -> Result<Response<Self::StreamStream>, Status> {
        let node = node_name(&request)?;
        let mut frames = request.into_inner();
        let Some(Frame { kind: Some(frame::Kind::Start(stream_id)) }) = frames.message().await? else {
            return Err(Status::invalid_argument("the first frame of a stream must be `start`"));
        };
        let Some(Answered { mut to_agent, from_agent }) = self.sessions.answer(&node, &stream_id) else {
            return Err(Status::not_found("nobody waits for this stream"));
        };
        let (down, receiver) = mpsc::channel(FRAMES_BUFFERED);
        tokio::spawn(async move {
            while let Some(frame) = to_agent.recv().await {
                if down.send(Ok(frame)).await.is_err() {
                    break;
                }
            }
        });
        tokio::spawn(async move {
            loop {
                match frames.message().await {
                    Ok(Some(frame)) => {
                        if from_agent.send(frame).await.is_err() {
                            return;
                        }
                    }
                    Ok(None) => return,
                    Err(status) => {
                        tracing::debug!(node, stream_id, %status, "a stream from the node broke off");
                        return;
                    }
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

async fn call(api: &dyn ResourceApi, resource: &Resource, request: &CallRequest) -> Result<Object, ApiError> {
    let key = ObjectKey::new(&request.namespace, &request.name);
    let sub = request.subresource.as_str();
    match request.verb() {
        Verb::Get => api.get(resource, &key).await,
        Verb::Create => api.create(resource, &key, sub, body(request)?).await,
        Verb::Update => api.update(resource, &key, sub, body(request)?).await,
        Verb::PatchMerge => api.patch(resource, &key, sub, Patch::Merge(body(request)?)).await,
        Verb::Delete => api.delete(resource, &key, &delete_options(&body(request)?)).await,
        Verb::Unspecified => Err(ApiError::bad_request("the call names no verb")),
    }
}

fn body(request: &CallRequest) -> Result<Tree, ApiError> {
    if request.body.is_empty() {
        return Ok(Tree::Null);
    }
    serde_json::from_slice(&request.body).map_err(|e| ApiError::bad_request(format!("the call's body: {e}")))
}

fn delete_options(tree: &Tree) -> DeleteOptions {
    let text = |key: &str| tree["preconditions"][key].as_str().map(Into::into);
    DeleteOptions {
        grace_period_seconds: tree["gracePeriodSeconds"].as_i64(),
        uid: text("uid"),
        resource_version: text("resourceVersion"),
        ..DeleteOptions::default()
    }
}

async fn watch(
    api: &dyn ResourceApi,
    resource: &Resource,
    request: &WatchRequest,
    events: &mpsc::Sender<Result<LinkEvent, Status>>,
) -> Result<(), ApiError> {
    let selector = |e: coracle_proto::selector::SelectorError| ApiError::bad_request(e.to_string());
    let options = ListOptions {
        namespace: request.namespace.clone(),
        labels: LabelSelector::parse(&request.label_selector).map_err(selector)?,
        fields: FieldSelector::parse(&request.field_selector).map_err(selector)?,
        ..ListOptions::default()
    };
    let mut changes = api.watch(resource, &options, None).await?;
    let mut synced = false;
    loop {
        let change = tokio::select! {
            change = changes.next() => change,
            () = events.closed() => return Ok(()),
        };
        let Some(change) = change.transpose()? else { return Ok(()) };
        // The first bookmark ends the list; later ones have nothing to say to a node.
        if matches!(change, WatchEvent::Bookmark(_)) && std::mem::replace(&mut synced, true) {
            continue;
        }
        if events.send(Ok(link_event(change))).await.is_err() {
            return Ok(());
        }
    }
}

fn link_event(event: WatchEvent) -> LinkEvent {
    let (kind, object) = match event {
        WatchEvent::Added(object) => (Type::Added, object),
        WatchEvent::Modified(object) => (Type::Modified, object),
        WatchEvent::Deleted(object) => (Type::Deleted, object),
        WatchEvent::Bookmark(revision) => (Type::Synced, Object { revision, json: bytes::Bytes::new() }),
    };
    LinkEvent { r#type: kind.into(), revision: object.revision, object: object.json.to_vec() }
}
