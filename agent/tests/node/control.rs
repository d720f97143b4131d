//! The node link's contract over objects in memory: enough of an API for an agent, and for a test to look at.

use coracle_proto::nodelink::node_link_server::{NodeLink, NodeLinkServer};
use coracle_proto::nodelink::watch_event::Type;
use coracle_proto::nodelink::{
    Beat, CallRequest, CallResponse, Frame, Order, StreamRequest, Verb, WatchEvent, WatchRequest, frame,
};
use coracle_proto::resource::PODS;
use coracle_proto::selector::FieldSelector;
use coracle_proto::{ApiError, ObjectKey, meta};
use futures::{Stream, StreamExt};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::AbortOnDropHandle;
use tonic::transport::server::Connected;
use tonic::{Request, Response, Status, Streaming};

type Key = (String, ObjectKey);

#[derive(Clone)]
struct Change {
    kind: Type,
    resource: String,
    before: Value,
    object: Value,
}

struct State {
    objects: BTreeMap<Key, Value>,
    revision: u64,
    changes: broadcast::Sender<Change>,
    orders: Option<mpsc::Sender<Order>>,
    pending: HashMap<String, oneshot::Sender<StreamEnds>>,
}

/// The control plane's side of a stream.
pub struct StreamEnds {
    pub to_agent: mpsc::Sender<Frame>,
    pub from_agent: mpsc::Receiver<Frame>,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Control(Arc<Mutex<State>>);

impl Control {
    pub fn new() -> Self {
        let changes = broadcast::channel(4096).0;
        let state = State { objects: BTreeMap::new(), revision: 1, changes, orders: None, pending: HashMap::new() };
        Self(Arc::new(Mutex::new(state)))
    }

    pub fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<Value> {
        let state = self.0.lock().expect("not poisoned");
        state.objects.get(&(resource.to_owned(), ObjectKey::new(namespace, name))).cloned()
    }

    pub fn list(&self, resource: &str) -> Vec<Value> {
        let state = self.0.lock().expect("not poisoned");
        state.objects.iter().filter(|((r, _), _)| r == resource).map(|(_, o)| o.clone()).collect()
    }

    /// Creates or replaces.
    pub fn put(&self, resource: &str, mut object: Value) -> Value {
        let mut state = self.0.lock().expect("not poisoned");
        if meta::uid(&object).is_empty() {
            object["metadata"]["uid"] = json!(uuid::Uuid::new_v4().to_string());
        }
        state.write(resource, object)
    }

    pub fn merge(&self, resource: &str, namespace: &str, name: &str, patch: Value) -> Result<Value, ApiError> {
        let mut state = self.0.lock().expect("not poisoned");
        let key = (resource.to_owned(), ObjectKey::new(namespace, name));
        let mut object = state.objects.get(&key).cloned().ok_or_else(|| ApiError::not_found(&PODS, name))?;
        if patch["metadata"]["uid"].is_string() && patch["metadata"]["uid"] != object["metadata"]["uid"] {
            return Err(ApiError::conflict(&PODS, name, "another UID"));
        }
        json_patch::merge(&mut object, &patch);
        Ok(state.write(resource, object))
    }

    pub fn delete(&self, resource: &str, namespace: &str, name: &str) {
        let mut state = self.0.lock().expect("not poisoned");
        let key = (resource.to_owned(), ObjectKey::new(namespace, name));
        if let Some(object) = state.objects.remove(&key) {
            state.tell(Type::Deleted, resource, object.clone(), object);
        }
    }

    /// As the API does for a bound pod: marked, and left to its node.
    pub fn delete_gracefully(&self, namespace: &str, name: &str, seconds: i64) {
        let now = coracle_proto::time::render(jiff::Timestamp::now());
        let marks = json!({"metadata": {"deletionTimestamp": now, "deletionGracePeriodSeconds": seconds}});
        self.merge("pods", namespace, name, marks).expect("is there");
    }

    /// Waits until the object is as wanted.
    pub async fn until(&self, resource: &str, namespace: &str, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut changes = self.0.lock().expect("not poisoned").changes.subscribe();
        let found = async {
            loop {
                let object = self.get(resource, namespace, name).unwrap_or(Value::Null);
                if wanted(&object) {
                    return object;
                }
                changes.recv().await.expect("a change");
            }
        };
        match tokio::time::timeout(crate::ground::PATIENCE, found).await {
            Ok(object) => object,
            Err(_) => {
                let object = self.get(resource, namespace, name).unwrap_or(Value::Null);
                let events: Vec<String> =
                    self.list("events").iter().map(|e| format!("{}: {}", e["reason"], e["message"])).collect();
                panic!("{resource} {namespace}/{name} did not become as wanted: {:#}\n{events:#?}", object["status"]);
            }
        }
    }

    /// Opens a stream to the agent.
    pub async fn open(&self, request: StreamRequest) -> StreamEnds {
        let (sender, answered) = oneshot::channel();
        let orders = loop {
            if let Some(orders) = self.0.lock().expect("not poisoned").orders.clone() {
                break orders;
            }
            tokio::task::yield_now().await;
        };
        let id = uuid::Uuid::new_v4().to_string();
        self.0.lock().expect("not poisoned").pending.insert(id.clone(), sender);
        orders.send(Order { stream_id: id, request: Some(request) }).await.expect("a session");
        tokio::time::timeout(crate::ground::PATIENCE, answered).await.expect("in time").expect("an answer")
    }

    /// Serves until the handle is dropped: then nobody answers.
    pub async fn serve(&self, port: u16, tls: rustls::ServerConfig) -> (u16, AbortOnDropHandle<()>) {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("binds");
        let port = listener.local_addr().expect("has one").port();
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let (sender, accepted) = mpsc::channel::<Result<Accepted, std::io::Error>>(16);
        let service = NodeLinkServer::new(Served(self.clone()));
        let task = tokio::spawn(async move {
            let accept = async {
                loop {
                    let Ok((tcp, _)) = listener.accept().await else { continue };
                    if let Ok(stream) = acceptor.accept(tcp).await {
                        sender.send(Ok(Accepted(stream))).await.expect("it is served");
                    }
                }
            };
            let serve = tonic::transport::Server::builder()
                .add_service(service)
                .serve_with_incoming(ReceiverStream::new(accepted));
            tokio::select! {
                () = accept => {}
                served = serve => served.expect("it serves"),
            }
        });
        (port, AbortOnDropHandle::new(task))
    }
}

impl State {
    fn write(&mut self, resource: &str, mut object: Value) -> Value {
        self.revision += 1;
        object["metadata"]["resourceVersion"] = json!(self.revision.to_string());
        let before = self.objects.insert((resource.to_owned(), ObjectKey::of(&object)), object.clone());
        let kind = if before.is_some() { Type::Modified } else { Type::Added };
        self.tell(kind, resource, before.unwrap_or(Value::Null), object.clone());
        object
    }

    fn tell(&self, kind: Type, resource: &str, before: Value, object: Value) {
        // Nobody watches yet.
        let _ = self.changes.send(Change { kind, resource: resource.to_owned(), before, object });
    }
}

struct Accepted(TlsStream<TcpStream>);

impl Connected for Accepted {
    type ConnectInfo = ();
    fn connect_info(&self) {}
}

impl AsyncRead for Accepted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Accepted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

struct Served(Control);

fn call(control: &Control, request: &CallRequest) -> Result<Value, ApiError> {
    let body: Value = serde_json::from_slice(&request.body).unwrap_or(Value::Null);
    let (resource, namespace, name) = (request.resource.as_str(), request.namespace.as_str(), request.name.as_str());
    match request.verb() {
        Verb::Create if request.subresource == "token" => {
            let expires = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1);
            let status = json!({"token": format!("token of {name}"), "expirationTimestamp": expires.to_string()});
            Ok(json!({"status": status}))
        }
        Verb::Create => {
            let mut body = body;
            if !namespace.is_empty() {
                body["metadata"]["namespace"] = json!(namespace);
            }
            if control.get(resource, namespace, meta::name(&body)).is_some() {
                return Err(ApiError::already_exists(&PODS, meta::name(&body)));
            }
            Ok(control.put(resource, body))
        }
        Verb::PatchMerge => control.merge(resource, namespace, name, body),
        Verb::Delete => {
            let found = control.get(resource, namespace, name).ok_or_else(|| ApiError::not_found(&PODS, name))?;
            if body["preconditions"]["uid"].is_string() && body["preconditions"]["uid"] != found["metadata"]["uid"] {
                return Err(ApiError::conflict(&PODS, name, "another UID"));
            }
            control.delete(resource, namespace, name);
            Ok(found)
        }
        Verb::Get => control.get(resource, namespace, name).ok_or_else(|| ApiError::not_found(&PODS, name)),
        verb => Err(ApiError::bad_request(format!("{verb:?} is not needed here"))),
    }
}

#[tonic::async_trait]
impl NodeLink for Served {
    async fn call(&self, request: Request<CallRequest>) -> Result<Response<CallResponse>, Status> {
        Ok(Response::new(match call(&self.0, request.get_ref()) {
            Ok(object) => CallResponse { code: 200, body: object.to_string().into_bytes() },
            Err(error) => CallResponse { code: error.code().into(), body: error.to_status().to_string().into_bytes() },
        }))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchEvent, Status>> + Send>>;

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let request = request.into_inner();
        let fields = FieldSelector::parse(&request.field_selector).expect("a selector");
        let matches = move |object: &Value| {
            (request.namespace.is_empty() || meta::namespace(object) == request.namespace) && fields.matches(object)
        };
        let (all, changes) = {
            let state = self.0.0.lock().expect("not poisoned");
            let all: Vec<Value> = state
                .objects
                .iter()
                .filter(|((r, _), o)| *r == request.resource && matches(o))
                .map(|(_, o)| o.clone())
                .collect();
            (all, state.changes.subscribe())
        };
        let event = |kind: Type, object: &Value| {
            Ok(WatchEvent {
                r#type: kind.into(),
                revision: meta::revision(object),
                object: object.to_string().into_bytes(),
            })
        };
        let first: Vec<_> =
            all.iter().map(|o| event(Type::Added, o)).chain([event(Type::Synced, &Value::Null)]).collect();
        let resource = request.resource;
        let later = tokio_stream::wrappers::BroadcastStream::new(changes).filter_map(move |change| {
            let change = change.expect("the watcher keeps up");
            let seen = change.resource == resource && (matches(&change.object) || matches(&change.before));
            futures::future::ready(seen.then(|| event(change.kind, &change.object)))
        });
        Ok(Response::new(Box::pin(futures::stream::iter(first).chain(later))))
    }

    type SessionStream = Pin<Box<dyn Stream<Item = Result<Order, Status>> + Send>>;

    async fn session(&self, _: Request<Streaming<Beat>>) -> Result<Response<Self::SessionStream>, Status> {
        let (orders, receiver) = mpsc::channel(16);
        self.0.0.lock().expect("not poisoned").orders = Some(orders);
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver).map(Ok))))
    }

    type StreamStream = Pin<Box<dyn Stream<Item = Result<Frame, Status>> + Send>>;

    async fn stream(&self, request: Request<Streaming<Frame>>) -> Result<Response<Self::StreamStream>, Status> {
        let mut frames = request.into_inner();
        let Some(Frame { kind: Some(frame::Kind::Start(id)) }) = frames.message().await? else {
            return Err(Status::invalid_argument("no start"));
        };
        let pending = self.0.0.lock().expect("not poisoned").pending.remove(&id);
        let (to_agent, outgoing) = mpsc::channel(16);
        let (incoming, from_agent) = mpsc::channel(16);
        let ends = StreamEnds { to_agent, from_agent };
        pending.ok_or_else(|| Status::not_found("not ordered"))?.send(ends).map_err(|_| Status::aborted("gone"))?;
        tokio::spawn(async move {
            while let Ok(Some(frame)) = frames.message().await {
                if incoming.send(frame).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(outgoing).map(Ok))))
    }
}
