//! Lifecycle handlers: postStart and preStop.

use super::context::Context;
use crate::probes::{exec, http_get, http_target, port_of};
use coracle_runtime::ContainerId;
use k8s_openapi::api::core::v1::{Container, LifecycleHandler};
use std::time::Duration;

/// The error is what kubelet's event says after the hook's name.
pub async fn run(
    context: &Context,
    container: &Container,
    id: &ContainerId,
    pod_host: &str,
    handler: &LifecycleHandler,
) -> Result<(), String> {
    if let Some(action) = &handler.exec {
        let command = action.command.clone().unwrap_or_default();
        return match exec(context.runtime.as_ref(), id, command.clone()).await? {
            (0, _) => Ok(()),
            (code, output) => Err(format!("command '{}' exited with {code}: {output}", command.join(" "))),
        };
    }
    if let Some(action) = &handler.http_get {
        return http_get(&http_target(container, action, pod_host)?).await;
    }
    if let Some(action) = &handler.tcp_socket {
        let host = action.host.as_deref().filter(|h| !h.is_empty()).unwrap_or(pod_host);
        let port = port_of(container, &action.port)?;
        return tokio::net::TcpStream::connect((host, port)).await.map(drop).map_err(|e| e.to_string());
    }
    if let Some(action) = &handler.sleep {
        tokio::time::sleep(Duration::from_secs(u64::try_from(action.seconds).unwrap_or(0))).await;
    }
    Ok(())
}
