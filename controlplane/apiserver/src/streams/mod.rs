//! Logs, exec, attach and port-forward: streams between a client and a pod's node.

mod log;
mod port_forward;
mod remote_command;
mod target;
mod upgrade;

use crate::http::{Asked, Body};
use crate::registry::Call;
use crate::validate::text;
use coracle_proto::ApiError;
use coracle_proto::nodelink::stream_request::Kind;
use coracle_proto::nodelink::{ExecRequest, PortForwardRequest, StreamRequest};
use coracle_proto::status::Reason;
use http::{Method, Request, Response};
use hyper::body::Incoming;
use remote_command::Wanted;
use target::Target;
use tokio::sync::OwnedSemaphorePermit;
use upgrade::Upgrade;

/// `place` is the request's place among the long-running ones; a stream holds it until it ends.
pub async fn respond(
    asked: &Asked,
    call: &Call<'_>,
    mut request: Request<Incoming>,
    place: OwnedSemaphorePermit,
) -> Result<Response<Body>, ApiError> {
    let verb = if asked.method == Method::GET { "get" } else { "create" };
    asked.registry.authorise(call, verb)?;
    if !call.subresource_exists(verb) {
        return Err(call.not_found());
    }
    if call.subresource == "log" {
        return log::respond(asked, call, place).await;
    }
    let target = Target::find(asked, call).await?;
    match call.subresource {
        "portforward" => port_forward_to(asked, target, &mut request, place),
        attach_or_exec => exec(asked, call, target, attach_or_exec == "attach", &mut request, place).await,
    }
}

async fn exec(
    asked: &Asked,
    call: &Call<'_>,
    target: Target,
    attach: bool,
    request: &mut Request<Incoming>,
    place: OwnedSemaphorePermit,
) -> Result<Response<Body>, ApiError> {
    let query = &asked.query;
    let container = target.container(query.get("container"))?;
    let phase = text(&target.pod["status"], "phase");
    if matches!(phase, "Succeeded" | "Failed") {
        let what = if attach { "attach to" } else { "exec into" };
        let why = format!("cannot {what} a container in a completed pod; current phase is {phase}");
        return Err(ApiError::bad_request(why));
    }
    let tty = query.flag("tty");
    let wanted =
        Wanted { stdin: query.flag("stdin"), stdout: query.flag("stdout"), stderr: query.flag("stderr") && !tty, tty };
    if !wanted.stdin && !wanted.stdout && !wanted.stderr {
        return Err(ApiError::bad_request("you must specify at least 1 of stdin, stdout, stderr"));
    }
    let command = if attach { Vec::new() } else { query.all("command").to_vec() };
    if command.is_empty() && !attach {
        return Err(ApiError::bad_request("you must specify at least 1 command for the container"));
    }
    let upgrade = Upgrade::negotiate(request, &[remote_command::PROTOCOL])?;
    let (namespace, pod, uid) = target.identity();
    let order = ExecRequest {
        namespace,
        pod,
        uid,
        container,
        command,
        stdin: wanted.stdin,
        stdout: wanted.stdout,
        stderr: wanted.stderr,
        tty,
        attach,
    };
    let node = asked.registry.config().node_streams.clone();
    let stream = node.open(&target.node, StreamRequest { kind: Some(Kind::Exec(order)) }).await?;
    tracing::debug!(pod = %call.key, attach, "a remote command starts");
    Ok(upgrade.accept(asked.stop.clone(), place, move |session| remote_command::serve(session, wanted, stream)))
}

fn port_forward_to(
    asked: &Asked,
    target: Target,
    request: &mut Request<Incoming>,
    place: OwnedSemaphorePermit,
) -> Result<Response<Body>, ApiError> {
    let upgrade = Upgrade::negotiate(request, &[port_forward::PROTOCOL])?;
    let nodes = asked.registry.config().node_streams.clone();
    let open = move |port: u16| {
        let (namespace, pod, uid) = target.identity();
        let order = PortForwardRequest { namespace, pod, uid, port: u32::from(port) };
        let (nodes, node) = (nodes.clone(), target.node.clone());
        async move { nodes.open(&node, StreamRequest { kind: Some(Kind::PortForward(order)) }).await }
    };
    Ok(upgrade.accept(asked.stop.clone(), place, move |session| port_forward::serve(session, open)))
}

/// A request that cannot become a stream.
fn not_upgradable(why: impl Into<String>) -> ApiError {
    ApiError::new(Reason::BadRequest, why)
}
