//! Docker's events as the trait's: something about this container changed.

use super::{labels, limits};
use crate::{ContainerEvent, ContainerId};
use bollard::models::EventMessage;
use bollard::query_parameters::{EventsOptionsBuilder, ListContainersOptionsBuilder};
use futures::StreamExt;
use std::collections::HashMap;
use tokio::sync::broadcast;

/// Follows events for ever. After the stream broke, every container counts as changed.
pub async fn follow(docker: bollard::Docker, owner: String, events: broadcast::Sender<ContainerEvent>) {
    let label = format!("{}={owner}", labels::OWNER);
    let filters = HashMap::from([("type", vec!["container".to_owned()]), ("label", vec![label.clone()])]);
    loop {
        let mut stream = Box::pin(docker.events(Some(EventsOptionsBuilder::default().filters(&filters).build())));
        tell_all(&docker, &label, &events).await;
        while let Some(Ok(message)) = stream.next().await {
            if let Some(event) = event(message) {
                // Nobody may be listening yet.
                let _listeners = events.send(event);
            }
        }
        tracing::warn!("the stream of Docker's events ended, asking again");
        tokio::time::sleep(limits::EVENTS_AGAIN).await;
    }
}

fn event(message: EventMessage) -> Option<ContainerEvent> {
    let action = message.action?;
    if !matches!(action.as_str(), "create" | "start" | "die" | "oom" | "destroy") {
        return None;
    }
    let actor = message.actor?;
    of(actor.id?, &actor.attributes?)
}

fn of(id: String, attributes: &HashMap<String, String>) -> Option<ContainerEvent> {
    // Sandboxes are not in a sandbox.
    attributes.get(labels::SANDBOX)?;
    Some(ContainerEvent { pod_uid: attributes.get(labels::POD_UID)?.clone(), container: ContainerId(id) })
}

async fn tell_all(docker: &bollard::Docker, label: &str, events: &broadcast::Sender<ContainerEvent>) {
    let filters = HashMap::from([("label", vec![label])]);
    let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
    match docker.list_containers(Some(options)).await {
        Ok(found) => {
            for container in found {
                if let Some(event) = container.id.zip(container.labels).and_then(|(id, labels)| of(id, &labels)) {
                    let _listeners = events.send(event);
                }
            }
        }
        Err(e) => tracing::warn!(error = %e, "Docker does not list its containers"),
    }
}
