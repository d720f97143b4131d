//! From a request to the one function that answers it.

use super::negotiate::{As, Format, JSON, negotiate};
use super::query::Query;
use super::respond::{self, Body};
use super::route::{Route, Target, route};
use super::server::{GrpcService, Server};
use super::{authenticate, discovery, error, health, openapi, read, version, watching, write};
use crate::auth::{Attributes, Decision};
use crate::catalog;
use crate::limits::REQUEST_TIMEOUT;
use crate::registry::{Call, Registry};
use crate::user::UserInfo;
use coracle_proto::status::{Details, Reason};
use coracle_proto::{ApiError, ObjectKey};
use futures::FutureExt;
use http::header::{CONTENT_TYPE, HOST};
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// A request whose sender and path are known.
pub struct Asked {
    pub registry: Arc<Registry>,
    pub user: UserInfo,
    pub method: Method,
    pub headers: http::HeaderMap,
    pub query: Query,
    pub format: Format,
    /// When the server stops.
    pub stop: CancellationToken,
}

/// Never fails, never panics: every way out is a response.
pub async fn handle(
    server: &Arc<Server>,
    certificate: Option<&UserInfo>,
    request: Request<Incoming>,
) -> Response<Body> {
    let format = negotiate(request.headers()).unwrap_or(JSON);
    let answer = AssertUnwindSafe(answer(server, certificate, request)).catch_unwind().await;
    match answer {
        Ok(Ok(response)) => response,
        Ok(Err(failed)) => error::response(&failed, format),
        Err(_) => {
            tracing::error!("a request handler panicked");
            error::response(&ApiError::internal("the request could not be handled"), format)
        }
    }
}

async fn answer(
    server: &Arc<Server>,
    certificate: Option<&UserInfo>,
    request: Request<Incoming>,
) -> Result<Response<Body>, ApiError> {
    let user = authenticate::authenticate(&server.registry, certificate, request.headers())?;
    if let Some(service) = server.grpc.as_ref().filter(|_| is_grpc(&request)) {
        let place = server.long.clone().try_acquire_owned().map_err(|_| busy())?;
        return grpc(service.clone(), user, request, place).await;
    }
    let path = request.uri().path().to_owned();
    let route = route(&path).ok_or_else(discovery::not_found)?;
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let long = matches!(&route, Route::Resource(target) if is_long(target, &query));
    let pool = if long { &server.long } else { &server.short };
    let place = pool.clone().try_acquire_owned().map_err(|_| busy())?;
    let (parts, body) = request.into_parts();
    let format = match &route {
        // These have forms of their own.
        Route::OpenApi(_) | Route::Health { .. } | Route::Version | Route::JsonWebKeys => JSON,
        _ => negotiate(&parts.headers)?,
    };
    let headers = parts.headers.clone();
    let asked = Asked {
        registry: server.registry.clone(),
        user,
        method: parts.method.clone(),
        format,
        headers: parts.headers.clone(),
        query,
        stop: server.stop.clone(),
    };
    let work = async {
        match route {
            Route::Resource(target) => resource(asked, target, Request::from_parts(parts, body), place).await,
            other => fixed(&asked, &path, other).await,
        }
    };
    let response = if long {
        work.await?
    } else {
        let late = || ApiError::timeout("request did not complete within the allotted timeout");
        tokio::time::timeout(REQUEST_TIMEOUT, work).await.map_err(|_| late())??
    };
    Ok(respond::compress(&headers, response).await)
}

fn is_grpc<B>(request: &Request<B>) -> bool {
    let value = request.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok());
    value.is_some_and(|v| v.starts_with("application/grpc"))
}

/// The link of the nodes: for nobody else. The answer holds its place until its stream ends.
async fn grpc(
    service: GrpcService,
    user: UserInfo,
    mut request: Request<Incoming>,
    place: tokio::sync::OwnedSemaphorePermit,
) -> Result<Response<Body>, ApiError> {
    if user.node_name().is_none() {
        let path = request.uri().path();
        let why = format!("forbidden: User {:?} cannot call {path:?}: only nodes may", user.name);
        return Err(ApiError::new(Reason::Forbidden, why));
    }
    request.extensions_mut().insert(user);
    let response = match tower::ServiceExt::oneshot(service, request).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    Ok(response.map(|body| {
        body.map_frame(move |frame| {
            let _open = &place;
            frame
        })
        .boxed_unsync()
    }))
}

/// Requests that last as long as the client likes.
fn is_long(target: &Target, query: &Query) -> bool {
    query.flag("watch") || matches!(target.subresource.as_str(), "log" | "exec" | "attach" | "portforward")
}

fn busy() -> ApiError {
    let mut error = ApiError::new(Reason::TooManyRequests, "too many requests, please try again later");
    error.details = Some(Box::new(Details { retry_after_seconds: 1, ..Details::default() }));
    error
}

/// Everything that is no resource.
async fn fixed(asked: &Asked, path: &str, route: Route) -> Result<Response<Body>, ApiError> {
    asked.registry.authorise_path(&asked.user, &asked.method.as_str().to_lowercase(), path)?;
    if asked.method != Method::GET && asked.method != Method::HEAD {
        return Err(method_not_allowed());
    }
    let host = asked.headers.get(HOST).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let tree = match route {
        Route::Health { endpoint, check } => {
            return Ok(health::respond(&asked.registry, &endpoint, check.as_deref(), &asked.query).await);
        }
        Route::Version => return Ok(respond::json(StatusCode::OK, &version::version())),
        Route::OpenApi(rest) => return openapi::respond(&asked.headers, &rest).await,
        Route::JsonWebKeys => {
            let keys = asked.registry.config().signer.jwks().to_string();
            return Ok(respond::raw(StatusCode::OK, "application/jwk-set+json", keys));
        }
        Route::OpenIdConfiguration => return Ok(respond::json(StatusCode::OK, &openid(&asked.registry))),
        Route::CoreVersions | Route::Groups if matches!(asked.format.as_, As::GroupDiscovery(_)) => {
            let As::GroupDiscovery(form) = asked.format.as_ else { return Err(discovery::not_found()) };
            let media = match form {
                "v2" => "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
                _ => "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
            };
            let list = discovery::aggregated(route == Route::CoreVersions, form);
            return Ok(respond::raw(StatusCode::OK, media, list.to_string()));
        }
        Route::CoreVersions => discovery::core_versions(host),
        Route::Groups => discovery::groups(),
        Route::Group(name) => discovery::group(&name)?,
        Route::Resources { group, version } => discovery::resources(&group, &version)?,
        Route::Unknown | Route::Resource(_) => return Err(discovery::not_found()),
    };
    // Discovery has no protobuf form in the schema; clients always accept JSON beside it.
    Ok(respond::json(StatusCode::OK, &tree))
}

fn openid(registry: &Registry) -> serde_json::Value {
    let issuer = registry.config().signer.issuer();
    serde_json::json!({
        "issuer": issuer, "jwks_uri": format!("{}/openid/v1/jwks", issuer.trim_end_matches('/')),
        "response_types_supported": ["id_token"], "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
    })
}

pub fn method_not_allowed() -> ApiError {
    ApiError::new(Reason::MethodNotAllowed, "the server does not allow this method on the requested resource")
}

async fn resource(
    asked: Asked,
    target: Target,
    request: Request<Incoming>,
    place: tokio::sync::OwnedSemaphorePermit,
) -> Result<Response<Body>, ApiError> {
    if let Some(review) = catalog::find_review(&target.group, &target.version, &target.plural) {
        return write::review(&asked, review, request.into_body()).await;
    }
    let Some(kind) = catalog::find(&target.group, &target.version, &target.plural) else {
        return Err(unknown(&asked, &target));
    };
    let namespaced = kind.facts().resource.namespaced;
    if (!namespaced && !target.namespace.is_empty())
        || (namespaced && target.namespace.is_empty() && !target.name.is_empty())
    {
        return Err(discovery::not_found());
    }
    if !target.subresource.is_empty() && kind.facts().subresources.iter().all(|s| s.name != target.subresource) {
        return Err(unknown(&asked, &target));
    }
    let (user, subresource) = (asked.user.clone(), target.subresource.clone());
    let key = ObjectKey::new(target.namespace, target.name);
    let mut call = Call::new(&user, kind, key).with_subresource(&subresource);
    call.dry_run = asked.query.dry_run()?;
    verb(&asked, call, request, place).await
}

/// A type or subresource that is not served: 403 before 404, as to any resource.
fn unknown(asked: &Asked, target: &Target) -> ApiError {
    let verb = verb_of(&asked.method, target, &asked.query);
    let attributes = Attributes {
        verb,
        group: &target.group,
        resource: &target.plural,
        subresource: &target.subresource,
        namespace: &target.namespace,
        name: &target.name,
        fields: None,
    };
    if asked.registry.decide(&asked.user, &attributes) == Decision::Allow {
        return discovery::not_found();
    }
    let scope = if target.namespace.is_empty() {
        "at the cluster scope".to_owned()
    } else {
        format!("in the namespace {:?}", target.namespace)
    };
    let why = format!(
        "{}{} is forbidden: User {:?} cannot {verb} resource {:?} in API group {:?} {scope}",
        target.plural,
        if target.group.is_empty() { String::new() } else { format!(".{}", target.group) },
        asked.user.name,
        target.plural,
        target.group
    );
    ApiError::new(Reason::Forbidden, why)
}

fn verb_of(method: &Method, target: &Target, query: &Query) -> &'static str {
    match (method.as_str(), target.name.is_empty()) {
        ("GET" | "HEAD", _) if query.flag("watch") => "watch",
        ("GET" | "HEAD", true) => "list",
        ("GET" | "HEAD", false) => "get",
        ("POST", _) => "create",
        ("PUT", _) => "update",
        ("PATCH", _) => "patch",
        ("DELETE", true) => "deletecollection",
        ("DELETE", false) => "delete",
        _ => "get",
    }
}

async fn verb(
    asked: &Asked,
    call: Call<'_>,
    request: Request<Incoming>,
    place: tokio::sync::OwnedSemaphorePermit,
) -> Result<Response<Body>, ApiError> {
    let named = !call.key.name.is_empty();
    let stream = matches!(call.subresource, "exec" | "attach" | "portforward" | "log");
    match request.method().as_str() {
        "GET" | "POST" if stream && named => crate::streams::respond(asked, &call, request, place).await,
        "GET" if asked.query.flag("watch") => watching::watch(asked, &call, place).await,
        "GET" | "HEAD" if named => read::get(asked, &call).await,
        "GET" | "HEAD" => read::list(asked, &call).await,
        "POST" if !named || !call.subresource.is_empty() => write::create(asked, call, request.into_body()).await,
        "PUT" if named => write::update(asked, &call, request.into_body()).await,
        "PATCH" if named => write::patch(asked, &call, request.into_body()).await,
        "DELETE" if named => write::delete(asked, &call, request.into_body()).await,
        "DELETE" => write::delete_collection(asked, &call, request.into_body()).await,
        _ => Err(method_not_allowed()),
    }
}
